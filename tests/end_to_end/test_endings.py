"""Runs that do not come to their natural end: signals, dead and stopped processes, a full disk. What was measured is kept."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from clipload import archive
from clipload.cli import _exit_code
from clipload.run import KILLED, Run
from tests.end_to_end.runs import (
    INTERRUPTED,
    UNSOUND,
    check_finished,
    check_ledger,
    run_clipload,
    start_clipload,
    wait_until_gone,
)
from tests.servers import Server, running_server

pytestmark = pytest.mark.clock

OPEN = ("--mode", "text", "--rate", "200", "--duration", "30s")
CLOSED = ("--mode", "text", "--concurrency", "4", "--duration", "30s")
COUNTED = ("--mode", "text", "--concurrency", "4", "--num-samples", "100000")


@pytest.fixture(scope="module")
def sim() -> Iterator[Server]:
    with running_server("sim", "--law", "constant(5ms)", "--servers", "4", "--dim", "8", "--cores", "1") as server:
        yield server


@pytest.mark.parametrize(
    ("number", "load"),
    [
        pytest.param(signal.SIGINT, OPEN, id="INT-open"),
        pytest.param(signal.SIGINT, CLOSED, id="INT-closed", marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, COUNTED, id="INT-counted", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, OPEN, id="TERM-open", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, CLOSED, id="TERM-closed", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, COUNTED, id="TERM-counted", marks=pytest.mark.slow),
    ],
)
def test_the_first_signal_ends_the_measurement_and_saves(
    sim: Server, tmp_path: Path, number: signal.Signals, load: tuple[str, ...]
) -> None:
    with start_clipload(*load, url=sim.url, out=tmp_path) as running:
        running.wait_for_second(1)
        workers = running.workers()
        running.process.send_signal(number)
        done = running.finish(15)
    check_finished(done, ended="interrupted", code=INTERRUPTED)
    assert done.counts["ok"] > 50
    assert done.counts.get("lost", 0) == done.counts.get("unsent", 0) == 0
    assert (done.counts.get("not_due", 0) > 1000) == (load != CLOSED), "a closed loop by duration plans what it schedules"
    assert done.document["stop_ns"] - done.document["start_ns"] < 15_000_000_000
    assert "==== Summary ====" in done.stderr
    wait_until_gone(workers, 5)


@pytest.mark.slow
def test_two_workers_end_at_one_instant(sim: Server, tmp_path: Path) -> None:
    with start_clipload(*OPEN, "--workers", "2", url=sim.url, out=tmp_path, cores="0,1") as running:
        running.wait_for_second(1)
        running.process.send_signal(signal.SIGINT)
        done = running.finish(15)
    check_finished(done, ended="interrupted", code=INTERRUPTED)
    shares = [account["measure"]["counts"]["scheduled"] for account in done.document["workers"].values()]
    assert max(shares) - min(shares) <= 1


@pytest.mark.slow
def test_the_whole_group_may_hear_of_it(sim: Server, tmp_path: Path) -> None:
    """Ctrl-C in a terminal goes to every process of the group: the workers do not mind."""
    with start_clipload(*OPEN, url=sim.url, out=tmp_path) as running:
        running.wait_for_second(1)
        (worker,) = running.workers()
        worker.send_signal(signal.SIGINT)
        os.killpg(running.process.pid, signal.SIGINT)
        done = running.finish(15)
    check_finished(done, ended="interrupted", code=INTERRUPTED)
    assert done.counts.get("lost", 0) == 0


@pytest.mark.slow
def test_the_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    """The server answers nothing, so that the first signal leaves replies to be waited for."""
    with (
        running_server("sim", "--law", "constant(1ms)", "--stall", "at=1s,for=1h", "--cores", "1") as server,
        start_clipload(*OPEN, url=server.url, out=tmp_path) as running,
    ):
        running.wait_for_second(2)
        workers = running.workers()
        running.process.send_signal(signal.SIGINT)
        running.wait_for(lambda: any("once more" in line for line in list(running.lines)))
        time.sleep(0.3)
        began = time.monotonic()
        running.process.send_signal(signal.SIGINT)
        done = running.finish(15)
        took = time.monotonic() - began
        wait_until_gone(workers, 5)
    assert done.code == INTERRUPTED, done.stderr
    assert done.document["ended"] == "aborted"
    check_ledger(done.document)
    assert done.counts["lost"] > 0
    assert took < 4, "replies were waited for"
    check_same(archive.load(done.directory), done.document)


def check_same(run: Run, document: dict[str, object]) -> None:
    """The journal alone gives the same Run."""
    rebuilt = archive.document(run)
    assert {name: document[name] for name in rebuilt} == rebuilt


def test_interrupted_before_anything_was_measured(tmp_path: Path) -> None:
    """While the probe waits for its reply."""
    with (
        running_server("sim", "--law", "constant(1h)", "--cores", "1") as server,
        start_clipload(*OPEN, url=server.url, out=tmp_path / "o") as running,
    ):
        running.wait_for(lambda: any("encoded" in line for line in list(running.lines)))
        time.sleep(0.3)
        running.process.send_signal(signal.SIGINT)
        done = running.finish(15)
    assert done.code == INTERRUPTED
    assert "no measurement was under way" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.slow
def test_interrupted_while_samples_are_encoded(sim: Server, tmp_path: Path) -> None:
    """At once, not when the encoding is over; and nothing is left behind."""
    many = ("--mode", "image", "--rate", "10", "--pool", "20000", "--clip-variant", "large-336", "--arena-limit", "16GiB")
    with start_clipload(*many, url=sim.url, out=tmp_path / "o") as running:
        time.sleep(2.5)
        began = time.monotonic()
        running.process.send_signal(signal.SIGINT)
        done = running.finish(15)
    assert time.monotonic() - began < 5
    assert (done.code, done.stdout) == (INTERRUPTED, "")
    assert "no measurement was under way" in done.stderr
    assert "encoded" not in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "o").exists()


def test_a_run_that_cannot_start_leaves_no_directory(sim: Server, tmp_path: Path) -> None:
    env = {"PATH": str(tmp_path)}
    done = run_clipload(*OPEN, "--use-taskset", url=sim.url, out=tmp_path / "o", env=env)
    assert (done.code, done.stdout) == (2, "")
    assert "--use-taskset" in done.stderr
    assert list((tmp_path / "o").iterdir()) == []


@pytest.mark.parametrize("load", [OPEN, pytest.param(COUNTED, marks=pytest.mark.slow)], ids=["open", "counted"])
def test_a_dead_worker_ends_the_run_and_its_share_is_lost(sim: Server, tmp_path: Path, load: tuple[str, ...]) -> None:
    with start_clipload(*load, "--workers", "2", url=sim.url, out=tmp_path, cores="0,1") as running:
        running.wait_for_second(1)
        workers = running.workers()
        workers[0].kill()
        done = running.finish(20)
        wait_until_gone(workers, 5)
    assert done.code == UNSOUND, done.stderr
    assert done.document["ended"] == "worker died"
    assert done.document["verdict"]["generator"] == "unsound"
    check_ledger(done.document)
    (dead,) = done.document["facts"]["dead_workers"]
    alive = 1 - dead
    accounts = {number: account["measure"]["counts"] for number, account in done.document["workers"].items()}
    assert accounts[str(alive)].get("lost", 0) == 0
    assert accounts[str(alive)]["ok"] > 50
    if load == OPEN:
        assert accounts[str(dead)]["lost"] > 0
        assert abs(accounts["0"]["scheduled"] - accounts["1"]["scheduled"]) <= 1, (
            "due is what the schedule says, for the dead too"
        )
    assert f"worker {dead} died" in done.stderr
    check_same(archive.load(done.directory), done.document)


@pytest.mark.slow
def test_a_worker_that_dies_alone(sim: Server, tmp_path: Path) -> None:
    with start_clipload(*OPEN, url=sim.url, out=tmp_path) as running:
        running.wait_for_second(2)
        running.workers()[0].kill()
        done = running.finish(20)
    assert done.code == UNSOUND, done.stderr
    check_ledger(done.document)
    assert done.counts["lost"] > 0
    assert done.counts["ok"] > 100
    assert done.counts["not_due"] > 1000
    check_same(archive.load(done.directory), done.document)


@pytest.mark.slow
def test_a_worker_that_is_stopped_is_buried(sim: Server, tmp_path: Path) -> None:
    with start_clipload(*OPEN, "--workers", "2", url=sim.url, out=tmp_path, cores="0,1") as running:
        running.wait_for_second(1)
        workers = running.workers()
        workers[1].suspend()
        done = running.finish(70)
        wait_until_gone(workers, 5)
    assert done.code == UNSOUND, done.stderr
    assert done.document["ended"] == "worker died"
    check_ledger(done.document)
    assert done.counts["lost"] > 0


@pytest.mark.slow
def test_a_worker_that_pauses_for_a_second_loses_nothing(sim: Server, tmp_path: Path) -> None:
    """All that was due meanwhile goes out late, as the Run says of itself, and the generator is the one to blame."""
    load = ("--mode", "text", "--rate", "200", "--duration", "4s", "--slo", "p99<1h")
    with start_clipload(*load, url=sim.url, out=tmp_path) as running:
        running.wait_for_second(1)
        (worker,) = running.workers()
        worker.suspend()
        time.sleep(1)
        worker.resume()
        done = running.finish(20)
    check_finished(done, code=UNSOUND)
    assert done.counts["ok"] == done.counts["planned"]
    assert done.measure["histograms"]["lag"]["max"] > 700_000_000
    fatal = {finding["rule"] for finding in done.document["verdict"]["findings"] if finding["weight"] == "fatal"}
    assert fatal & {"lag", "reading"}, done.findings  # the second where what was in flight is the slowest hundredth by itself
    assert done.document["health"]["signals"]["loop_lag"]["value"] > 500_000_000
    assert done.document["verdict"]["objectives"] == [], "nothing is claimed of the target"


@pytest.mark.parametrize("load", [OPEN, pytest.param(CLOSED, marks=pytest.mark.slow)], ids=["open", "closed"])
def test_a_killed_supervisor_leaves_a_journal_and_no_worker(sim: Server, tmp_path: Path, load: tuple[str, ...]) -> None:
    with start_clipload(*load, "--workers", "2", url=sim.url, out=tmp_path, cores="0,1") as running:
        running.wait_for_second(2)
        workers = running.workers()
        assert len(workers) == 2
        running.process.kill()
        wait_until_gone(workers, 5)
        directory = running.directory
    run = archive.load(directory)
    assert run.ended == KILLED
    run.check_ledger()
    check_ledger(archive.document(run))
    assert run.measure["ok"] > 100
    assert len(run.seconds) >= 2
    assert not (directory / "run.json").exists()
    assert not list(directory.glob(".*"))
    assert _exit_code(["report", "--rebuild", str(directory)]) == 0
    check_same(run, json.loads((directory / "run.json").read_text()))
    assert (directory / "intervals.csv").read_text() == archive.intervals_csv(run)


@pytest.mark.slow
def test_a_journal_that_is_cut_anywhere_still_closes(sim: Server, tmp_path: Path) -> None:
    """Whatever was being written when the supervisor died."""
    done = run_clipload("--mode", "text", "--rate", "100", "--duration", "1500ms", url=sim.url, out=tmp_path)
    check_finished(done)
    whole = (done.directory / "journal.bin").read_bytes()
    opening = next(size for size in range(len(whole)) if list(frames_of(whole[:size], tmp_path)))
    for size in range(opening, len(whole), max(1, len(whole) // 40)):
        cut = tmp_path / "cut" / "journal.bin"
        cut.parent.mkdir(exist_ok=True)
        cut.write_bytes(whole[:size])
        run = archive.load(cut.parent)
        run.check_ledger()
        check_ledger(archive.document(run), measured=False)
        assert run.ended == KILLED


def frames_of(data: bytes, tmp_path: Path) -> list[object]:
    if not data.startswith(archive.MAGIC):
        return []
    (tmp_path / "frames").write_bytes(data)
    return list(archive.read_journal(tmp_path / "frames"))


@pytest.mark.skipif(not hasattr(psutil, "RLIMIT_FSIZE"), reason="limits of other processes are Linux only")
@pytest.mark.slow
def test_a_full_disk_costs_the_record_and_not_the_figures(sim: Server, tmp_path: Path) -> None:
    """The limit on file sizes stands in for the disk: from the second second on nothing more can be written."""
    with start_clipload(*OPEN, url=sim.url, out=tmp_path) as running:
        running.wait_for_second(2)
        journal = running.directory / "journal.bin"
        full = journal.stat().st_size + 100
        psutil.Process(running.process.pid).rlimit(psutil.RLIMIT_FSIZE, (full, full))
        done = running.finish(20)
    assert "--out" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.code == UNSOUND, done.stderr
    assert done.document["ended"] == "disk full"
    check_ledger(done.document)
    assert done.counts["ok"] > 200
    assert done.counts["not_due"] > 1000
    assert "==== Summary ====" in done.stderr
    assert journal.stat().st_size <= full
    run = archive.load(done.directory)
    assert run.ended == KILLED, "the journal is cut short, and says so"
    run.check_ledger()
    assert run.measure["ok"] > 200
    assert not list(done.directory.glob(".*"))
    assert list(done.directory.glob("worker_0.*"))


def test_a_disk_that_is_full_from_the_start(sim: Server, tmp_path: Path) -> None:
    """A folder that cannot be made or written to: an error that names --out, and no load at all."""
    (tmp_path / "file").write_text("")
    done = run_clipload(*OPEN, url=sim.url, out=tmp_path / "file" / "runs")
    assert done.code == 2
    assert "--out" in done.stderr
    assert "Traceback" not in done.stderr
