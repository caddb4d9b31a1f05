"""What was seen of the targets as curves: made of the same differences as a Sight, and nothing where nothing was seen."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipload.reports.curves import BUSY, CORES, DONE, REQUESTS, Curve, curves_of, width_of
from clipload.reports.slices import MOST
from clipload.run import Run
from clipload.sightings import ACTIVE, CPU, IDLE, ITEMS, QUEUED, Glimpse, Gpu, Sighting, TargetSeen, sights
from tests.reports.saved import run
from tests.test_run import START
from tests.test_sightings import S, seconds

RUN = run(seconds=3)


def watched(sightings: list[Sighting], urls: tuple[str, ...] = ("http://a:1",)) -> Run:
    return replace(RUN, sightings=sightings, plan=replace(RUN.plan, base_url=urls))


def told(values: list[float | None], name: str) -> Run:
    """One gauge, looked at once a second."""
    seen = [TargetSeen({} if value is None else {name: value}) for value in values]
    return watched([Sighting(START + i * S, {0: one}) for i, one in enumerate(seen)])


def points(curve: Curve, width_s: float = 0.0) -> list[list[tuple[float, float]]]:
    """(middle, value) of each part."""
    return [[(one.middle_s, pytest.approx(one.value)) for one in part.stretches] for part in curve.thinned(width_s)]


@given(st.lists(st.tuples(st.integers(1, 3000), st.integers(0, 4000)), min_size=1, max_size=30), st.integers(1, 5))
def test_the_mean_of_a_process_is_its_share(steps: list[tuple[int, int]], width_s: int) -> None:
    at_ms = cpu_ms = 0
    made = [Sighting(START, {0: TargetSeen(processes={1: Glimpse("tokenizer", 0)})})]
    for length, used in steps:
        at_ms, cpu_ms = at_ms + length, cpu_ms + used
        made.append(Sighting(START + at_ms * 10**6, {0: TargetSeen(processes={1: Glimpse("tokenizer", cpu_ms)})}))
    (curve,), (sight,) = curves_of(watched(made)), sights(made)
    assert (curve.panel, curve.name) == (CORES, "tokenizer")
    assert (curve.mean, curve.peak.value) == pytest.approx((sight.processes[0].share, sight.processes[0].peak))
    (thinned,) = curve.thinned(width_s)
    assert thinned.mean == pytest.approx(curve.mean)
    assert len(thinned.stretches) <= at_ms / 1000 / width_s + 1


def test_each_kind_has_its_panel() -> None:
    gauges, growing = {ACTIVE: 4.0, QUEUED: 2.0}, {ITEMS: 40.0, IDLE: 0.25, CPU + "detokenizer": 0.3}
    shares = {"tokenizer": 0.5, "scheduler": 1.0}
    seen = seconds(shares, gauges=gauges, growing=growing, gpus={0: 0.4}, taken=0.75, start_ns=START)
    assert {(one.panel, one.name): round(one.peak.value, 6) for one in curves_of(watched(seen))} == {
        (CORES, "scheduler"): 1.0,
        (CORES, "tokenizer"): 0.5,
        (CORES, "detokenizer, as it tells"): 0.3,
        (REQUESTS, "active"): 4.0,
        (REQUESTS, "queued"): 2.0,
        (DONE, "items done"): 40.0,
        (BUSY, "scheduler at work, as it tells"): 75.0,
        (BUSY, "its cores, whoever uses them"): 75.0,
        (BUSY, "GPU 0"): 40.0,
    }


def test_what_is_visible_goes_before_what_is_told() -> None:
    seen = seconds({"tokenizer": 0.5}, growing={CPU + "tokenizer": 0.9}, cores=0, start_ns=START)
    assert [(one.name, one.mean) for one in curves_of(watched(seen))] == [("tokenizer", 0.5)]


def test_several_of_one_role_and_several_targets_are_told_apart() -> None:
    def seen(i: int, target: int) -> TargetSeen:
        return TargetSeen(processes={10 * target + k: Glimpse("server", 100 * i) for k in (1, 2)})

    made = [Sighting(START + i * S, {n: seen(i, n) for n in (0, 1)}) for i in range(3)]
    names = {one.name for one in curves_of(watched(made, ("http://a:1", "http://b:1")))}
    assert names == {"server 1, a:1", "server 2, a:1", "server 11, b:1", "server 12, b:1"}
    assert {one.name for one in curves_of(watched(made, ("unix:/a", "http://b:1")))} >= {"server 1, unix:/a"}


def test_a_gauge_stands_where_it_was_told_and_the_line_is_broken_where_it_was_not() -> None:
    (curve,) = curves_of(told([1.0, 2.0, None, 4.0, *[None] * 9, 5.0, 6.0], QUEUED))
    assert points(curve) == [[(0.5, 2.0), (2.0, 4.0)], [(13.5, 6.0)]]


def test_a_counter_is_a_rate_and_what_began_again_says_nothing_of_that_second() -> None:
    (curve,) = curves_of(told([100.0, 140.0, 160.0, 5.0, 15.0], ITEMS))
    assert points(curve) == [[(0.5, 40.0), (1.5, 20.0)], [(3.5, 10.0)]]


def test_cpu_that_is_told_every_five_seconds_lies_between_its_steps() -> None:
    (curve,) = curves_of(told([7.0 + 4.5 * ((i + 2) // 5) for i in range(15)], CPU + "tokenizer"))
    assert points(curve) == [[(5.5, 0.9), (10.5, 0.9)]]


def test_a_server_that_restarts_has_new_processes() -> None:
    def seen(i: int, pid: int, ms: int) -> Sighting:
        return Sighting(START + i * S, {0: TargetSeen(processes={pid: Glimpse("server", ms)})})

    before, after = [seen(i, 1, 1000 * i) for i in range(3)], [seen(i, 2, 500 * (i - 5)) for i in range(5, 8)]
    made = [*before, Sighting(START + 3 * S, {0: TargetSeen()}), *after]
    assert {one.name: points(one) for one in curves_of(watched(made))} == {
        "server 1": [[(0.5, 1.0), (1.5, 1.0)]],
        "server 2": [[(5.5, 0.5), (6.5, 0.5)]],
    }


def test_nothing_seen_no_curve() -> None:
    assert curves_of(watched([])) == []
    assert curves_of(watched(seconds({"server": 1.0}, n=1, start_ns=START))) == []
    assert curves_of(watched([Sighting(START + i * S, {0: TargetSeen(missing="404")}) for i in range(5)])) == []
    assert curves_of(watched(seconds({"server": 1.0}, n=3, start_ns=START - 9 * S))) == [], "before the start"


def test_an_hour_is_no_larger_than_four_minutes() -> None:
    made = [Sighting(START + i * S, {0: TargetSeen(cores=1)}, {0: Gpu(i % 2, 1, 2)}) for i in range(3601)]
    cores, gpu = curves_of(watched(made))
    assert width_of([cores]) == width_of([gpu]) == 15
    (thinned,) = gpu.thinned(15.0)
    assert len(thinned.stretches) == 240 == MOST
    assert all(0.4 < one.value / 100 < 0.6 for one in thinned.stretches)
    assert width_of(curves_of(watched(made[: MOST + 1]))) == 0
