"""What one recorded value costs: our vectorised histogram beside the `hdrhistogram` package; then encoding and quantiles.

    python -m benchmarks.histogram

Rounds are interleaved, so that a noisy machine is noisy for both. The best round is the cost of the code, the median that of
the machine as it was. Values are log-normal around 20 ms. Ends within 20 s.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable

import numpy as np
from hdrh.histogram import HdrHistogram

from clipload.histogram import DIGITS, HIGHEST, LOWEST, Histogram

SIZES = (100, 1_000, 10_000, 1_000_000)
THEIRS = 2_000
ROUNDS = 40
QUANTILES = (0.5, 0.9, 0.99, 0.999)


def cost_ns(work: Callable[[], object], times: int) -> float:
    """Nanoseconds per call, over `times` calls."""
    begin = time.perf_counter_ns()
    for _ in range(times):
        work()
    return (time.perf_counter_ns() - begin) / times


def recorder(values: np.ndarray) -> Callable[[], object]:
    histogram = Histogram()
    return lambda: histogram.record(values)


def their_recorder(values: list[int]) -> Callable[[], object]:
    theirs = HdrHistogram(LOWEST, HIGHEST, DIGITS)

    def record_all() -> None:
        for value in values:
            theirs.record_value(value)

    return record_all


def rounds(contestants: dict[str, tuple[Callable[[], object], int, int]]) -> dict[str, list[float]]:
    """ns per value of each contestant (work, values per call, calls per round), round by round, taking turns."""
    costs: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(ROUNDS):
        for name, (work, values, times) in contestants.items():
            costs[name].append(cost_ns(work, times) / values)
    return costs


def recording(values: np.ndarray) -> None:
    contestants = {f"record, {n} values": (recorder(values[:n]), n, max(1, 100_000 // n)) for n in SIZES}
    contestants["hdrhistogram record_value"] = (their_recorder(values[:THEIRS].tolist()), THEIRS, 1)
    costs = rounds(contestants)
    theirs = costs["hdrhistogram record_value"]
    print(f"{'ns per value':<28}{'best':>9}{'median':>9}{'times faster (median)':>24}")
    for name, found in costs.items():
        ratio = statistics.median(theirs) / statistics.median(found)
        print(f"{name:<28}{min(found):>9.1f}{statistics.median(found):>9.1f}{ratio:>24.0f}")


def asking(values: np.ndarray) -> None:
    histogram = Histogram()
    histogram.record(values)
    encoded, sparse = histogram.encode_v2(), histogram.to_sparse()
    other = histogram.copy()
    works: dict[str, Callable[[], object]] = {
        "encode_v2": histogram.encode_v2,
        "decode_v2": lambda: Histogram.decode_v2(encoded),
        "to_sparse": histogram.to_sparse,
        "add_sparse": lambda: other.add_sparse(sparse),
        "merge (+=)": lambda: other.__iadd__(histogram),
        "quantile": lambda: histogram.quantile(0.99),
        f"quantiles, {len(QUANTILES)} at once": lambda: histogram.quantiles(QUANTILES),
    }
    used = len(sparse[0]) // 4
    print(f"\n{histogram!r}: {used} buckets in use, {len(encoded)} B as V2, {12 * used} B sparse")
    print(f"{'µs per call':<28}{'best':>9}{'median':>9}")
    for name, found in rounds({name: (work, 1, 5) for name, work in works.items()}).items():
        print(f"{name:<28}{min(found) / 1e3:>9.1f}{statistics.median(found) / 1e3:>9.1f}")


def main() -> None:
    rng = np.random.default_rng(1)
    values = rng.lognormal(math.log(2e7), 0.7, max(SIZES)).astype(np.int64)
    recording(values)
    asking(values[:4_000])
    asking(values)


if __name__ == "__main__":
    main()
