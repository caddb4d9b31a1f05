"""Pairs: the two vectors of each compared Item, the server's answer that counted and the other side's, kept to be shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clipload.backends import Vectors
from clipload.retrieval import norms, unit
from clipload.sources.listing import Named
from clipload.validation.parity import Rows, distances


@dataclass(frozen=True, slots=True)
class Pair:
    """One Item's two vectors in figures. `apart`: the largest difference of a component, both at unit length."""

    item: Named
    cosine: float
    apart: float
    norms: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Row i of `found` (the server's) and of `reference`, both [n, dim] as they came, is of items[i]."""

    items: Sequence[Named]
    found: Vectors
    reference: Vectors

    @classmethod
    def of(cls, items: Sequence[Named], answers: Sequence[Vectors], answer: Rows, reference: Vectors) -> Pairs:
        """Of several answers to each Item the one of number answer[i]."""
        found = answers[0].copy()
        for number, vectors in enumerate(answers):
            found[answer == number] = vectors[answer == number]
        return cls(items, found, reference)

    def pair(self, row: int) -> Pair:
        both = np.stack([self.found[row], self.reference[row]])
        directions = unit(both)
        ours, theirs = norms(both).tolist()
        cosine = 1 - float(distances(directions[:1], directions[1:])[0])
        return Pair(self.items[row], cosine, float(np.abs(directions[0] - directions[1]).max()), (ours, theirs))
