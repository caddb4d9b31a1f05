"""`clipload run --repeats`: real restarts, each saved; interruption and a target that goes away keep what was measured."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from clipload import archive
from clipload.plan import Plan
from tests.end_to_end.runs import INTERRUPTED, OK, TARGET, UNSOUND, check_ledger, run_clipload, start_clipload
from tests.servers import Server, running_server

LOAD = ("--mode", "text", "--rate", "100", "--duration", "1s")


@pytest.fixture(scope="module")
def sim() -> Iterator[Server]:
    with running_server("sim", "--law", "constant(2ms)", "--servers", "4", "--dim", "8", "--cores", "1") as server:
        yield server


def index(directory: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((directory / "repeats.json").read_text())
    return found


@pytest.mark.slow
def test_each_run_is_saved_under_one_directory(sim: Server, tmp_path: Path) -> None:
    done = run_clipload(*LOAD, "--repeats", "2", "--seed", "5", url=sim.url, out=tmp_path)
    document, parent = done.document, Path(done.document["directory"])
    assert done.code in (OK, UNSOUND), done.stderr
    assert done.code == document["exit_code"] == max(one["exit_code"] for one in document["runs"])
    assert index(parent) == {name: value for name, value in document.items() if name != "directory"}
    assert list(tmp_path.iterdir()) == [parent]
    starts, pids = [], set()
    for number, one in enumerate(document["runs"]):
        saved = json.loads((parent / one["directory"] / "run.json").read_text())
        check_ledger(saved)
        assert Plan.from_toml((parent / one["directory"] / "plan.toml").read_text()).seed == one["seed"] == 5 + number
        assert one["figures"]["throughput"]["value"] == saved["throughput"]
        assert one["figures"]["p50"]["value"] == saved["phases"]["measure"]["histograms"]["latency"]["p50"]
        starts.append(saved["start_ns"])
        pids.add(saved["facts"]["workers"][0]["pid"])
    assert starts == sorted(starts)
    assert len(pids) == 2, "new processes each time"
    assert re.search(r"over \d runs?", done.stderr)
    assert "seed 6" in done.stderr


@pytest.mark.slow
def test_interrupted_in_the_second(sim: Server, tmp_path: Path) -> None:
    with start_clipload(*LOAD, "--repeats", "3", url=sim.url, out=tmp_path) as running:
        running.wait_for(lambda: any("run 2 of 3" in line for line in list(running.lines)))
        running.wait_for(lambda: len(list(tmp_path.glob("*/*/journal.bin"))) == 2)
        running.process.send_signal(signal.SIGINT)
        done = running.finish(15)
    assert done.code == INTERRUPTED, done.stderr
    assert done.document["ended"] == "interrupted"
    parent = Path(done.document["directory"])
    assert index(parent)["ended"] == "interrupted"
    first, *others = done.document["runs"]
    assert first["ended"] == "complete"
    assert [one["ended"] for one in others] in (["interrupted"], []), "the second may not have begun"
    for one in done.document["runs"]:
        check_ledger(archive.document(archive.load(parent / one["directory"])), measured=one["ended"] == "complete")
    assert "of 3 runs" in done.stderr


@pytest.mark.slow
def test_a_target_that_goes_away_between_two_runs(tmp_path: Path) -> None:
    with (
        running_server("sim", "--law", "constant(2ms)", "--dim", "8", "--cores", "1") as server,
        start_clipload(*LOAD, "--repeats", "2", url=server.url, out=tmp_path) as running,
    ):
        running.wait_for(lambda: list(tmp_path.glob("*/*/run.json")))
        server.process.kill()
        done = running.finish(30)
    assert done.code == TARGET, done.stderr
    assert done.document["runs"][0]["ended"] == "complete"
    assert "cannot be reached" in done.stderr or done.document["runs"][1:], done.stderr
