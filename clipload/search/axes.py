"""The text forms of axes: `1,2,4,8`, `50..800x1.5`, or both mixed; and `batch_size=1,8,32` for the dimensions of a Find.

Values stay texts: the Plan's kinds read them, so that an axis and a flag mean the same. Laws of a range: its ends are in it, it
rises, and no step is longer than its factor (whole numbers: or than 1).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from clipload.errors import PlanError

MOST_VALUES = 1000
REMEDY = "write a list such as 1,2,4,8, or FIRST..LASTxFACTOR such as 50..800x1.5"
_NUMBER = r"(\d+(?:\.\d+)?)"
_RANGE = re.compile(rf"{_NUMBER}\s*\.\.\s*{_NUMBER}\s*(?:[x×*]\s*{_NUMBER})?")


def parse_axis(text: str, flag: str, *, whole: bool = False) -> tuple[str, ...]:
    """`50..200x2,500` → ("50", "100", "200", "500"). `whole`: a range is rounded to whole numbers, each once."""
    values: list[str] = []
    for part in map(str.strip, text.split(",")):
        if not part:
            raise PlanError(f"{text!r} has an empty place", flag=flag, remedy=REMEDY)
        match = _RANGE.fullmatch(part)
        if not match and re.match(r"[\d.]*\d\s*\.\.", part):
            raise PlanError(f"{part!r} is not a range", flag=flag, remedy=REMEDY)
        values.extend(_range(match, flag, whole) if match else [part])
        if len(values) > MOST_VALUES:
            raise PlanError(f"more than {MOST_VALUES} values", flag=flag, remedy="use a larger factor")
    for i, value in enumerate(values):
        if value in values[:i]:
            raise PlanError(f"{value} stands twice in {text!r}", flag=flag, remedy="name each value once")
    return tuple(values)


def _range(match: re.Match[str], flag: str, whole: bool) -> list[str]:
    first, last, factor = float(match[1]), float(match[2]), float(match[3] or 0)
    if not match[3]:
        raise PlanError(f"{match[0]!r} names no factor", flag=flag, remedy=f"write {match[1]}..{match[2]}x2")
    if not 0 < first < last:
        raise PlanError(f"{match[0]!r} does not rise from a number above 0", flag=flag, remedy=REMEDY)
    if factor <= 1:
        raise PlanError(f"{match[0]!r} never gets there", flag=flag, remedy="use a factor above 1, such as x2")
    if whole and not (first.is_integer() and last.is_integer()):
        raise PlanError(f"{match[0]!r} is of whole numbers", flag=flag, remedy="write whole ends, such as 1..128x2")
    if math.log(last / first) > MOST_VALUES * math.log(factor):
        raise PlanError(f"more than {MOST_VALUES} values in {match[0]!r}", flag=flag, remedy="use a larger factor")
    values = _whole_steps(first, last, factor) if whole else _steps(first, last, factor)
    return [match[1], *(f"{value:.6g}" if value < 1e6 else f"{value:.0f}" for value in values), match[2]]


def _steps(first: float, last: float, factor: float) -> Iterator[float]:
    """What lies between the ends; a hair short of the last is the last."""
    for k in range(1, MOST_VALUES + 1):
        value = first * factor**k
        if value > last * (1 - 1e-5):
            return
        yield value


def _whole_steps(first: float, last: float, factor: float) -> Iterator[float]:
    value = max(first + 1, math.floor(first * factor + 1e-9))
    while value < last:
        yield value
        value = max(value + 1, math.floor(value * factor + 1e-9))


def parse_over(text: str) -> tuple[str, tuple[str, ...]]:
    """`batch_size=1,8,32` → ("batch_size", ("1", "8", "32")); `batch-size` means the same."""
    name, equals, values = text.partition("=")
    name = name.strip().lstrip("-").replace("-", "_")
    if not equals or not re.fullmatch(r"[a-z_]+", name):
        raise PlanError(f"{text!r} is not FIELD=VALUES", flag="--over", remedy="write --over batch_size=1,8,32")
    return name, parse_axis(values, "--over")
