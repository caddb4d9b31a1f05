"""Integrity under load, end to end: an honest server has nothing wrong, each lie has its class, the checker harms nobody."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from clipload import archive
from clipload.agreement import agreement_in
from tests.end_to_end.runs import (
    MISSED,
    TARGET,
    Finished,
    Running,
    check_finished,
    run_clipload,
    start_clipload,
)
from tests.servers import running_server

QUICK = ("--law", "constant(3ms)", "--dim", "32", "--servers", "64")
LOAD = {"--mode": "text", "--text-tokens": "4-9", "--pool": "40", "--duration": "2s"}
MISSES_NOTHING = ("--slo", "errors<1%")
BY_DEATH = "die-on-mixed"

pytestmark = [pytest.mark.clock, pytest.mark.slow]


def load(*flags: str) -> list[str]:
    """LOAD, but for what `flags` say otherwise."""
    usual = {name: value for name, value in LOAD.items() if name not in flags and ("image" not in flags or "text" not in name)}
    return [*(word for pair in usual.items() for word in pair), *flags]


def integrity(finished: Finished) -> Mapping[str, Any]:
    found: Mapping[str, Any] = finished.document["facts"]["integrity"]
    assert found["skipped"] == found["error"] == "", found
    assert (finished.directory / "checker.err").read_text() == ""
    return found


def classes(finished: Finished) -> dict[str, int]:
    total: dict[str, int] = {}
    for level in integrity(finished)["levels"]:
        for name, count in level["classes"].items():
            total[name] = total.get(name, 0) + count
    return total


def sampled(finished: Finished) -> int:
    return sum(level["sampled"] for level in integrity(finished)["levels"])


def loaded(tmp_path: Path, *flags: str, lie: str = "", **more: Any) -> Finished:
    with running_server("sim", *QUICK, *(("--lie", lie) if lie else ())) as server:
        return run_clipload(*load(*flags), url=server.url, out=tmp_path, integrity=True, **more)


@pytest.mark.parametrize(
    "flags",
    [
        ("--concurrency", "8"),
        ("--rate", "200", "--batch-size", "3"),
        ("--concurrency", "4", "--transport", "aiohttp"),
        ("--concurrency", "4", "--encoding-format", "base64", "--mode", "multimodal"),
        ("--concurrency", "4", "--api", "native", "--mode", "mixed"),
        ("--concurrency", "4", "--api", "openai"),
        ("--concurrency", "4", "--workers", "2", "--share-cores"),
    ],
)
def test_an_honest_server_has_nothing_wrong(tmp_path: Path, flags: tuple[str, ...]) -> None:
    api = flags[flags.index("--api") + 1] if "--api" in flags else "v1"
    with running_server("sim", *QUICK, "--api", api if api == "openai" else "v1") as server:
        done = run_clipload(*load(*flags, *MISSES_NOTHING), url=server.url, out=tmp_path, integrity=True, preflight=True)
    check_finished(done)
    assert sampled(done) > 20
    assert classes(done) == {}
    assert integrity(done)["compared"] == sum(level["vectors"] for level in integrity(done)["levels"])
    if "--workers" not in flags:
        least = 1 if "--rate" in flags else int(flags[1])
        assert max(level["in_flight"] for level in integrity(done)["levels"]) >= least


@pytest.mark.parametrize(
    ("lie", "flags", "names"),
    [
        ("leak", ("--concurrency", "6"), {"different"}),
        ("swap", ("--concurrency", "6", "--duration", "6s"), {"swapped"}),  # bursts: three seconds know too little
        ("swap", ("--concurrency", "1", "--batch-size", "3"), {"order"}),
        ("nan", ("--concurrency", "2", "--encoding-format", "base64"), {"nan"}),
        ("radix", ("--concurrency", "1"), {"different"}),
    ],
)
def test_each_lie_has_its_class_and_misses_the_objective(
    tmp_path: Path, lie: str, flags: tuple[str, ...], names: set[str]
) -> None:
    done = loaded(tmp_path, *flags, *MISSES_NOTHING, lie=lie)
    check_finished(done, code=MISSED)
    assert set(classes(done)) == names
    assert done.counts.get("ok") == done.counts["scheduled"], "the ledger counts them as what came back whole"
    assert done.says("sampled replies had wrong vectors")
    if "6s" in flags:  # the checker speaks once a second, and is heard once a second
        said = [int(wrong) for wrong in re.findall(r"(\d+) wrong so far", done.stderr)]
        assert said == sorted(said), "so far, and not in a second"
        assert 0 < said[-1] <= sum(classes(done).values())
    if done.code == MISSED:
        assert "sampled replies being wrong" in done.document["verdict"]["objectives"][0]["sentence"]


def test_without_an_objective_a_lie_is_a_finding(tmp_path: Path) -> None:
    done = loaded(tmp_path, "--concurrency", "6", lie="leak")
    check_finished(done)
    assert done.says("in flight on")


def test_a_leak_needs_company(tmp_path: Path) -> None:
    done = loaded(tmp_path, "--concurrency", "1", *MISSES_NOTHING, lie="leak")
    check_finished(done)
    assert classes(done) == {}
    assert [level["in_flight"] for level in integrity(done)["levels"]] == [1]


def test_images_that_are_ignored_are_one_before_any_load(tmp_path: Path) -> None:
    done = loaded(tmp_path, "--concurrency", "4", "--mode", "image", lie="ignore-images")
    check_finished(done)
    assert integrity(done)["alike"] == 40
    assert done.says("40 different Items had one and the same vector, asked for alone")


def test_references_kill_nobody_and_a_death_under_load_leaves_what_was_found(tmp_path: Path) -> None:
    done = loaded(tmp_path, "--mode", "mixed", "--concurrency", "8", "--duration", "8s", lie=BY_DEATH)
    check_finished(done, ended="target died", code=TARGET)
    assert integrity(done)["items"] == 40
    assert classes(done) == {}


def test_where_nothing_is_compared_it_is_said(tmp_path: Path) -> None:
    with running_server("sim", *QUICK) as server:
        without = run_clipload(*load("--concurrency", "2"), url=server.url, out=tmp_path)
    check_finished(without)
    assert without.document["facts"]["integrity"]["skipped"] == "--no-integrity"
    assert not (without.directory / "checker.err").exists()


def checker_of(running: Running) -> psutil.Process:
    """The one checker of a run whose load is on."""
    running.wait_for_second()
    children = psutil.Process(running.process.pid).children()
    [checker] = [child for child in children if "clipload.integrity.checker" in " ".join(child.cmdline())]
    return checker


def test_a_checker_that_dies_is_named_and_the_load_goes_on(tmp_path: Path) -> None:
    with (
        running_server("sim", *QUICK) as server,
        start_clipload(*load("--concurrency", "4"), url=server.url, out=tmp_path, integrity=True) as running,
    ):
        checker_of(running).kill()
        done = running.finish()
    check_finished(done)
    assert done.document["facts"]["integrity"]["error"].startswith("the checker died (exit status -9)")
    assert done.says("vectors were not compared to the end")


def test_a_checker_that_is_stuck_makes_nobody_wait(tmp_path: Path) -> None:
    """Its pipe is soon full of large replies; what is not taken is counted, and nothing fails."""
    flags = load("--concurrency", "4", "--duration", "4s", "--batch-size", "2")
    with (
        running_server("sim", "--law", "constant(3ms)", "--dim", "4096", "--servers", "64") as server,
        start_clipload(*flags, url=server.url, out=tmp_path, integrity=True) as running,
    ):
        checker = checker_of(running)
        checker.suspend()
        running.wait_for_second(3)
        checker.resume()
        done = running.finish()
    check_finished(done)
    assert integrity(done)["dropped"] > 0
    assert integrity(done)["unheard"] == 0
    assert classes(done) == {}


def test_a_killed_supervisor_leaves_what_was_compared_by_then(tmp_path: Path) -> None:
    flags = load("--concurrency", "6", "--duration", "20s")
    with (
        running_server("sim", *QUICK, "--lie", "leak") as server,
        start_clipload(*flags, url=server.url, out=tmp_path, integrity=True) as running,
    ):
        checker = checker_of(running)
        running.wait_for_second(4)
        running.process.kill()
        checker.wait(10)
        directory = running.directory
    found = agreement_in(archive.load(directory).facts)
    assert found is not None
    assert (found.items, found.unheard, set(found.classes)) == (40, 1, {"different"})
    assert found.sampled > 20
    assert "cut off" in found.error
    assert (directory / "checker.err").read_text() == ""
