"""Both alarms on both loops: never early, the last word counts, and silent once closed."""

from __future__ import annotations

import asyncio
import errno
import sys
from collections.abc import Callable, Coroutine
from time import monotonic_ns
from typing import Any

import pytest

from clipload.timer import Alarm, LoopAlarm, TimerfdAlarm, alarm

pytestmark = pytest.mark.clock

MS = 10**6
uvloop = pytest.importorskip("uvloop")

Make = Callable[[asyncio.AbstractEventLoop, Callable[[], None]], Alarm]
Run = Callable[[Coroutine[Any, Any, None]], None]
linux = pytest.mark.skipif(sys.platform != "linux", reason="timerfd is Linux's")


@pytest.fixture(params=[pytest.param(TimerfdAlarm, marks=linux), LoopAlarm])
def make(request: pytest.FixtureRequest) -> Make:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(params=["uvloop", "asyncio"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine on one loop or the other, no longer than a few seconds."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def run(coroutine: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(asyncio.wait_for(coroutine, 10))

    return run


class Bell:
    """Notes when it rang, and can be waited for."""

    def __init__(self, make: Make) -> None:
        self.rings: list[int] = []
        self._rang = asyncio.Event()
        self.alarm = make(asyncio.get_running_loop(), self._ring)

    def _ring(self) -> None:
        self.rings.append(monotonic_ns())
        self._rang.set()

    async def next(self) -> int:
        await self._rang.wait()
        self._rang.clear()
        return self.rings[-1]


async def turns(ms: float) -> None:
    """Lets the loop turn for so long: what should not ring has its chance."""
    await asyncio.sleep(ms / 1000)


def test_it_never_rings_early(make: Make, run: Run) -> None:
    async def check() -> None:
        bell = Bell(make)
        for ahead_ns in (1, 50_000, 300_000, 999_999, MS, 1_500_000, 3_700_001, 20_000_000):
            when = monotonic_ns() + ahead_ns
            bell.alarm.set(when)
            assert await bell.next() >= when
        assert len(bell.rings) == 8
        bell.alarm.close()

    run(check())


def test_an_instant_on_a_whole_second_is_no_exception(make: Make, run: Run) -> None:
    """Nanosecond 0 of a second would disarm a timerfd; an instant long past with that nanosecond rings all the same."""

    async def check() -> None:
        bell = Bell(make)
        bell.alarm.set(monotonic_ns() // 10**9 * 10**9)
        await bell.next()
        bell.alarm.close()

    run(check())


def test_what_has_passed_rings_at_once(make: Make, run: Run) -> None:
    async def check() -> None:
        bell = Bell(make)
        for when in (1, monotonic_ns() - 10**9, monotonic_ns()):
            bell.alarm.set(when)
            assert len(bell.rings) < 3  # not inside the call
            await bell.next()
        assert len(bell.rings) == 3
        bell.alarm.close()

    run(check())


def test_setting_again_replaces_the_earlier_instant(make: Make, run: Run) -> None:
    async def check() -> None:
        bell = Bell(make)
        now = monotonic_ns()
        bell.alarm.set(now + 3 * MS)
        bell.alarm.set(now + 15 * MS)  # later
        assert await bell.next() >= now + 15 * MS
        bell.alarm.set(monotonic_ns() + 3600 * 10**9)
        when = monotonic_ns() + 3 * MS
        bell.alarm.set(when)  # sooner: within the bound of this test, not in an hour
        assert await bell.next() >= when
        await turns(5)
        assert len(bell.rings) == 2
        bell.alarm.close()

    run(check())


def test_setting_again_from_the_callback(make: Make, run: Run) -> None:
    async def check() -> None:
        rings: list[int] = []
        due = [monotonic_ns() + i * 700_000 for i in range(1, 6)]
        over = asyncio.Event()

        def ring() -> None:
            rings.append(monotonic_ns())
            if len(rings) < len(due):
                bell.set(due[len(rings)])
            else:
                over.set()

        bell = make(asyncio.get_running_loop(), ring)
        bell.set(due[0])
        await over.wait()
        assert all(rang >= when for rang, when in zip(rings, due))
        bell.close()

    run(check())


def test_set_again_after_it_fired_and_before_the_loop_looked(make: Make, run: Run) -> None:
    """The instant passes while the loop is busy; the new instant counts, not the old one's readiness."""

    async def check() -> None:
        bell = Bell(make)
        bell.alarm.set(monotonic_ns() + 100_000)
        until = monotonic_ns() + 300_000
        while monotonic_ns() < until:
            pass
        when = monotonic_ns() + 8 * MS
        bell.alarm.set(when)
        assert await bell.next() >= when
        assert len(bell.rings) == 1
        bell.alarm.close()

    run(check())


def test_set_again_by_another_that_rang_at_the_same_time(make: Make, run: Run) -> None:
    """Two instants pass while the loop is busy, and the first to ring puts the other off to a later one."""

    async def check() -> None:
        loop = asyncio.get_running_loop()
        wrong: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: wrong.append(context))
        when = monotonic_ns() + 10 * MS
        rings: list[int] = []
        over = asyncio.Event()

        def ring(other: int) -> None:
            rings.append(monotonic_ns())
            if len(rings) == 1:
                bells[other].set(when)
            else:
                over.set()

        bells = [make(loop, lambda: ring(1)), make(loop, lambda: ring(0))]
        soon = monotonic_ns() + 100_000
        for bell in bells:
            bell.set(soon)
        while monotonic_ns() < soon + 200_000:
            pass
        await over.wait()
        assert wrong == []
        assert rings[1] >= when
        for bell in bells:
            bell.close()

    run(check())


def test_the_end_of_time_is_far_off(make: Make, run: Run) -> None:
    async def check() -> None:
        bell = Bell(make)
        bell.alarm.set(2**62)
        await turns(3)
        assert bell.rings == []
        bell.alarm.close()

    run(check())


def test_closed_it_is_silent_and_can_be_closed_again(make: Make, run: Run) -> None:
    async def check() -> None:
        bell = Bell(make)
        bell.alarm.set(monotonic_ns() + MS)
        bell.alarm.close()
        await turns(4)
        assert bell.rings == []
        bell.alarm.close()

    run(check())


def test_the_best_alarm_says_what_it_is(run: Run) -> None:
    async def check() -> None:
        bell = alarm(asyncio.get_running_loop(), lambda: None)
        assert bell.kind == ("timerfd" if sys.platform == "linux" else LoopAlarm.kind)
        bell.close()

    run(check())
    assert "1 ms" in LoopAlarm.kind


def test_where_there_is_no_timerfd_the_loops_own_timers_stand_in(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a sandbox that refuses the call; the Run then says so (`kind`)."""

    def refuses(loop: asyncio.AbstractEventLoop, callback: Any) -> Alarm:
        raise OSError(errno.EPERM, "timerfd_create")

    async def check() -> None:
        rung = asyncio.Event()
        bell = alarm(asyncio.get_running_loop(), rung.set)
        assert bell.kind == LoopAlarm.kind
        bell.set(monotonic_ns() + MS)
        await asyncio.wait_for(rung.wait(), 5)

    monkeypatch.setattr("clipload.timer.TimerfdAlarm", refuses)
    run(check())
