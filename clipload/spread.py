"""The figures of one Run, or of repeats of one load, with the interval that their spread gives: over seconds, or over runs.

Latencies are of all measured requests, those that were not ok infinite.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from clipload.estimate import Estimate, quantile, rate, repeats, share
from clipload.frames import SECOND_NS
from clipload.histogram import Histogram
from clipload.run import Run, Second
from clipload.series import Series
from clipload.tally import ERROR

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
FIGURES = ("throughput", *QUANTILES, "errors")
_NOT_OK = ("timeout", "censored", "unsent", "lost")


def estimates_of(runs: Sequence[Run]) -> dict[str, Estimate]:
    """Each figure that all Runs have: of one Run from its own seconds, of several the median and the interval over them."""
    found = [estimates(run) for run in runs]
    shared = [figure for figure in FIGURES if all(figure in each for each in found)]
    return {
        figure: found[0][figure] if len(found) == 1 else repeats([each[figure] for each in found]).estimate for figure in shared
    }


def estimates(run: Run) -> dict[str, Estimate]:
    """One Run's figures with the intervals that its own seconds give: `throughput` in samples/s, latencies in ns with every
    request that was not ok infinite, `errors` as the share of requests that were not ok."""
    seconds, bad = _measured(run)
    found = {"throughput": _throughput(run, seconds)}
    counts = [sum(part.counts.get("ok", 0) for part in second.of("measure")) + n for second, n in zip(seconds, bad)]
    if sum(counts):
        series = Series.of((_latency(second) for second in seconds), bad)
        found |= {label: quantile(series, q) for label, q in QUANTILES.items()}
        found["errors"] = share(bad, counts)
    return found


def _measured(run: Run) -> tuple[list[Second], list[int]]:
    """The seconds in which measured requests ended, without a gap, and how many of each were not ok (lost: in the last)."""
    known = {second.index: second for second in run.seconds}
    having = [index for index, second in known.items() if any(second.of("measure"))]
    first = run.bounds[1] // SECOND_NS
    seconds = [known.get(index) or Second(index) for index in range(first, max(having, default=first) + 1)]
    bad = [sum(_not_ok(part.counts) for part in second.of("measure")) for second in seconds]
    bad[-1] += run.measure["lost"]
    return seconds, bad


def _not_ok(counts: dict[str, int]) -> int:
    return sum(n for name, n in counts.items() if name.startswith(ERROR) or name in _NOT_OK)


def _latency(second: Second) -> Histogram:
    total = Histogram()
    for part in second.of("measure"):
        if "latency" in part.histograms:
            total.add_sparse(part.histograms["latency"])
    return total


def _throughput(run: Run, seconds: Sequence[Second]) -> Estimate:
    """The Run's own figure, with the interval of its whole seconds laid around it."""
    begin, end = run.bounds[1], run.bounds[1] + run.measured_ns
    whole = [second for second in seconds if begin <= second.index * SECOND_NS and (second.index + 1) * SECOND_NS <= end]
    if not whole:
        return Estimate("rate", run.throughput, 0.0, math.inf, 1.0, 0.0, False)
    found = rate([sum(part.counts.get("ok", 0) for part in second.of()) for second in whole])
    size, shift = run.plan.batch_size, run.requests_per_s - found.value
    low, high = max(0.0, found.low + shift) * size, (found.high + shift) * size
    return replace(found, value=run.throughput, low=min(low, run.throughput), high=max(high, run.throughput))
