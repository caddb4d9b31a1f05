"""Principal components: the directions in which vectors differ most, and the share of variance along each. Pure numpy.

Laws: the axes are orthonormal, the largest variance first. Of each the number that is largest in absolute value (the first of
several) is positive, so that the same vectors give the same picture. Directions without variance share none of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Principal:
    """`mean` [dim], `axes` [k, dim], `shares` [k] of the variance."""

    mean: Doubles
    axes: Doubles
    shares: Doubles

    def project(self, vectors: Floats) -> Doubles:
        """[n, dim] → [n, k]."""
        placed: Doubles = (vectors.astype(np.float64) - self.mean) @ self.axes.T
        return placed


def principal(vectors: Floats, count: int = 2) -> Principal:
    """The first components of `vectors` [n, dim]; axes of zeros where there are fewer than `count` of them."""
    if not len(vectors):
        raise ValueError("there is no vector")
    dim = vectors.shape[1]
    mean = vectors.mean(axis=0, dtype=np.float64)
    _, lengths, found = np.linalg.svd(vectors.astype(np.float64) - mean, full_matrices=False)
    variances = lengths**2
    axes, shares = np.zeros((count, dim)), np.zeros(count)
    there = min(count, len(found))
    axes[:there] = found[:there]
    largest = axes[np.arange(count), np.abs(axes).argmax(axis=1)]
    axes *= np.where(largest < 0, -1.0, 1.0)[:, None]
    if variances.sum() > 0:
        shares[:there] = variances[:there] / variances.sum()
    return Principal(mean, axes, shares)
