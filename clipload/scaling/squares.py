"""Least squares on relative residuals with values that may not be negative, and their intervals."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipload.distributions import student_quantile

Reals = NDArray[np.float64]

LEVEL = 0.975  # of each end: intervals of 95 %


@dataclass(frozen=True, slots=True)
class Interval:
    """A parameter of a law with its interval, in units of its own; `high` is ∞ where nothing bounds it."""

    low: float
    value: float
    high: float


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
    half = student_quantile(LEVEL, points - 3) * np.sqrt(least.covariance.diagonal())
    return [Interval(float(value - h), float(value), float(value + h)) for value, h in zip(least.values, half)]


def ratio(least: Least, over: int, points: int) -> Interval:
    """The interval of values[over] / values[0], to first order."""
    value = float(least.values[over] / least.values[0])
    slope = np.zeros(3)
    slope[over], slope[0] = 1 / least.values[0], -value / least.values[0]
    half = student_quantile(LEVEL, points - 3) * math.sqrt(max(0.0, float(slope @ least.covariance @ slope)))
    return Interval(value - half, value, value + half)
