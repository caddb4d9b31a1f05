"""The stopping rule: when it looks, what it waits for, and what it does not take for knowledge."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from clipload.folding import Folding
from clipload.frames import Interval
from clipload.judgement import checkpoints
from clipload.plan import Plan
from clipload.stopping import FIRST_S, Stopping
from clipload.units import Duration
from tests.queues import mm1
from tests.simulated import intervals_of, plan_of
from tests.test_figures import growing
from tests.test_run import MS, answers, closed_plan, interval, opening, tally


def stops(plan: Plan, frames: Iterable[Interval]) -> tuple[int | None, str]:
    """(seconds told of by all workers when it said that the run may end, what it said)."""
    folding, stopping = Folding(opening(plan)), Stopping(plan, plan.bounds())
    told = dict.fromkeys(range(plan.workers), 0)
    for frame in frames:
        folding.add(frame)
        told[frame.worker] = frame.index + 1
        said = stopping.reached(folding, frame)
        if said:
            return min(told.values()), said
    return None, ""


def even(seconds: int, workers: int = 1, **more: Any) -> list[Interval]:
    part = answers([ms * MS for ms in range(9, 19)] * 10, **more)
    return [interval(worker, i, {"measure": part}) for i in range(seconds) for worker in range(workers)]


@pytest.mark.parametrize(("until", "stop"), [("p50±50%", 5), ("p90±10%", 5), ("p99±10%", 11), ("throughput±1%", 5)])
def test_it_ends_at_the_first_checkpoint_at_which_it_is_known(until: str, stop: int) -> None:
    """Ten effective requests in the tail need a thousand for p99, at 100/s: ten seconds, and the next look is at 11 s."""
    at, said = stops(plan_of(100, 120, until=until), even(120))
    assert at == stop
    assert at in checkpoints(FIRST_S, 120)
    assert until in said


def test_warm_up_does_not_count() -> None:
    plan = plan_of(100, 60, until="p99±10%", warmup=Duration.seconds(4))
    warm = [interval(0, i, {"warmup": answers([MS] * 100)}) for i in range(4)]
    measured = [interval(0, i + 4, {"measure": answers([ms * MS for ms in range(9, 19)] * 10)}) for i in range(60)]
    at, _ = stops(plan, [*warm, *measured])
    assert at == 4 + 11


def test_it_waits_for_every_worker() -> None:
    plan = plan_of(200, 60, until="p90±10%", workers=2)
    frames = even(60, workers=2)
    first_alone = [frame for frame in frames if frame.worker == 0][:30]
    assert stops(plan, first_alone) == (None, "")
    late = [frame for frame in frames if frame.worker == 1][:5]
    assert stops(plan, [*first_alone, *late])[0] == 5


def test_seconds_that_only_some_workers_told_of_are_not_in_it() -> None:
    """At five seconds there are a thousand requests, five of them beyond p99.5; one worker is half a minute ahead."""
    plan = plan_of(200, 60, until="p99.5±10%", workers=2)
    frames = even(60, workers=2)
    ahead = [frame for frame in frames if frame.worker == 0 or frame.index < 5]
    assert stops(plan, sorted(ahead, key=lambda frame: frame.worker)) == (None, "")


def test_what_is_not_known_does_not_end_it() -> None:
    path = mm1(1, 4000, 0.9, 0.005)
    assert stops(plan_of(180, 20, until="p99±10%"), intervals_of(path, 0, 20)) == (None, "")
    assert stops(plan_of(180, 20, until="p99±10%"), []) == (None, "")
    nothing = [interval(0, i) for i in range(60)]
    assert stops(plan_of(180, 60, until="p99±10%"), nothing) == (None, "")


def test_failures_are_infinite_here_too() -> None:
    """2 % of fast failures: p99 is infinite, and no interval around it is narrow."""
    frames = [
        interval(0, i, {"measure": answers([10 * MS] * 98) + tally({"scheduled": 2, "error.http_503": 2}, failed=[MS] * 2)})
        for i in range(60)
    ]
    assert stops(plan_of(100, 60, until="p99±10%"), frames) == (None, "")
    assert stops(plan_of(100, 60, until="p90±10%"), frames)[0] == 5


def test_a_queue_that_grows_is_not_known_however_narrow() -> None:
    """Throughput is as even as can be while the queue grows."""
    plan = plan_of(100, 40, until="throughput±5%")
    assert stops(plan, intervals_of(growing(100, 40), 0, 40)) == (None, "")
    assert stops(plan, intervals_of(mm1(2, 5000, 0.5, 0.005), 0, 40))[0] is not None


def test_a_closed_loop_may_end_early_too() -> None:
    plan = closed_plan(workers=1, duration=Duration.seconds(60), until="p99±10%")
    assert stops(plan, even(60))[0] == 11


def test_it_never_ends_a_run_that_did_not_ask_or_is_too_short() -> None:
    assert stops(plan_of(100, 120), even(120)) == (None, "")
    assert stops(plan_of(100, FIRST_S, until="p50±50%"), even(FIRST_S)) == (None, "")


def test_it_says_so_once() -> None:
    plan = plan_of(100, 120, until="p50±50%")
    folding, stopping = Folding(opening(plan)), Stopping(plan, plan.bounds())
    said = []
    for frame in even(6):
        folding.add(frame)
        said.append(stopping.reached(folding, frame))
    assert [bool(sentence) for sentence in said] == [False] * 4 + [True, False]
