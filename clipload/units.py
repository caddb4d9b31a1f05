"""Text units, parsed and printed in this one place: durations, sizes, core lists, rates.

Inside the program time is `int` nanoseconds of CLOCK_MONOTONIC and memory is `int` bytes. `Duration` and `Size` are such
ints that remember how to print themselves, so a Plan reads back as it was written. Law: `Duration.parse(str(d)) == d`.
"""

from __future__ import annotations

import math
import re
from typing import Self

from clipload.errors import CliploadError

_DURATION = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_SIZE = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "kB": 10**3, "MB": 10**6, "GB": 10**9}
_HIGHEST_CORE = 65535
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-zµ]*)")


def _scaled(number: str, scale: int, text: str) -> int:
    """`number` · `scale` as an exact int; a fraction of the smallest unit is an error."""
    whole, _, fraction = number.partition(".")
    value, rest = divmod(int(whole + fraction) * scale, int(10 ** len(fraction)))
    if rest:
        raise CliploadError(f"{text!r} is finer than the smallest unit", remedy="use a whole number of ns or bytes")
    return value


class Duration(int):
    """Nanoseconds ≥ 0. Text form: `90s`, `1.5s`, `250ms`, `1m30s`; a bare number is seconds."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        total, end = 0, 0
        text = text.strip()
        for match in _PART.finditer(text):
            alone = match.span() == (0, len(text))
            unit = (match[2] or ("s" if alone else "")).replace("µ", "u")
            if match.start() != end or unit not in _DURATION:
                break
            total += _scaled(match[1], _DURATION[unit], text)
            end = match.end()
        if not text or end != len(text):
            raise CliploadError(f"{text!r} is not a duration", remedy="write 10s, 1.5s, 250ms or 1m30s")
        return cls(total)

    @classmethod
    def seconds(cls, seconds: float) -> Self:
        return cls(round(seconds * 10**9))

    def __str__(self) -> str:
        for unit in ("h", "m", "s", "ms", "us"):
            if self and self % _DURATION[unit] == 0:
                return f"{int(self) // _DURATION[unit]}{unit}"
        if (self and self % 10**6 == 0) or self > 10**9:
            return f"{int(self) // 10**9}.{int(self) % 10**9:09d}".rstrip("0").rstrip(".") + "s"
        return f"{int(self)}ns" if self else "0s"

    def __repr__(self) -> str:
        return f"Duration({self})"


class Size(int):
    """Bytes ≥ 0. Text form: `1GiB`, `64MiB`, `500kB`; a bare number is bytes."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        match = _PART.fullmatch(text.strip())
        if not match or (match[2] or "B") not in _SIZE:
            raise CliploadError(f"{text!r} is not a size", remedy="write 1GiB, 64MiB or 500kB")
        return cls(_scaled(match[1], _SIZE[match[2] or "B"], text))

    def __str__(self) -> str:
        for unit in ("GiB", "MiB", "KiB"):
            if self and self % _SIZE[unit] == 0:
                return f"{int(self) // _SIZE[unit]}{unit}"
        return f"{int(self)}B"

    def __repr__(self) -> str:
        return f"Size({self})"


def parse_cores(text: str) -> tuple[int, ...]:
    """`0,2,4-7` → (0, 2, 4, 5, 6, 7): each core once, in the order written."""
    cores: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if not match:
            raise CliploadError(f"{text!r} is not a list of cores", remedy="write 0,2,4-7")
        first, last = int(match[1]), int(match[2] or match[1])
        if last > _HIGHEST_CORE:
            raise CliploadError(f"there is no core {last}", remedy="write 0,2,4-7")
        if last < first:
            raise CliploadError(f"{part.strip()!r} runs backwards", remedy=f"write {last}-{first}")
        cores.extend(range(first, last + 1))
    if len(set(cores)) != len(cores):
        raise CliploadError(f"{text!r} names a core twice", remedy="name each core once")
    return tuple(cores)


def format_cores(cores: tuple[int, ...]) -> str:
    """The inverse of `parse_cores`, runs shortened: (0, 2, 4, 5, 6, 7) → `0,2,4-7`."""
    runs: list[list[int]] = []
    for core in cores:
        if runs and core == runs[-1][1] + 1:
            runs[-1][1] = core
        else:
            runs.append([core, core])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def format_ns(value: float) -> str:
    """A duration for people, three significant digits: `12.3 ms`. Infinity prints as `∞`."""
    if math.isinf(value):
        return "∞"
    for unit, scale in (("s", 10**9), ("ms", 10**6), ("µs", 10**3)):
        if value >= scale:
            return f"{_digits(value / scale)} {unit}"
    return f"{value:.0f} ns"


def format_bytes(value: float) -> str:
    """A size for people: `3.2 MB` (decimal units, as networks count)."""
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if value >= scale:
            return f"{_digits(value / scale)} {unit}"
    return f"{value:.0f} B"


def _digits(value: float) -> str:
    """Three significant digits without an exponent."""
    places = max(0, 2 - math.floor(math.log10(value))) if value > 0 else 0
    return f"{value:.{places}f}"
