"""The queue in virtual time against recursions that share no line with it: Lindley, Kiefer-Wolfowitz, and a stepped clock."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clipload.server.faults import Calendar
from clipload.server.laws import Batch, Constant, Exponential, Law
from clipload.server.queueing import VirtualQueue

SEED = 7


def departures(
    arrivals: list[int], servers: int, law: Law, calendar: Calendar | None = None, items: int = 1, late: bool = False
) -> list[int]:
    """Departure instants in order of arrival. Looks around each arrival, or (`late`) after the last only."""
    queue = VirtualQueue[int](servers, law, calendar or Calendar(), np.random.default_rng(SEED))
    done: dict[int, int] = {}
    for number, arrival in enumerate(arrivals):
        for looks in range(2):
            if not late:
                done |= {ticket: instant for _, instant, ticket in queue.started(arrival)}
            if not looks:
                queue.arrive(arrival, items, number)
    done |= {ticket: instant for _, instant, ticket in queue.started(10**18)}
    assert len(queue) == 0
    return [done[number] for number in range(len(arrivals))]


gaps = st.lists(st.integers(0, 100), min_size=1, max_size=60)
stalls = st.lists(st.tuples(st.integers(0, 1500), st.integers(1, 200)), max_size=3)


@given(gaps=gaps, service=st.integers(1, 80))
def test_one_server_obeys_lindley(gaps: list[int], service: int) -> None:
    waits, wait = [], 0
    for gap in gaps[1:]:
        waits.append(wait)
        wait = max(0, wait + service - gap)
    waits.append(wait)
    arrivals = np.cumsum(gaps)
    expected = arrivals + np.array(waits) + service
    assert departures(arrivals.tolist(), 1, Constant(service)) == expected.tolist()


@given(gaps=gaps, servers=st.integers(1, 5))
def test_several_servers_obey_kiefer_wolfowitz(gaps: list[int], servers: int) -> None:
    """The sorted vector of workloads: an arrival waits for the least, adds its own, all shrink by the gap."""
    draws = np.random.default_rng(SEED)
    workload, expected, now = np.zeros(servers, np.int64), [], 0
    for gap in gaps:
        now += gap
        workload = np.maximum(workload - gap, 0)
        service = round(draws.exponential(50))
        expected.append(now + int(workload[0]) + service)
        workload[0] += service
        workload.sort()
    assert departures(np.cumsum(gaps).tolist(), servers, Exponential(50)) == expected


@given(
    gaps=gaps, servers=st.integers(1, 3), law=st.sampled_from([Constant(9), Exponential(20), Batch(10, 2, 4)]), stalls=stalls
)
@example(gaps=[23, 101], servers=1, law=Batch(10, 2, 4), stalls=[(0, 124)])  # the second comes as the first starts
def test_a_process_that_looks_late_changes_nothing(
    gaps: list[int], servers: int, law: Law, stalls: list[tuple[int, int]]
) -> None:
    arrivals = np.cumsum(gaps).tolist()
    calendar = Calendar([(at, at + length) for at, length in stalls])
    on_time = departures(arrivals, servers, law, calendar)
    assert departures(arrivals, servers, law, calendar, late=True) == on_time


@given(gaps=gaps, service=st.integers(1, 60), stalls=stalls)
def test_nothing_departs_during_a_stall_and_work_shifts(gaps: list[int], service: int, stalls: list[tuple[int, int]]) -> None:
    """A clock stepped one by one, which works on the head of the line in every instant outside the stalls."""
    arrivals = np.cumsum(gaps).tolist()
    blocked = {instant for at, length in stalls for instant in range(at, at + length)}
    expected, left, now, head = [], service, arrivals[0], 0
    while head < len(arrivals):
        if now not in blocked and arrivals[head] <= now:
            if left == 0:
                expected.append(now)
                head, left = head + 1, service
                continue
            left -= 1
        now += 1
    calendar = Calendar([(at, at + length) for at, length in stalls])
    assert departures(arrivals, 1, Constant(service), calendar) == expected


def test_a_batch_takes_what_waits_up_to_its_limit() -> None:
    # 0 starts alone and departs at 12; 1, 2, 3 and 4 wait; 1-3 fill a batch of 3, 4 comes in the next with 5.
    assert departures([0, 1, 2, 3, 4, 30], 1, Batch(10, 2, 3)) == [12, 28, 28, 28, 40, 52]


def test_a_request_larger_than_a_batch_goes_alone() -> None:
    assert departures([0, 1, 2], 1, Batch(10, 1, 4), items=5) == [15, 30, 45]


def test_a_batch_that_has_begun_takes_nobody_in() -> None:
    # 1 starts at 12, the very end of 0's service; 2 arrives 1 later and waits for it.
    assert departures([0, 5, 13], 1, Batch(10, 2, 64)) == [12, 24, 36]


def test_who_waits_is_told_from_who_is_served() -> None:
    queue = VirtualQueue[str](1, Constant(10), Calendar([(100, 200)]), np.random.default_rng(0))
    assert queue.idle(0)
    queue.arrive(0, 1, "a")
    assert list(queue.started(0)) == [(0, 10, "a")]
    assert (len(queue), queue.idle(5), queue.idle(10), queue.next_start()) == (0, False, True, None)
    queue.arrive(5, 3, "b")
    assert (len(queue), queue.items, queue.next_start(), list(queue.started(9))) == (1, 3, 10, [])
    assert list(queue.started(10)) == [(10, 20, "b")]
    assert not queue.idle(150)
    queue.arrive(150, 1, "c")
    assert (queue.next_start(), list(queue.started(199)), list(queue.started(200))) == (200, [], [(200, 210, "c")])


@pytest.mark.parametrize("servers", [1, 3])
def test_a_million_to_one_utilisation_is_reached(servers: int) -> None:
    """Back to back, c servers finish c requests per service time."""
    done = departures([0] * 30, servers, Constant(100))
    assert done == [100 * (1 + number // servers) for number in range(30)]
