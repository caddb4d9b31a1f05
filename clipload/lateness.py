"""How much of a latency can be the client's own lateness, when each is known but not which fell on which request.

What a client sees is X = D + L: the target's time and the client's lateness in reading the reply. For any l,
P(D > x) ≥ P(X > x + l) − P(L > l), whatever the two have to do with each other, hence

    Q_D(q)  ≥  max over l of  Q_X(q − P(L > l)) − l

Source: Makarov's bound for the distribution of a difference (Theory of Probability and its Applications 26, 1981). Pure.
"""

from __future__ import annotations

import numpy as np

from clipload.histogram import Histogram, highest_equivalent


def quantile_without(seen: Histogram, late: Histogram, q: float) -> int:
    """The least that the q-quantile of `seen` can be without `late` (ns), to a bucket of each.

    Laws: 0 ≤ it ≤ the quantile itself, which it is when nothing was late. ValueError when nothing was seen, unless 0 < q < 1.
    """
    if not 0 < q < 1:
        raise ValueError(f"a quantile of {q}: it must lie between 0 and 1")
    most = seen.quantile(q)
    used = np.flatnonzero(late.counts)
    if not len(used):
        return most
    beyond = 1.0 - np.cumsum(late.counts[used]) / late.total
    lateness = np.minimum(highest_equivalent(used), late.max)
    lateness[used == 0] = 0
    left = q - beyond
    bounds = np.array(seen.quantiles(left[left > 0].tolist())) - lateness[left > 0]
    return max(0, min(int(bounds.max()), most))


def shift(with_it: int, without: int) -> float:
    """By how much a figure would move, relative to what it would be then."""
    return (with_it - without) / max(1, without)
