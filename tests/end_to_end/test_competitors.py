"""The generator judged by what really happened to it: a competitor on its core, a pause, no ports, no descriptors, and nothing.

Each scenario leaves its signals under tests/golden with CLIPLOAD_REWRITE_GOLDEN=1: `tests/test_health.py` judges the recorded
ones by the rules, whatever this machine is like today.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from clipload import archive
from clipload.frames import Reading
from clipload.verdict import judge
from tests.end_to_end.runs import (
    INCONCLUSIVE,
    MISSED,
    OK,
    UNSOUND,
    Finished,
    check_finished,
    check_ledger,
    run_clipload,
    start_clipload,
)
from tests.namespaces import UNSHARED, need_a_namespace
from tests.servers import ROOT, environment, running_server

pytestmark = pytest.mark.clock

GOLDEN = Path(__file__).parents[1] / "golden"
QUICK = ("sim", "--law", "constant(2ms)", "--cores", "1")
CALM = ("sim", "--law", "constant(20ms)", "--servers", "16", "--cores", "1")  # of which a stray wake-up is no fifth
CLOSED = ("--mode", "text", "--concurrency", "1", "--duration", "3s")
OPEN = ("--mode", "text", "--rate", "100", "--duration", "3s")
loops = pytest.mark.parametrize("load", [CLOSED, pytest.param(OPEN, marks=pytest.mark.slow)], ids=["closed", "open"])
SLO = ("--slo", "p99<50ms")
LONG = (("--mode", "text", "--concurrency", "8", "--duration", "40s"), ("--mode", "text", "--rate", "400", "--duration", "40s"))
STARVED = 0.01  # of the time, from which the machine itself was not quiet


def rules(done: Finished) -> dict[str, str]:
    """Rule → weight of its finding."""
    return {finding["rule"]: finding["weight"] for finding in done.document["verdict"]["findings"] if finding["rule"]}


def signals(done: Finished) -> dict[str, Any]:
    """As printed; they must be those that follow from the journal alone, and so must the verdict."""
    run = archive.load(done.directory)
    assert archive.document(run)["health"] == done.document["health"]
    assert judge(run).exit_code == done.code
    found: dict[str, Any] = done.document["health"]["signals"]
    return found


def record(name: str, done: Finished) -> dict[str, Any]:
    found = signals(done)
    if os.environ.get("CLIPLOAD_REWRITE_GOLDEN") == "1":
        (GOLDEN / f"health_{name}.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return found


class Waited(NamedTuple):
    """How long a process had waited for its core at an instant, read by nobody but these tests."""

    at_s: float
    waited_s: float

    @classmethod
    def of(cls, pid: int) -> Waited:
        return cls(time.monotonic(), int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9)

    def share(self, later: Waited) -> float:
        return (later.waited_s - self.waited_s) / (later.at_s - self.at_s)


def watch(pid: int, into: list[Waited]) -> None:
    """Until the process is gone."""
    while True:
        try:
            into.append(Waited.of(pid))
        except (OSError, IndexError):
            return
        time.sleep(0.05)


def yield_to_others(worker: psutil.Process) -> None:
    """A kernel may let whoever sleeps much in at once, and then a busy neighbour does no harm: this worker gets a tenth of it.

    Anybody may lower the rank of what is his; in a session of its own, as a worker is, the rank of that session counts.
    """
    worker.nice(10)
    group = Path(f"/proc/{worker.pid}/autogroup")
    if group.exists():
        group.write_text("10")


@contextmanager
def a_busy_process(core: int) -> Iterator[None]:
    busy = subprocess.Popen([sys.executable, "-c", f"import os; os.sched_setaffinity(0, {{{core}}})\nwhile True: pass"])
    try:
        yield
    finally:
        busy.kill()
        busy.wait()


@loops
@pytest.mark.slow
def test_a_busy_process_on_the_workers_core_is_unsound(load: tuple[str, ...], tmp_path: Path) -> None:
    """2 ms are what a wait for the core doubles: p99 is the competitor's, and the run says so, whatever the objective.

    Unless the server waited for its core as well: then p99 may be its own, and the generator is degraded.
    """
    with running_server(*QUICK) as server, a_busy_process(0):
        before = Waited.of(server.pid)
        with start_clipload(*load, *SLO, url=server.url, out=tmp_path) as running:
            yield_to_others(running.wait_for(running.workers)[0])
            done = running.finish()
        crowded = before.share(Waited.of(server.pid)) > STARVED
    found = record(f"busy_{'closed' if '--concurrency' in load else 'open'}", done)
    assert "others had the core while worker 0" in done.stderr
    assert found["starved"]["value"] > STARVED
    assert done.document["health"]["readings"] >= 3, "once a second"
    if done.code == UNSOUND or not crowded:
        assert done.code == UNSOUND, found
        assert "no statement is made about the target" in done.stderr
        assert max(found[name]["value"] for name in ("lag", "reading", "paused") if name in found) > 0.2
    else:
        assert done.document["verdict"]["generator"] == "degraded", found


@pytest.mark.slow
@pytest.mark.parametrize("load", LONG, ids=["closed", "open"])
def test_without_one_the_run_can_be_believed(load: tuple[str, ...], tmp_path: Path) -> None:
    """And its objective is met; or this machine was not quiet, as its kernel tells the test itself.

    Then worker or server waited for a core: the run is unsound, and says so, or latencies of the server are that much longer.
    """
    seen: list[Waited] = []
    with running_server(*CALM) as server, start_clipload(*load, *SLO, url=server.url, out=tmp_path) as running:
        running.wait_for_second(0)
        before = Waited.of(server.pid)
        (worker,) = running.workers()
        reader = threading.Thread(target=watch, args=(worker.pid, seen))
        reader.start()
        done = running.finish()
        reader.join()
        waited = max(seen[0].share(seen[-1]), before.share(Waited.of(server.pid)))
    found = record(f"quiet_{'closed' if '--concurrency' in load else 'open'}", done)
    if done.code == UNSOUND:
        assert waited >= STARVED, found
        assert any(weight == "fatal" for weight in rules(done).values())
    elif waited < STARVED:
        assert (done.code, done.document["verdict"]["objective"]) == (OK, "met"), found
    else:
        assert done.code in (OK, MISSED, INCONCLUSIVE)


@pytest.mark.slow
@loops
def test_a_worker_that_is_stopped_for_a_second_is_unsound(load: tuple[str, ...], tmp_path: Path) -> None:
    """A closed loop sends nothing meanwhile: its p99 tells nothing, its rate does."""
    with running_server(*QUICK) as server, start_clipload(*load, url=server.url, out=tmp_path) as running:
        running.wait_for_second(0)
        (worker,) = running.workers()
        worker.suspend()
        time.sleep(1)
        worker.resume()
        done = running.finish()
    found = record(f"stopped_{'closed' if '--concurrency' in load else 'open'}", done)
    assert done.code == UNSOUND, found
    assert found["loop_lag"]["value"] > 500_000_000
    fatal = {rule for rule, weight in rules(done).items() if weight == "fatal"}
    assert ("paused" if "--concurrency" in load else "lag") in fatal
    check_ledger(done.document)


@pytest.mark.slow
def test_a_host_without_ports_says_so(tmp_path: Path) -> None:
    """In a network of its own that has 12 of them; 400 requests/s of 50 ms want 20 connections."""
    need_a_namespace()
    here = "import sys; from tests.end_to_end.test_competitors import within; within(sys.argv[1])"
    script = (
        'ip link set lo up; echo "40000 40011" > /proc/sys/net/ipv4/ip_local_port_range; '
        f'{sys.executable} -c "{here}" {tmp_path}'
    )
    done = subprocess.run(
        [*UNSHARED, "bash", "-ec", script], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT, env=environment()
    )
    document = json.loads(done.stdout)
    finished = Finished(document["verdict"]["exit_code"], document, Path(document["directory"]), done.stderr, done.stdout)
    found = record("no_ports", finished)
    assert finished.code == UNSOUND
    assert rules(finished)["own_limit"] == "fatal"
    assert "no local port was free" in found["own_limit"]["words"]["why"]
    assert document["workers"]["0"]["lacking"].keys() == {"EADDRNOTAVAIL"}
    assert document["facts"]["limits"]["ports"] == 12
    check_ledger(document)


def within(folder: str) -> None:
    """One run in this network; prints its document."""
    with running_server("sim", "--law", "constant(50ms)", "--servers", "64") as server:
        done = run_clipload("--mode", "text", "--rate", "400", "--duration", "2s", url=server.url, out=Path(folder))
    sys.stdout.write(done.stdout)


@pytest.mark.slow
def test_a_worker_without_descriptors_says_so(tmp_path: Path) -> None:
    """Its limit is lowered while it works, to what it has; then the rate rises beyond what the server can do."""
    load = ("--mode", "text", "--steps", "20,400", "--duration", "4s")
    with (
        running_server("sim", "--law", "constant(50ms)", "--servers", "4", "--cores", "1") as server,
        start_clipload(*load, url=server.url, out=tmp_path) as running,
    ):
        running.wait_for_second(0)
        (worker,) = running.workers()
        few = worker.num_fds() + 2
        worker.rlimit(psutil.RLIMIT_NOFILE, (few, few))
        done = running.finish()
    found = record("no_descriptors", done)
    assert done.code == UNSOUND, found
    assert "ulimit -n: no descriptor was free" in found["own_limit"]["words"]["why"]
    assert done.document["workers"]["0"]["lacking"].keys() == {"EMFILE"}
    check_ledger(done.document)


@pytest.mark.slow
def test_the_host_is_read_once_a_second(tmp_path: Path) -> None:
    with running_server(*QUICK) as server:
        done = run_clipload(*OPEN, url=server.url, out=tmp_path)
    check_finished(done)
    frames = list(archive.read_journal(done.directory / "journal.bin"))
    readings = [frame for frame in frames if isinstance(frame, Reading)]
    assert done.document["health"]["readings"] == len(readings) >= 3
    assert all(reading.cores.keys() == {0} and reading.descriptors.keys() <= {0} for reading in readings)
    assert readings[-1].tcp[0] > readings[0].tcp[0], "segments were sent"
    late = done.document["workers"]["0"]["loop_lag"]
    assert late["count"] >= 100, "fifty times a second"
