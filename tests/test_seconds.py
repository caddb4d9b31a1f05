"""The series of the measured phase: what is in it, what is not, and what an hour of it costs."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from clipload.folding import fold
from clipload.frames import SECOND_NS
from clipload.run import Run
from clipload.seconds import Second, Seconds
from tests.test_run import MS, S, answers, interval, open_frames, open_plan, run_of, tally


def seconds_of(run: Run, lost: int = 0) -> Seconds:
    return Seconds(run.seconds, run.bounds[1], run.bounds[1] + run.measured_ns, lost)


def test_each_second_knows_its_phases_apart() -> None:
    second = fold(open_frames()).seconds[1]
    assert (second.count("ok"), second.count("ok", "measure"), second.count("ok", "warmup")) == (18, 18, 0)
    assert (second.not_ok(), second.not_ok("measure"), second.not_ok("warmup")) == (3, 2, 1)
    assert second.sum_ns("latency", "measure") == (8 * 8 + 7 * 10) * MS
    assert second.sum_ns("failed") == 35 * MS
    assert second.level == 3


def test_the_series_is_of_measured_requests_by_the_second_they_ended_in() -> None:
    run = fold(open_frames())
    seconds = seconds_of(run)
    assert (seconds.ok(), seconds.not_ok()) == ([18, 9], [2, 1])
    series = seconds.series("latency", failures=True)
    assert series.merged == run.measure.histogram("latency")
    assert series.sizes.tolist() == [20, 10]
    assert seconds.series("latency").infinite.tolist() == [0, 0]
    assert [slot.total for slot in seconds.series("failed").slots] == [2, 1]


def test_warm_up_and_cool_down_are_in_no_series() -> None:
    phases = {"warmup": answers([MS]), "measure": answers([2 * MS]), "cooldown": answers([3 * MS])}
    run = run_of(open_plan(), [interval(0, i, phases) for i in range(4)], 3)
    series = seconds_of(run).series("latency")
    assert (series.merged.min, series.merged.max, series.merged.total) == (2 * MS, 2 * MS, 3)


def test_what_ended_in_the_drain_is_in_the_series_and_in_no_whole_second() -> None:
    late = {"measure": answers([2500 * MS] * 4)}
    run = run_of(open_plan(), [interval(0, 1, {"measure": answers([MS] * 5)}), interval(0, 5, late)], 3)
    seconds = seconds_of(run)
    assert seconds.ok() == [5, 0, 0, 0, 4]
    assert [second.index for second in seconds.whole] == [1, 2]
    assert [second.count("ok") for second in seconds.whole] == [5, 0]


@pytest.mark.parametrize(("begin", "end", "whole"), [(0.5, 2.5, [1]), (0.5, 3.0, [1, 2]), (1.0, 1.9, []), (0.2, 0.9, [])])
def test_broken_seconds_are_not_whole(begin: float, end: float, whole: list[int]) -> None:
    seconds = Seconds([Second(i) for i in range(4)], round(begin * SECOND_NS), round(end * SECOND_NS))
    assert [second.index for second in seconds.whole] == whole


def test_what_has_no_instant_belongs_to_the_last() -> None:
    run = run_of(open_plan(), [interval(0, 1, {"measure": tally({"unsent": 1, "error.local": 2})}), interval(0, 2)], 3)
    assert seconds_of(run, lost=7).not_ok() == [10]
    measured = {"measure": answers([MS])}
    run = run_of(open_plan(), [interval(0, 1, {"measure": tally({"censored": 3})}), interval(0, 2, measured)], 3)
    assert seconds_of(run, lost=7).not_ok() == [3, 7]


@pytest.mark.parametrize("kept", [4, 5, 6, 7, 8])
def test_every_measured_request_is_in_the_series_however_the_run_ended(kept: int) -> None:
    """A supervisor that was killed leaves what was outstanding as lost: it is infinite too."""
    run = fold(open_frames()[:kept])
    series = seconds_of(run, run.measure["lost"]).series("latency", failures=True)
    assert (series.merged.total, series.infinite.sum()) == (run.measure["ok"], run.measure.not_ok)


def test_a_phase_in_which_nothing_ended_has_one_empty_second() -> None:
    seconds = Seconds([], 5 * S, 5 * S)
    assert (seconds.ok(), seconds.not_ok(), seconds.whole) == ([0], [0], [])
    assert seconds.series("latency", failures=True).sizes.tolist() == [0]


def test_an_hour_of_two_workers_is_small_and_quickly_added() -> None:
    frame = interval(0, 0, {"measure": answers([ms * MS for ms in range(5, 105)])})
    tracemalloc.start()
    seconds = []
    for i in range(3600):
        seconds.append(Second(i))
        seconds[-1].add(frame)
        seconds[-1].add(frame)
    began = time.process_time()
    series = Seconds(seconds, 0, 3600 * S).series("latency")
    spent, (_, peak) = time.process_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert series.merged.total == 720_000
    assert peak < 40e6
    assert spent < 10, "of CPU, and under tracemalloc: a few tenths of a second usually"
