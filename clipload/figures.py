"""The figures of a Run with their intervals, and whether there was a steady state to measure.

Law: of each quantile of all workers together that is printed there is an Estimate here, with the same value (of one worker's
or target's: in `own`). For an objective every request that is not ok has infinite latency (`with_failures`); the quantiles of
ok requests stand beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from clipload.estimate import Estimate, quantile, rate, share
from clipload.frames import SECOND_NS
from clipload.plan import Plan
from clipload.seconds import Seconds
from clipload.slo import Objective, Precision, Subject, parse_objectives
from clipload.steadiness import DRIFT_FEWEST, Drift, Little, WarmUp, drift, little, warm_up
from clipload.tally import HISTOGRAMS

PERCENTS = (50.0, 90.0, 95.0, 99.0, 99.9)
WARM_UP_FEWEST = 20  # seconds, below which a cut says nothing
WARM_UP_EXCESS = 0.10  # of the mean latency: what exceeds it by less is not worth a longer warm-up
_FIRST, _FAR = 3, 3.0  # so many seconds, so many standard deviations above the rest
LITTLE_FEWEST = 10  # seconds, below which those that reach over an edge are most of it
LITTLE_LEAST = 5.0  # requests in flight, below which single readings of a level say too little
_UNSTEADY = ("ramp", "steps", "burst", "trace")

Quantiles = dict[str, Estimate]  # by label: p50, p99.9


@dataclass(frozen=True, slots=True)
class Warming:
    """Latency of the first seconds against that of the rest: `excess` is what it had above it, relative."""

    warm_up: WarmUp
    excess: float
    apart: bool  # its very beginning is beyond what the seconds of the rest differ by: no busy spell that MSER cut off

    @property
    def falling(self) -> bool:
        """The first seconds were slower, and belong to the warm-up."""
        return self.warm_up.cut > 0 and self.apart and self.excess > WARM_UP_EXCESS


@dataclass(frozen=True, slots=True)
class Figures:
    """What a Run says. None: nothing was measured that could say it, or it has no meaning for this load."""

    quantiles: dict[str, Quantiles]  # histogram -> label -> of ok requests, or of whatever it holds
    with_failures: dict[str, Quantiles]  # latency, service: each request that was not ok is infinite
    requests: Estimate  # ok requests/s
    throughput: Estimate  # ok samples/s
    errors: Estimate | None
    drift: Drift | None
    warming: Warming | None
    little: Little | None

    def of(self, subject: Subject) -> Estimate | None:
        """The Estimate that an objective or a precision speaks of."""
        if subject.metric == "errors":
            return self.errors
        if subject.metric == "throughput":
            return self.throughput
        return self.with_failures.get(subject.metric, {}).get(subject.label)


def objectives(plan: Plan) -> list[Objective]:
    return [objective for text in plan.slo for objective in parse_objectives(text)]


def precision(plan: Plan) -> Precision | None:
    return None if plan.until is None else Precision.parse(plan.until)


def figures(plan: Plan, seconds: Seconds, requests_per_s: float) -> Figures:
    """`requests_per_s`: ok requests/s as the Run states it; the whole seconds say how well that is known."""
    asked = [objective.subject for objective in objectives(plan)] + [p.subject for p in [precision(plan)] if p]
    percents = sorted({*PERCENTS, *(subject.percent for subject in asked if subject.percent is not None)})
    requests = _rate(seconds, requests_per_s)
    by_name = {name: _quantiles(seconds, name, percents) for name in HISTOGRAMS}
    with_failures = {name: by_name[name] for name in ("latency", "service")}
    if any(seconds.not_ok()):
        with_failures = {name: _quantiles(seconds, name, percents, failures=True) for name in with_failures}
    return Figures(
        {name: found for name, found in by_name.items() if found},
        {name: found for name, found in with_failures.items() if found},
        requests,
        times(requests, plan.batch_size),
        _errors(seconds),
        drift_of(plan, seconds),
        warming_of(plan, seconds),
        _little(plan, seconds),
    )


def one_figure(plan: Plan, seconds: Seconds, subject: Subject) -> Estimate | None:
    """As `Figures.of`, without the others; throughput is that of the whole seconds."""
    if subject.metric == "errors":
        return _errors(seconds)
    if subject.percent is None:
        counts = seconds.per_whole(lambda second: second.count("ok"))
        return times(rate(counts), plan.batch_size) if counts else None
    return _quantiles(seconds, subject.metric, [subject.percent], failures=True).get(subject.label)


def _quantiles(seconds: Seconds, name: str, percents: Iterable[float], *, failures: bool = False) -> Quantiles:
    if not failures and not any(name in part.histograms for second in seconds.measured for part in second.of("measure")):
        return {}
    series = seconds.series(name, failures=failures)
    if not series.merged.total + series.infinite.sum():
        return {}
    subjects = [Subject("latency", percent) for percent in percents]
    return {subject.label: quantile(series, subject.q) for subject in subjects}


def _rate(seconds: Seconds, requests_per_s: float) -> Estimate:
    """The interval is that of the whole seconds, laid around the stated figure, which has the broken ones in it."""
    counts = seconds.per_whole(lambda second: second.count("ok"))
    if not counts:
        return Estimate("rate", requests_per_s, 0.0, math.inf, 1.0, 0.0, False)
    found = rate(counts)
    shift = requests_per_s - found.value
    return replace(found, value=requests_per_s, low=max(0.0, found.low + shift), high=found.high + shift)


def times(estimate: Estimate, factor: int) -> Estimate:
    return replace(estimate, value=estimate.value * factor, low=estimate.low * factor, high=estimate.high * factor)


def _errors(seconds: Seconds) -> Estimate | None:
    failed = seconds.not_ok()
    totals = [ok + bad for ok, bad in zip(seconds.ok(), failed)]
    return share(failed, totals) if sum(totals) else None


def steady(plan: Plan) -> bool:
    """Whether the load itself is the same from beginning to end."""
    return all(getattr(plan, name) is None for name in _UNSTEADY)


def drift_of(plan: Plan, seconds: Seconds) -> Drift | None:
    """Over the later half of the phase, or five seconds of it. A closed loop's level cannot drift."""
    if not plan.open_loop or not steady(plan):
        return None
    whole = seconds.whole
    later = whole[max(0, min(len(whole) // 2, len(whole) - DRIFT_FEWEST)) :]
    if len(later) < 2:
        return None
    return drift([second.level for second in later], sum(second.count("scheduled", "measure") for second in later))


def warming_of(plan: Plan, seconds: Seconds) -> Warming | None:
    """MSER on the mean latency of each second that has one."""
    told = [second for second in seconds.whole if second.count("ok", "measure")]
    if not steady(plan) or len(told) < WARM_UP_FEWEST:
        return None
    means = [second.sum_ns("latency", "measure") / second.count("ok", "measure") for second in told]
    found = warm_up(means, 1)
    first, rest = means[: found.cut], means[found.cut :]
    if not first:
        return Warming(found, 0.0, False)
    usual = fmean(rest)
    return Warming(found, fmean(first) / usual - 1, fmean(first[:_FIRST]) > usual + _FAR * stdev(rest))


def _little(plan: Plan, seconds: Seconds) -> Little | None:
    """Of all requests, whatever their phase. Constant arrivals would be read at one and the same point of their period."""
    whole = seconds.whole
    if len(whole) < LITTLE_FEWEST or not steady(plan) or (plan.open_loop and plan.arrival == "constant"):
        return None
    count = sum(second.count("ok") + second.not_ok() for second in whole)
    spent = sum(second.sum_ns(name) for second in whole for name in ("latency", "failed", "bound"))
    if not count or spent / (len(whole) * SECOND_NS) < LITTLE_LEAST:
        return None
    return little([second.level for second in whole], count / len(whole), spent / count)
