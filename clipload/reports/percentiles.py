"""A percentile and its interval, as they are said wherever one is printed."""

from __future__ import annotations

from typing import Self

from clipload.estimate import LEVEL, Estimate
from clipload.figures import Quantiles
from clipload.units import format_ns

LEVEL_SAID = f"{100 * LEVEL:g} %"
LEAST_NS = 1000  # below a microsecond the histogram does not resolve
LACKING = "insufficient"


def time_said(ns: float) -> str:
    return format_ns(ns) if ns >= LEAST_NS else "< 1 µs"


def interval_said(estimate: Estimate) -> str:
    """An insufficient one is not to be believed, save that the figure is hardly lower."""
    if not estimate.sufficient:
        return LACKING
    return estimate.span if estimate.high >= LEAST_NS else ""


def pale(text: str, *, when: bool) -> str:
    """On a terminal."""
    return f"\x1b[2m{text}\x1b[22m" if when else text


class Figure(str):
    """A percentile in a cell: its value; `below`: its interval; `pale`: it rests on too little."""

    __slots__ = ("below", "pale")
    below: str
    pale: bool

    @classmethod
    def of(cls, quantiles: Quantiles, label: str) -> Self | str:
        """A dash where there is none."""
        if label not in quantiles:
            return "–"
        estimate = quantiles[label]
        made = cls(time_said(estimate.value))
        made.below, made.pale = interval_said(estimate), not estimate.sufficient
        return made


def two_lines(quantiles: Quantiles, label: str, width: int, *, grey: bool) -> tuple[str, str]:
    """For text: the value, and what stands below it; a dash where there is none."""
    if label not in quantiles:
        return f"{'-':>{width}}", " " * width
    estimate = quantiles[label]
    lacks = grey and not estimate.sufficient
    above, below = (pale(f"{text:>{width}}", when=lacks) for text in (time_said(estimate.value), interval_said(estimate)))
    return above, below
