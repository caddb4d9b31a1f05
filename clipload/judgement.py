"""Whether an interval decides an objective, and whether it is narrow enough to stop. Pure functions of an Estimate.

Laws: an objective is met or missed only when the whole interval lies on one side of its limit; `<` and `>` are never
both met, nor both missed; a narrower interval turns neither met nor missed into the other.
"""

from __future__ import annotations

import math
from typing import Literal

from clipload.estimate import Estimate

Relation = Literal["<", ">"]
Judgement = Literal["met", "missed", "inconclusive"]
GROWTH = 1.5


def judge(estimate: Estimate, relation: Relation, limit: float) -> Judgement:
    """`value < limit` or `value > limit` on the interval: more time decides what is inconclusive.

    Of an insufficient Estimate only the lower bound and the roof are believed: short runs miss the tail and do not invent one.
    """
    above = estimate.low >= limit if relation == "<" else estimate.low > limit
    high = estimate.high if estimate.sufficient else math.inf
    high = min(high, estimate.roof)
    below = high < limit if relation == "<" else high <= limit
    if relation == "<":
        return "met" if below else "missed" if above else "inconclusive"
    return "met" if above else "missed" if below else "inconclusive"


def precise(estimate: Estimate, width: float) -> bool:
    """Whether ± half the interval is at most `width` of the value (0.1: ±10 %), and the Estimate can be believed."""
    return estimate.sufficient and estimate.half_width <= width


def checkpoints(first: int, last: int, growth: float = GROWTH) -> list[int]:
    """The instants at which stopping may be considered: `first`, each `growth` times the one before, and `last`.

    Few on purpose: who looks often stops at a lucky interval (repeated significance tests, Armitage et al., JRSS A 132, 1969).
    In whole units of whatever `first` and `last` are counted in (ns). ValueError unless 0 < first and growth > 1.
    """
    if not (first > 0 and growth > 1):
        raise ValueError(f"checkpoints from {first} that grow by {growth}")
    found, instant = [], float(first)
    while round(instant) < last:
        found.append(round(instant))
        instant = max(instant * growth, instant + 1)
    return [*found, last]
