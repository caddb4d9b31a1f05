"""One second in which the server answers nothing: the open loop's p99 shows it, through however few connections.

Arrivals every 2.5 ms for T seconds, service 1 ms (ρ = 0.4), stall d = 1 s. A request due x before the stall's end waits for x
and for the backlog, which shrinks by 1 − ρ a second: the q-quantile of latency is d − (1 − q)(1 − ρ)T + S; p99 is 941 ms of
10 s, 881 ms of 20 s. A generator that measures from the send, or lets its connections pace it, shows some 8 ms through 8
connections, and so does a closed loop, whose 8 slots were all that waited.
"""

from __future__ import annotations

from itertools import chain, islice
from pathlib import Path

import numpy as np
import pytest

from clipload.outcomes import DONE, DUE
from clipload.pacing import Constant
from tests.end_to_end.runs import Finished, check_finished
from tests.witnesses import ARRIVED, DEPARTED, REPLIED, Rows, Seen, see

MS = 1_000_000
RATE, SERVICE_MS, STALL_MS = 400, 1, 1000
TOLERANCE = (
    40 * MS
)  # 4 % of the stall: late timers, and a slow loop at the stall's end; what it waits for its core comes on top
QUANTILES = {"p95": 0.95, "p99": 0.99, "p99.9": 0.999}
pytestmark = [pytest.mark.clock, pytest.mark.timeout(180)]


def run(out: Path, seconds: int, *flags: str) -> Seen:
    """The stall is in the middle. It counts from the probe, a second or so before the load."""
    stall = f"at={seconds // 2}s,for={STALL_MS}ms"
    serve = ("--law", f"constant({SERVICE_MS}ms)", "--stall", stall)
    seen = see("--mode", "text", "--duration", f"{seconds}s", *flags, out=out, serve=serve)
    check_finished(seen.done)
    return seen


def freezes(seen: Seen) -> int:
    """A burst of replies after the stall meets one and the same wait for a core, so that it moves a quantile as a whole."""
    return sum(seen.waits.longest_ns(pid) for pid in (seen.server, *seen.workers))


def measure(out: Path, seconds: int, *flags: str) -> tuple[Seen, Rows]:
    """A run whose quantiles are those of the server's replies after the Plan's due instants, and no shorter than theory says: a
    server that is slow besides, on a busy machine, can only lengthen them. And the due instants."""
    seen = run(out, seconds, "--rate", str(RATE), "--arrival", "constant", *flags)
    assert seen.done.counts["ok"] == seen.done.counts["planned"] == len(seen.stamps) == RATE * seconds
    due = seen.start_ns + np.array(list(islice(chain.from_iterable(Constant(RATE).blocks(0)), RATE * seconds)))
    replied = np.sort(seen.stamps[:, REPLIED]) - due
    for label, q in QUANTILES.items():
        shown = quantile(seen.done, "latency", label)
        assert shown > theory(seconds, q) - TOLERANCE, label
        assert shown == pytest.approx(np.quantile(replied, q), abs=TOLERANCE + freezes(seen)), label
    return seen, due


def theory(seconds: int, q: float) -> float:
    """Latency that a share q does not exceed, ns."""
    return (STALL_MS - (1 - q) * (1 - RATE * SERVICE_MS / 1000) * seconds * 1000 + SERVICE_MS) * MS


def quantile(done: Finished, histogram: str, label: str) -> int:
    return done.measure["histograms"][histogram][label]


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [10, 20])
def test_a_stall_is_seen_with_as_many_connections_as_it_takes(tmp_path: Path, seconds: int) -> None:
    seen, due = measure(tmp_path, seconds)
    done, allowed = seen.done, TOLERANCE + freezes(seen)
    departed = np.sort(seen.stamps[:, DEPARTED]) - due  # as its queue has it, however late its own process answers …
    read_late = float((np.sort(seen.stamps[:, ARRIVED]) - due).max())  # … but not how late it reads
    for q in QUANTILES.values():
        assert -allowed < np.quantile(departed, q) - theory(seconds, q) < allowed + read_late
    assert quantile(done, "service", "p99") == pytest.approx(quantile(done, "latency", "p99"), abs=allowed)
    assert quantile(done, "wait", "p99") < 200 * MS + allowed


@pytest.mark.slow
def test_a_stall_is_seen_through_eight_connections(tmp_path: Path) -> None:
    seen, _ = measure(tmp_path, 20, "--max-connections", "8")
    done, round_trip = seen.done, 30 * MS + freezes(seen)
    assert quantile(done, "service", "p99") < round_trip, "measured from the send, the stall all but vanishes"
    assert quantile(done, "service", "p99") < quantile(done, "latency", "p99") / 4
    assert quantile(done, "wait", "p99") == pytest.approx(quantile(done, "latency", "p99"), abs=round_trip)
    assert quantile(done, "service", "max") > 900 * MS, "the eight that were on the wire"


@pytest.mark.slow
def test_a_closed_loop_hides_a_stall(tmp_path: Path) -> None:
    """Eight slots wait out the stall and ask nothing meanwhile: eight bad answers among thousands."""
    seen = run(tmp_path, 10, "--concurrency", "8")
    done = seen.done
    assert done.counts["ok"] > 1600, "so that eight are less than one in two hundred"
    waited = seen.rows[:, DONE] - seen.rows[:, DUE]
    assert 0 < (waited > STALL_MS * MS // 2).sum() <= 8
    assert quantile(done, "latency", "p99") < STALL_MS * MS // 2 < 900 * MS < quantile(done, "latency", "max")
    assert "closed" in done.stderr, "and so it is labelled"
