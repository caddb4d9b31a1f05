"""Mixes: weighted choices as people write them, `224x224:3,640x480:1` or `5-20:3,76:1`.

Law: a part's share of the picks is its weight over the sum of the weights; without weights all parts are alike.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import Generic, TypeVar

from clipload.errors import CliploadError

T = TypeVar("T")

Side = tuple[int, int]
"""(width, height) in pixels."""
Span = tuple[int, int]
"""(least, most), both included."""

LONGEST_SIDE = 4096
SHORTEST_TEXT, LONGEST_TEXT = 3, 76  # tokens, those for begin and end included; SGLang refuses 77
MOST_PARTS = 100
SIZES_REMEDY = f"write 224x224, or a mix with weights, 224x224:3,640x480:1; sides are 1 to {LONGEST_SIDE}"
LENGTHS_REMEDY = (
    f"write 16, 5-76, or a mix with weights, 8:3,32-76:1; {SHORTEST_TEXT} to {LONGEST_TEXT} tokens, begin and end included"
)


@dataclass(frozen=True, slots=True)
class Mix(Generic[T]):
    """Parts and their weights, whole numbers >= 1."""

    parts: tuple[T, ...]
    weights: tuple[int, ...]

    def pick(self, u: float) -> T:
        """The part at `u` of the way, 0 <= u < 1."""
        ends = list(accumulate(self.weights))
        return self.parts[min(bisect_right(ends, u * ends[-1]), len(ends) - 1)]


def parse_sizes(text: str) -> Mix[Side]:
    """`WxH`, or several with weights. CliploadError when it is neither."""
    return _parse(text, _size, SIZES_REMEDY)


def parse_lengths(text: str) -> Mix[Span]:
    """Tokens of a text: `16`, `5-76`, or several with weights. CliploadError when it is none of them."""
    return _parse(text, _length, LENGTHS_REMEDY)


def _parse(text: str, read: Callable[[str], T | None], remedy: str) -> Mix[T]:
    parts, weights = [], []
    for piece in text.split(","):
        body, colon, weight = piece.strip().partition(":")
        part = read(body)
        if part is None or (colon and not re.fullmatch(r"[1-9]\d{0,5}", weight)):
            raise CliploadError(f"{piece.strip()!r} cannot be", remedy=remedy)
        parts.append(part)
        weights.append(int(weight or 1))
    if len(parts) > MOST_PARTS or len(set(parts)) < len(parts):
        raise CliploadError(f"{text[:60]!r} has a part twice, or more than {MOST_PARTS}", remedy=remedy)
    return Mix(tuple(parts), tuple(weights))


def _size(text: str) -> Side | None:
    match = re.fullmatch(r"(\d{1,4})x(\d{1,4})", text)
    size = (int(match[1]), int(match[2])) if match else (0, 0)
    return size if min(size) >= 1 and max(size) <= LONGEST_SIDE else None


def _length(text: str) -> Span | None:
    match = re.fullmatch(r"(\d{1,2})(?:-(\d{1,2}))?", text)
    if not match:
        return None
    least, most = int(match[1]), int(match[2] or match[1])
    return (least, most) if SHORTEST_TEXT <= least <= most <= LONGEST_TEXT else None
