"""Confidence intervals for what a Run says: quantiles, rates and shares, from its per-second series.

The variance of a count is that between batches of time (`series.dispersion`); its ratio to the variance that independent
requests would have is the variance inflation factor (VIF). A figure is worth as many independent observations as it has
observations / VIF.

Laws: low ≤ value ≤ high; a higher level never gives a narrower interval; how requests of one second were spread over workers
does not matter. A request that is not ok has infinite latency.
Sources: Woodruff's interval for quantiles (JASA 47, 1952), Korn and Graubard's for shares (Survey Methodology 24, 1998). All of
it is pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np

from clipload.distributions import beta_quantile, student_quantile
from clipload.histogram import Histogram
from clipload.series import Series, bottom, dispersion
from clipload.units import format_ns

LEVEL = 0.95
FEWEST = 10  # effective observations in the tail, below which an interval covers the truth too seldom
FEWEST_RUNS = 3
ROOF = 1.5  # times the slowest of all: with no such room one queue in seven meets an objective that is its own true quantile
_ROOM = 0.01  # what is beyond the roof must be a smaller share than this, though more may lie beyond the quantile

_UNITS = " %/nsmµ"  # the characters of units

Quantity = Literal["latency", "rate", "share"]


@dataclass(frozen=True, slots=True, repr=False)
class Estimate:
    """A figure and its interval: `latency` in ns, `rate` in 1/s, `share` in 0 … 1.

    `high` = ∞: nothing bounds it above, print "≥ low". `effective`: how many independent observations it rests on (of a
    quantile: those in its tail). Not `sufficient`: print it greyed, and believe no more of it than its lower bound and its
    `roof`, below which the quantile lies though too few requests are slow to say where: no request came near it.
    """

    quantity: Quantity
    value: float
    low: float
    high: float
    vif: float
    effective: float
    sufficient: bool
    roof: float = math.inf

    @property
    def bounded(self) -> bool:
        return math.isfinite(self.high)

    @property
    def half_width(self) -> float:
        """Of the interval, relative to the value: ∞ when unbounded, 0 for an exact 0."""
        if not self.bounded:
            return math.inf
        half = (self.high - self.low) / 2
        return half / self.value if self.value else math.inf if half else 0.0

    @property
    def said(self) -> str:
        """The value, for people."""
        return _text(self.quantity, self.value)

    @property
    def span(self) -> str:
        """The interval, for people: `80.1–97.0 ms`, `≥ 80.1 ms` when nothing bounds it above, `unknown` when nothing at all."""
        low, high = _text(self.quantity, self.low), _text(self.quantity, self.high)
        if not self.bounded:
            return "∞" if math.isinf(self.low) else f"≥ {low}" if self.low else "unknown"
        if low == high:
            return high
        number = low.rstrip(_UNITS)
        return f"{number}–{high}" if low[len(number) :] == high[len(high.rstrip(_UNITS)) :] or not self.low else f"{low}–{high}"

    def __repr__(self) -> str:
        value, low, high = (_text(self.quantity, figure) for figure in (self.value, self.low, self.high))
        span = f"{low} … {high}" if self.bounded else f"≥ {low}"
        lack = "" if self.sufficient else ": insufficient"
        return f"Estimate({value}, {span}, {self.effective:.3g} effective{lack})"


def _text(quantity: Quantity, figure: float) -> str:
    if quantity == "latency":
        return format_ns(figure)
    if quantity == "rate":
        return f"{figure:.4g}/s"
    return f"{100 * figure:.3g} %" if figure >= 1e-6 else "0 %"


def quantile(series: Series, q: float, level: float = LEVEL) -> Estimate:
    """The q-quantile of latency with failures as +∞: the values of two ranks, outwards to a whole rank and bucket.

    Above, the rank qN + h. Below, the rank that leaves Clopper and Pearson's upper bound for the share 1 − q above it: no
    nearer than qN − h, and far wider where the tail is a few skewed events, which would else call chance a high latency.
    Each bound has the variance of its own side of the bucket that holds the quantile: below, of the requests in it or above;
    above, of those beyond it. (Where many share one value, as failures do, these differ; elsewhere hardly.) A bound
    beyond the last rank is ∞, one before the first is 0. `effective` = N · min(q, 1 − q) / VIF, `sufficient` from 10 up.
    `roof`: 1.5 × the slowest, where none beyond it in N / VIF independent requests leaves a share below 1 − q, and below 1 %.
    ValueError when there is no request or unless 0 < q < 1.
    """
    if not 0 < q < 1:
        raise ValueError(f"a quantile of {q}: it must lie between 0 and 1")
    infinite = int(series.infinite.sum())
    value, total = series.merged.quantile_with_infinite(q, infinite), series.merged.total + infinite
    independent = total * q * (1 - q)
    under = dispersion(series.from_bucket_of(value), series.sizes, level, independent)
    over = dispersion(series.above(value), series.sizes, level, independent)
    vif = (under if math.isinf(value) else over).variance / independent
    effective = total * min(q, 1 - q) / vif
    return Estimate(
        "latency",
        value,
        _lower(series.merged, total * _exact(q, total, under.reach, level)[0]),
        _upper(series.merged, total * q + over.reach),
        vif,
        effective,
        effective >= FEWEST,
        _roof(series, q, total / vif, level),
    )


def _roof(series: Series, q: float, requests: float, level: float) -> float:
    """Clopper and Pearson's bound for none of `requests`, and room: how the slowest would cluster is known from others only."""
    bound = 1 - ((1 - level) / 2) ** (1 / requests) if requests else 1.0
    return math.inf if series.infinite.any() or bound >= min(1 - q, _ROOM) else ROOF * series.merged.max


def quantile_of(histogram: Histogram, q: float, level: float = LEVEL) -> Estimate:
    """The q-quantile of what one second recorded, *as if its requests were independent*: the values of the ranks
    qN ± z √(Nq(1 − q)), outwards as in `quantile`.

    `vif` = 1 is assumed here, not seen: one second has no batches of time that could show it. Of independent requests the
    interval holds the truth at least as often as `level` says, whatever N; of a queue's far less often (M/M/1 at ρ = 0.7: the
    p99 of one second in three). So it tells what the second's few requests leave open, never how well a run knows a
    percentile, and is to be labelled so. `effective` = N · min(q, 1 − q). ValueError when empty or unless 0 < q < 1.
    """
    if not 0 < q < 1:
        raise ValueError(f"a quantile of {q}: it must lie between 0 and 1")
    total = histogram.total
    reach = NormalDist().inv_cdf((1 + level) / 2) * math.sqrt(total * q * (1 - q))
    effective = total * min(q, 1 - q)
    return Estimate(
        "latency",
        histogram.quantile(q),
        _lower(histogram, total * q - reach),
        _upper(histogram, total * q + reach),
        1.0,
        effective,
        effective >= FEWEST,
    )


def _lower(merged: Histogram, rank: float) -> float:
    """The bottom of the bucket of the last whole rank ≤ `rank`; ∞ among the infinite, 0 before the first."""
    if rank < 1:
        return 0.0
    if math.floor(rank) > merged.total:
        return math.inf
    return max(bottom(merged.values_at([math.floor(rank)])[0]), merged.min)


def _upper(merged: Histogram, rank: float) -> float:
    """The value of the rank after the first whole one ≥ `rank`, as for independent order statistics; ∞ beyond the last."""
    if not rank <= merged.total - 1:
        return math.inf
    return merged.values_at([math.ceil(rank) + 1])[0]


def _exact(part: float, total: float, reach: float, level: float) -> tuple[float, float]:
    """Clopper and Pearson's bounds for a share `part`, of as many independent requests as would have this normal `reach`."""
    z, side = NormalDist().inv_cdf((1 + level) / 2), (1 - level) / 2
    n = part * (1 - part) * (total * z / reach) ** 2
    if not n:
        return 0.0, 1.0
    low = beta_quantile(side, part * n, (1 - part) * n + 1)
    return low, 1 - beta_quantile(side, (1 - part) * n, part * n + 1)


def rate(counts: Sequence[int], level: float = LEVEL) -> Estimate:
    """Events/s from the counts of consecutive whole seconds: mean ± h / T. ValueError when there is no second.

    A count is known to one event at best, so h ≥ 1; none seen in T leaves −ln(1 − level) / T possible (3 / T). VIF is the index
    of dispersion, 1 for Poisson events and less for even ones.
    """
    events = np.asarray(counts, np.float64)
    if not events.size:
        raise ValueError("a rate needs at least one second")
    total, seconds = float(events.sum()), events.size
    found = dispersion(events, np.ones(seconds), level)
    reach = max(found.reach, 1.0 if total else -math.log(1 - level))
    vif = found.variance / total if total else 1.0
    effective = total / max(1.0, vif)
    low, high = max(0.0, total - reach) / seconds, (total + reach) / seconds
    return Estimate("rate", total / seconds, low, high, vif, effective, math.isfinite(reach))


def share(events: Sequence[int], totals: Sequence[int], level: float = LEVEL) -> Estimate:
    """The share of events (errors, say) among the requests of consecutive seconds; ValueError when there are no requests.

    Clopper and Pearson's bounds for N / VIF requests, fewer still as the VIF is known from few batches (by (z/t)²). Where none
    or all are events nothing shows how they would cluster: VIF is 1, and all of 1 − level goes to the one bound
    (no error in 299 requests: below 1 %). Law: the share of the others is the mirror image.
    """
    counts, sizes = np.asarray(events, np.float64), np.asarray(totals, np.float64)
    total, count = float(sizes.sum()), float(counts.sum())
    if not total:
        raise ValueError("a share needs at least one request")
    value = count / total
    if count in (0, total):
        low, high = (0.0, 1 - (1 - level) ** (1 / total)) if not count else ((1 - level) ** (1 / total), 1.0)
        return Estimate("share", value, low, high, 1.0, total, True)
    independent = total * value * (1 - value)
    found = dispersion(counts, sizes, level, independent)
    low, high = _exact(value, total, found.reach, level)
    vif = found.variance / independent
    return Estimate("share", value, low, high, vif, total / vif, math.isfinite(vif))


@dataclass(frozen=True, slots=True, repr=False)
class Repeats:
    """R full runs: the median of their values with the interval over runs, and where the spread comes from.

    `between`: standard deviation of the runs' values. `within`: what each run's own interval lets one expect of it (root mean
    square); None when a run's interval is unbounded. Much more between than within: repeat more often, not longer.
    """

    estimate: Estimate
    values: tuple[float, ...]
    between: float
    within: float | None

    def __repr__(self) -> str:
        between, within = (
            "unknown" if spread is None or not math.isfinite(spread) else _text(self.estimate.quantity, spread)
            for spread in (self.between, self.within)
        )
        return f"Repeats({len(self.values)} runs, {self.estimate!r}, {between} between and {within} within)"


def repeats(runs: Sequence[Estimate], level: float = LEVEL) -> Repeats:
    """Median, and mean ± t_{R−1} s/√R, never below 0, widened to hold the median; `sufficient`: three runs or more,
    each sufficient itself, for repeating a run that is too short repeats its bias.

    Runs that agree to the last digit (no error in any) say no more together than the one that knows most says alone: their
    interval is its. One run, or one infinite value among finite ones, bounds nothing. Order does not matter. ValueError when
    there is no run.
    """
    if not runs:
        raise ValueError("no runs")
    values = np.array([run.value for run in runs])
    n, median = len(values), float(np.median(values))
    between, low, high = math.inf, 0.0, math.inf
    if n > 1 and (values == values[0]).all():  # not by their deviation: that of equal doubles may round to more than 0
        between, low, high = 0.0, max(run.low for run in runs), min(run.high for run in runs)
    elif np.isfinite(values).all() and n > 1:
        between, mean = float(values.std(ddof=1)), float(values.mean())
        reach = student_quantile((1 + level) / 2, n - 1) * between / math.sqrt(n)
        low, high = max(0.0, min(median, mean - reach)), max(median, mean + reach)
    enough = n >= FEWEST_RUNS and all(run.sufficient for run in runs)
    estimate = Estimate(runs[0].quantity, median, low, high, 1.0, n, enough)
    return Repeats(estimate, tuple(values.tolist()), between, _within(runs, level))


def _within(runs: Sequence[Estimate], level: float) -> float | None:
    """Root mean square of the runs' standard errors, each read off its interval."""
    if not all(run.bounded for run in runs):
        return None
    z = NormalDist().inv_cdf((1 + level) / 2)
    return math.sqrt(sum(((run.high - run.low) / 2 / z) ** 2 for run in runs) / len(runs))
