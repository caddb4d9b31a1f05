"""A worker's and a target's own percentiles: those of its own Tally, with intervals in which nobody else has a part."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipload.folding import fold
from clipload.frames import Interval
from clipload.own import LOOP_LAG, QUANTILES
from clipload.plan import Plan
from clipload.run import Run
from clipload.units import Duration
from tests.queues import mm1, true_quantile_ns
from tests.simulated import plan_of, run_of_path
from tests.test_run import MS, answers, closed_plan, interval, late, open_frames, open_plan, opening, run_of, tally

PATH = mm1(3, 12_000, 0.6, 0.005)  # 100 s at 120/s


def test_the_only_worker_is_all_of_them() -> None:
    run = run_of_path(PATH, plan_of(120, 40, warmup=Duration.seconds(2)))
    for name in ("latency", "lag"):
        merged = run.figures.quantiles[name]
        assert run.own.of_worker(0, name) == {label: merged[label] for label in QUANTILES}
    assert run.own.of_worker(0, "latency")["p50"].sufficient


def test_each_value_is_that_of_its_own_tally() -> None:
    run = run_of_path(PATH, plan_of(120, 30, warmup=Duration.seconds(2), workers=3))
    assert sorted(run.own.workers) == [0, 1, 2]
    for number, account in run.workers.items():
        for name in ("latency", "lag"):
            found = run.own.of_worker(number, name)
            assert [one.value for one in found.values()] == account.phases["measure"].histogram(name).quantiles([0.5, 0.99])
            assert all(one.low <= one.value <= one.high for one in found.values())


def frames_of(worker: int, factor: int, seconds: int = 20, **more: Any) -> list[Interval]:
    draw = np.random.default_rng(worker)
    return [
        interval(worker, i, {"measure": answers((factor * draw.integers(MS, 9 * MS, 40)).tolist())}, **more)
        for i in range(seconds)
    ]


def run_with(*frames: list[Interval]) -> Run:
    return run_of(plan_of(80, 20, workers=2), [frame for each in frames for frame in each], 20)


@given(st.integers(1, 1000))
@settings(max_examples=10, deadline=None)
def test_no_other_worker_has_a_part_in_it(factor: int) -> None:
    """Whatever the other's latencies; the merged percentile moves."""
    alone, beside = run_with(frames_of(0, 1)), run_with(frames_of(0, 1), frames_of(1, factor + 1))
    assert beside.own.of_worker(0, "latency") == alone.own.of_worker(0, "latency")
    assert beside.figures.quantiles["latency"]["p99"] != alone.figures.quantiles["latency"]["p99"]
    assert beside.own.of_worker(1, "latency")["p99"].low > alone.own.of_worker(0, "latency")["p50"].low


def test_a_target_has_its_own() -> None:
    """Both workers ask both; the second target is ten times as slow."""
    frames = []
    for second in range(20):
        for worker in (0, 1):
            parts = {target: answers([(5 + second % 3) * 10**target * MS] * 30) for target in (0, 1)}
            wires = {target: part.to_wire() for target, part in parts.items()}
            frames.append(
                interval(worker, second, {"measure": parts[0] + parts[1]}, targets=wires, steady_ok=[30 * (second + 1)] * 2)
            )
    run = run_of(plan_of(120, 20, workers=2, base_url=("http://a:1", "http://b:1")), frames, 20)
    for number, target in enumerate(run.targets):
        found = run.own.of_target(number, "latency")
        assert [one.value for one in found.values()] == target.tally.histogram("latency").quantiles([0.5, 0.99])
        assert found["p50"].sufficient
    quick, slow = (run.own.of_target(number, "latency") for number in (0, 1))
    assert quick["p99"].high < slow["p50"].low
    assert run.own.of_target(2, "latency") == {}


def test_one_target_has_no_row_of_its_own() -> None:
    assert fold(open_frames()).own.targets == {}


def test_the_lag_of_a_loop_is_that_of_the_whole_seconds_as_planned() -> None:
    """Ticks of the warm-up, and of what came after the phase, are none of it: as in the worker's account."""
    plan = open_plan(workers=1, duration=Duration.seconds(20))
    seen = [late([ms * MS] * 50, [0] * 50) for ms in [90, *range(1, 21), 80]]
    run = run_of(plan, [interval(0, i, {"measure": answers([MS])} if i else {}, **one) for i, one in enumerate(seen)], 21)
    found = run.own.of_worker(0, LOOP_LAG)
    assert [one.value for one in found.values()] == run.workers[0].late.quantiles([0.5, 0.99])
    assert found["p99"].value == 20 * MS
    assert found["p50"].vif > 5, "a second's ticks are alike"


def test_a_worker_whose_loop_alone_was_seen() -> None:
    run = run_of(closed_plan(), [interval(1, 0, **late([MS] * 50, [0] * 50)), interval(1, 1, final=True)], 2)
    assert list(run.own.workers) == [1]
    assert run.own.of_worker(1, "latency") == {}
    assert run.own.of_worker(1, LOOP_LAG)["p99"].value == MS


@pytest.mark.parametrize("frames", [[opening(Plan())], open_frames()[:1]])
def test_a_run_that_measured_nothing_has_none(frames: list[Any]) -> None:
    run = fold(frames)
    assert (run.own.workers, run.own.targets) == ({}, {})
    assert run.own.of_worker(0, "latency") == {}


def test_failures_and_other_phases_are_in_none() -> None:
    failed = tally({"scheduled": 9, "error.http_503": 9}, failed=[500 * MS] * 9)
    frames = [
        interval(0, i, {"warmup": answers([90 * MS] * 9), "measure": answers([5 * MS] * 50) + failed}) for i in range(1, 3)
    ]
    found = run_of(open_plan(), frames, 3).own.of_worker(0, "latency")
    assert found["p99"].value == 5 * MS


@pytest.mark.slow
def test_the_interval_of_a_worker_covers_the_truth() -> None:
    """p50 of M/M/1 at ρ = 0.6 of which worker k of 4 sees every fourth request: at least 108 of 120 hold the true value."""
    truth, covered = true_quantile_ns(0.5, 0.6, 0.005), 0
    for seed in range(30):
        run = run_of_path(mm1(seed, 10_000, 0.6, 0.005), plan_of(120, 60, warmup=Duration.seconds(10), workers=4))
        found = [run.own.of_worker(number, "latency")["p50"] for number in range(4)]
        covered += sum(one.low <= truth <= one.high for one in found)
    assert covered >= 108
