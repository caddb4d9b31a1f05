"""Canaries beside real loads, to every kind of end: what was planned, what became of it, and that the load is as it was."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from clipload import archive
from clipload.canary import canary_plan
from clipload.pacing import horizon
from clipload.plan import Plan
from clipload.run import WITH_THE_LOAD, Run
from tests.end_to_end.runs import (
    INTERRUPTED,
    TARGET,
    Finished,
    Running,
    _check_tally,
    check_finished,
    run_clipload,
    start_clipload,
    wait_until_gone,
)
from tests.servers import Server, running_server

pytestmark = [pytest.mark.clock, pytest.mark.slow]

BESIDE = ("--mode", "image", "--canary", "text:10/s", "--pool", "8")
PHASES = ("--warmup", "1s", "--duration", "3s", "--cooldown", "700ms")


@pytest.fixture(scope="module")
def sim() -> Iterator[Server]:
    with running_server("sim", "--law", "constant(5ms)", "--servers", "4", "--dim", "8", "--cores", "1") as server:
        yield server


def canary(done: Finished) -> dict[str, Any]:
    """Its part of the document, each ledger recomputed, and the same again from the journal alone."""
    found: dict[str, Any] = done.document["canary"]
    for name, phase in found["phases"].items():
        _check_tally(f"canary, {name}", phase)
    assert archive.document(archive.load(done.directory))["canary"] == found
    assert (done.directory / "canary_0.err").read_text() == ""
    return found


def planned(done: Finished) -> tuple[int, ...]:
    """What the seed says that the canary sends in each phase, of a load whose end is known in advance."""
    plan = Plan.from_dict(done.document["plan"])
    own = canary_plan(plan)
    return horizon(own.pacer, own.seed, 1, plan.bounds()).planned[0]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_open_load_and_what_the_seed_says_beside_it(sim: Server, tmp_path: Path, workers: int) -> None:
    flags = (*BESIDE, *PHASES, "--rate", "40", "--workers", str(workers), "--share-cores")
    done = run_clipload(*flags, url=sim.url, out=tmp_path / "with")
    check_finished(done)
    found = canary(done)
    counts = [phase["counts"] for phase in found["phases"].values()]
    assert tuple(one["planned"] for one in counts) == tuple(n for n in planned(done) if n)
    assert [one["planned"] for one in counts] == [one["ok"] for one in counts]
    assert found["ended"] in ("complete", WITH_THE_LOAD), "whichever of the two was drained first"
    assert found["phases"]["measure"]["histograms"]["latency"]["min"] >= 5_000_000
    assert "\ncanary      text, 10 requests/s beside the load: " in done.stderr
    alone = run_clipload(*(flag for flag in flags if flag not in ("--canary", "text:10/s")), url=sim.url, out=tmp_path / "no")
    assert alone.document["canary"] is None
    assert done.counts["planned"] == alone.counts["planned"], "the load is as it was"
    assert not list(alone.directory.glob("canary*"))


@pytest.mark.parametrize(
    ("load", "ended"),
    [
        (("--concurrency", "4", "--duration", "3s"), "complete"),
        (("--concurrency", "4", "--num-samples", "1200"), WITH_THE_LOAD),
    ],
)
def test_a_closed_load(sim: Server, tmp_path: Path, load: tuple[str, ...], ended: str) -> None:
    done = run_clipload(*BESIDE, *load, url=sim.url, out=tmp_path)
    check_finished(done)
    found = canary(done)
    counts = found["phases"]["measure"]["counts"]
    assert found["ended"] == ended
    assert counts["ok"] == counts["scheduled"] > 5
    assert done.counts["ok"] == done.counts["scheduled"]
    assert counts.get("not_due", 0) <= 1, "beside a counted load, what was due when it ended is what was planned"


def test_an_image_beside_texts_of_another_api(tmp_path: Path) -> None:
    with running_server("sim", "--law", "constant(5ms)", "--servers", "4", "--dim", "8", "--api", "infinity") as server:
        flags = ("--api", "infinity", "--mode", "text", "--batch-size", "4", "--canary", "image:5/s", "--rate", "40")
        done = run_clipload(*flags, "--duration", "3s", url=server.url, out=tmp_path, preflight=True)
    check_finished(done)
    found = canary(done)["phases"]["measure"]["counts"]
    assert found["ok"] == found["planned"] > 0
    lines = [line["name"] for line in done.document["facts"]["preflight"][0]["lines"]]
    assert "an image has a vector" in lines, "the target must be fit for the canary too"


@pytest.mark.parametrize("load", [("--rate", "40"), ("--concurrency", "2")])
def test_a_signal_ends_both(sim: Server, tmp_path: Path, load: tuple[str, ...]) -> None:
    with start_clipload(*BESIDE, *load, "--duration", "30s", url=sim.url, out=tmp_path) as running:
        running.wait_for_second(2)
        workers = running.workers()
        assert len(workers) == 2
        running.process.send_signal(signal.SIGINT)
        done = running.finish(15)
    check_finished(done, ended="interrupted", code=INTERRUPTED)
    found = canary(done)
    counts = found["phases"]["measure"]["counts"]
    assert (found["ended"], counts["ok"]) == (WITH_THE_LOAD, counts["scheduled"])
    assert counts["planned"] == planned(done)[1]
    assert counts["not_due"] > 200
    wait_until_gone(workers, 5)


def own_worker(running: Running) -> psutil.Process:
    """The process whose words go to canary_0.err."""
    found = [one for one in running.workers() if Path(f"/proc/{one.pid}/fd/2").resolve().name == "canary_0.err"]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("load", [("--rate", "40", "--duration", "4s"), ("--concurrency", "1", "--num-samples", "600")])
def test_a_canary_that_dies_ends_nothing_else(sim: Server, tmp_path: Path, load: tuple[str, ...]) -> None:
    with start_clipload(*BESIDE, *load, url=sim.url, out=tmp_path) as running:
        running.wait_for_second(1)
        own_worker(running).kill()
        done = running.finish(40)
    check_finished(done)
    found = canary(done)
    counts = found["phases"]["measure"]["counts"]
    assert found["ended"] == "worker died"
    assert counts["planned"] == planned(done)[1] if "--rate" in load else counts.get("not_due", 0) == 0
    assert "canary: worker 0 died" in done.stderr
    assert "; it ended by itself: worker died" in done.stderr
    assert done.counts["ok"] == done.counts["planned"]


def test_it_stops_when_the_load_does_and_not_when_its_last_reply_has_come(tmp_path: Path) -> None:
    """While a load is drained there is less of it to notice."""
    with (
        running_server("sim", "--law", "constant(3s)", "--servers", "200", "--dim", "8", "--cores", "1") as server,
        start_clipload(*BESIDE, "--rate", "10", "--duration", "30s", url=server.url, out=tmp_path) as running,
    ):
        running.wait_for_second(4)
        running.process.send_signal(signal.SIGINT)
        done = running.finish(20)
    check_finished(done, ended="interrupted", code=INTERRUPTED)
    run = archive.load(done.directory)
    assert isinstance(run.canary, Run)
    assert run.canary.stop_ns - run.stop_ns < 10**9 < run.end_ns - run.stop_ns


def test_a_supervisor_that_is_killed_leaves_its_seconds(sim: Server, tmp_path: Path) -> None:
    with start_clipload(*BESIDE, "--rate", "40", "--duration", "30s", url=sim.url, out=tmp_path) as running:
        running.wait_for_second(3)
        workers, directory = running.workers(), running.directory
        running.process.kill()
        wait_until_gone(workers, 10)
    run = archive.load(directory)
    run.check_ledger()
    assert isinstance(run.canary, Run)
    assert run.canary.measure["ok"] > 5


def test_a_target_that_stalls_makes_both_wait(tmp_path: Path) -> None:
    """Latency is done − due: those that were due in the stall waited for its end, and nothing was left out."""
    stall = ("--stall", "at=2500ms,for=1500ms")
    with running_server("sim", "--law", "constant(5ms)", "--servers", "4", "--dim", "8", "--cores", "1", *stall) as server:
        done = run_clipload(*BESIDE, "--rate", "20", "--duration", "5s", url=server.url, out=tmp_path)
    check_finished(done)
    measure = canary(done)["phases"]["measure"]
    assert measure["counts"]["ok"] == measure["counts"]["planned"] == planned(done)[1]
    assert measure["histograms"]["latency"]["max"] > 500_000_000


def test_a_target_that_refuses_its_kind_is_told_before_the_load(tmp_path: Path) -> None:
    with running_server("sim", "--law", "constant(1ms)", "--dim", "8", "--api", "openai") as server:
        done = run_clipload("--mode", "text", "--canary", "image:2/s", "--duration", "30s", url=server.url, out=tmp_path)
    assert (done.code, done.document) == (TARGET, {})
    assert "answered 400" in done.stderr
    assert not list(tmp_path.iterdir())
