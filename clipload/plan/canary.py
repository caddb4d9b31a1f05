"""`--canary KIND:RATE/s` in words: which stream goes beside a load, and what of a Plan it takes over. Pure."""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple, cast

from clipload.errors import PlanError
from clipload.kinds import written

MOST: Final = 20.0  # requests/s: it is to notice the load, not to be one
LEAST: Final = 0.01
_WORD = re.compile(r"(text|image):(\d+(?:\.\d+)?)/s")


class CanaryWord(NamedTuple):
    """One Item of `kind` a request, `rate` requests/s."""

    kind: Literal["text", "image"]
    rate: float


def parse_canary(text: str) -> CanaryWord:
    """`text:2/s` or `image:0.5/s`. PlanError when it is neither, or no low rate."""
    found = _WORD.fullmatch(text.strip())
    if found is None:
        raise PlanError(f"{text!r} is no canary", flag="--canary", remedy="write text:2/s or image:0.5/s")
    rate = float(found[2])
    if not LEAST <= rate <= MOST:
        remedy = f"use {LEAST:g} to {MOST:g} requests/s: a canary is no load"
        raise PlanError(f"{rate:g}/s is not a low rate", flag="--canary", remedy=remedy)
    return CanaryWord(cast(Literal["text", "image"], found[1]), rate)


CANARY: Final = written("a canary", "text:2/s", "KIND:RATE/s", parse_canary)
