"""How much of a latency can be the client's own lateness, when each is known but not which fell on which request.

What a client sees is X = D + L: the target's time, and the client's lateness in reading the reply. All of it is pure.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clipload.histogram import Histogram, highest_equivalent


def least(seen: Histogram, late: Histogram, q: float) -> int:
    """The least that the q-quantile of `seen` can be without `late` (ns), to a bucket of each.

    For any l, P(D > x) ≥ P(X > x + l) − P(L > l), hence Q_D(q) ≥ max over l of Q_X(q − P(L > l)) − l. Source: Makarov's bound
    (Theory of Probability and its Applications 26, 1981). Laws: 0 ≤ it ≤ the quantile itself, which it is when nothing was
    late. ValueError when nothing was seen, unless 0 < q < 1.
    """
    _check(q)
    values, beyond = _latenesses(late)
    left = q - beyond
    bounds = np.array(seen.quantiles(left[left > 0].tolist())) - values[left > 0]
    return max(0, min(int(bounds.max()), seen.quantile(q)))


def once_more(seen: Histogram, late: Histogram, q: float) -> int:
    """The q-quantile of `seen` with an independent dose of `late` upon it (ns), to a bucket of each.

    What a second dose does, the first has done too, about: the idea of simulation and extrapolation (Cook and Stefanski, JASA
    89, 1994). Law: never below the quantile itself, which it is when nothing was late. Errors as `least`.
    """
    _check(q)
    values, beyond = _latenesses(late)
    shares = -np.diff(beyond, prepend=1.0)
    low, high = seen.quantile(q), seen.quantile(q) + int(values[-1])
    used = np.flatnonzero(seen.counts)
    tops, above = np.minimum(highest_equivalent(used), seen.max), 1.0 - np.cumsum(seen.counts[used]) / seen.total
    above = np.concatenate([[1.0], above])
    while high - low > max(512, high >> 10):
        middle = (low + high) // 2
        exceed = shares @ above[np.searchsorted(tops, middle - values, side="right")]
        low, high = (middle, high) if exceed > 1 - q else (low, middle)
    return low


def shift(with_it: int, without: int) -> float:
    """By how much a figure would move, relative to what it would be then."""
    return (with_it - without) / max(1, without)


def _latenesses(late: Histogram) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Each value seen, ascending, and the share beyond it. The first bucket is no lateness: its half microsecond would cost
    every bit of lateness its rank."""
    used = np.flatnonzero(late.counts)
    if not len(used):
        return np.zeros(1, np.int64), np.zeros(1)
    values = np.where(used == 0, 0, np.minimum(highest_equivalent(used), late.max))
    return values, 1.0 - np.cumsum(late.counts[used]) / late.total


def _check(q: float) -> None:
    if not 0 < q < 1:
        raise ValueError(f"a quantile of {q}: it must lie between 0 and 1")
