"""The figures of a Run: the same numbers as its histograms, with intervals; steady states and the want of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from clipload.figures import PERCENTS, Figures, one_figure, warming_of
from clipload.folding import fold
from clipload.plan import Plan
from clipload.run import Run
from clipload.slo import Objective, Subject
from clipload.units import Duration
from tests.queues import Path, mm1, true_quantile_ns
from tests.simulated import plan_of, run_of_path, seconds_of_path
from tests.test_run import MS, START, S, answers, closed_plan, interval, open_frames, open_plan, run_of, tally

QUEUE = mm1(3, 12_000, 0.6, 0.005)  # 100 s at 120/s


def test_each_figure_is_that_of_its_histogram() -> None:
    run = run_of_path(QUEUE, plan_of(120, 30, warmup=Duration.seconds(2), workers=2))
    assert set(run.figures.quantiles) == {name for name, held in run.measure.histograms.items() if held.total}
    for name, found in run.figures.quantiles.items():
        histogram = run.measure.histogram(name)
        assert [one.value for one in found.values()] == histogram.quantiles([percent / 100 for percent in PERCENTS])
        assert all(one.low <= one.value <= one.high for one in found.values())
    assert run.figures.quantiles["latency"] == run.figures.with_failures["latency"], "all were ok"
    assert run.figures.throughput.value == run.throughput == run.requests_per_s


def test_failures_are_infinite_for_objectives_and_absent_from_the_times_of_ok_requests() -> None:
    measured = [answers([10 * MS] * 95) + tally({"error.http_503": 5}, failed=[MS] * 5) for _ in range(20)]
    run = run_of(plan_of(100, 20), [interval(0, i, {"measure": part}) for i, part in enumerate(measured)], 20)
    figures = run.figures
    assert figures.quantiles["latency"]["p99"].value < 10.1 * MS
    for name in ("latency", "service"):
        p90, p95, p99 = (figures.with_failures[name][label] for label in ("p90", "p95", "p99"))
        assert p90.value < 10.1 * MS
        assert p95.value == pytest.approx(10 * MS, rel=0.01), "rank 1900 of 2000"
        assert (p99.value, p99.low, p99.sufficient) == (math.inf, math.inf, True)
    assert figures.errors is not None
    assert (figures.errors.value, figures.of(Subject("errors"))) == (0.05, figures.errors)


def test_a_percentile_that_is_asked_for_is_there() -> None:
    plan = plan_of(120, 20, slo=("p97.5<1s", "service.p60<1s"), until="p75±10%")
    figures = run_of_path(QUEUE, plan).figures
    for text in plan.slo:
        assert figures.of(Objective.parse(text).subject) is not None
    assert {"p60", "p75", "p97.5"} <= set(figures.with_failures["latency"])


@pytest.mark.slow
def test_intervals_of_a_run_cover_the_truth() -> None:
    """p90 of M/M/1 at ρ = 0.6, sixty seconds after ten of warm-up: at least 27 of 30 intervals hold the true value."""
    truth = true_quantile_ns(0.9, 0.6, 0.005)
    covered = 0
    for seed in range(30):
        path, plan = mm1(seed, 10_000, 0.6, 0.005), plan_of(120, 60, warmup=Duration.seconds(10))
        found = one_figure(plan, seconds_of_path(path, plan), Subject("latency", 90.0))
        covered += found is not None and found.low <= truth <= found.high
    assert covered >= 27


def test_throughput_is_samples_and_its_interval_lies_around_the_stated_figure() -> None:
    """2.5 s: the interval comes from the two whole seconds, the figure from all of it."""
    plan = Plan(rate=10.0, duration=Duration.seconds(2.5), batch_size=4)
    counts = [9, 11, 6]
    frames = [interval(0, i, {"measure": answers([MS] * n)}, steady_ok=[sum(counts[: i + 1])]) for i, n in enumerate(counts)]
    figures = run_of(plan, frames, 2.5).figures
    assert (figures.requests.value, figures.throughput.value) == (10.4, 41.6)
    half = (figures.requests.high - figures.requests.low) / 2
    assert figures.requests.high - 10.4 == pytest.approx(12.706 * 2 / 2, abs=0.01)  # t₁ · √((1² + 1²) · 2) / 2 s
    assert figures.throughput.high == pytest.approx(4 * figures.requests.high)
    assert half > 0


def test_less_than_a_whole_second_has_no_interval() -> None:
    plan = Plan(rate=10.0, duration=Duration.seconds(0.5))
    found = run_of(plan, [interval(0, 0, {"measure": answers([MS] * 5)}, steady_ok=[5])], 0.5).figures.requests
    assert (found.value, found.low, found.high, found.sufficient) == (10.0, 0.0, math.inf, False)
    assert found.span == "unknown"


def test_a_run_that_measured_nothing_has_no_figures() -> None:
    figures = fold(open_frames()[:1]).figures
    assert figures == Figures({}, {}, figures.requests, figures.throughput, None, None, None, None)
    assert (figures.requests.value, figures.requests.bounded) == (0.0, False)
    for subject in (Subject("latency", 99.0), Subject("errors")):
        assert figures.of(subject) is None


def test_figures_do_not_depend_on_how_many_workers_there_were() -> None:
    one, two = (run_of_path(QUEUE, plan_of(120, 20, workers=n)).figures for n in (1, 2))
    assert one.with_failures["latency"] == two.with_failures["latency"]
    assert (one.throughput, one.drift, one.little) == (two.throughput, two.drift, two.little)


# ---- was there a steady state


def growing(rate: float, seconds: int) -> Path:
    """Arrivals at `rate` to a server that does nine tenths of it."""
    arrivals = (np.arange(int(rate * seconds)) + 0.5) / rate
    return Path(arrivals, np.arange(1, len(arrivals) + 1) / (0.9 * rate) - arrivals + 0.01)


def test_a_queue_that_grows_drifts_and_a_steady_one_does_not() -> None:
    assert run_of_path(QUEUE, plan_of(120, 40)).figures.drift is not None
    assert not run_of_path(QUEUE, plan_of(120, 40)).figures.drift.drifting  # type: ignore[union-attr]
    drift = run_of_path(growing(100, 20), plan_of(100, 20)).figures.drift
    assert drift is not None
    assert drift.drifting
    assert drift.arrivals == 1000, "of the later half"
    assert drift.growth == pytest.approx(100, abs=3)


@pytest.mark.parametrize(("seconds", "known"), [(4, False), (5, True), (8, True)])
def test_five_seconds_are_needed_to_see_a_drift(seconds: int, known: bool) -> None:
    drift = run_of_path(growing(100, seconds), plan_of(100, seconds)).figures.drift
    assert drift is not None
    assert (drift.t is not None, drift.drifting) == (known, known)


@pytest.mark.parametrize(
    ("rate", "changes"), [(None, {"concurrency": 5}), (None, {"ramp": "50:150"}), (100, {"burst": "200:1s/5s"})]
)
def test_a_load_that_is_not_one_steady_rate_is_not_said_to_drift(rate: float | None, changes: dict[str, Any]) -> None:
    figures = run_of_path(growing(100, 20), plan_of(rate, 20, **changes)).figures
    assert figures.drift is None
    assert (figures.warming is None) == ("concurrency" not in changes)


def transient(factor: float, seconds: int = 30) -> Run:
    """Latency begins `factor` times as high and falls with a time constant of four seconds, in a queue of little load."""
    path = mm1(5, 7000, 0.3, 0.005)
    return run_of_path(
        Path(path.arrivals, path.sojourns * (1 + (factor - 1) * np.exp(-path.arrivals / 4))), plan_of(60, seconds)
    )


def test_a_warm_up_that_was_too_short_is_seen() -> None:
    warming = transient(3).figures.warming
    assert warming is not None
    assert warming.falling
    assert 3 <= warming.warm_up.cut <= 15
    assert warming.excess > 0.3
    for steady in (transient(1), transient(1.05)):
        assert steady.figures.warming is not None
        assert not steady.figures.warming.falling
    assert transient(3, 19).figures.warming is None, "too short to tell"


def test_a_latency_that_rises_is_no_warm_up() -> None:
    warming = transient(0.3).figures.warming
    assert warming is not None
    assert warming.warm_up.cut > 0
    assert not warming.falling


@pytest.mark.slow
def test_a_busy_spell_is_seldom_called_a_warm_up() -> None:
    """Steady queues at ρ = 0.7: MSER cuts something off a third of them, and at most one in twenty is called falling."""
    plan = plan_of(140, 30)
    cut = [warming_of(plan, seconds_of_path(mm1(seed, 5000, 0.7, 0.005), plan)) for seed in range(40)]
    assert sum(warming is not None and warming.warm_up.cut > 0 for warming in cut) > 5
    assert sum(warming is not None and warming.falling for warming in cut) <= 2


def test_littles_law_is_asked_of_loads_that_can_answer() -> None:
    busy = mm1(2, 12_000, 0.9, 0.005)
    little = run_of_path(busy, plan_of(180, 40)).figures.little
    assert little is not None
    assert little.holds
    assert little.expected > 5
    assert run_of_path(busy, plan_of(180, 40, arrival="constant")).figures.little is None
    assert run_of_path(busy, plan_of(180, 9)).figures.little is None
    assert run_of_path(QUEUE, plan_of(120, 40)).figures.little is None, "hardly more than one in flight"


def test_a_gauge_that_lies_breaks_littles_law() -> None:
    frames = [interval(0, i, {"measure": answers([500 * MS] * 100)}, in_flight=50) for i in range(20)]
    little = run_of(plan_of(100, 20), frames, 20).figures.little
    assert little is not None
    assert (little.level, little.expected, little.holds) == (50, pytest.approx(50), True)
    lying = [interval(0, i, {"measure": answers([500 * MS] * 100)}, in_flight=20) for i in range(20)]
    little = run_of(plan_of(100, 20), lying, 20).figures.little
    assert little is not None
    assert not little.holds


def test_a_closed_loops_level_is_read_too() -> None:
    frames = [interval(0, i, {"measure": answers([100 * MS] * 80)}, in_flight=8, steady_ok=[80 * (i + 1)]) for i in range(12)]
    run = run_of(closed_plan(concurrency=8, duration=Duration.seconds(12)), frames, 12, steady_ns=START + 12 * S)
    assert run.figures.little is not None
    assert run.figures.little.holds
    assert run.figures.drift is None


def test_the_figures_of_a_run_are_made_once() -> None:
    run = run_of(open_plan(), [interval(0, 1, {"measure": answers([MS])})], 3)
    assert run.figures is run.figures
