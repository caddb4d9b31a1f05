"""Parity: whether two sides give the same Items the same vectors. Pure numpy.

An Item passes when 1 − cosine of its two vectors is at most the limit of the two dtypes (measured, `LIMITS`), and when of all
reference vectors the nearest is its own: that catches vectors that were swapped, whatever the limit. Components are never
compared: servers differ in norms. Reference vectors nearer to each other than a tenth of the limit are one and the same
input to the model (captions that differ in case, say), and count as one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipload.retrieval import unit

# Measured on full-size architectures with random weights: fp16 stays under 1.2e-6, bf16 under 8e-5, int8 near 2.3e-4; different
# inputs are at least 5.8e-3 apart. What `--amp parity` lowers is promised to stay under 1e-5 of fp32.
LIMITS = {"fp32": 1e-5, "fp16": 1e-5, "fp32+bf16": 2e-5, "bf16": 1e-3, "int8": 1e-3}
TWINS = 0.1  # of the limit
_ROUNDING = 1e-6  # of a cosine in float32
_ROWS = 512

Floats = NDArray[np.floating[Any]]
Rows = NDArray[np.int64]


def limit_for(*dtypes: str) -> float:
    """The wider one; of an unknown dtype nothing is conceded."""
    return max(LIMITS.get(dtype, LIMITS["fp32"]) for dtype in dtypes)


@dataclass(frozen=True, slots=True)
class Compared:
    """For each Item: `distance` 1 − cosine of its two vectors, `nearest` the row of the reference vector nearest to its own
    (itself, when there is none nearer), `between` the distance to that one; `answer` which of several answers this is of."""

    distance: NDArray[np.float64]
    nearest: Rows
    between: NDArray[np.float64]
    answer: Rows

    def strays(self) -> NDArray[np.bool_]:
        """Items that are nearer to another's reference vector than to their own."""
        return np.not_equal(self.nearest, np.arange(len(self.nearest)))

    def failed(self, limit: float) -> NDArray[np.bool_]:
        return (self.distance > limit) | self.strays()


def compare(found: Floats, reference: Floats, limit: float) -> Compared:
    """Row i of both belongs to Item i. ValueError for vectors without direction."""
    found, reference = unit(found), unit(reference)
    distance = distances(found, reference)
    nearest = np.arange(len(found))
    between = distance.copy()
    for start in range(0, len(found), _ROWS):
        scores = found[start : start + _ROWS] @ reference.T
        own = np.diagonal(scores, start).copy()
        doubtful = np.flatnonzero(scores.max(axis=1) > own + _ROUNDING)
        if not len(doubtful):
            continue
        rows, others = start + doubtful, scores[doubtful]
        others[1 - reference[rows] @ reference.T <= TWINS * limit] = -np.inf  # the same to the model
        best = others.argmax(axis=1)
        strays = others.max(axis=1) > own[doubtful] + _ROUNDING
        nearest[rows[strays]] = best[strays]
        between[rows[strays]] = distances(found[rows[strays]], reference[best[strays]])
    return Compared(distance, nearest, between, np.zeros(len(found), np.int64))


def distances(left: Floats, right: Floats) -> NDArray[np.float64]:
    """1 − cosine of unit rows, exact to the rounding of the vectors themselves: half the square of their difference."""
    gap = left.astype(np.float64) - right
    return np.asarray(0.5 * np.einsum("ij,ij->i", gap, gap))


def worst_of(several: list[Compared]) -> Compared:
    """Of several answers to the same Items the worst of each: one that strays, else the one farthest away."""
    distances = np.stack([one.distance + 4.0 * one.strays() for one in several])
    pick = distances.argmax(axis=0)
    rows = np.arange(distances.shape[1])

    def picked(values: list[Any]) -> Any:
        return np.stack(values)[pick, rows]

    return Compared(
        picked([one.distance for one in several]),
        picked([one.nearest for one in several]),
        picked([one.between for one in several]),
        pick,
    )
