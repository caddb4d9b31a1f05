"""`clipload sweep` and `clipload find`: real loads, each saved; interrupted and gone on with; a target that goes away."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clipload import archive
from tests.end_to_end.runs import INTERRUPTED, OK, TARGET, UNSOUND, USAGE, check_ledger, run_clipload, start_clipload
from tests.servers import Server, running_server

pytestmark = pytest.mark.clock

LOAD = ("--mode", "text", "--duration", "1s", "--pool", "4")
SHORT = ("--mode", "text", "--pool", "4", "--budget", "45s", "--arrival", "poisson")


@pytest.fixture(scope="module")
def sim() -> Iterator[Server]:
    """8 servers of 5 ms: 1600 requests/s at most."""
    with running_server("sim", "--law", "constant(5ms)", "--servers", "8", "--dim", "8", "--cores", "1") as server:
        yield server


def places(document: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [tuple(point["ask"]["values"].values()) for point in document["points"]]


def test_a_sweep_saves_every_point_and_is_gone_on_with_after_an_interruption(sim: Server, tmp_path: Path) -> None:
    axes = ("--concurrency", "1,4", "--batch-size", "1..2x2", "--rest", "100ms")
    with start_clipload(*LOAD, *axes, url=sim.url, out=tmp_path, verb="sweep") as running:
        running.wait_for(lambda: len(list(tmp_path.glob("*/*/run.json"))) == 1)
        running.wait_for(lambda: len(list(tmp_path.glob("*/*/journal.bin"))) == 2)
        running.process.send_signal(signal.SIGINT)
        first = running.finish(15)
    assert first.code == INTERRUPTED, first.stderr
    assert (first.document["ended"], len(first.document["points"])) == ("interrupted", 1)
    assert "--resume" in first.stderr
    directory = Path(first.document["directory"])
    done = run_clipload("--resume", str(directory), out=tmp_path, cores=None, preflight=True, integrity=True, verb="sweep")
    assert done.code in (OK, UNSOUND), done.stderr
    assert done.document["ended"] == "complete"
    assert sorted(places(done.document)) == [(1, 1), (1, 2), (4, 1), (4, 2)]
    assert places(done.document)[:1] == places(first.document)
    assert json.loads((directory / "campaign.json").read_text()) == {k: v for k, v in done.document.items() if k != "directory"}
    for point in done.document["points"]:
        run = archive.load(directory / point["directory"])
        check_ledger(archive.document(run))
        assert (run.plan.concurrency, run.plan.batch_size) == tuple(point["ask"]["values"].values())
        assert point["achieved"] == run.requests_per_s


@pytest.mark.slow
def test_what_cannot_be_swept_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    for flags, said in (
        (("--concurrency", "4"), "--axis: no flag is a list"),
        (("--concurrency", "1,2", "--rate", "5"), "--concurrency: contradicts --rate"),
        (("--batch-size", "1,0"), "--batch-size: 0 is too small"),
        (("--resume", str(tmp_path)), "campaign.json"),
    ):
        done = run_clipload(*flags, out=tmp_path / "runs", url="http://127.0.0.1:9", cores=None, verb="sweep")
        assert done.code == USAGE
        assert said in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_nobody_there(tmp_path: Path) -> None:
    for verb, flags in (("sweep", ("--concurrency", "1,2")), ("find", ("--slo", "p90<1s"))):
        done = run_clipload(*flags, "--mode", "text", url="http://127.0.0.1:9", out=tmp_path / "runs", verb=verb)
        assert done.code == TARGET, done.stderr
        assert not list((tmp_path / "runs").glob("*")), "nothing measured leaves nothing behind"


@pytest.mark.slow
def test_a_find_without_an_objective_or_with_a_load_is_refused(tmp_path: Path) -> None:
    for flags, flag in (
        ((), "--slo"),
        (("--slo", "p90<1s", "--rate", "5"), "--rate"),
        (("--slo", "p90<1s", "--budget", "5s"), "--budget"),
    ):
        done = run_clipload(*flags, out=tmp_path, url="http://127.0.0.1:9", verb="find")
        assert done.code == USAGE
        assert f"clipload: {flag}: " in done.stderr


@pytest.mark.slow
def test_a_find_ends_with_a_rate_that_the_target_can_do(sim: Server, tmp_path: Path) -> None:
    """45 s leave out most, and say so; what is answered lies below what the law of the target allows."""
    done = run_clipload(*SHORT, "--slo", "p50<50ms", url=sim.url, out=tmp_path, verb="find", timeout_s=120)
    (branch,) = done.document["answer"]
    assert done.code == OK, done.stderr
    assert branch["answer"]["outcome"] in ("found", "at least")
    assert 0 < branch["answer"]["rate"] <= 1650
    assert branch["answer"]["left_out"]
    assert done.document["ended"] == "complete"
    spent = sum(point["seconds"] for point in done.document["points"])
    assert spent == pytest.approx(branch["answer"]["seconds"])
    seeds = [archive.load(done.directory / point["directory"]).plan.seed for point in done.document["points"]]
    assert seeds == list(range(seeds[0], seeds[0] + len(seeds))), "each probe is evidence of its own"
    again = run_clipload("--resume", str(done.directory), out=tmp_path, cores=None, preflight=True, integrity=True, verb="find")
    assert again.document["answer"] == done.document["answer"]


@pytest.mark.slow
def test_what_can_never_be_met_is_doomed(sim: Server, tmp_path: Path) -> None:
    done = run_clipload(*SHORT, "--slo", "p50<1ms", url=sim.url, out=tmp_path, verb="find", timeout_s=120)
    (branch,) = done.document["answer"]
    assert (branch["answer"]["outcome"], done.code) == ("doomed", 1), done.stderr
    assert "even the lowest load" in done.stderr
