"""Rates of arrivals that change over time, and their text forms. Pure arithmetic.

A `Profile` is linear between its knots. Its integral Λ(t) is the expected number of arrivals by t; Λ⁻¹ turns a process of
rate 1 into one of rate λ(t), whatever its law (time change). Laws: Λ never goes back; Λ(Λ⁻¹(n)) = n for each n that
is ever reached.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipload.errors import CliploadError
from clipload.units import Duration

Reals = NDArray[np.float64]

LOWEST_RATE, HIGHEST_RATE = 1e-4, 1e7
MOST_PIECES = 100_000
_NUMBER = r"(\d+(?:\.\d+)?)"


@dataclass(frozen=True, slots=True)
class Piece:
    """From `start` seconds on: `rate` arrivals/s there, `slope` more in each second. The last piece never ends."""

    start: float
    rate: float
    slope: float = 0.0


class Profile:
    """λ(t), t in seconds from the start of the schedule."""

    def __init__(self, pieces: tuple[Piece, ...]) -> None:
        self.pieces = pieces
        self._start = np.array([piece.start for piece in pieces])
        self._rate = np.array([piece.rate for piece in pieces])
        self._slope = np.array([piece.slope for piece in pieces])
        length = np.diff(self._start)
        reached = self._rate[:-1] * length + self._slope[:-1] * length**2 / 2
        self._before = np.concatenate([[0.0], np.cumsum(reached)])  # Λ at the start of each piece

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Profile) and self.pieces == other.pieces

    def __hash__(self) -> int:
        return hash(self.pieces)

    def __repr__(self) -> str:
        return f"Profile({', '.join(f'{p.rate:g}/s from {p.start:g} s' for p in self.pieces[:4])})"

    def rate(self, t: Reals) -> Reals:
        """λ(t) in arrivals/s."""
        k = self._piece(self._start, t)
        rate: Reals = self._rate[k] + self._slope[k] * (t - self._start[k])
        return rate

    def expected(self, t: Reals) -> Reals:
        """Λ(t): arrivals to be expected by `t`."""
        k = self._piece(self._start, t)
        into = t - self._start[k]
        expected: Reals = self._before[k] + self._rate[k] * into + self._slope[k] * into**2 / 2
        return expected

    def instant(self, n: Reals) -> Reals:
        """Λ⁻¹(n) in seconds; ∞ where `n` is never reached. This form of the root loses no digits and holds for slope 0."""
        k = self._piece(self._before, n)
        rest, rate, slope = n - self._before[k], self._rate[k], self._slope[k]
        with np.errstate(divide="ignore", invalid="ignore"):
            into = 2 * rest / (rate + np.sqrt(np.maximum(0.0, rate**2 + 2 * slope * rest)))
        return self._start[k] + np.where(rest == 0, 0.0, into)

    @staticmethod
    def _piece(edges: Reals, values: Reals) -> NDArray[np.intp]:
        return np.maximum(np.searchsorted(edges, values, side="right") - 1, 0)


def ramp(first: float, last: float, begin_s: float, length_s: float) -> Profile:
    """`first` until `begin_s`, then in a line to `last`, which holds from then on."""
    slope = (last - first) / length_s
    return Profile((Piece(0.0, first), Piece(begin_s, first, slope), Piece(begin_s + length_s, last)))


def steps(rates: tuple[float, ...], begin_s: float, length_s: float) -> Profile:
    """The rates one after the other, each for an equal part of `length_s`; the first also before, the last also after."""
    each = length_s / len(rates)
    later = (Piece(begin_s + i * each, rate) for i, rate in enumerate(rates) if i)
    return Profile((Piece(0.0, rates[0]), *later))


def bursts(base: float, burst: Burst, begin_s: float, length_s: float) -> Profile:
    """`base`, and `burst.rate` in the last `burst.length` of every whole `burst.period` of the phase."""
    pieces = [Piece(0.0, base)]
    for i in range(1, int(length_s * 1e9 // burst.period) + 1):
        end = begin_s + i * burst.period / 1e9
        pieces += [Piece(end - burst.length / 1e9, burst.rate), Piece(end, base)]
    return Profile(tuple(pieces))


@dataclass(frozen=True, slots=True)
class Burst:
    """`rate` arrivals/s for `length` ns in every `period` ns. Text form `800:1s/10s`."""

    rate: float
    length: Duration
    period: Duration


def parse_ramp(text: str) -> tuple[float, float]:
    """`50:400` → (50.0, 400.0), arrivals/s."""
    match = re.fullmatch(rf"\s*{_NUMBER}\s*:\s*{_NUMBER}\s*", text)
    if not match:
        raise CliploadError(f"{text!r} is not a ramp", remedy="write FROM:TO in requests/s, such as 50:400")
    return _rate(match[1]), _rate(match[2])


def parse_steps(text: str) -> tuple[float, ...]:
    """`100,200,400` → the rates of equal parts, at least two."""
    parts = text.split(",")
    if len(parts) < 2 or not all(re.fullmatch(rf"\s*{_NUMBER}\s*", part) for part in parts):
        raise CliploadError(f"{text!r} is not a list of steps", remedy="write rates in requests/s, such as 100,200,400")
    return tuple(_rate(part) for part in parts)


def parse_burst(text: str) -> Burst:
    """`800:1s/10s`: 800 arrivals/s in the last second of every ten."""
    match = re.fullmatch(rf"\s*{_NUMBER}\s*:([^/]+)/([^/]+)", text)
    remedy = "write RATE:LENGTH/PERIOD, such as 800:1s/10s"
    if not match:
        raise CliploadError(f"{text!r} is not a burst", remedy=remedy)
    burst = Burst(_rate(match[1]), Duration.parse(match[2]), Duration.parse(match[3]))
    if not 0 < burst.length < burst.period:
        raise CliploadError(f"{text!r}: a burst must be shorter than its period, and longer than nothing", remedy=remedy)
    return burst


def _rate(text: str) -> float:
    value = float(text)
    if not LOWEST_RATE <= value <= HIGHEST_RATE:
        raise CliploadError(f"{value:g} requests/s cannot be", remedy=f"use numbers from {LOWEST_RATE:g} to {HIGHEST_RATE:.0f}")
    return value
