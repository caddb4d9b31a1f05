"""Workers that depart from the others by more than chance. Pure functions of a Run.

All workers send to the same targets on one schedule (worker k of n has every n-th arrival), so each has its share of the
slowest 1 %, and of the failures, whatever the target did meanwhile: given their number, its part is binomial, and requests that
depend on each other in time do no harm. An outlier has a share outside the Clopper-Pearson interval at 1 − 0.001/n of its own
requests' (Przyborowski and Wilenski's conditional test, Biometrika 31, 1940), *and* a difference that matters: a p99 1.5 × the
median of the others' or 1/1.5 of it, a count 5 % beside its share.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from clipload.distributions import beta_quantile
from clipload.histogram import Histogram
from clipload.run import Run
from clipload.series import bottom

CHANCE = 0.001  # that a worker without a fault is called an outlier, all of them together, for each of the two figures
FACTOR = 1.5
APART = 0.05
_TAIL = 0.99


@dataclass(frozen=True, slots=True)
class Outlier:
    """What of it departs, in words; `slow` when it is its p99, which then moves that of all."""

    worker: int
    sentence: str
    slow: bool


def outliers(run: Run) -> list[Outlier]:
    """In the measured phase. Of one worker nothing can be said; of two nobody can say which departs."""
    if len(run.workers) < 2:
        return []
    tails = _tails(run)
    found = [tails.get(number) or _count(run, number) for number in run.workers]
    return [outlier for outlier in found if outlier is not None]


def _tails(run: Run) -> dict[int, Outlier]:
    """Beside the median of the others' p99, which one outlier among them does not move."""
    latencies = {number: account.phases["measure"].histogram("latency") for number, account in run.workers.items()}
    p99s = {number: latency.quantile(_TAIL) for number, latency in latencies.items() if latency.total}
    if len(p99s) < 2:
        return {}
    everybody, found = run.measure.histogram("latency"), {}
    below = bottom(everybody.quantile(_TAIL)) - 1
    slowest = everybody.count_above(below)
    for number, p99 in p99s.items():
        times = p99 / max(1.0, median(other for n, other in p99s.items() if n != number))
        share = latencies[number].total / everybody.total
        if not 1 / FACTOR < times < FACTOR and departs(latencies[number].count_above(below), slowest, share, len(run.workers)):
            found[number] = Outlier(number, f"p99 {times:.2g} × that of the others", times > 1)
    return found


def _count(run: Run, number: int) -> Outlier | None:
    mine, total = run.workers[number].phases["measure"]["ok"], run.measure["ok"]
    share = _share(run, number)
    if not total or not share or not departs(mine, total, share, len(run.workers)):
        return None
    apart = mine / total / share - 1
    return Outlier(number, f"{100 * apart:+.0f} % ok beside its share", False) if abs(apart) > APART else None


def _share(run: Run, number: int) -> float:
    """Of the ok requests: by what it was asked for, or in a closed loop without a count by its slots."""
    plan = run.plan
    if plan.open_loop or plan.requests is not None:
        return run.workers[number].phases["measure"]["scheduled"] / max(1, run.measure["scheduled"])
    return plan.in_flight.share(number, plan.workers) / plan.in_flight.slots


def without(run: Run, numbers: set[int]) -> Histogram:
    """The latency of the workers that are not in `numbers`."""
    total = Histogram()
    for number, account in run.workers.items():
        if number not in numbers:
            total += account.phases["measure"].histogram("latency")
    return total


def departs(part: int, whole: int, share: float, workers: int) -> bool:
    """Whether `part` of `whole` events is not a share of `share` by chance. ValueError unless 0 ≤ part ≤ whole."""
    if not 0 <= part <= whole:
        raise ValueError(f"{part} of {whole}")
    if not whole:
        return False
    side = CHANCE / workers / 2
    low = beta_quantile(side, part, whole - part + 1) if part else 0.0
    high = beta_quantile(1 - side, part + 1, whole - part) if part < whole else 1.0
    return not low <= share <= high
