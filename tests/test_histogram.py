"""Cases of `clipload.histogram`, and its agreement with the `hdrhistogram` package."""

from __future__ import annotations

import base64
import math
import struct
import zlib

import msgspec
import numpy as np
import pytest
from hdrh.histogram import HdrHistogram

from clipload.histogram import (
    COUNTS_LEN,
    DIGITS,
    HIGHEST,
    LAST,
    LOWEST,
    Histogram,
    _indices,
    highest_equivalent,
    indices,
    lowest_equivalent,
    rank,
)

EDGES = sorted(
    {0, 1, 511, 512, 2047, 2048, HIGHEST - 1, HIGHEST}
    | {v for k in range(1, 42) for v in (2**k - 1, 2**k, 2**k + 1) if v <= HIGHEST}
)


def histogram_of(*values: int) -> Histogram:
    histogram = Histogram()
    histogram.record(np.array(values, np.int64))
    return histogram


def theirs_of(values: list[int]) -> HdrHistogram:
    theirs = HdrHistogram(LOWEST, HIGHEST, DIGITS)
    for value in values:
        assert theirs.record_value(value)
    return theirs


def latencies(count: int, seed: int = 7) -> np.ndarray:
    """A latency-like sample: a log-normal body and a sprinkle over the whole range."""
    rng = np.random.default_rng(seed)
    body = rng.lognormal(math.log(2e7), 0.8, count).astype(np.int64)
    body[:: max(1, count // 500)] = np.exp(rng.uniform(0, math.log(HIGHEST), len(body[:: max(1, count // 500)]))).astype(
        np.int64
    )
    return body


class TestLayout:
    def test_is_that_of_the_package(self) -> None:
        theirs = HdrHistogram(LOWEST, HIGHEST, DIGITS)
        assert theirs.counts_len == COUNTS_LEN
        assert theirs.get_counts_array_index(HIGHEST) == LAST

    def test_every_bucket_returns_to_itself(self) -> None:
        every = np.arange(COUNTS_LEN)
        # _indices, for a few buckets lie above HIGHEST, where the public function saturates
        np.testing.assert_array_equal(_indices(lowest_equivalent(every)), every)
        np.testing.assert_array_equal(_indices(highest_equivalent(every)), every)

    def test_buckets_tile_the_range_without_gap(self) -> None:
        every = np.arange(COUNTS_LEN)
        np.testing.assert_array_equal(highest_equivalent(every)[:-1] + 1, lowest_equivalent(every)[1:])
        assert lowest_equivalent(every)[0] == 0

    def test_precision_is_the_one_promised(self) -> None:
        every = np.arange(COUNTS_LEN)
        low = lowest_equivalent(every)
        width = highest_equivalent(every) - low + 1
        assert set(width[low < 2**20]) == {512}
        assert (width * 1024 <= low)[low >= 2**20].all()

    def test_edges_agree_with_the_package(self) -> None:
        theirs = HdrHistogram(LOWEST, HIGHEST, DIGITS)
        assert indices(np.array(EDGES)).tolist() == [theirs.get_counts_array_index(v) for v in EDGES]
        assert highest_equivalent(indices(np.array(EDGES))).tolist() == [theirs.get_highest_equivalent_value(v) for v in EDGES]
        assert lowest_equivalent(indices(np.array(EDGES))).tolist() == [theirs.get_lowest_equivalent_value(v) for v in EDGES]

    def test_above_highest_is_the_last_bucket(self) -> None:
        assert indices(np.array([HIGHEST, HIGHEST + 1, 2**62])).tolist() == [LAST] * 3

    def test_keeps_the_shape(self) -> None:
        assert indices(np.zeros((2, 3), np.int64)).shape == (2, 3)
        assert indices(np.zeros(0, np.int64)).shape == (0,)

    def test_a_negative_value_is_a_bug(self) -> None:
        with pytest.raises(ValueError, match="negative"):
            indices(np.array([5, -1]))


class TestRecord:
    def test_facts_are_exact(self) -> None:
        values = latencies(10_000)
        histogram = histogram_of(*values.tolist())
        assert (histogram.total, histogram.min, histogram.max) == (10_000, values.min(), values.max())
        assert histogram.sum == sum(values.tolist())
        assert histogram.mean == sum(values.tolist()) / 10_000
        assert histogram.counts.sum() == 10_000

    def test_the_sum_stays_exact_where_int64_would_overflow(self) -> None:
        assert histogram_of(2**62, 2**62, 2**62, 3).sum == 3 * 2**62 + 3

    def test_overflow_saturates_and_is_counted(self) -> None:
        histogram = histogram_of(1_000, HIGHEST, HIGHEST + 1, 10 * HIGHEST)
        assert histogram.saturated == 2
        assert histogram.total == 4
        assert histogram.counts[LAST] == 3
        assert histogram.max == 10 * HIGHEST

    def test_a_negative_value_leaves_no_trace(self) -> None:
        histogram = histogram_of(1_000)
        with pytest.raises(ValueError, match="negative"):
            histogram.record(np.array([5, -1]))
        assert histogram == histogram_of(1_000)

    def test_nothing_is_nothing(self) -> None:
        histogram = Histogram()
        histogram.record(np.zeros(0, np.int64))
        assert histogram == Histogram()
        assert (histogram.total, histogram.min, histogram.max, histogram.sum, histogram.saturated) == (0, 0, 0, 0, 0)

    def test_counts_are_for_reading(self) -> None:
        with pytest.raises(ValueError, match="read-only"):
            Histogram().counts[0] = 1


class TestQuantile:
    @pytest.mark.parametrize("total", [1, 2, 3, 7, 10, 100, 999, 1_000, 12_345, 10**6])
    def test_the_kth_of_n_has_rank_k(self, total: int) -> None:
        for k in {1, 2, total // 3, total // 2, total - 1, total} - {0, total + 1}:
            assert rank(k / total, total) == min(k, total)

    def test_ranks_are_those_of_java(self) -> None:
        """Rounded up: 0.25 of 5 is the 2nd, 0.5 of 5 the 3rd, 0.99 of 100 the 99th, of 101 the 100th; 0 is the first."""
        cases = [
            (0.25, 5, 2),
            (0.5, 5, 3),
            (0.5, 4, 2),
            (0.99, 100, 99),
            (0.99, 101, 100),
            (0.0, 9, 1),
            (1.0, 9, 9),
            (0.07, 100, 7),
        ]
        assert [rank(q, n) for q, n, _ in cases] == [k for _, _, k in cases]

    def test_is_the_top_of_its_bucket_within_min_and_max(self) -> None:
        histogram = histogram_of(1_000_000, 2_000_000, 3_000_001)
        assert histogram.quantile(0.0) == 1_000_000
        assert histogram.quantile(0.5) == 2_000_895  # [1_999_872, 2_000_895] holds 2_000_000
        assert histogram.quantile(1.0) == 3_000_001
        assert histogram.quantiles((1.0, 0.5, 0.0)) == [3_000_001, 2_000_895, 1_000_000]

    def test_of_saturated_values_knows_the_largest(self) -> None:
        histogram = histogram_of(HIGHEST + 1, 3 * HIGHEST)
        assert histogram.quantile(0.5) == highest_equivalent(np.array([LAST]))[0]
        assert histogram.quantile(1.0) == 3 * HIGHEST

    @pytest.mark.parametrize("q", [-0.1, 1.1, math.nan])
    def test_outside_0_to_1_is_an_error(self, q: float) -> None:
        with pytest.raises(ValueError, match="0 … 1"):
            histogram_of(1).quantile(q)

    def test_of_nothing_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="empty"):
            Histogram().quantile(0.5)
        with pytest.raises(ValueError, match="empty"):
            _ = Histogram().mean

    def test_values_at_ranks_outside_are_an_error(self) -> None:
        histogram = histogram_of(1_000, 2_000)
        assert histogram.values_at([]) == []
        for k in (0, 3):
            with pytest.raises(ValueError, match="rank"):
                histogram.values_at([k])


class TestInfinite:
    def test_the_rank_decides(self) -> None:
        histogram = histogram_of(*range(10_000_000, 10_099_000_000, 101_898_990))  # 99 values
        assert histogram.total == 99 + 1
        assert histogram.quantile_with_infinite(0.99, 0) == histogram.quantile(0.99)
        assert histogram.quantile_with_infinite(0.5, 100) == histogram.max
        assert histogram.quantile_with_infinite(0.505, 100) == math.inf
        assert histogram.quantile_with_infinite(0.0, 100) == histogram.min

    def test_failures_alone_are_infinite(self) -> None:
        assert Histogram().quantile_with_infinite(0.0, 1) == math.inf

    @pytest.mark.parametrize("infinite", [0, -1])
    def test_no_values_at_all(self, infinite: int) -> None:
        with pytest.raises(ValueError, match="values"):
            Histogram().quantile_with_infinite(0.5, infinite)


class TestCountAbove:
    def test_counts_what_exceeds(self) -> None:
        histogram = histogram_of(1_000_000, 2_000_000, 3_000_000, HIGHEST, 2 * HIGHEST)
        probes = (-1, 999_999, 1_000_000, 2_500_000, HIGHEST - 2**32, HIGHEST, 2 * HIGHEST - 1, 2 * HIGHEST)
        assert [histogram.count_above(v) for v in probes] == [5, 5, 4, 3, 2, 1, 1, 0]

    def test_nothing_exceeds_in_an_empty_one(self) -> None:
        assert Histogram().count_above(-5) == 0


class TestMerge:
    def test_in_place_and_not(self) -> None:
        left, right = histogram_of(1_000, 5_000_000), histogram_of(2 * HIGHEST)
        both = left + right
        assert both == histogram_of(1_000, 5_000_000, 2 * HIGHEST)
        assert left == histogram_of(1_000, 5_000_000)
        left += right
        assert left == both
        left += left
        assert left.total == 6

    def test_a_copy_is_independent(self) -> None:
        original = histogram_of(1_000)
        original.copy().record(np.array([7]))
        assert original == histogram_of(1_000)

    def test_with_something_else_is_a_type_error(self) -> None:
        with pytest.raises(TypeError):
            _ = Histogram() + 1  # type: ignore[operator]
        assert Histogram() != 0

    def test_equality_sees_what_buckets_do_not(self) -> None:
        assert histogram_of(1_000_000) != histogram_of(1_000_001)

    def test_repr_is_for_people(self) -> None:
        assert repr(Histogram()) == "Histogram(empty)"
        assert repr(histogram_of(12_300_000)) == "Histogram(1 values, p50 12.3 ms, p99 12.3 ms, max 12.3 ms)"
        assert repr(histogram_of(5, 2 * HIGHEST)).endswith("max 7200 s, 1 saturated)")


I4, I8 = struct.Struct("<i").pack, struct.Struct("<q").pack
GOOD = (I4(0), I8(2), 1, 2, 3, 0)


class TestSparse:
    def test_a_good_one(self) -> None:
        assert Histogram.from_sparse(GOOD) == histogram_of(1, 2)
        assert histogram_of(1, 2).to_sparse() == GOOD
        assert Histogram().to_sparse() == (b"", b"", 0, 0, 0, 0)

    def test_passes_through_msgpack(self) -> None:
        histogram = histogram_of(0, 5_000_000, 2 * HIGHEST)
        assert Histogram.from_sparse(msgspec.msgpack.decode(msgspec.msgpack.encode(histogram.to_sparse()))) == histogram

    @pytest.mark.parametrize(
        ("bad", "why"),
        [
            (GOOD[:5], "six parts"),
            (("text", *GOOD[1:]), "bytes"),
            ((*GOOD[:5], "0"), "integers"),
            ((b"abc", *GOOD[1:]), "four bytes"),
            ((I4(0), I8(2)[:4], *GOOD[2:]), "four bytes"),
            ((b"", b"", 1, 2, 3, 0), "no buckets"),
            ((I4(-1), *GOOD[1:]), "ascend"),
            ((I4(LAST + 1), *GOOD[1:]), "ascend"),
            ((I4(0) * 2, I8(1) * 2, 1, 2, 3, 0), "ascend"),
            ((I4(0), I8(0), 1, 2, 3, 0), "positive"),
            ((I4(0), I8(2**62), 1, 2, 3, 0), "positive"),
            ((I4(0), I8(2), 1, 600, 601, 0), "outside its bucket"),
            ((I4(0), I8(2), -1, 2, 1, 0), "outside its bucket"),
            ((I4(0), I8(2), 1, 2, 5, 0), "sum"),
            ((I4(0), I8(2), 1, 2, 3, 1), "saturated"),
        ],
    )
    def test_a_malformed_one_leaves_no_trace(self, bad: tuple[bytes, bytes, int, int, int, int], why: str) -> None:
        histogram = histogram_of(9)
        with pytest.raises(ValueError, match=why):
            histogram.add_sparse(bad)
        assert histogram == histogram_of(9)


def v2(payload: bytes, **changes: object) -> bytes:
    """A V2 form around a payload, its header fields changed as told."""
    head = {
        "cookie": 0x1C849313,
        "size": len(payload),
        "offset": 0,
        "digits": DIGITS,
        "low": LOWEST,
        "high": HIGHEST,
        "ratio": 1.0,
    }
    packed = zlib.compress(struct.pack(">IIIIQQd", *(head | changes).values()) + payload)
    return struct.pack(">II", 0x1C849314, len(packed)) + packed


class TestV2:
    @pytest.mark.parametrize(
        ("values", "payload"),
        [
            ((), b"\x00"),  # Java: the one bucket up to max = 0, and it is empty
            ((0,), b"\x02"),
            ((0, 1024), b"\x02\x00\x02"),  # a single zero is 0 …
            ((0, 1536), b"\x02\x03\x02"),  # … two are −2
            ((600,) * 64, b"\x00\x80\x01"),  # 64 → zigzag 128 → two bytes
        ],
    )
    def test_payload_by_hand(self, values: tuple[int, ...], payload: bytes) -> None:
        encoded = histogram_of(*values).encode_v2()
        assert zlib.decompress(encoded[8:])[40:] == payload
        assert encoded == v2(payload)

    def test_the_ninth_byte_is_a_full_one(self) -> None:
        count = 2**61 + 12_345
        raw = 2 * count
        payload = bytes([raw >> 7 * i & 0x7F | 0x80 for i in range(8)] + [raw >> 56])
        histogram = Histogram.from_sparse((I4(0), I8(count), 0, 511, 0, 0))
        assert zlib.decompress(histogram.encode_v2()[8:])[40:] == payload
        assert Histogram.decode_v2(v2(payload)).total == count

    def test_rebuilds_min_max_and_sum_from_buckets(self) -> None:
        decoded = Histogram.decode_v2(histogram_of(1_000, 2_000_000).encode_v2())
        assert (decoded.min, decoded.max) == (512, 2_000_895)
        assert decoded.sum == 768 + 2_000_384
        assert decoded.saturated == 0

    @pytest.mark.parametrize(
        ("bad", "why"),
        [
            (b"short", "too short"),
            (v2(b"\x02")[:-1], "length"),
            (b"\x00" + v2(b"\x02")[1:], "length"),
            (v2(b"\x02")[:8] + b"?" * (len(v2(b"\x02")) - 8), "header"),
            (struct.pack(">II", 0x1C849314, 11) + zlib.compress(b"abc"), "too short"),
            (struct.pack(">II", 0x1C849314, len(zlib.compress(bytes(10**6)))) + zlib.compress(bytes(10**6)), "too long"),
            (v2(b"\x02", cookie=1), "payload"),
            (v2(b"\x02", size=2), "payload"),
            (v2(b"\x02", digits=2), "layout"),
            (v2(b"\x02", high=HIGHEST + 1), "layout"),
            (v2(b"\x02", ratio=2.0), "layout"),
            (v2(b"\x02", offset=1), "shifted"),
            (v2(b"\x80"), "cut short"),
            (v2(b"\xff" * 9), "more buckets"),
            (v2(b"\xfe" + b"\xff" * 8), "positive"),
            (v2(b"\x02" * (COUNTS_LEN + 1)), "more buckets"),
        ],
    )
    def test_a_malformed_one(self, bad: bytes, why: str) -> None:
        with pytest.raises(ValueError, match=why):
            Histogram.decode_v2(bad)


class TestAgainstThePackage:
    def test_it_reads_ours_and_we_read_it(self) -> None:
        values = latencies(50_000).tolist()
        ours, theirs = histogram_of(*values), theirs_of(values)
        np.testing.assert_array_equal(ours.counts, np.array(theirs.counts))
        read = HdrHistogram.decode(base64.b64encode(ours.encode_v2()))
        np.testing.assert_array_equal(np.array(read.counts), ours.counts)
        assert read.get_total_count() == 50_000
        back = Histogram.decode_v2(base64.b64decode(theirs.encode()))
        assert back == Histogram.decode_v2(ours.encode_v2())
        assert back.sum / back.total == theirs.get_mean_value()

    def test_edges_both_ways(self) -> None:
        ours, theirs = histogram_of(*EDGES), theirs_of(EDGES)
        np.testing.assert_array_equal(np.array(HdrHistogram.decode(base64.b64encode(ours.encode_v2())).counts), ours.counts)
        np.testing.assert_array_equal(Histogram.decode_v2(base64.b64decode(theirs.encode())).counts, ours.counts)

    def test_empty_both_ways(self) -> None:
        assert HdrHistogram.decode(base64.b64encode(Histogram().encode_v2())).get_total_count() == 0
        assert Histogram.decode_v2(base64.b64decode(HdrHistogram(LOWEST, HIGHEST, DIGITS).encode())) == Histogram()

    def test_what_it_keeps_above_the_highest_is_saturated(self) -> None:
        theirs = theirs_of([1_000_000, 2**42 - 1])  # its last octave ends above HIGHEST
        ours = Histogram.decode_v2(base64.b64decode(theirs.encode()))
        assert (ours.total, ours.saturated, ours.max, ours.counts[LAST]) == (2, 1, 2**42 - 1, 1)
        assert Histogram.from_sparse(ours.to_sparse()) == ours

    def test_same_percentiles(self) -> None:
        """Its rank is int(p/100 · N + 0.5), Java's and ours ⌈p⁻ · N⌉: N = 50 000 makes p · N whole and the two equal."""
        values = latencies(50_000).tolist()
        ours, theirs = histogram_of(*values), theirs_of(values)
        percents = (0.01, 1, 5, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.99)
        assert ours.quantiles([p / 100 for p in percents]) == [theirs.get_value_at_percentile(p) for p in percents]

    def test_within_one_rank_for_any_count(self) -> None:
        """With an odd N the two rank rules may differ by one, hence a neighbour is allowed: its rank − 1, rank, rank + 1."""
        values = latencies(9_973).tolist()
        ours, theirs = histogram_of(*values), theirs_of(values)
        for percent in (0.3, 12.5, 50, 66.6, 90, 99, 99.9):
            k = theirs.get_target_count_at_percentile(percent)
            assert abs(rank(percent / 100, ours.total) - k) <= 1
            assert ours.values_at([k]) == [theirs.get_value_at_percentile(percent)]
