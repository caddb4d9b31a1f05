"""References over the loads of a campaign and over several targets, counted where they are answered."""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from clipload import archive
from clipload.agreement import Agreement, agreement_in
from tests.end_to_end.runs import OK, UNSOUND, run_clipload
from tests.servers import running_server

SERVER = ("--law", "constant(1ms)", "--dim", "16", "--servers", "8", "--enable-metrics")
POOL, SENT = 12, 40
LOAD = ("--mode", "text", "--text-tokens", "4-9", "--pool", f"{POOL}", "--num-samples", f"{SENT}", "--grace", "5s")


def answered(url: str) -> int:
    """Requests for embeddings that a server has answered with 200."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as reply:
        families = list(text_string_to_metric_families(reply.read().decode()))
    wanted = {"endpoint": "/v1/embeddings", "method": "POST", "status_code": "200"}
    return round(sum(s.value for f in families for s in f.samples if s.name.endswith("responses_total") and s.labels == wanted))


def agreements(document: Mapping[str, Any]) -> list[Agreement]:
    directory = Path(document["directory"])
    found = [agreement_in(archive.load(directory / point["directory"]).facts) for point in document["points"]]
    assert None not in found
    return [one for one in found if one is not None]


@pytest.mark.parametrize(
    ("axis", "lie", "asked"),
    [
        (("--concurrency", "1,2", "--seed", "1"), "", [POOL, 2]),
        pytest.param(("--concurrency", "2", "--seed", "1,2"), "", [POOL, POOL], marks=pytest.mark.slow),
        pytest.param(("--concurrency", "1,2", "--seed", "1"), "radix", [POOL, 1 + POOL], marks=pytest.mark.slow),
    ],
    ids=["same-items", "other-items", "other-vectors"],
)
def test_a_sweep_asks_for_no_item_alone_twice(tmp_path: Path, axis: tuple[str, ...], lie: str, asked: list[int]) -> None:
    with running_server("sim", *SERVER, *(("--lie", lie) if lie else ())) as server:
        done = run_clipload(*LOAD, *axis, "--rest", "10ms", url=server.url, out=tmp_path, integrity=True, verb="sweep")
        total = answered(server.url)
    assert done.code in (OK, UNSOUND), done.stderr
    assert total == 2 * (1 + SENT) + sum(asked), "each load is a probe, its references, and what was asked of it"
    first, second = agreements(done.document)
    assert (first.items, first.earlier, first.changed) == (POOL, 0, [])
    known = POOL if asked[1] == 2 else 0
    assert done.stderr.count("integrity: ") == (1 if known else 2), "what is known from before is not said again"
    assert (second.items, second.earlier, second.again) == (POOL, known, 2 if known else 0)
    assert (second.changed == []) == (lie == "")
    assert bool(second.age_ns) == bool(known)
    if not lie:
        assert first.sampled
        assert second.sampled
        assert first.wrong == second.wrong == 0


@pytest.mark.slow
def test_targets_that_disagree_are_named_and_neither_is_called_wrong(tmp_path: Path) -> None:
    """One of them drops images, always: alone and under load it says the same."""
    flags = ("--mode", "image", "--pool", f"{POOL}", "--num-samples", "200", "--concurrency", "4")
    with running_server("sim", *SERVER) as one, running_server("sim", *SERVER, "--lie", "ignore-images") as two:
        done = run_clipload(*flags, "--base-url", two.url, url=one.url, out=tmp_path, integrity=True)
    found = agreement_in(done.document["facts"])
    assert found is not None
    assert (found.targets, found.wrong, found.error) == (2, 0, "")
    assert found.sampled > 0
    [apart] = found.apart
    assert (apart.both, apart.differ) == (POOL, POOL)
    assert done.says("targets disagree: ")
