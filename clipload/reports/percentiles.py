"""A percentile and its interval, as they are said wherever one is printed."""

from __future__ import annotations

from dataclasses import replace
from math import inf
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


def believed_said(estimate: Estimate) -> str:
    """Beside figures of other loads: of an insufficient one the lower bound is told, for that much is believed."""
    if estimate.sufficient:
        return estimate.span
    return f"few: {replace(estimate, high=inf).span}" if estimate.low else "too few"


def narrow_said(estimate: Estimate) -> str:
    """For a live line, right beside the value: `6.81–7.20`, `≥ 7.50`; `?` where nothing is known. Its unit is the value's."""
    if estimate.high < LEAST_NS:
        return ""
    span = estimate.span if estimate.sufficient else replace(estimate, high=inf).span
    unit = f" {estimate.said.split()[-1]}"
    alone = span.removeprefix("≥ ").count(" ") == 1
    return "?" if span == "unknown" else span.removesuffix(unit) if alone else span


def pale(text: str, *, when: bool) -> str:
    """On a terminal."""
    return f"\x1b[2m{text}\x1b[22m" if when else text


class Figure(str):
    """A figure in a cell: its value; `below`: its interval; `pale`: it rests on too little."""

    __slots__ = ("below", "pale")
    below: str
    pale: bool

    @classmethod
    def saying(cls, text: str, estimate: Estimate, *, below: str | None = None) -> Self:
        made = cls(text)
        made.below, made.pale = interval_said(estimate) if below is None else below, not estimate.sufficient
        return made

    @classmethod
    def of(cls, quantiles: Quantiles, label: str) -> Self | str:
        """A percentile; a dash where there is none."""
        return cls.saying(time_said(quantiles[label].value), quantiles[label]) if label in quantiles else "–"


def two_lines(quantiles: Quantiles, label: str, width: int, *, grey: bool) -> tuple[str, str]:
    """For text: the value, and what stands below it; a dash where there is none."""
    if label not in quantiles:
        return f"{'-':>{width}}", " " * width
    estimate = quantiles[label]
    lacks = grey and not estimate.sufficient
    above, below = (pale(f"{text:>{width}}", when=lacks) for text in (time_said(estimate.value), interval_said(estimate)))
    return above, below
