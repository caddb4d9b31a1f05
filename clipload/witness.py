"""The witness: a timer of the worker's own loop, asked for at instants that no load is in step with.

When it rings late, a reply that came then was read as late, and no histogram of the requests tells that from a slow target. An
open loop's lag is the same on the way out; a closed loop has no other measure.

Every instant asked for counts, also those that passed during one long absence: the lateness is that of any instant. Of it was
*withheld* what the worker did not cause: the time in which it waited for its core, or was neither running nor asleep. A
lateness below `USUAL_NS` is a wake-up as every client's, and none.
"""

from __future__ import annotations

import asyncio
from time import monotonic_ns, process_time_ns
from typing import NamedTuple

import numpy as np

from clipload.histogram import Histogram
from clipload.host import OwnProcess
from clipload.timer import Alarm, alarm

PERIOD_NS = 20_000_000
USUAL_NS = 1_000_000
_GOLDEN = 0x9E3779B97F4A7C15  # 2⁶⁴/φ: multiples of it, modulo 2⁶⁴, are nowhere in step with anything (Weyl's sequence)


class Lateness(NamedTuple):
    """Lateness of the instants asked for, and of the same instants what was withheld."""

    late: Histogram
    withheld: Histogram


class Witness:
    """Rings once in each `PERIOD_NS`, somewhere in it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, itself: OwnProcess) -> None:
        self._itself = itself
        self._alarm: Alarm = alarm(loop, self.ring)
        self._late: list[int] = []
        self._withheld: list[int] = []

    def start(self, at_ns: int) -> None:
        self._start_ns, self._count = at_ns, 0
        self._next = instant(at_ns, 0)
        self._ran, self._queued = process_time_ns(), self._itself.run_queue_wait_ns()
        self._alarm.set(self._next)

    def ring(self) -> None:
        """One look at the clocks."""
        now, ran, queued = monotonic_ns(), process_time_ns(), self._itself.run_queue_wait_ns()
        self.saw(now, ran - self._ran, queued - self._queued)
        self._ran, self._queued = ran, queued
        self._alarm.set(self._next)

    def saw(self, now: int, ran: int, queued: int) -> None:
        """Every instant until `now` has passed; meanwhile the worker ran and waited for its core so long (ns)."""
        while self._next <= now:
            late = now - self._next
            withheld = max(min(late, queued), late - ran)
            self._late.append(late)
            self._withheld.append(withheld if withheld >= USUAL_NS else 0)
            self._count += 1
            self._next = instant(self._start_ns, self._count)

    def take(self) -> Lateness:
        """What was seen since the last time."""
        taken = Lateness(_histogram(self._late), _histogram(self._withheld))
        self._late, self._withheld = [], []
        return taken

    def close(self) -> None:
        self._alarm.close()


def instant(start_ns: int, count: int) -> int:
    """The `count`-th instant asked for."""
    fraction = (count + 1) * _GOLDEN % 2**64
    return start_ns + count * PERIOD_NS + (fraction * PERIOD_NS >> 64)


def _histogram(values: list[int]) -> Histogram:
    made = Histogram()
    if values:
        made.record(np.array(values, np.int64))
    return made
