"""The laws of intervals, of judging by them and of the signs of a steady state, whatever the series."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from clipload.estimate import Estimate, quantile, rate, repeats, share
from clipload.histogram import Histogram
from clipload.judgement import checkpoints, judge, precise
from clipload.series import Series, dispersion
from clipload.steadiness import drift, little, warm_up

few = settings(deadline=None, max_examples=40)

LATENCIES = st.integers(0, 36).flatmap(lambda k: st.integers(0, 2**k))
SECONDS = st.lists(st.tuples(st.lists(LATENCIES, max_size=12), st.integers(0, 3)), min_size=1, max_size=70)
QUANTILES = st.sampled_from([0.01, 0.5, 0.9, 0.99, 0.999])
LEVELS = st.floats(0.5, 0.999)
COUNTS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 300)), min_size=1, max_size=80)
ESTIMATES = st.builds(
    lambda value, under, over, sufficient: Estimate("rate", value, max(0, value - under), value + over, 1, 20, sufficient),
    st.floats(0, 1e3),
    st.floats(0, 100),
    st.one_of(st.floats(0, 100), st.just(math.inf)),
    st.booleans(),
)
READINGS = st.lists(st.integers(0, 2**20), min_size=5, max_size=80)

Seconds = list[tuple[list[int], int]]


def of(values: list[int]) -> Histogram:
    histogram = Histogram()
    histogram.record(np.array(values, np.int64))
    return histogram


def series(seconds: Seconds) -> Series:
    return Series.of((of(values) for values, _ in seconds), [infinite for _, infinite in seconds])


def filled(seconds: Seconds) -> Seconds:
    assume(any(values or infinite for values, infinite in seconds))
    return seconds


def inside(inner: Estimate, outer: Estimate) -> bool:
    slack = 1e-9 * max(1.0, outer.value if math.isfinite(outer.value) else 1.0)
    return outer.low <= inner.low + slack and inner.high <= outer.high + slack


# the series


@given(SECONDS)
@few
def test_a_series_loses_no_request(seconds: Seconds) -> None:
    found = series(seconds)
    assert found.merged == of([value for values, _ in seconds for value in values])
    assert found.sizes.sum() == sum(len(values) + infinite for values, infinite in seconds)
    assert len(found.slots) == min(60, len(seconds))


@given(SECONDS, LATENCIES)
@few
def test_above_and_from_bracket_the_requests_beyond_a_value(seconds: Seconds, value: int) -> None:
    found = series(seconds)
    exact = sum(sum(v > value for v in values) + infinite for values, infinite in seconds)
    assert found.above(value).sum() <= exact <= found.from_bucket_of(value).sum() <= found.sizes.sum()


@given(st.lists(st.integers(0, 100), min_size=2, max_size=70), st.floats(0.01, 100), LEVELS)
@few
def test_dispersion_scales_as_a_variance_and_has_a_floor(counts: list[int], times: float, level: float) -> None:
    events, time = np.array(counts, np.float64), np.ones(len(counts))
    plain = dispersion(events, time, level)
    assert dispersion(events * times, time, level).variance == pytest.approx(plain.variance * times**2, abs=1e-6)
    assert dispersion(events * times, time, level).reach == pytest.approx(plain.reach * times, abs=1e-6)
    assert dispersion(events, time, level, plain.variance * 2 + 1).variance == plain.variance * 2 + 1


# quantiles


@given(SECONDS, QUANTILES)
@few
def test_an_interval_holds_its_quantile(seconds: Seconds, q: float) -> None:
    found = quantile(series(filled(seconds)), q)
    values, infinite = [v for values, _ in seconds for v in values], sum(n for _, n in seconds)
    assert found.value == of(values).quantile_with_infinite(q, infinite)
    assert 0 <= found.low <= found.value <= found.high
    assert found.vif >= 1
    assert found.effective <= (len(values) + infinite) * min(q, 1 - q) + 1e-9


@given(SECONDS, QUANTILES, LEVELS, LEVELS)
@few
def test_a_higher_level_is_never_narrower(seconds: Seconds, q: float, one: float, other: float) -> None:
    found, (low, high) = series(filled(seconds)), sorted((one, other))
    assert inside(quantile(found, q, low), quantile(found, q, high))


@given(SECONDS, QUANTILES, st.randoms(use_true_random=False))
@few
def test_the_workers_of_a_second_do_not_matter(seconds: Seconds, q: float, random: object) -> None:
    """Each second as the sum of two workers' histograms, or as one."""
    split = [random.randint(0, len(values)) for values, _ in filled(seconds)]  # type: ignore[attr-defined]
    halves = (of(values[:k]) + of(values[k:]) for k, (values, _) in zip(split, seconds))
    merged = Series.of(halves, [infinite for _, infinite in seconds])
    assert quantile(merged, q) == quantile(series(seconds), q)


@given(SECONDS, QUANTILES)
@few
def test_time_backwards_is_the_same_interval_when_batches_are_equal(seconds: Seconds, q: float) -> None:
    filled(seconds)
    assume(len(seconds) <= 20 or len(seconds) == 60)
    ahead, back = quantile(series(seconds), q), quantile(series(seconds[::-1]), q)
    assert (ahead.value, ahead.low, ahead.high) == (back.value, back.low, back.high)
    assert ahead.vif == pytest.approx(back.vif)


@given(SECONDS, QUANTILES)
@few
def test_failures_never_lower_a_quantile(seconds: Seconds, q: float) -> None:
    worse = [(values, infinite + 1) for values, infinite in filled(seconds)]
    assert quantile(series(worse), q).value >= quantile(series(seconds), q).value


@given(st.lists(st.lists(st.integers(2**20, 2**30), min_size=1, max_size=9), min_size=2, max_size=30), QUANTILES)
@few
def test_a_change_of_unit_changes_nothing_else(seconds: list[list[int]], q: float) -> None:
    """Powers of two keep the buckets of the upper octaves."""
    found = quantile(series([(values, 0) for values in seconds]), q)
    scaled = quantile(series([([v * 8 for v in values], 0) for values in seconds]), q)
    bucket = pytest.approx(8.0, rel=1e-6)
    assert scaled.value / found.value == bucket
    assert scaled.low / found.low == bucket if found.low else scaled.low == 0
    assert scaled.high / found.high == bucket if found.bounded else not scaled.bounded
    assert (scaled.vif, scaled.sufficient) == (found.vif, found.sufficient)


# rates and shares


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=80), LEVELS, LEVELS)
@few
def test_a_rate_lies_in_its_interval_and_wider_levels_around_it(counts: list[int], one: float, other: float) -> None:
    low, high = (rate(counts, level) for level in sorted((one, other)))
    assert low.value == sum(counts) / len(counts)
    assert 0 <= low.low <= low.value <= low.high
    assert low.high - low.value >= min(1, sum(counts)) / len(counts) * (1 - 1e-9)
    assert inside(low, high)


@given(COUNTS, LEVELS, LEVELS)
@few
def test_a_share_lies_in_its_interval_and_has_a_mirror(counts: list[tuple[int, int]], one: float, other: float) -> None:
    """errors of all ↔ ok of all; and a higher level is never narrower."""
    assume(any(errors or ok for errors, ok in counts))
    errors, totals = [e for e, _ in counts], [e + ok for e, ok in counts]
    found = share(errors, totals, one)
    mirror = share([total - e for e, total in zip(errors, totals)], totals, one)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.vif >= 1
    assert found.low == pytest.approx(1 - mirror.high, abs=1e-9)
    assert found.high == pytest.approx(1 - mirror.low, abs=1e-9)
    low, high = (share(errors, totals, level) for level in sorted((one, other)))
    assert inside(low, high)


@given(st.integers(1, 10**7), st.integers(1, 10**7))
def test_more_requests_without_an_error_bound_it_lower(n: int, more: int) -> None:
    assert share([0], [n + more]).high < share([0], [n]).high


@given(st.lists(ESTIMATES, min_size=1, max_size=7), st.randoms(use_true_random=False))
@few
def test_repeats_have_no_order(runs: list[Estimate], random: object) -> None:
    found = repeats(runs)
    shuffled = list(runs)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    again = repeats(shuffled)
    assert again.estimate.value == found.estimate.value == np.median([run.value for run in runs])
    assert again.estimate.low == pytest.approx(found.estimate.low, abs=1e-9)
    assert again.estimate.high == pytest.approx(found.estimate.high, abs=1e-9)
    assert 0 <= found.estimate.low <= found.estimate.value <= found.estimate.high


@given(ESTIMATES, st.integers(2, 7))
@few
def test_a_run_repeated_to_the_digit_says_what_it_said(run: Estimate, times: int) -> None:
    found = repeats([run] * times)
    assert (found.estimate.low, found.estimate.value, found.estimate.high) == (run.low, run.value, run.high)
    assert found.between == 0


# judging and stopping


@given(ESTIMATES, st.floats(0, 2e3))
def test_a_decision_needs_the_whole_interval_on_one_side(estimate: Estimate, limit: float) -> None:
    below, above = judge(estimate, "<", limit), judge(estimate, ">", limit)
    if below == "met" or above == "missed":
        assert estimate.high <= limit
        assert estimate.sufficient
    if below == "missed" or above == "met":
        assert estimate.low >= limit
    assert not below == above == "met"
    if estimate.low < limit < estimate.high:
        assert below == above == "inconclusive"


@given(ESTIMATES, st.floats(0, 2e3), st.floats(0, 2e3))
def test_a_looser_limit_is_no_harder(estimate: Estimate, one: float, other: float) -> None:
    order = ["missed", "inconclusive", "met"]
    tight, loose = sorted((one, other))
    assert order.index(judge(estimate, "<", loose)) >= order.index(judge(estimate, "<", tight))
    assert order.index(judge(estimate, ">", tight)) >= order.index(judge(estimate, ">", loose))


@given(ESTIMATES, st.floats(0, 1), st.floats(0, 2e3), st.sampled_from(["<", ">"]))
def test_a_narrower_interval_never_turns_a_decision_round(wide: Estimate, part: float, limit: float, relation: str) -> None:
    high = wide.value + part * (wide.high - wide.value) if wide.bounded else math.inf
    narrow = Estimate("rate", wide.value, wide.value - part * (wide.value - wide.low), high, 1, 20, wide.sufficient)
    before, after = judge(wide, relation, limit), judge(narrow, relation, limit)  # type: ignore[arg-type]
    assert before in (after, "inconclusive")


@given(ESTIMATES, st.floats(0, 1), st.floats(0, 1))
def test_precise_enough_for_less_is_precise_enough_for_more(estimate: Estimate, one: float, other: float) -> None:
    tight, loose = sorted((one, other))
    assert precise(estimate, loose) or not precise(estimate, tight)


@given(st.integers(1, 10**12), st.integers(1, 10**13), st.floats(1.01, 5))
def test_checkpoints_rise_geometrically_up_to_the_last(first: int, last: int, growth: float) -> None:
    found = checkpoints(first, last, growth)
    assert found[-1] == last
    assert found[0] == min(first, last)
    assert all(a < b for a, b in pairwise(found))
    assert all(b >= a * growth - 1 - growth for a, b in pairwise(found[:-1]))
    assert len(found) <= 2 + math.log(max(1, last / first)) / math.log(growth) + 100 * (first < 100 / (growth - 1))


# a steady state


@given(READINGS, st.integers(0, 1000))
@few
def test_a_constant_more_in_flight_is_no_drift(readings: list[int], more: int) -> None:
    found, raised = drift(readings, 100), drift([r + more for r in readings], 100)
    assert raised.growth == pytest.approx(found.growth, rel=1e-6, abs=1e-6)
    assert raised.drifting == found.drifting or found.t == pytest.approx(found.critical, rel=1e-6)


@given(READINGS)
@few
def test_time_reversed_turns_the_sign_of_a_drift(readings: list[int]) -> None:
    assume(len(readings) < 10 or len(readings) % 10 == 0)
    found, back = drift(readings, 100), drift(readings[::-1], 100)
    assert back.growth == pytest.approx(-found.growth, rel=1e-6, abs=1e-6)
    assert not (found.drifting and back.drifting)


@given(st.lists(st.integers(0, 2**20), min_size=20, max_size=90), st.integers(0, 2**20), st.sampled_from([2, 4, 0.5]))
@few
def test_a_cut_depends_on_neither_unit_nor_zero(values: list[int], zero: int, unit: float) -> None:
    """In batches of four, whose means are exact in binary, so that the same sums are compared."""
    found = warm_up(values, 4)
    assert warm_up([v * unit for v in values], 4) == found
    assert found.cut % 4 == 0
    assert found.cut <= len(values) / 2
    spread = np.ptp(np.array(values, float))
    if spread and zero < spread:
        assert abs(warm_up([v + zero for v in values], 4).cut - found.cut) in (0, *range(4, len(values), 4))


@given(st.lists(st.integers(1, 1000), min_size=2, max_size=60), st.floats(1e-3, 1e3))
@few
def test_little_holds_whatever_the_unit_of_time(level: list[int], service_s: float) -> None:
    """A rate that fits the level by construction: L = λW exactly."""
    mean = float(np.mean(level))
    assert little(level, mean / service_s, service_s * 1e9, averages=True).holds
