"""The load that was delivered, by the server's own clock: an open loop's rate and its dispersion, a closed one's requests in
flight. Nothing here is the tool's word, save the throughput that is held against it."""

from __future__ import annotations

from itertools import chain, pairwise, takewhile
from pathlib import Path

import numpy as np
import pytest

from clipload.host import allowed_cores
from clipload.plan import Plan
from tests.end_to_end.runs import check_finished
from tests.witnesses import ARRIVED, REPLIED, Rows, Seen, see

pytestmark = pytest.mark.clock

MS, S = 10**6, 10**9
RATE, SLOTS = 400, 5
needs_two_cores = pytest.mark.skipif(len(allowed_cores()) < 2, reason="two workers need two cores")


def dispersion(instants: Rows, window_ns: int, end_ns: int) -> float:
    """Variance / mean of the counts in windows."""
    counts = np.bincount(instants // window_ns, minlength=end_ns // window_ns)[: end_ns // window_ns]
    return float(counts.var(ddof=1) / counts.mean())


@pytest.mark.slow
@needs_two_cores
def test_the_rate_and_its_dispersion_are_the_schedules(tmp_path: Path) -> None:
    """As many as are due, and on each scale they vary as the schedule does; of two workers that drew the same gaps they would
    vary twice as much."""
    flags = ("--mode", "text", "--rate", str(RATE), "--duration", "8s", "--workers", "2", "--seed", "9")
    seen = see(*flags, out=tmp_path, serve=("--law", "constant(1ms)", "--servers", "64"), cores="0,1")
    check_finished(seen.done)
    plan = Plan.from_dict(seen.done.document["plan"])
    end = plan.bounds()[3]
    due = np.array(list(takewhile(lambda at: at < end, chain.from_iterable(plan.pacer.blocks(plan.seed)))))
    came = np.sort(seen.stamps[:, ARRIVED]) - seen.start_ns
    assert len(came) == len(due)
    assert (came - due).min() >= 0
    for window_ns in (10 * MS, 100 * MS, S):
        found, said = (dispersion(instants, window_ns, end) for instants in (came, due))
        assert found == pytest.approx(said, abs=0.3 * said + bunched(seen, window_ns) / len(due)), window_ns


def bunched(seen: Seen, window_ns: int) -> float:
    """What waits for a core add to the squares of the counts: those due in one come together after it, in another window the
    more often the longer it is beside a window."""
    waits = [[waited for _, waited, _ in seen.waits.readings[pid]] for pid in (seen.server, *seen.workers)]
    each = [later - earlier for readings in waits for earlier, later in pairwise(readings)]
    return sum((RATE * wait / S) ** 2 * min(1.0, wait / window_ns) for wait in each)


def check_slots(seen: Seen) -> None:
    """Never more than the slots; and each slot is filled again right after it became free: the k-th reply is followed by the
    (k + slots)-th request, not before it and not long after."""
    came, left = np.sort(seen.stamps[:, ARRIVED]), np.sort(seen.stamps[:, REPLIED])
    instants = np.concatenate([left, came])  # of two at one instant the reply comes first
    level = np.cumsum(np.repeat([-1, 1], len(came))[np.argsort(instants, kind="stable")])
    assert level.max() == SLOTS
    empty = came[SLOTS:] - left[:-SLOTS]
    assert empty.min() >= 0
    assert np.median(empty) < MS + seen.turns_ns(), seen.turns_ns()


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "cores"), [(1, "0"), pytest.param(2, "0,1", marks=needs_two_cores)])
def test_as_many_are_in_flight_as_was_asked_for(tmp_path: Path, workers: int, cores: str) -> None:
    """And the throughput that is stated is what the server answered in that time, but for those on the way at the two edges."""
    flags = ("--mode", "text", "--concurrency", str(SLOTS), "--duration", "3s", "--warmup", "500ms", "--workers", str(workers))
    seen = see(*flags, out=tmp_path, serve=("--law", "exp(20ms)", "--servers", "64", "--seed", "3"), cores=cores)
    check_finished(seen.done)
    check_slots(seen)
    begin = seen.start_ns + 500 * MS
    answered = int(((seen.stamps[:, REPLIED] >= begin) & (seen.stamps[:, REPLIED] < begin + 3 * S)).sum())
    assert answered > 300
    assert seen.done.document["requests_per_s"] * 3 == pytest.approx(answered, abs=SLOTS)
