"""Least squares on relative residuals with values that may not be negative, and their intervals."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipload.search.dialogue import Interval

Reals = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Least:
    """A least-squares solution with no negative value; `used` are the columns that are not 0."""

    values: Reals
    covariance: Reals
    squares: float
    used: tuple[int, ...]
    residual: float


def nonnegative(columns: Reals, free: int = 0) -> Least:
    """`columns` · values ≈ 1. Every subset of the columns is tried, and the best that needs no negative value is taken.

    `free`: parameters that were fitted elsewhere and cost a degree of freedom.
    """
    rows, width = columns.shape
    fits = []
    for size in range(1, width + 1):
        for used in itertools.combinations(range(width), size):
            part = columns[:, used]
            solved = np.linalg.lstsq(part, np.ones(rows), rcond=None)[0]
            if np.all(solved > 0):
                squares = float(((part @ solved - 1) ** 2).sum())
                fits.append((squares, used, solved))
    squares, used, solved = min(fits, key=lambda fit: (fit[0], len(fit[1])))
    values, covariance = np.zeros(width), np.zeros((width, width))
    values[list(used)] = solved
    part = columns[:, used]
    covariance[np.ix_(used, used)] = np.linalg.pinv(part.T @ part) * squares / max(1, rows - width - free)
    return Least(values, covariance, squares, used, math.sqrt(squares / rows))


def spread(least: Least, points: int) -> list[Interval]:
    """The interval of each value."""
    half = student(points - 3) * np.sqrt(least.covariance.diagonal())
    return [Interval(float(value - h), float(value), float(value + h)) for value, h in zip(least.values, half)]


def ratio(least: Least, over: int, points: int) -> Interval:
    """The interval of values[over] / values[0], to first order."""
    value = float(least.values[over] / least.values[0])
    slope = np.zeros(3)
    slope[over], slope[0] = 1 / least.values[0], -value / least.values[0]
    half = student(points - 3) * math.sqrt(max(0.0, float(slope @ least.covariance @ slope)))
    return Interval(value - half, value, value + half)


def student(freedom: int) -> float:
    """t of 97.5 % (Cornish and Fisher's expansion; within 0.5 % from 3 degrees of freedom on)."""
    z = 1.959963984540054
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return float(sum(term / freedom**k for k, term in enumerate(terms)))
