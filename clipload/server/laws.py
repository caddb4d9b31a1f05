"""Service laws: how long the simulated server works on a batch of n items. `constant(5ms)`, `exp(8ms)`,
`batch(8ms+0.5ms*n, max=64)`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from clipload.errors import CliploadError, PlanError
from clipload.units import Duration

REMEDY = "write constant(5ms), exp(8ms) or batch(8ms+0.5ms*n, max=64)"


class Law(Protocol):
    """`max_items` is how many items one batch may hold; 0 means that every request is served on its own."""

    @property
    def max_items(self) -> int: ...

    def draw_ns(self, n: int, draws: np.random.Generator) -> int:
        """The service time of a batch of `n` items, ns."""


@dataclass(frozen=True, slots=True)
class Constant:
    """Every request takes `ns`, however many items it holds."""

    ns: int
    max_items: int = 0

    def draw_ns(self, n: int, draws: np.random.Generator) -> int:  # noqa: ARG002 - the interface
        return self.ns


@dataclass(frozen=True, slots=True)
class Exponential:
    """Every request takes an exponential time of mean `ns`, one draw each, in order of service."""

    ns: int
    max_items: int = 0

    def draw_ns(self, n: int, draws: np.random.Generator) -> int:  # noqa: ARG002 - the interface
        return round(draws.exponential(self.ns))


@dataclass(frozen=True, slots=True)
class Batch:
    """Whole requests are served together, first come first served, up to `max_items` items (a larger request goes alone):
    `base_ns` + `each_ns` · n."""

    base_ns: int
    each_ns: int
    max_items: int

    def draw_ns(self, n: int, draws: np.random.Generator) -> int:  # noqa: ARG002 - the interface
        return self.base_ns + self.each_ns * n


def parse_law(text: str) -> Law:
    squeezed = re.sub(r"\s+", "", text)
    try:
        if match := re.fullmatch(r"(constant|exp)\(([^()]+)\)", squeezed):
            return (Constant if match[1] == "constant" else Exponential)(Duration.parse(match[2]))
        if match := re.fullmatch(r"batch\(([^()+*]+)\+([^()+*]+)\*n,max=(\d+)\)", squeezed):
            if int(match[3]) < 1:
                raise PlanError("a batch holds at least 1 item")
            return Batch(Duration.parse(match[1]), Duration.parse(match[2]), int(match[3]))
    except CliploadError as error:
        raise PlanError(f"{text!r}: {error.what}", flag="--law", remedy=REMEDY) from None
    raise PlanError(f"{text!r} is not a service law", flag="--law", remedy=REMEDY)
