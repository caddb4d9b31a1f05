"""Likeness: whether vectors that came under load are those that the same Items had alone. Pure numpy.

Laws
* What an Item had alone, to the rounding of the dtype, is right, whatever else is known.
* The first class of `CLASSES` that applies is a vector's, and the first of its vectors' is a reply's.
* An Item without a usable reference is looked at all the same: only what takes a reference is not asked of it.

Measured (`validation.parity`): on full-size architectures fp16 moves a vector by less than 1.2e-6 (1 − cosine), bf16 by less
than 8e-5, int8 by near 2.3e-4; another text or image by 5.8e-3 at least, a leak between requests by 0.09.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CLASSES = {
    "unreadable": "a reply that cannot be decoded",
    "count": "another number of vectors",
    "dimension": "a vector of another length than alone",
    "nan": "a number that is none, or infinite",
    "zero": "nothing but zeros",
    "order": "the vector of another Item of the same request",
    "swapped": "the vector of an Item of another request",
    "length": "the right direction, and another norm",
    "different": "a vector that no Item had alone: others leak into it, or it is another's that was not asked for alone",
}
UNKNOWN = 1e-3  # the limit when nothing says the dtype: well above rounding, well below any other text or image
LIMITS = {"float32": 1e-5, "float16": 1e-5, "bfloat16": 1e-3}  # of 1 − cosine
_TWINS = 0.1  # of the limit: references nearer than that are one and the same to the model
NONE = -1  # the row of an Item that has no reference

Floats = NDArray[np.floating[Any]]
Rows = Sequence[int]


def limit_for(dtype: str) -> float:
    """Of 1 − cosine, up to which two vectors are one."""
    return LIMITS.get(dtype, UNKNOWN)


@dataclass(frozen=True, slots=True)
class Compared:
    """One reply: the class of each vector ("" is right), how many had a reference to be compared with, and the farthest of
    those: 1 − cosine, and the largest difference of a component relative to the reference's norm."""

    classes: tuple[str, ...]
    compared: int
    distance: float
    difference: float

    @property
    def wrong(self) -> str:
        """The class of the reply."""
        return first_of(self.classes)


def first_of(classes: Sequence[str]) -> str:
    """The first class in the order of `CLASSES`; "" when all is right."""
    return next((name for name in CLASSES if name in classes), "")


class References:
    """What Items had alone: rows of vectors as they came; a row that is not finite, or zero, is of no use.

    `limit`: of 1 − cosine. ValueError unless the rows have one length.
    """

    def __init__(self, rows: Floats, limit: float) -> None:
        if rows.ndim != 2:
            raise ValueError(f"references of shape {rows.shape}")
        self.limit = limit
        self.rows = rows.astype(np.float64)
        self.norms = np.linalg.norm(self.rows, axis=1)
        self.usable = np.isfinite(self.norms) & (self.norms > 0)
        self._unit = self.rows[self.usable] / self.norms[self.usable, None]
        self._whose = np.flatnonzero(self.usable)
        self.reach = 2 * np.sqrt(2 * limit)  # of a component: no nearer than the limit allows it, if the norms are equal

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"References({self.usable.sum()} of {len(self)} usable, limit {self.limit:g})"

    @property
    def dim(self) -> int:
        """Numbers of a vector; 0 when none is known."""
        return int(self.rows.shape[1]) if len(self.rows) else 0

    def alike(self) -> int:
        """Of how many different Items the vectors are one and the same: the largest such group, 0 when all differ."""
        if len(self._unit) < 2:
            return 0
        same = (1 - self._unit @ self._unit.T) <= _TWINS * self.limit
        largest = int(same.sum(axis=1).max())
        return largest if largest > 1 else 0

    def apart(self, other: References) -> tuple[int, int, float]:
        """Of another's answers to the same Items, row by row: how many both have, how many of those are not the same, and the
        farthest (1 − cosine)."""
        both = [row for row in np.flatnonzero(self.usable & other.usable).tolist() if self.dim == other.dim]
        found = [compare(other.rows[[row]], [row], self) for row in both]
        return len(both), sum(bool(one.wrong) for one in found), max((one.distance for one in found), default=0.0)

    def owner(self, unit: Floats) -> int:
        """The row of the reference that `unit` is to the limit, the nearest; NONE when it is nobody's."""
        if not len(self._unit):
            return NONE
        gap = self._unit - unit
        distances = 0.5 * np.einsum("ij,ij->i", gap, gap)
        nearest = int(distances.argmin())
        return int(self._whose[nearest]) if distances[nearest] <= self.limit else NONE


def compare(found: Floats, own: Rows, references: References) -> Compared:
    """Row i of `found` belongs to the Item whose reference is row `own[i]` (or NONE). One vector for each Item, or all are
    wrong by `count`."""
    if len(found) != len(own):
        return Compared(("count",) * len(own), 0, 0.0, 0.0)
    classes, compared, distance, difference = [], 0, 0.0, 0.0
    for vector, row in zip(found.astype(np.float64), own, strict=True):
        name = _by_itself(vector, references)
        if not name and row != NONE and references.usable[row]:
            compared += 1
            name, apart, off = _beside(vector, row, own, references)
            distance, difference = max(distance, apart), max(difference, off)
        classes.append(name)
    return Compared(tuple(classes), compared, distance, difference)


def _by_itself(vector: Floats, references: References) -> str:
    """What is wrong with it whatever it should be."""
    if references.dim and len(vector) != references.dim:
        return "dimension"
    if not np.isfinite(vector).all():
        return "nan"
    return "" if vector.any() else "zero"


def _beside(vector: Floats, row: int, own: Rows, references: References) -> tuple[str, float, float]:
    """(class, 1 − cosine, largest difference of a component) of a vector beside its reference."""
    norm = references.norms[row]
    unit = vector / np.linalg.norm(vector)
    gap = unit - references.rows[row] / norm
    distance = float(0.5 * gap @ gap)  # 1 − cosine of unit vectors, exact where a product would be rounded
    difference = float(np.abs(vector - references.rows[row]).max() / norm)
    if distance <= references.limit:
        return ("" if difference <= references.reach else "length"), distance, difference
    whose = references.owner(unit)
    if whose == NONE:
        return "different", distance, difference
    return ("order" if whose in own else "swapped"), distance, difference
