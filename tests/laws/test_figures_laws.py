"""Laws of a Run's figures, whatever its seconds held: nothing measured is left out, nothing else is in."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from clipload.folding import fold
from clipload.frames import Interval
from clipload.pacing import PHASES
from clipload.seconds import Seconds
from clipload.tally import Tally
from clipload.units import Duration
from tests.test_run import MS, answers, interval, open_plan, opening, run_of, tally

FATES = ["error.reset", "error.http_500", "timeout", "censored", "unsent"]


PARTS = st.tuples(st.lists(st.integers(0, 10**10), max_size=6), st.lists(st.sampled_from(FATES), max_size=3))
SECONDS = st.lists(st.dictionaries(st.sampled_from(PHASES), PARTS, max_size=3), min_size=1, max_size=6)  # by turns, two workers

Drawn = list[dict[str, tuple[list[int], list[str]]]]


def part_of(latencies: list[int], fates: list[str]) -> Tally:
    total = answers(latencies)
    for fate in fates:
        total += tally({"scheduled": 1, fate: 1}, **{"bound" if fate in ("censored", "unsent") else "failed": [MS]})
    return total


def frames_of(drawn: Drawn, first: int = 0) -> list[Interval]:
    return [
        interval((i + first) % 2, i // 2, {name: part_of(*part) for name, part in phases.items()})
        for i, phases in enumerate(drawn)
    ]


LAW = settings(max_examples=20, deadline=None)
PLAN = open_plan(warmup=Duration(0), duration=Duration.seconds(3), slo=("p75<1s",))


@LAW
@given(SECONDS)
def test_every_measured_request_is_in_the_series_once(drawn: Drawn) -> None:
    run = run_of(PLAN, frames_of(drawn), 3)
    series = Seconds(run.seconds, run.bounds[1], run.bounds[2]).series("latency", failures=True)
    assert series.merged == run.measure.histogram("latency")
    assert series.infinite.sum() == run.measure.not_ok


@LAW
@given(SECONDS)
def test_each_figure_is_that_of_the_whole_histogram_and_within_its_interval(drawn: Drawn) -> None:
    run = run_of(PLAN, frames_of(drawn), 3)
    for name, found in run.figures.quantiles.items():
        histogram = run.measure.histogram(name)
        assert list(found) == ["p50", "p75", "p90", "p95", "p99", "p99.9"]
        assert [one.value for one in found.values()] == histogram.quantiles([0.5, 0.75, 0.9, 0.95, 0.99, 0.999])
    latency = run.measure.histogram("latency")
    for found in run.figures.with_failures.values():
        assert all(one.low <= one.value <= one.high for one in found.values())
    if latency.total + run.measure.not_ok:
        p99 = run.figures.with_failures["latency"]["p99"]
        assert p99.value == latency.quantile_with_infinite(0.99, run.measure.not_ok)
        assert run.figures.errors is not None
        assert run.figures.errors.value == run.measure.not_ok / run.measure["scheduled"]


@LAW
@given(SECONDS)
def test_which_worker_it_was_does_not_matter(drawn: Drawn) -> None:
    assert run_of(PLAN, frames_of(drawn), 3).figures == run_of(PLAN, frames_of(drawn, 1), 4).figures


@LAW
@given(SECONDS)
def test_a_run_without_its_end_has_figures(drawn: Drawn) -> None:
    """What was outstanding is lost, and infinite."""
    run = fold([opening(PLAN), *frames_of(drawn)])
    assert run.figures.throughput.value == run.throughput
    if run.measure["scheduled"]:
        assert run.figures.errors is not None
        assert run.figures.errors.value == run.measure.not_ok / run.measure["scheduled"]
