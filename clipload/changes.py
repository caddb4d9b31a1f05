"""How much a figure changed from one Estimate to another, and what that is called. Pure.

Laws: a figure is called *worse* or *better* only when the whole interval of its change lies beyond the limit, *unchanged*
only when it lies within; set beside itself nothing is worse or better.

A change is a ratio, its interval that of the two figures' logarithms taken together:

    ln r ± √((ln b − ln b⁻)² + (ln a⁺ − ln a)²)        below; above likewise with the other two bounds

Source: MOVER, Zou and Donner, Statistics in Medicine 27, 2008. Of errors and wrong vectors it is the difference of the shares,
and any certain increase is worse: a limit on a share that ought to be 0 says nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from clipload.estimate import Estimate

LIMIT = 0.05
SHARES = ("errors", "wrong")  # figures of which the change is the difference
MOST = 700.0  # ln of a ratio, beyond which a double has none

Outcome = Literal["better", "unchanged", "worse", "inconclusive"]


@dataclass(frozen=True, slots=True)
class Change:
    """From `before` to `after`: relative (0.1: 10 % more), of `SHARES` the difference. `outcome` by `limit`."""

    figure: str
    before: Estimate
    after: Estimate
    value: float
    low: float
    high: float
    outcome: Outcome


def change_of(figure: str, before: Estimate, after: Estimate, limit: float) -> Change:
    a, b, shares = _believed(before), _believed(after), figure in SHARES
    value, low, high = difference(a, b) if shares else ratio(a, b)
    bad = (-high, -low) if figure == "throughput" else (low, high)  # by how much it is the worse, at least and at most
    return Change(figure, before, after, value, low, high, outcome_of(bad, 0.0 if shares else limit, shares))


def _believed(estimate: Estimate) -> Estimate:
    """Of an estimate that rests on too little only the lower bound is believed."""
    return estimate if estimate.sufficient else replace(estimate, high=math.inf)


def outcome_of(bad: tuple[float, float], limit: float, absent_is_unchanged: bool) -> Outcome:
    """`bad`: by how much it is the worse, at least and at most."""
    if bad[0] > limit:
        return "worse"
    if bad[1] < -limit:
        return "better"
    return "unchanged" if absent_is_unchanged or (bad[0] >= -limit and bad[1] <= limit) else "inconclusive"


def difference(a: Estimate, b: Estimate) -> tuple[float, float, float]:
    value = b.value - a.value
    return value, value - math.hypot(b.value - b.low, a.high - a.value), value + math.hypot(b.high - b.value, a.value - a.low)


def ratio(a: Estimate, b: Estimate) -> tuple[float, float, float]:
    """(value, low, high) − 1 of b/a; where a figure is 0 or infinite, only the farthest apart that the bounds allow."""
    if not all(0 < one.value < math.inf for one in (a, b)):
        value = _over(b.value, a.value)
        return value - 1, min(value, _over(b.low, a.high)) - 1, max(value, _over(b.high, a.low)) - 1
    middle = math.log(b.value / a.value)
    down = math.hypot(_log(b.value, b.low), _log(a.high, a.value))
    up = math.hypot(_log(b.high, b.value), _log(a.value, a.low))
    return math.expm1(middle), math.expm1(middle - down), math.expm1(middle + up) if middle + up < MOST else math.inf


def _log(above: float, below: float) -> float:
    return math.log(above / below) if below > 0 and math.isfinite(above) else math.inf


def _over(above: float, below: float) -> float:
    """A quotient in [0, ∞]; what is as infinite, or as much nothing, as the other is its equal."""
    if above == below:
        return 1.0
    return above / below if 0 < below < math.inf else 0.0 if math.isinf(below) else math.inf


def percent(value: float, unit: str = "%") -> str:
    """A change for people: `+3.1 %`, `−0.2 pp`."""
    if not math.isfinite(value):
        return "∞" if value > 0 else "−∞"
    digits = f"{100 * value:+.3g}" if abs(value) < 9.995 else f"{100 * value:+.0f}"
    return f"{digits} {unit}".replace("-", "−")
