"""Workers begin together: by the server's clock, on the connection that each has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clipload.host import allowed_cores
from tests.end_to_end.runs import check_finished
from tests.recording import recording
from tests.witnesses import Waits, watched

pytestmark = pytest.mark.clock

MS = 10**6
RATE = 100
GAP_NS = 10**9 // RATE


@pytest.mark.skipif(len(allowed_cores()) < 2, reason="two workers need two cores")
def test_the_first_arrivals_of_two_workers_are_a_millisecond_apart_at_most(tmp_path: Path) -> None:
    """Worker k's first is due half a gap and k gaps after the start. How late each comes may differ by less than 1 ms, besides
    what the kernel says that they and the server waited for their cores at that moment."""
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
    assert abs(int(late[0][0]) - int(late[1][0])) < MS + waited
    turns = max(waits.each_turn_ns(pid, start) for pid in (recorded.thread, *pids))
    assert abs(np.median(late[0]) - np.median(late[1])) < MS + 2 * turns, "nor later on"
