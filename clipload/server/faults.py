"""Scripted faults: stalls, errors and resets, each seeded or timed, so that a test knows what it will meet."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from clipload.errors import CliploadError, PlanError
from clipload.units import Duration

STALL_REMEDY = "write --stall at=10s,for=1s or --stall at=start+10s,for=1s"
FAULT_STREAM = 2  # keeps these random numbers apart from the service times', which share the seed

Fault = Literal["none", "error", "reset"]


@dataclass(frozen=True, slots=True)
class Stall:
    """The server does no work in [at, at + for), counted from the first request, or from the server's start."""

    at_ns: int
    for_ns: int
    from_start: bool = False


def parse_stall(text: str) -> Stall:
    """`at=10s,for=1s` or `at=start+10s,for=1s`."""
    match = re.fullmatch(r"\s*at=(start\+)?([^,]+),\s*for=([^,]+?)\s*", text)
    if not match:
        raise PlanError(f"{text!r} is not a stall", flag="--stall", remedy=STALL_REMEDY)
    try:
        stall = Stall(Duration.parse(match[2]), Duration.parse(match[3]), bool(match[1]))
    except CliploadError as error:
        raise PlanError(f"{text!r}: {error.what}", flag="--stall", remedy=STALL_REMEDY) from None
    if not stall.for_ns:
        raise PlanError(f"{text!r} lasts no time", flag="--stall", remedy=STALL_REMEDY)
    return stall


class Calendar:
    """When work can be done: always, save during the stalls. All instants in ns of one clock.

    Law: nothing starts and nothing departs in [at, at + for); work in hand at `at` goes on where it stood at `at + for`.
    """

    def __init__(self, intervals: Sequence[tuple[int, int]] = ()) -> None:
        self._stalls = sorted(intervals)

    @classmethod
    def of(cls, stalls: Sequence[Stall], server_start_ns: int, first_request_ns: int) -> Calendar:
        starts = [stall.at_ns + (server_start_ns if stall.from_start else first_request_ns) for stall in stalls]
        return cls([(at, at + stall.for_ns) for at, stall in zip(starts, stalls)])

    def start(self, ready_ns: int) -> int:
        """The first instant ≥ `ready_ns` at which work can begin."""
        for at, end in self._stalls:
            if at <= ready_ns < end:
                ready_ns = end
        return ready_ns

    def finish(self, start_ns: int, work_ns: int) -> int:
        """The instant at which `work_ns` of work begun at `start_ns` is done."""
        now, left = start_ns, work_ns
        for at, end in self._stalls:
            if end <= now:
                continue
            if now + left < at:
                break
            left -= max(0, at - now)
            now = end
        return now + left


class Lottery:
    """Draws the fate of each request in order of arrival: one uniform number each, so one rate does not shift the other's."""

    def __init__(self, seed: int, error_rate: float, reset_rate: float) -> None:
        self._draws = np.random.default_rng([seed, FAULT_STREAM])
        self._error_rate, self._reset_rate = error_rate, reset_rate

    def draw(self) -> Fault:
        drawn = self._draws.random()
        if drawn < self._error_rate:
            return "error"
        return "reset" if drawn >= 1 - self._reset_rate else "none"
