"""The dispatcher of open loops: by a clock that jumps, and against the real one with what the kernel says of waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import chain
from pathlib import Path
from time import monotonic_ns
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from clipload.pacing import NEVER, arrivals
from clipload.plan import Plan
from clipload.timer import LoopAlarm
from clipload.units import Duration
from clipload.worker import BURST, OpenLoop

pytestmark = pytest.mark.clock

uvloop = pytest.importorskip("uvloop")
MS, S = 10**6, 10**9
Seen = list[tuple[int, int]]  # due, dispatched


class Witness:
    """What an OpenLoop asks of its Worker, and what it told it."""

    def __init__(self, plan: Plan, loop: Any = None) -> None:
        self.plan, self.loop = plan, loop
        self.job = SimpleNamespace(worker=0, bounds=plan.bounds(), trace=None)
        self.seen: Seen = []
        self.drained = asyncio.Event()

    def demand(self, due: int, now: int) -> None:
        self.seen.append((due, now))

    def drain(self) -> None:
        self.drained.set()


def schedule(plan: Plan) -> list[int]:
    """Every due offset, from the pacer alone."""
    return list(chain.from_iterable(arrivals(plan.pacer, plan.seed, 0, 1, plan.bounds()[3])))


# ---- a clock that jumps


class Clock:
    """Time is what it is set to; the alarm rings when it is told to look."""

    kind = "jumping"

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now, self.when = 0, NEVER
        patch.setattr("clipload.worker.monotonic_ns", lambda: self.now)
        patch.setattr("clipload.worker.alarm", self._made)

    def _made(self, _: Any, callback: Callable[[], None]) -> Clock:
        self.callback = callback
        return self

    def set(self, when_ns: int) -> None:
        self.when = when_ns

    def run_to(self, instant: int) -> int:
        """All that rings until then, each at its own time; how often that was at `instant` itself."""
        last = 0
        while self.when <= instant:
            self.now = max(self.now, self.when)
            last += self.now == instant
            self.when, before = NEVER, self.when
            self.callback()
            assert self.when > before or self.now > before, "it asks for what has been"
        self.now = instant
        return last

    def jump(self, instant: int) -> None:
        """Nobody looks until then."""
        self.now = instant


@pytest.mark.parametrize("arrival", ["poisson", "constant"])
def test_a_freeze_of_a_second_moves_no_due_instant_and_loses_none(monkeypatch: pytest.MonkeyPatch, arrival: str) -> None:
    """All that fell due meanwhile goes out in the very instant of the waking, a burst at a time, with its lag to the ns."""
    plan = Plan(rate=800.0, arrival=arrival, duration=Duration.seconds(3), seed=4)
    clock, witness = Clock(monkeypatch), Witness(plan)
    loop, start, due = OpenLoop(witness), 5 * S, schedule(plan)  # type: ignore[arg-type]
    loop.start(start)
    clock.run_to(start + S)
    on_time = len(witness.seen)
    assert [now - when for when, now in witness.seen] == [0] * on_time
    clock.jump(start + 2 * S)
    wakes = clock.run_to(start + 2 * S)
    late = witness.seen[on_time:]
    frozen = [start + offset for offset in due if S < offset <= 2 * S]
    assert late == [(when, start + 2 * S) for when in frozen]
    assert len(frozen) > 700
    assert wakes == -(-len(frozen) // BURST)
    clock.run_to(start + 4 * S)
    assert [when for when, _ in witness.seen] == [start + offset for offset in due]
    assert [now - when for when, now in witness.seen[on_time + len(late) :]] == [0] * (len(due) - on_time - len(late))
    assert witness.drained.is_set()


# ---- the real clock


def waiting() -> tuple[int, int]:
    """(ns that this thread has stood in a run queue, how often it came from there)."""
    _, waited, turns = map(int, Path("/proc/thread-self/schedstat").read_text().split())
    return waited, turns


Dispatcher = Callable[[Witness, int], Awaitable[None]]


def dispatched(rate: float, dispatcher: Dispatcher) -> tuple[Seen, float, float]:
    """What went out within 0.6 s at that rate, what a turn on the core was waited for, ns, and the share of time so spent."""
    plan = Plan(rate=rate, arrival="poisson", duration=Duration(600 * MS), seed=2)

    async def play() -> Witness:
        witness = Witness(plan, asyncio.get_running_loop())
        await asyncio.wait_for(dispatcher(witness, monotonic_ns() + 50 * MS), 30)
        return witness

    before, begin = waiting(), monotonic_ns()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        seen = runner.run(play()).seen
    after = waiting()
    waited = after[0] - before[0]
    return seen, waited / max(1, after[1] - before[1]), waited / (monotonic_ns() - begin)


def faults(rate: float, dispatcher: Dispatcher) -> set[str]:
    """A busy machine makes nobody early; it makes some late, but not all the later ones more than the earlier: their best is
    as good."""
    (seen, turn_ns, share), found = dispatched(rate, dispatcher), set()
    due, now = np.array(seen).T
    lag, quarter = now - due, len(seen) // 4
    if (lag < 0).any():
        found.add("early")
    gained = lag[-quarter:].min() - lag[:quarter].min()
    if abs(gained) > 0.001 * (due[-1] - due[0]) + turn_ns:
        found.add("rate")
    if np.quantile(lag, max(0.05, 0.5 - share)) > 0.2 * MS + turn_ns:  # the median, if those due in a wait are left out
        found.add("lag")
    return found


async def ours(witness: Witness, at_ns: int) -> None:
    loop = OpenLoop(witness)  # type: ignore[arg-type]
    loop.start(at_ns)
    await witness.drained.wait()
    loop.close()
    assert [when - at_ns for when, _ in witness.seen] == schedule(witness.plan), "neither more nor fewer, nor others"


async def relative_sleeps(witness: Witness, at_ns: int) -> None:
    """The mutant: each gap slept on its own."""
    before = 0
    for offset in schedule(witness.plan):
        await asyncio.sleep((offset - before) / S)
        before = offset
        witness.demand(at_ns - 50 * MS + offset, monotonic_ns())


async def timers_of_the_loop(witness: Witness, at_ns: int) -> None:
    """The mutant: absolute instants, by uvloop's own timers."""
    due = schedule(witness.plan)
    for offset in due:
        delay = (at_ns + offset - monotonic_ns()) / S
        witness.loop.call_later(delay, lambda when=at_ns + offset: witness.demand(when, monotonic_ns()))
    while len(witness.seen) < len(due):
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("rate", [pytest.param(100.0, marks=pytest.mark.slow), 1000.0, 4000.0])
def test_it_is_never_early_keeps_the_rate_and_lags_by_less_than_a_fifth_of_a_millisecond(rate: float) -> None:
    """Besides what the kernel says that this thread waited for a core."""
    assert faults(rate, ours) == set()


def test_sleeping_each_gap_is_caught() -> None:
    """uvloop's sleeps of less than half a millisecond are none: a third too fast."""
    assert "rate" in faults(4000.0, relative_sleeps)


def test_the_timers_of_the_loop_are_caught() -> None:
    assert "early" in faults(1000.0, timers_of_the_loop)


def test_an_alarm_of_whole_milliseconds_is_late_but_never_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands in where there is no timerfd keeps the law that matters."""
    monkeypatch.setattr("clipload.worker.alarm", LoopAlarm)
    assert not {"early", "rate"} & faults(1000.0, ours)
