"""The laws of `clipload.histogram`: the layout, the error of a quantile, merging, and the two wire forms."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from clipload.histogram import COUNTS_LEN, HIGHEST, LAST, Histogram, highest_equivalent, indices, lowest_equivalent, rank
from clipload.hlog import HlogRow, read_hlog, write_hlog

no_deadline = settings(deadline=None, max_examples=60)

# Every octave is as likely as every other, and values above the highest occur.
durations = st.integers(0, 44).flatmap(lambda k: st.integers(0, 2**k))
batches = st.lists(durations, max_size=60)
some = st.lists(durations, min_size=1, max_size=60)
quantiles = st.floats(0.0, 1.0)


def of(values: list[int]) -> Histogram:
    histogram = Histogram()
    histogram.record(np.array(values, np.int64))
    return histogram


def same_buckets(left: Histogram, right: Histogram) -> bool:
    return np.array_equal(left.counts, right.counts)


def scalar_index(value: int) -> int:
    """The definition, as HdrHistogram writes it: unit 2^9, 2 048 sub-buckets, the upper half used but in the first bucket."""
    mask = 2047 << 9
    bucket = (value | mask).bit_length() - 1 - 9 - 10
    return ((bucket + 1) << 10) + (value >> (bucket + 9)) - 1024


@given(st.integers(0, COUNTS_LEN - 1))
@no_deadline
def test_a_bucket_holds_its_own_ends(index: int) -> None:
    here = np.array([index])
    assert scalar_index(int(lowest_equivalent(here)[0])) == index
    assert scalar_index(int(highest_equivalent(here)[0])) == index


@given(batches)
@no_deadline
def test_the_index_is_that_of_the_definition(values: list[int]) -> None:
    assert indices(np.array(values, np.int64)).tolist() == [scalar_index(min(v, HIGHEST)) for v in values]


@given(some)
@no_deadline
def test_indices_keep_the_order(values: list[int]) -> None:
    index = indices(np.array(sorted(values), np.int64))
    assert (np.diff(index) >= 0).all()
    assert index[-1] <= LAST


@given(st.integers(1, 2**40), st.data())
@no_deadline
def test_the_kth_of_n_has_rank_k(total: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, total))
    assert rank(k / total, total) == k


@given(st.integers(1, 10_000), quantiles)
@no_deadline
def test_a_rank_is_the_first_that_covers_the_share(total: int, q: float) -> None:
    """In exact fractions: the share q of N values reaches into rank k but not beyond it (one ulp of q aside)."""
    share = Fraction(q) * total
    assert rank(q, total) == 1 or rank(q, total) - 1 < share
    assert share <= rank(q, total) + total * Fraction(math.ulp(q))


@given(st.lists(st.integers(0, HIGHEST), min_size=1, max_size=200), quantiles)
@example([10**6, 2 * 10**6, 3 * 10**6], 0.5)
@no_deadline
def test_a_quantile_is_off_by_a_thousandth_at_most(values: list[int], q: float) -> None:
    """Against numpy's exact order statistic of the same rank; upwards only; below 0.5 ms the unit of 512 ns is the limit."""
    exact = int(np.sort(np.array(values))[rank(q, len(values)) - 1])
    found = of(values).quantile(q)
    assert exact <= found <= max(exact + 511, exact * 1.001)
    assert min(values) <= found <= max(values)


@given(some, quantiles, quantiles)
@no_deadline
def test_quantiles_rise_with_q(values: list[int], p: float, q: float) -> None:
    low, high = of(values).quantiles(sorted((p, q)))
    assert low <= high


@given(some)
@no_deadline
def test_numpy_agrees_on_the_rank(values: list[int]) -> None:
    """numpy's `inverted_cdf` is the same definition where q · N is a whole number, as for these quartiles of 4 N values."""
    values = values * 4
    exact = np.percentile(np.array(values), (25, 50, 75), method="inverted_cdf")
    for wanted, found in zip(exact.tolist(), of(values).quantiles((0.25, 0.5, 0.75))):
        assert min(wanted, HIGHEST) <= found <= max(wanted + 511, wanted * 1.001)


@given(batches, st.integers(0, 50), quantiles)
@no_deadline
def test_infinite_values_sort_last(values: list[int], infinite: int, q: float) -> None:
    if not values and not infinite:
        return
    found = of(values).quantile_with_infinite(q, infinite)
    assert (found == math.inf) == (rank(q, len(values) + infinite) > len(values))
    if not infinite:
        assert found == of(values).quantile(q)


@given(some, durations)
@no_deadline
def test_count_above_is_exact_but_for_the_bucket_of_the_value(values: list[int], value: int) -> None:
    top = int(highest_equivalent(indices(np.array([value])))[0])
    if value >= HIGHEST:
        top = max(values)
    found = of(values).count_above(value)
    assert sum(v > top for v in values) <= found <= sum(v > min(value, HIGHEST) for v in values)


@given(some)
@no_deadline
def test_the_exact_facts_are_exact(values: list[int]) -> None:
    histogram = of(values)
    facts = (histogram.total, histogram.min, histogram.max, histogram.sum, histogram.saturated)
    assert facts == (len(values), min(values), max(values), sum(values), sum(v > HIGHEST for v in values))
    assert histogram.counts.sum() == histogram.total


@given(batches, batches, batches)
@no_deadline
def test_merging_is_addition(a: list[int], b: list[int], c: list[int]) -> None:
    """Merging histograms is recording everything in one; associative, commutative, `Histogram()` the identity."""
    assert (of(a) + of(b)) + of(c) == of(a) + (of(b) + of(c)) == of(a + b + c)
    assert of(a) + of(b) == of(b) + of(a)
    assert of(a) + Histogram() == Histogram() + of(a) == of(a)


@given(batches, batches)
@no_deadline
def test_the_sparse_form_loses_nothing(a: list[int], b: list[int]) -> None:
    assert Histogram.from_sparse(of(a).to_sparse()) == of(a)
    merged = of(a)
    merged.add_sparse(of(b).to_sparse())
    assert merged == of(a) + of(b)


@given(batches, st.integers(1, 2**50))
@no_deadline
def test_v2_keeps_every_bucket(values: list[int], times: int) -> None:
    """And decoding is idempotent: what was rebuilt from buckets is rebuilt the same again."""
    index, counts, low, high, total, saturated = of(values).to_sparse()
    scaled = (np.frombuffer(counts, "<i8") * times).astype("<i8").tobytes()
    histogram = Histogram.from_sparse((index, scaled, low, high, total * times, saturated * times))
    decoded = Histogram.decode_v2(histogram.encode_v2())
    assert same_buckets(decoded, histogram)
    assert decoded.total == histogram.total
    assert Histogram.decode_v2(decoded.encode_v2()) == decoded
    assert Histogram.from_sparse(decoded.to_sparse()) == decoded
    assert decoded.min <= histogram.min
    assert decoded.max >= min(histogram.max, HIGHEST)


@given(some)
@no_deadline
def test_the_mean_of_a_decoded_one_is_near(values: list[int]) -> None:
    values = [min(v, HIGHEST) for v in values]
    decoded = Histogram.decode_v2(of(values).encode_v2())
    assert abs(decoded.mean - of(values).mean) <= max(512, of(values).mean / 1000)


@given(
    st.lists(
        st.tuples(st.sampled_from(["", "lag", "image.service"]), st.integers(0, 10**7), st.integers(0, 10**5), batches),
        max_size=5,
    )
)
@no_deadline
def test_a_log_reads_back_as_written(spec: list[tuple[str, int, int, list[int]]]) -> None:
    rows = [HlogRow(tag, start / 1000, length / 1000, Histogram.decode_v2(of(v).encode_v2())) for tag, start, length, v in spec]
    assert read_hlog(write_hlog(1_700_000_000.5, rows)) == (1_700_000_000.5, rows)
