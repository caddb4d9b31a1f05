"""`clipload run --repeats`: real restarts, each saved; interruption and a target that goes away keep what was measured."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clipload import archive
from clipload.plan import Plan
from tests.end_to_end.runs import (
    INCONCLUSIVE,
    INTERRUPTED,
    OK,
    TARGET,
    UNSOUND,
    check_ledger,
    run_clipload,
    start_clipload,
)
from tests.servers import Server, running_server

pytestmark = pytest.mark.clock

LOAD = ("--mode", "text", "--rate", "100", "--duration", "1s")


@pytest.fixture(scope="module")
def sim() -> Iterator[Server]:
    with running_server("sim", "--law", "constant(2ms)", "--servers", "4", "--dim", "8", "--cores", "1") as server:
        yield server


def index(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / "campaign.json").read_text())
    return found


def begun(out: Path) -> list[Path]:
    """The journals that hold more than their first word: a Run that never began leaves none behind."""
    return [path for path in out.glob("*/*/journal.bin") if path.stat().st_size > len(archive.MAGIC)]


@pytest.mark.slow
def test_each_run_is_saved_under_one_directory_and_judged_with_the_others(sim: Server, tmp_path: Path) -> None:
    slo = ("--slo", "p50<500ms", "--slo", "throughput>10/s")
    done = run_clipload(*LOAD, *slo, "--repeats", "3", "--seed", "5", url=sim.url, out=tmp_path)
    document, parent = done.document, done.directory
    assert done.code in (OK, INCONCLUSIVE, UNSOUND), done.stderr
    assert done.code == document["answer"]["verdict"]["exit_code"]
    assert index(parent) == {name: value for name, value in document.items() if name != "directory"}
    assert (document["kind"], document["ended"], list(tmp_path.iterdir())) == ("repeats", "complete", [parent])
    starts, pids = [], set()
    for number, (point, one) in enumerate(zip(document["points"], document["answer"]["runs"], strict=True)):
        saved = json.loads((parent / point["directory"] / "run.json").read_text())
        check_ledger(saved)
        assert Plan.from_toml((parent / point["directory"] / "plan.toml").read_text()).seed == one["seed"] == 5 + number
        assert one["figures"]["throughput"]["value"] == saved["throughput"]
        assert one["figures"]["p50"]["value"] == saved["phases"]["measure"]["histograms"]["latency"]["p50"]
        starts.append(saved["start_ns"])
        pids.add(saved["facts"]["workers"][0]["pid"])
    assert starts == sorted(starts)
    assert len(pids) == 3, "new processes each time"
    assert re.search(r"over (\d )?runs?", done.stderr), "on a busy machine it may be that none counts"
    assert "run 2 of 3, seed 6" in done.stderr
    if done.code != UNSOUND:
        sentences = [one["sentence"] for one in document["answer"]["verdict"]["objectives"]]
        assert all("over 3 runs" in sentence for sentence in sentences)
        assert len(sentences) == 2


@pytest.mark.slow
def test_interrupted_in_the_second_and_gone_on_with(sim: Server, tmp_path: Path) -> None:
    with start_clipload(*LOAD[:-1], "4s", "--repeats", "3", url=sim.url, out=tmp_path) as running:
        running.wait_for(lambda: any("run 2 of 3" in line for line in list(running.lines)))
        running.wait_for(lambda: len(begun(tmp_path)) == 2)
        running.process.send_signal(signal.SIGINT)
        first = running.finish(15)
    assert first.code == INTERRUPTED, first.stderr
    assert (first.document["ended"], len(first.document["points"])) == ("interrupted", 1)
    assert "1 of 3 runs" in first.stderr
    parent = first.directory
    assert f"clipload run --resume {parent}" in first.stderr
    done = run_clipload("--resume", str(parent), out=tmp_path, cores=None, preflight=True)
    assert done.code in (OK, UNSOUND), done.stderr
    assert [point["ask"]["values"]["seed"] for point in done.document["points"]] == [42, 43, 44]
    assert done.document["points"][0] == first.document["points"][0]
    assert done.document["answer"]["runs"][0] == first.document["answer"]["runs"][0]
    assert len(list(parent.glob("*/journal.bin"))) == 4, "the interrupted Run stays beside them"
    for point in done.document["points"]:
        check_ledger(archive.document(archive.load(parent / point["directory"])))


@pytest.mark.slow
def test_interrupted_in_the_first_it_can_be_gone_on_with(sim: Server, tmp_path: Path) -> None:
    with start_clipload(*LOAD[:-1], "20s", "--repeats", "2", url=sim.url, out=tmp_path) as running:
        running.wait_for(lambda: begun(tmp_path))
        running.process.send_signal(signal.SIGINT)
        done = running.finish(15)
    assert done.code == INTERRUPTED, done.stderr
    assert (done.document["points"], index(done.directory)["ended"]) == ([], "interrupted")
    assert "0 of 2 runs" in done.stderr
    assert f"clipload run --resume {done.directory}" in done.stderr
    dry = run_clipload("--resume", str(done.directory), "--dry-run", out=tmp_path, cores=None, preflight=True)
    assert "# 2 times, seeds 42 to 43" in dry.stdout, dry.stderr


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
    first, second = done.document["points"]
    assert first["fate"] in ("pass", "unsound"), done.stderr
    assert second["fate"] == "died", done.stderr
