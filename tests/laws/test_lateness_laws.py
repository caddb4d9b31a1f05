"""Laws of the client's own lateness: the bound holds however the two were coupled, and what was not late changes nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from clipload.histogram import Histogram
from clipload.lateness import least, once_more, shift
from clipload.signals.quantiles import WORTH

MS = 10**6
times = st.integers(0, 5000 * MS)
lateness = st.one_of(st.just(0), st.integers(MS, 2000 * MS))
quantiles = st.sampled_from([0.1, 0.5, 0.9, 0.95, 0.99, 0.999])


def histogram(values: Sequence[int] | np.ndarray) -> Histogram:
    made = Histogram()
    made.record(np.asarray(values, np.int64))
    return made


def bucket(value: int) -> int:
    """How far a histogram may be from the value."""
    return 1024 + value // 512


@given(st.lists(st.tuples(times, lateness), min_size=1, max_size=200), quantiles)
def test_the_least_is_no_more_than_the_truth_however_the_two_were_coupled(pairs: list[tuple[int, int]], q: float) -> None:
    """Hypothesis chooses which lateness fell on which request; sorting both is the coupling that hides most."""
    for coupled in (pairs, list(zip(sorted(d for d, _ in pairs), sorted(late for _, late in pairs)))):
        seen, late = histogram([d + extra for d, extra in coupled]), histogram([extra for _, extra in coupled])
        truth = histogram([d for d, _ in coupled]).quantile(q)
        found = least(seen, late, q)
        assert 0 <= found <= seen.quantile(q)
        assert found <= truth + bucket(seen.max)


@given(st.lists(times, min_size=1, max_size=200), st.integers(1, 100), quantiles)
def test_what_was_not_late_changes_nothing(values: list[int], instants: int, q: float) -> None:
    seen = histogram(values)
    for late in (Histogram(), histogram([0] * instants)):
        assert least(seen, late, q) == seen.quantile(q)
        assert abs(once_more(seen, late, q) - seen.quantile(q)) <= bucket(seen.quantile(q))


@given(st.lists(times, min_size=1, max_size=200), st.lists(lateness, min_size=1, max_size=100), quantiles)
def test_once_more_is_the_quantile_of_all_sums(values: list[int], extra: list[int], q: float) -> None:
    seen, late = histogram(values), histogram(extra)
    found = once_more(seen, late, q)
    assert seen.quantile(q) <= found
    sums = np.add.outer(values, extra).ravel()
    slack = bucket(int(sums.max())) * 2
    low, high = (histogram(sums).quantile(min(1.0, max(0.0, q + step))) for step in (-1e-9, 1e-9))
    assert low - slack <= found <= max(high, seen.quantile(q)) + slack


@given(st.lists(times, min_size=1, max_size=100), st.lists(lateness, min_size=1, max_size=100), quantiles)
def test_more_lateness_never_raises_the_bound(values: list[int], extra: list[int], q: float) -> None:
    assume(any(extra))
    seen = histogram(values)
    some, more = histogram(extra), histogram([2 * late for late in extra])
    assert least(seen, more, q) <= least(seen, some, q) + bucket(seen.max)


@pytest.mark.parametrize("q", [0, 1, -0.1, 1.5])
def test_a_quantile_lies_between_0_and_1(q: float) -> None:
    for of in (least, once_more):
        with pytest.raises(ValueError, match="between 0 and 1"):
            of(histogram([MS]), Histogram(), q)


DRAW = np.random.default_rng(7)
N = 20_000
TARGETS = {
    "constant": np.full(N, 5 * MS),
    "exponential": DRAW.exponential(8 * MS, N).astype(np.int64),
}
LATE = {
    "none": np.zeros(N, np.int64),
    "rare": np.where(DRAW.random(N) < 0.996, 0, 5 * MS),
    "a competitor": np.where(DRAW.random(N) < 0.5, 0, DRAW.integers(MS, 4 * MS, N)),
    "a stop": np.where(DRAW.random(N) < 0.95, 0, DRAW.integers(0, 1000 * MS, N)),
}


@pytest.mark.parametrize(
    ("target", "late", "truth", "bound", "suspect"),
    [
        ("constant", "none", 0.00, (0.0, 0.0), False),
        ("constant", "a competitor", 0.79, (0.7, 0.9), True),
        ("constant", "a stop", 160.0, (100.0, 200.0), True),
        ("exponential", "rare", 0.00, (0.0, 0.1), False),  # by chance: not suspected
        ("exponential", "a competitor", 0.04, (0.0, 0.2), False),  # it moves it by some 4 %
        ("exponential", "a stop", 20.0, (15.0, 35.0), True),
    ],
)
def test_what_is_suspected_and_what_it_can_have_done(
    target: str, late: str, truth: float, bound: tuple[float, float], suspect: bool
) -> None:
    """Where the two are independent the truth is known; of the lateness 500 instants are."""
    d, extra = TARGETS[target], LATE[late]
    seen, known = histogram(d + extra), histogram(DRAW.choice(extra, 500))
    with_it, without = seen.quantile(0.99), histogram(d).quantile(0.99)
    assert shift(with_it, without) == pytest.approx(truth, rel=0.35, abs=0.02)
    assert bound[0] <= shift(with_it, least(seen, known, 0.99)) <= bound[1]
    assert (shift(once_more(seen, known, 0.99), with_it) > WORTH) is suspect
