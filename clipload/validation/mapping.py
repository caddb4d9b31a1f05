"""A map of vectors: those of both sides, at unit length, laid down on the two directions in which they differ most.

Bounded: of each kind at most MOST Items are drawn, by a seed, beside those that must be on it. The components are those of what
is drawn, both sides together, so that neither side is seen through the other's eyes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipload.pacing import generator
from clipload.principal import principal
from clipload.retrieval import unit
from clipload.validation.pairs import Pairs

MAP_STREAM = 109  # of random numbers
MOST = 400  # Items of each kind
VISIBLE = 0.01  # of a side of the map: nearer than that on both, two points are seen as one
LIES_APART = 0.1  # of a cosine: more than chance gives among a few dozen Items of one cloud

Floats = NDArray[np.floating[Any]]
Doubles = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Gap:
    """Cosines on average: of two texts, of two images, of a text and an image."""

    texts: float
    images: float
    across: float

    @property
    def lies_apart(self) -> bool:
        return min(self.texts, self.images) - self.across > LIES_APART


@dataclass(frozen=True, slots=True)
class VectorMap:
    """Point i of `found` (the server's) and `reference`, both [m, 2], is of the Item rows[i]. `shares` [2] of the variance."""

    rows: Rows
    found: Doubles
    reference: Doubles
    shares: Doubles
    gap: Gap | None

    @property
    def apart(self) -> NDArray[np.bool_]:
        """[m]: whose two points can be told apart."""
        both = np.concatenate([self.found, self.reference])
        far: NDArray[np.bool_] = (np.abs(self.found - self.reference) > VISIBLE * np.ptp(both, axis=0)).any(axis=1)
        return far


def vector_map(pairs: Pairs, seed: int, must: Sequence[int] = ()) -> VectorMap:
    """`must`: rows that are on it whatever is drawn. ValueError for vectors without direction."""
    rows = drawn([item.kind for item in pairs.items], seed, must)
    found, reference = unit(pairs.found[rows]), unit(pairs.reference[rows])
    axes = principal(np.concatenate([found, reference]))
    kinds = np.array([pairs.items[row].kind for row in rows])
    gap = gap_of(found[kinds == "text"], found[kinds == "image"])
    return VectorMap(rows, axes.project(found), axes.project(reference), axes.shares, gap)


def drawn(kinds: Sequence[str], seed: int, must: Sequence[int]) -> Rows:
    """Rows in their order: of each kind MOST at most, and `must`."""
    named, draws = np.array(kinds), generator(seed, MAP_STREAM)
    of_each = [np.flatnonzero(named == kind) for kind in ("text", "image")]
    some = [draws.choice(of, MOST, replace=False) if len(of) > MOST else of for of in of_each]
    return np.unique(np.concatenate([*some, np.array(must, np.int64)]))


def gap_of(texts: Floats, images: Floats) -> Gap | None:
    """Of unit vectors; None where one kind has fewer than two."""
    if min(len(texts), len(images)) < 2:
        return None
    sums = [of.sum(axis=0, dtype=np.float64) for of in (texts, images)]
    within = [float(whole @ whole - len(of)) / (len(of) * (len(of) - 1)) for whole, of in zip(sums, (texts, images))]
    return Gap(within[0], within[1], float(sums[0] @ sums[1]) / (len(texts) * len(images)))
