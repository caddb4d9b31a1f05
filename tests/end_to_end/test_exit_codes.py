"""Objectives and the stopping rule on real runs: exit codes, sentences, and a run that ends before its duration."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from clipload import archive
from tests.end_to_end.runs import INCONCLUSIVE, LATE, MISSED, OK, UNSOUND, Finished, check_finished, check_ledger, run_clipload
from tests.servers import Server, running_server

pytestmark = pytest.mark.clock

LOAD = ("--mode", "text", "--rate", "200")


@pytest.fixture(scope="module")
def sim() -> Iterator[Server]:
    with running_server("sim", "--law", "constant(5ms)", "--servers", "8", "--dim", "8", "--cores", "1") as server:
        yield server


def too_late(done: Finished) -> bool:
    """On a busy machine the generator may be too late to vouch for anything; it then states nothing, and exits so."""
    found = done.document["verdict"]["findings"]
    if not any(finding["weight"] == "fatal" and finding["sentence"].startswith(LATE) for finding in found):
        return False
    assert (done.code, done.document["verdict"]["objective"]) == (UNSOUND, "none"), done.stderr
    return True


@pytest.mark.parametrize(
    ("seconds", "slo", "objective", "code"),
    [
        pytest.param("3s", ("p50<5s", "errors<5%", "throughput>20/s"), "met", OK, marks=pytest.mark.slow),
        ("3s", ("p50<5s", "service.p50<1ms"), "missed", MISSED),  # no reply comes in less than 5 ms
        ("1s", ("errors<50%", "p99.9<10s"), "inconclusive", INCONCLUSIVE),
    ],
)
def test_the_exit_code_says_what_became_of_the_objectives(
    sim: Server, tmp_path: Path, seconds: str, slo: tuple[str, ...], objective: str, code: int
) -> None:
    flags = [part for text in slo for part in ("--slo", text)]
    done = run_clipload(*LOAD, "--duration", seconds, *flags, url=sim.url, out=tmp_path)
    check_ledger(done.document)
    if too_late(done):
        return
    verdict = done.document["verdict"]
    assert (done.code, verdict["exit_code"], verdict["objective"]) == (code, code, objective), done.stderr
    assert [judged["objective"] for judged in verdict["objectives"]] == list(slo)
    assert f"objective   {objective}\n" in done.stderr
    for judged in verdict["objectives"]:
        assert f"  {judged['sentence']}\n" in done.stderr
    if objective == "inconclusive":
        assert "more requests (" in verdict["objectives"][1]["sentence"]


def check_intervals(document: dict, directory: Path) -> None:  # type: ignore[type-arg]
    """Every percentile that was saved has its interval, and both can be computed again from the journal alone."""
    for name, found in document["phases"]["measure"]["histograms"].items():
        for label, estimate in document["estimates"]["histograms"][name].items():
            assert estimate["value"] == found[label], (name, label)
            assert estimate["low"] <= estimate["value"]
            assert estimate["high"] is None or estimate["value"] <= estimate["high"]
    again = archive.document(archive.load(directory))
    assert json.loads(json.dumps(again["estimates"])) == document["estimates"]
    assert json.loads(json.dumps(again["steadiness"])) == document["steadiness"]


@pytest.mark.parametrize(
    "load",
    [
        pytest.param(("--rate", "200"), id="open"),
        pytest.param(("--concurrency", "2"), id="closed", marks=pytest.mark.slow),
        pytest.param(("--rate", "200", "--workers", "2", "--warmup", "1s"), id="two", marks=pytest.mark.slow),
    ],
)
@pytest.mark.slow
def test_a_run_ends_when_it_knows_enough(sim: Server, tmp_path: Path, load: tuple[str, ...]) -> None:
    cores = "0,1" if "--workers" in load else "0"
    flags = ("--mode", "text", *load, "--duration", "40s", "--until", "p50+-60%")
    done = run_clipload(*flags, url=sim.url, out=tmp_path, cores=cores)
    check_finished(done, ended="precise")
    document = done.document
    assert 5e9 <= document["measured_ns"] < 39e9, done.stderr
    assert document["plan"]["until"] == "p50±60%"
    counts = done.counts
    assert counts["ok"] > 500
    assert (counts.get("not_due", 0) > 500) == ("--rate" in load), "a closed loop by duration plans what it schedules"
    assert counts.get("lost", 0) == counts.get("unsent", 0) == 0
    assert done.says("p50±60% was reached after ")
    assert "of at most 40s" in done.stderr
    check_intervals(document, done.directory)


@pytest.mark.slow
def test_a_precision_that_was_not_reached_says_how_wide_it_is(sim: Server, tmp_path: Path) -> None:
    done = run_clipload(*LOAD, "--duration", "2s", "--until", "p99.9±1%", url=sim.url, out=tmp_path)
    check_ledger(done.document)
    assert done.document["ended"] == "complete"
    if too_late(done):
        return
    assert done.code == INCONCLUSIVE
    (sentence,) = [finding for finding in done.findings if finding.startswith("p99.9±1% was not reached in 2.0 s: ")]
    assert re.search(r", ≥ .*; about \d+ more requests \(\d+ s\) are needed$", sentence) or "nobody can say" in sentence
