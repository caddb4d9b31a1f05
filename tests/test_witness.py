"""The witness of a worker's loop, its clock given: every instant that passed counts, and whose fault it was is told apart."""

from __future__ import annotations

import asyncio
from time import monotonic_ns, process_time_ns

import pytest

from clipload.host import OwnProcess
from clipload.witness import PERIOD_NS, USUAL_NS, Witness, instant

MS = 10**6
START = 5_000 * MS


class Loop:
    """A loop that nobody runs: the alarm rings when the test says so."""

    def add_reader(self, fd: int, callback: object) -> None: ...

    def remove_reader(self, fd: int) -> None: ...


@pytest.fixture
def witness() -> Witness:
    made = Witness(Loop(), OwnProcess())  # type: ignore[arg-type]
    made.start(START)
    return made


def test_one_instant_in_each_period_and_in_step_with_nothing() -> None:
    found = [instant(START, count) - START for count in range(20_000)]
    assert [at // PERIOD_NS for at in found] == list(range(20_000))
    for cycle in (20, 100, 1000, 7):  # in a load of any period every part of it is met alike
        inside = [at % (cycle * MS) / (cycle * MS) for at in found]
        for part in range(10):
            assert sum(part / 10 <= x < (part + 1) / 10 for x in inside) == pytest.approx(2000, rel=0.05)


def test_an_absence_counts_for_every_instant_in_it(witness: Witness) -> None:
    """One second away: the lateness of its instants runs from a second down to nothing."""
    witness.saw(START + 1000 * MS, 0, 0)
    late, withheld = witness.take()
    assert late.total == 50
    assert late.max > 970 * MS
    assert late.mean == pytest.approx(500 * MS, rel=0.02)
    assert (withheld.total, withheld.max) == (50, late.max)
    assert witness.take().late.total == 0, "told once"


@pytest.mark.parametrize(
    ("late_ms", "ran_ms", "queued_ms", "withheld_ms"),
    [
        (0.1, 0, 0.05, 0),  # a wake-up as any
        (4, 4, 0, 0),  # its own work
        (4, 20, 0, 0),
        (4, 0, 4, 4),  # a competitor had the core
        (4, 15, 3, 3),  # the worker was busy too: what it waited for its core is not its own
        (4, 1, 3, 3),
        (4, 15, 9, 4),  # it cannot have waited longer than it was late
        (1000, 12, 0, 988),  # it was stopped: neither running nor waiting for its core
    ],
)
def test_what_was_withheld(witness: Witness, late_ms: float, ran_ms: float, queued_ms: float, withheld_ms: float) -> None:
    witness.saw(instant(START, 0) + round(late_ms * MS), round(ran_ms * MS), round(queued_ms * MS))
    late, withheld = witness.take()
    assert late.max == round(late_ms * MS)
    assert withheld.max == round(withheld_ms * MS)


def test_below_a_millisecond_it_is_every_clients(witness: Witness) -> None:
    for extra, seen in ((-1, 0), (0, USUAL_NS)):
        at = witness._next + USUAL_NS + extra
        witness.saw(at, 0, 0)
        assert witness.take().withheld.max == seen


def test_in_a_loop_every_instant_until_the_last_ring_is_there() -> None:
    async def watch() -> None:
        itself = OwnProcess()
        witness = Witness(asyncio.get_running_loop(), itself)
        start = monotonic_ns()
        witness.start(start)
        begun = process_time_ns()
        while process_time_ns() - begun < 60 * MS:  # it holds the loop itself
            pass
        await asyncio.sleep(0.2)
        late, _ = witness.take()
        witness.close()
        itself.close()
        assert late.total == witness._count > 5
        assert late.max >= 60 * MS - 2 * PERIOD_NS
        assert instant(start, late.total) == witness._next

    asyncio.run(watch())
