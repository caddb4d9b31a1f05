"""One HDR histogram of durations: recorded by the array, merged by addition, asked by rank.

The contract, in numbers (the layout is fixed, so that any two histograms can be added):

    values      int ns ≥ 0; 0 … 3.6e12 (one hour) keep their own bucket; above that they saturate into the last one, counted
    precision   a bucket is 512 ns wide below 1.05 ms and at most 1/1024 of its value above (3 significant digits)
    min, max, sum, total, saturated     exact, whatever the buckets lose
    memory      24 576 counts of int64 = 192 KiB; sparse 12 B per bucket in use; V2 + zlib typically 0.3 … 8 kB
    cost        ~4 ns per value in arrays of 10 000, 7 ns of 10^6, 12 ns of 1 000, 90 ns of 100 (benchmarks/histogram.py)

Layout, rank rule and V2 encoding are those of the Java HdrHistogram (lowest 1 000, highest 3.6e12, 3 digits).
Nothing here reads a clock, does I/O or draws a random number.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from clipload.units import format_ns

LOWEST = 1_000
HIGHEST = 3_600_000_000_000
DIGITS = 3
COUNTS_LEN = 24_576

_UNIT = 9  # log2 of the width of the finest bucket: 512 ns, the power of two below LOWEST
_HALF = 10  # log2 of the number of buckets per octave: 1 024, the power of two above 10³
_OUTER = struct.Struct(">II")
_INNER = struct.Struct(">IIIIQQd")
_OUTER_COOKIE = 0x1C849314
_INNER_COOKIE = 0x1C849313

Int64s = NDArray[np.int64]
Sparse = tuple[bytes, bytes, int, int, int, int]


def indices(values: Int64s) -> Int64s:
    """The bucket of each value, same shape; above HIGHEST that of HIGHEST. A negative duration is our own bug: ValueError."""
    if values.size and values.min() < 0:
        raise ValueError("a negative duration")
    return _indices(np.minimum(values, HIGHEST))


def _indices(values: Int64s) -> Int64s:
    """`indices` for values known to lie in 0 … HIGHEST.

    From 2^19 upwards the exponent and the top ten bits of the mantissa of the double *are* the index, but for a constant
    (exact: values are below 2^53). Below 2^19 buckets are linear, and there that logarithmic number is never the larger.
    """
    index = values.astype(np.float64).view(np.int64)
    index >>= 52 - _HALF
    index -= (1023 + _UNIT + _HALF - 1) << _HALF
    linear = values >> _UNIT
    np.minimum(linear, (1 << _HALF) - 1, out=linear)
    np.maximum(index, linear, out=index)
    return index


def _shifts(index: Int64s) -> Int64s:
    """log2 of the width of each bucket in units: 0, 0, 1, 2, … for the octaves 0, 1, 2, 3, …"""
    shifts: Int64s = np.maximum((index >> _HALF) - 1, 0)
    return shifts


def lowest_equivalent(index: Int64s) -> Int64s:
    """The smallest value of each bucket."""
    shift = _shifts(index)
    lowest: Int64s = (index - (shift << _HALF)) << (shift + _UNIT)
    return lowest


def highest_equivalent(index: Int64s) -> Int64s:
    """The largest value of each bucket."""
    return lowest_equivalent(index + 1) - 1


def _index(value: int) -> int:
    """`indices` of one int ≥ 0, some 25 times cheaper than an array of one."""
    value = min(value, HIGHEST)
    shift = max(value.bit_length() - 1 - _UNIT - _HALF, 0)
    return (shift << _HALF) + (value >> (shift + _UNIT))


LAST = _index(HIGHEST)


def rank(q: float, total: int) -> int:
    """The 1-based rank of the q-quantile of `total` values, as in Java: ⌈q⁻ · total⌉ where q⁻ is the double just below q.

    Law: rank(k / total, total) = k, whichever way the division was rounded. ValueError unless 0 ≤ q ≤ 1.
    """
    if not 0.0 <= q <= 1.0:
        raise ValueError(f"a quantile of {q}: it must lie in 0 … 1")
    return max(1, math.ceil(math.nextafter(q, -math.inf) * total))


def _exact_sum(values: Int64s, high: int) -> int:
    """Σ values; in two halves where one int64 could overflow (below 2^31 values)."""
    if high * values.size < 2**63:
        return int(values.sum())
    return (int((values >> 32).sum()) << 32) + int((values & 0xFFFF_FFFF).sum())


class Histogram:
    """A mutable multiset of durations. Merging is integer addition; `Histogram()` is its identity.

    `min`, `max` and `sum` are exact, and 0 while nothing is recorded; `saturated` counts the values above HIGHEST.
    """

    __slots__ = ("_counts", "max", "min", "saturated", "sum", "total")

    def __init__(self) -> None:
        self._counts: Int64s = np.zeros(COUNTS_LEN, np.int64)
        self.total = 0
        self.saturated = 0
        self.min = 0
        self.max = 0
        self.sum = 0

    @property
    def counts(self) -> Int64s:
        """The count of every bucket, dense, shape (24 576,): a read-only view, not a copy."""
        view = self._counts.view()
        view.flags.writeable = False
        return view

    @property
    def mean(self) -> float:
        """Exact up to the division. ValueError when empty."""
        self._need_values()
        return self.sum / self.total

    def record(self, values: Int64s) -> None:
        """Count each value once. One negative value is a ValueError, and then nothing is counted."""
        if not values.size:
            return
        low, high = int(values.min()), int(values.max())
        if low < 0:
            raise ValueError(f"a negative duration: {low} ns")
        over = int(np.count_nonzero(values > HIGHEST)) if high > HIGHEST else 0
        total = _exact_sum(values, high)
        index = _indices(np.minimum(values, HIGHEST) if over else values)
        # Measured: in batches of 100 and 1 000, 3 to 5 times faster than bincount, which touches all buckets; level at 100 000.
        np.add.at(self._counts, index, 1)
        self._absorb(values.size, low, high, total, over)

    def _absorb(self, total: int, low: int, high: int, sum_: int, saturated: int) -> None:
        """Everything but the buckets of `total` > 0 more values."""
        self.min = min(self.min, low) if self.total else low
        self.max = max(self.max, high)
        self.total += total
        self.sum += sum_
        self.saturated += saturated

    def _need_values(self) -> None:
        if not self.total:
            raise ValueError("an empty histogram has no quantile and no mean")

    # questions

    def quantile(self, q: float) -> int:
        """The value of rank `rank(q, total)`: the top of its bucket, never above the exact max; q = 0 is the exact min.

        At most one bucket above the exact order statistic, never below it, save among saturated values, where only the
        largest is known. ValueError when empty or unless 0 ≤ q ≤ 1.
        """
        return self.quantiles((q,))[0]

    def quantiles(self, qs: Sequence[float]) -> list[int]:
        """`quantile` of each q, for the price of one."""
        self._need_values()
        found = self.values_at([rank(q, self.total) for q in qs])
        return [value if q else self.min for q, value in zip(qs, found)]

    def values_at(self, ranks: Sequence[int]) -> list[int]:
        """The value of each 1-based rank, as `quantile` gives it. ValueError unless 1 ≤ rank ≤ total."""
        if any(not 1 <= k <= self.total for k in ranks):
            raise ValueError(f"a rank outside 1 … {self.total}")
        if not ranks:
            return []
        first, last = _index(self.min), _index(self.max)
        index = first + np.searchsorted(np.cumsum(self._counts[first : last + 1]), ranks)
        found = np.minimum(highest_equivalent(index), self.max).tolist()
        return [self.max if k == self.total else int(value) for k, value in zip(ranks, found)]

    def quantile_with_infinite(self, q: float, infinite: int) -> float:
        """The q-quantile of these values and `infinite` more of +∞; `math.inf` when its rank falls among those.

        For an objective every request that is not ok has infinite latency. ValueError when there is no value at all.
        """
        if infinite < 0 or not self.total + infinite:
            raise ValueError("no values" if not infinite else f"{infinite} infinite values")
        k = rank(q, self.total + infinite)
        if k > self.total:
            return math.inf
        return self.values_at([k])[0] if q else self.min

    def count_above(self, value: int) -> int:
        """How many values exceed `value`; those that share its bucket count as not above, the saturated ones as above."""
        if value >= self.max:
            return 0
        if value < self.min:
            return self.total
        index = _index(value)
        return int(self._counts[index + 1 : LAST + 1].sum()) + (self.saturated if index == LAST else 0)

    # merging

    def __iadd__(self, other: Histogram) -> Self:
        if not isinstance(other, Histogram):
            return NotImplemented
        if other.total:
            self._counts += other._counts
            self._absorb(other.total, other.min, other.max, other.sum, other.saturated)
        return self

    def __add__(self, other: Histogram) -> Histogram:
        if not isinstance(other, Histogram):
            return NotImplemented
        merged = self.copy()
        merged += other
        return merged

    def copy(self) -> Histogram:
        """An independent histogram of the same values."""
        twin = Histogram()
        twin += self
        return twin

    def __eq__(self, other: object) -> bool:
        """Same buckets, same exact facts. (Mutable, hence no hash.)"""
        if not isinstance(other, Histogram):
            return NotImplemented
        return self._facts() == other._facts() and np.array_equal(self._counts, other._counts)

    def _facts(self) -> tuple[int, int, int, int]:
        return self.min, self.max, self.sum, self.saturated

    def __repr__(self) -> str:
        if not self.total:
            return "Histogram(empty)"
        p50, p99 = map(format_ns, self.quantiles((0.5, 0.99)))
        over = f", {self.saturated} saturated" if self.saturated else ""
        return f"Histogram({self.total} values, p50 {p50}, p99 {p99}, max {format_ns(self.max)}{over})"

    # the sparse form, for pipes and the journal

    def _used(self) -> tuple[Int64s, Int64s]:
        """The buckets in use, ascending, and their counts."""
        index = np.flatnonzero(self._counts > 0)
        return index, self._counts[index]

    def to_sparse(self) -> Sparse:
        """(indices as little-endian int32, counts as little-endian int64, min, max, sum, saturated): nothing is lost."""
        index, counts = self._used()
        return index.astype("<i4").tobytes(), counts.astype("<i8").tobytes(), *self._facts()

    @classmethod
    def from_sparse(cls, sparse: Sparse) -> Self:
        """The inverse of `to_sparse`, exactly. ValueError when malformed."""
        histogram = cls()
        histogram.add_sparse(sparse)
        return histogram

    def add_sparse(self, sparse: Sparse) -> None:
        """Add what `to_sparse` gave, touching only the buckets it names. ValueError when malformed; then nothing is added."""
        index, counts = _parse_sparse(sparse)
        if index.size:
            self._counts[index] += counts
            self._absorb(int(counts.sum()), *sparse[2:])

    # the V2 form, for HdrHistogram's tools

    def encode_v2(self) -> bytes:
        """The compressed V2 form that HdrHistogram's own libraries decode. It carries buckets; min, max and sum are lost."""
        payload = _varints(_words(*self._used()))
        inner = _INNER.pack(_INNER_COOKIE, len(payload), 0, DIGITS, LOWEST, HIGHEST, 1.0) + payload
        packed = zlib.compress(inner)
        return _OUTER.pack(_OUTER_COOKIE, len(packed)) + packed

    @classmethod
    def decode_v2(cls, data: bytes) -> Self:
        """Buckets as encoded, by us or by another library with this layout; ValueError when malformed or of another layout.

        The rest is rebuilt as HdrHistogram does: min = bottom of the first bucket, max = top of the last, sum = Σ count ·
        middle of the bucket. Buckets above that of HIGHEST, which others may fill, are folded into it as saturated.
        """
        histogram = cls()
        index, counts = _buckets(_unpack(data))
        if index.size:
            low, high = lowest_equivalent(index), highest_equivalent(index)
            middle = low + ((high - low + 1) >> 1)
            np.add.at(histogram._counts, np.minimum(index, LAST), counts)
            total = sum(map(int.__mul__, counts.tolist(), middle.tolist()))
            histogram._absorb(int(counts.sum()), int(low[0]), int(high[-1]), total, int(counts[index > LAST].sum()))
        return histogram


def _check(ok: bool, what: str) -> None:
    if not ok:
        raise ValueError(f"not a histogram: {what}")


def _parse_sparse(sparse: Sparse) -> tuple[Int64s, Int64s]:
    """Indices and counts of a sparse form whose parts all agree; ValueError otherwise."""
    _check(len(sparse) == 6 and all(isinstance(part, bytes) for part in sparse[:2]), "six parts, two of them bytes")
    raw_index, raw_counts, low, high, sum_, saturated = sparse
    _check(all(isinstance(fact, int) for fact in sparse[2:]), "min, max, sum and saturated must be integers")
    _check(len(raw_index) % 4 == 0 and len(raw_counts) == 2 * len(raw_index), "four bytes an index, eight a count")
    index, counts = np.frombuffer(raw_index, "<i4").astype(np.int64), np.frombuffer(raw_counts, "<i8").astype(np.int64)
    if not index.size:
        _check(low == high == sum_ == saturated == 0, "no buckets, yet values")
        return index, counts
    _check(index[0] >= 0 and index[-1] <= LAST and bool((np.diff(index) > 0).all()), "indices must ascend within the layout")
    _check_counts(counts)
    _check(0 <= low <= high < 2**63 and (_index(low), _index(high)) == (index[0], index[-1]), "min or max outside its bucket")
    _check(low * int(counts.sum()) <= sum_ <= high * int(counts.sum()), "a sum that min and max do not allow")
    _check(0 <= saturated <= counts[-1] and (not saturated or high > HIGHEST), "saturated without such values")
    return index, counts


def _check_counts(counts: Int64s) -> None:
    _check(bool((counts > 0).all()) and float(counts.sum(dtype=np.float64)) < 2**62, "counts must be positive and have a sum")


def _words(index: Int64s, counts: Int64s) -> Int64s:
    """The counts up to the last one in use as V2 words: a count; one zero as 0; k ≥ 2 zeros as −k (Java's rule)."""
    if not index.size:
        return np.zeros(1, np.int64)
    gaps = np.diff(index, prepend=-1) - 1
    pairs = np.stack((np.where(gaps > 1, -gaps, 0), counts), axis=1)
    return pairs[np.stack((gaps > 0, counts > 0), axis=1)]


def _varints(words: Int64s) -> bytes:
    """ZigZag, then LEB128-64b9B: 7 bits a byte, low first, the top bit says more follow; a 9th byte carries all its 8 bits."""
    raw = ((words << 1) ^ (words >> 63)).view(np.uint64)[:, None]
    width = min(max(-(-int(raw.max()).bit_length() // 7), 1), 9)
    digits = raw >> np.arange(0, 7 * width, 7, dtype=np.uint64)
    more = digits[:, 1:] > 0
    digits[:, :8] &= np.uint64(0x7F)
    digits[:, : width - 1] |= more.astype(np.uint64) << np.uint64(7)
    used = np.concatenate((np.ones_like(raw, bool), more), axis=1)
    packed: bytes = digits.astype(np.uint8)[used].tobytes()
    return packed


def _unvarints(payload: bytes) -> Iterator[int]:
    """The words of `_varints`, one by one. ValueError when the last is cut short."""
    raw = place = 0
    for byte in payload:
        last = byte < 0x80 or place == 8
        raw |= (byte if last else byte & 0x7F) << (7 * place)
        place += 1
        if last:
            yield (raw >> 1) ^ -(raw & 1)
            raw = place = 0
    _check(place == 0, "the V2 payload is cut short")


def _buckets(words: Iterable[int]) -> tuple[Int64s, Int64s]:
    """The buckets in use and their counts out of V2 words; ValueError when they leave the layout."""
    index, counts, at = [], [], 0
    for word in words:
        if word > 0:
            index.append(at)
            counts.append(word)
        at += -word if word < 0 else 1
        _check(at <= COUNTS_LEN, "more buckets than the layout has")
    found = np.array(counts, np.int64)
    _check_counts(found)
    return np.array(index, np.int64), found


def _unpack(data: bytes) -> Iterator[int]:
    """The words inside the compressed V2 form; ValueError unless it is one, whole, of this very layout."""
    _check(len(data) >= _OUTER.size, "too short for V2")
    cookie, size = _OUTER.unpack_from(data)
    _check(cookie & ~0xF0 == _OUTER_COOKIE & ~0xF0 and size == len(data) - _OUTER.size, "no compressed V2 form of this length")
    inner = _inflate(data[_OUTER.size :], _INNER.size + 9 * COUNTS_LEN)
    _check(len(inner) >= _INNER.size, "too short for V2")
    cookie, size, offset, *layout = _INNER.unpack_from(inner)
    _check(cookie & ~0xF0 == _INNER_COOKIE & ~0xF0 and size == len(inner) - _INNER.size, "no V2 payload of this length")
    _check(offset == 0 and layout == [DIGITS, LOWEST, HIGHEST, 1.0], f"the layout is {layout}, shifted by {offset}")
    return _unvarints(inner[_INNER.size :])


def _inflate(packed: bytes, limit: int) -> bytes:
    """zlib, at most `limit` bytes: the layout bounds what an honest form can hold."""
    inflater = zlib.decompressobj()
    try:
        data = inflater.decompress(packed, limit)
    except zlib.error as error:
        raise ValueError(f"not a histogram: {error}") from error
    _check(inflater.eof, "its zlib stream is cut short, or too long for the layout")
    return data
