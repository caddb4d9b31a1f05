"""One second in which the server answers nothing: the open loop's p99 shows it, through however few connections.

Arrivals every 2.5 ms for T = 20 s, service 1 ms (ρ = 0.4), stall d = 1 s. A request due x before the stall's end waits for x
and for the backlog, which shrinks by 1 − ρ a second: the q-quantile of latency is d − (1 − q)(1 − ρ)T + S = 881 ms for p99. A
generator that measures from the send, or lets its connections pace it, shows some 8 ms through 8 connections.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.runs import Finished, check_finished, run_clipload
from tests.servers import running_server

MS = 1_000_000
EXPECTED, TOLERANCE = 881 * MS, 40 * MS  # 40 ms is 4 % of the stall: late timers, and a slow loop at the stall's end
FLAGS = ("--mode", "text", "--rate", "400", "--arrival", "constant", "--duration", "20s")
pytestmark = pytest.mark.timeout(180)


def measure(out: Path, *flags: str) -> Finished:
    """The stall counts from the probe, a second or so before the load."""
    with running_server("sim", "--law", "constant(1ms)", "--stall", "at=10s,for=1s", "--dim", "8", "--cores", "1") as server:
        done = run_clipload(*FLAGS, *flags, url=server.url, out=out)
    check_finished(done)
    assert done.counts["ok"] == done.counts["planned"] == 8000
    assert quantile(done, "latency", "p99") == pytest.approx(EXPECTED, abs=TOLERANCE)
    return done


def quantile(done: Finished, histogram: str, label: str) -> int:
    return done.measure["histograms"][histogram][label]


def test_a_stall_is_seen_with_as_many_connections_as_it_takes(tmp_path: Path) -> None:
    done = measure(tmp_path)
    assert quantile(done, "service", "p99") == pytest.approx(EXPECTED, abs=TOLERANCE)
    assert quantile(done, "wait", "p99") < 200 * MS


@pytest.mark.slow
def test_a_stall_is_seen_through_eight_connections(tmp_path: Path) -> None:
    done = measure(tmp_path, "--max-connections", "8")
    assert quantile(done, "service", "p99") < 30 * MS, "measured from the send, the stall all but vanishes"
    assert quantile(done, "wait", "p99") == pytest.approx(quantile(done, "latency", "p99"), abs=30 * MS)
    assert quantile(done, "service", "max") > 900 * MS, "the eight that were on the wire"
