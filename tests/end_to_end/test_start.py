"""Workers begin together: by the server's clock, on the connection that each has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from clipload.host import allowed_cores
from tests.end_to_end.runs import check_finished
from tests.recording import recording
from tests.servers import running_server
from tests.witnesses import Waits, watched

pytestmark = pytest.mark.clock

MS = 10**6
RATE = 100
GAP_NS = 10**9 // RATE


def lateness(tmp_path: Path) -> tuple[list[NDArray[np.int64]], int, float]:
    """How late each of two workers' arrivals came; how long all waited for their cores as they began, and later at a turn."""
    flags = ("--mode", "text", "--rate", str(RATE), "--arrival", "constant", "--duration", "1s", "--workers", "2")
    cores = ",".join(str(core) for core in allowed_cores()[:2])
    with recording(vectors=1) as (recorded, url):
        with watched(*flags, "--max-connections", "2", url=url, out=tmp_path, cores=cores) as running:
            running.wait_for(lambda: len(running.workers()) == 2)
            pids = [worker.pid for worker in running.workers()]
            waits = Waits(recorded.thread, *pids)
            waits.start()
            done = running.finish()
        waits.stop()
    check_finished(done)
    start = done.document["start_ns"]
    mine = [np.array(instants) - start for instants in recorded.connections if instants and instants[0] >= start]
    assert [len(instants) for instants in mine] == [RATE // 2] * 2
    every_other = 2 * GAP_NS * np.arange(RATE // 2)
    mine.sort(key=lambda instants: float(np.median(instants - every_other)))  # worker 0 is the one whose requests are due first
    late = [instants - every_other - k * GAP_NS - GAP_NS // 2 for k, instants in enumerate(mine)]
    assert min(one.min() for one in late) >= 0

    both_came = start + int(max(instants[0] for instants in mine))
    waited = sum(waits.total_ns(pid, start - MS, both_came + MS) for pid in (recorded.thread, *pids))
    return late, waited, max(waits.each_turn_ns(pid, start) for pid in (recorded.thread, *pids))


@pytest.mark.skipif(len(allowed_cores()) < 2, reason="two workers need two cores")
def test_the_first_arrivals_of_two_workers_are_a_millisecond_apart_at_most(tmp_path: Path) -> None:
    """Worker k's first is due half a gap and k gaps after the start. How late each comes may differ by less than 1 ms, besides
    what the kernel says that they and the server waited for their cores at that moment. A core that slept may wake up late, so
    there are three starts, of which the best counts: workers that do not begin together never do."""
    apart = []
    for attempt in range(3):
        (one, two), waited, turns = lateness(tmp_path / str(attempt))
        assert abs(np.median(one) - np.median(two)) < MS + 2 * turns, "nor later on"
        apart.append(abs(int(one[0]) - int(two[0])) - waited)
        if apart[-1] < MS:
            break
    assert min(apart) < MS, apart


@pytest.mark.parametrize(
    "load",
    [
        pytest.param(("--rate", "100", "--arrival", "constant", "--api", "native"), id="open", marks=pytest.mark.slow),
        pytest.param(("--concurrency", "3", "--transport", "aiohttp", "--mode", "image"), id="closed", marks=pytest.mark.slow),
        pytest.param(("--burst", "50:250ms/500ms", "--rate", "5", "--timeout", "20ms", "--warmup", "500ms"), id="failing"),
    ],
)
def test_who_is_ready_imports_nothing_any_more(tmp_path: Path, load: tuple[str, ...]) -> None:
    """A module that the first request needs would make it late by the time of reading it from the disk."""
    faults = ("--error-rate", "0.1", "--reset-rate", "0.1", "--seed", "18") if "--timeout" in load else ()
    flags = (*load, "--duration", "1s")
    with (
        running_server("sim", "--law", "exp(10ms)", "--dim", "8", *faults) as server,
        watched(*flags, url=server.url, out=tmp_path, integrity=not faults) as running,
    ):
        done = running.finish()
    check_finished(done)
    assert list((tmp_path / "rows").glob("*.rows"))
    assert [path.read_text() for path in (tmp_path / "rows").glob("*.imports")] == []
