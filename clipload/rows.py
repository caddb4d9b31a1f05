"""The rows of intervals.csv: one for each second of the run by *done* instant, all phases and workers together.

Counts, gauges, and percentiles in ms. Beside each percentile `..._low` and `..._high`, the bounds of the interval that it has
*if the requests of its second are independent of each other* (`estimate.quantile_of`): order statistics of that second alone.
They say what its few requests leave open, and nothing of how a queue makes its requests alike: intervals of the run are in
run.json. A cell is empty when nothing was recorded; a bound, where no rank is left for it, and the upper one also where fewer
than `estimate.FEWEST` requests lie in the tail (p99 needs 1000 a second), for no more than the lower one is believed then.
"""

from __future__ import annotations

import csv
import io
import math

from clipload.estimate import quantile_of
from clipload.histogram import Histogram
from clipload.run import Run

_COLUMNS = ("second", "ok", "samples", "errors", "timeout", "in_flight", "waiting", "connections")
_SERIES = (("latency", "p50"), ("latency", "p99"), ("latency", "max"), ("service", "p50"), ("service", "p99"), ("lag", "p99"))
_QUANTILES = {"p50": 0.5, "p99": 0.99}
_BOUNDS = ("", "_low", "_high")


def intervals_csv(run: Run) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    named = [f"{name}_{p}_ms{end}" for name, p in _SERIES for end in (_BOUNDS if p in _QUANTILES else ("",))]
    writer.writerow([*_COLUMNS, *named, "worker_cpu", "starved_ms"])
    for second in run.seconds:
        tally = second.tally
        counts = (second.index, tally["ok"], tally["samples"], sum(tally.errors.values()), tally["timeout"])
        gauges = (second.in_flight, second.waiting, second.connections)
        figures = [cell for name, what in _SERIES for cell in _cells(tally.histogram(name), what)]
        cpu = f"{second.cpu_ns / 1e9 / len(run.workers):.3f}"
        writer.writerow([*counts, *gauges, *figures, cpu, f"{second.starved_ns / 1e6:.3f}"])
    return text.getvalue()


def _cells(histogram: Histogram, what: str) -> list[str]:
    """The maximum; or a percentile, its lower and its upper bound."""
    if what not in _QUANTILES:
        return [_ms(histogram.max) if histogram.total else ""]
    if not histogram.total:
        return [""] * len(_BOUNDS)
    found = quantile_of(histogram, _QUANTILES[what])
    high = _ms(found.high) if found.sufficient and math.isfinite(found.high) else ""
    return [_ms(found.value), _ms(found.low) if found.low else "", high]


def _ms(ns: float) -> str:
    return f"{ns / 1e6:.3f}"
