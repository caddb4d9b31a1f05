"""A Run's latencies by time, and what batches of time say of a count.

Requests in a queue are not independent: one busy period is one event, however many requests it slowed. So time is cut
into B batches (20, 30 and 60; each second its own when there are fewer than 20), and the variance between batches takes the
place of the variance that independent requests would have:

    S² = Σ_b (e_b − w_b Σe)² / (1 − Σ w_b²)     w_b: the batch's share of all requests (of the time, for a rate)
    h  = t_{B−1} · √max(S², the variance of independent requests)         the largest over the groupings

For equal batches 1 − Σ w² is (B − 1)/B, and B is 1/Σ w² in general, so that nearly empty batches count for little.
Source: batch means for steady-state simulation (Law, Simulation Modeling and Analysis, ch. 9). All of it pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from clipload.distributions import student_quantile
from clipload.histogram import Histogram, Sparse, indices, lowest_equivalent

BATCHES = (20, 30, 60)

Reals = NDArray[np.float64]


@dataclass(frozen=True, slots=True, repr=False)
class Series:
    """Latencies by time: at most 60 slots of whole seconds, and how many requests of each have infinite latency."""

    slots: tuple[Histogram, ...]
    infinite: Reals
    merged: Histogram

    @classmethod
    def of(cls, seconds: Iterable[Histogram], infinite: Sequence[int]) -> Self:
        """From consecutive seconds, taken one by one: an hour needs the memory of 60. ValueError when the lengths differ.

        `infinite`: the requests of each second that were not ok; a fate without an instant (lost) belongs to the last.
        """
        slots, slot_of = _empty_slots(len(infinite))
        for slot, histogram in zip(slot_of, seconds, strict=True):
            slots[slot] += histogram
        return cls._closed(slots, np.bincount(slot_of, infinite, len(slots)))

    @classmethod
    def of_sparse(cls, seconds: Iterable[Iterable[Sparse]], infinite: Sequence[int]) -> Self:
        """As `of`, from any number of sparse histograms a second."""
        slots, slot_of = _empty_slots(len(infinite))
        for slot, parts in zip(slot_of, seconds, strict=True):
            for part in parts:
                slots[slot].add_sparse(part)
        return cls._closed(slots, np.bincount(slot_of, infinite, len(slots)))

    @classmethod
    def _closed(cls, slots: list[Histogram], infinite: NDArray[Any]) -> Self:
        merged = Histogram()
        for histogram in slots:
            merged += histogram
        return cls(tuple(slots), infinite.astype(np.float64), merged)

    @property
    def sizes(self) -> Reals:
        """How many requests each slot has."""
        return np.array([slot.total for slot in self.slots]) + self.infinite

    def above(self, value: float) -> Reals:
        """How many requests of each slot exceed `value` (its bucket does not count as above)."""
        if math.isinf(value):
            return np.zeros(len(self.slots))
        return np.array([slot.count_above(int(value)) for slot in self.slots]) + self.infinite

    def from_bucket_of(self, value: float) -> Reals:
        """How many requests of each slot lie in the bucket of `value` or above it."""
        return self.infinite if math.isinf(value) else self.above(bottom(value) - 1)

    def __repr__(self) -> str:
        return f"Series({len(self.slots)} slots, {self.merged!r}, {self.infinite.sum():.0f} infinite)"


def bottom(value: float) -> int:
    """The smallest value of the bucket that holds `value`."""
    return int(lowest_equivalent(indices(np.array([int(value)])))[0])


def _empty_slots(seconds: int) -> tuple[list[Histogram], NDArray[np.intp]]:
    """At most 60 slots, and the slot of each second."""
    edges = _edges(seconds, min(seconds, BATCHES[-1]))
    return [Histogram() for _ in edges], np.repeat(np.arange(len(edges)), np.diff(edges, append=seconds))


def _edges(seconds: int, batches: int) -> NDArray[np.intp]:
    """Where each of `batches` ≤ `seconds` consecutive batches begins; as equal as whole seconds allow."""
    return np.arange(batches) * seconds // max(1, batches)


@dataclass(frozen=True, slots=True)
class Dispersion:
    """What the batches say of a count: its `variance`, and how far (`reach`) a level's interval goes to either side of it."""

    variance: float
    reach: float


def dispersion(events: Reals, weights: Reals, level: float, independent: float = 0.0) -> Dispersion:
    """Of Σ `events`, counted in consecutive slots of `weights`; never less than `independent`, the variance without dependence.

    The largest over the groupings. Both are ∞ when fewer than two batches have any weight.
    """
    found = [_batch_variance(events, weights, b) for b in BATCHES if b <= len(events)]
    found = found or [_batch_variance(events, weights, len(events))]
    known = [(max(variance, independent), df) for variance, df in found if df >= 1]
    if not known:
        return Dispersion(math.inf, math.inf)
    reach = max(student_quantile((1 + level) / 2, df) * math.sqrt(variance) for variance, df in known)
    return Dispersion(max(variance for variance, _ in known), reach)


def _batch_variance(events: Reals, weights: Reals, batches: int) -> tuple[float, int]:
    """S² and its degrees of freedom (0: unknown)."""
    if not len(events) or not weights.sum():
        return 0.0, 0
    edges = _edges(len(events), batches)
    share = np.add.reduceat(weights, edges) / weights.sum()
    concentration = float((share**2).sum())
    df = round(1 / concentration) - 1
    if df < 1:
        return 0.0, 0
    apart = np.add.reduceat(events, edges) - share * events.sum()
    return float((apart**2).sum()) / (1 - concentration), df
