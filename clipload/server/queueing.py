"""A queue in virtual time: c servers, first come first served, told only when each request arrived.

Law (Lindley, for c servers): a request starts at max(arrival, instant at which the earliest server is free) and departs its
service time later, whatever the wall clock does meanwhile; lateness of the process that asks never enters the answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heapify, heapreplace
from typing import Generic, TypeVar

import numpy as np

from clipload.server.faults import Calendar
from clipload.server.laws import Law

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Waiting(Generic[T]):
    """A request in the queue: `items` is its size for the service law."""

    arrival_ns: int
    items: int
    ticket: T


class VirtualQueue(Generic[T]):
    """Tickets go in by `arrive`, come out of `started` with their departure instants. `now` never runs backwards."""

    def __init__(self, servers: int, law: Law, calendar: Calendar, draws: np.random.Generator) -> None:
        self._free = [0] * servers
        heapify(self._free)
        self._law, self._calendar, self._draws = law, calendar, draws
        self._waiting: deque[Waiting[T]] = deque()

    def arrive(self, now_ns: int, items: int, ticket: T) -> None:
        """Joins the queue; whether services that should have begun by now were told before makes no difference."""
        self._waiting.append(Waiting(now_ns, items, ticket))

    def __len__(self) -> int:
        """Requests that wait, those in service left out."""
        return len(self._waiting)

    @property
    def items(self) -> int:
        """Items of the requests that wait."""
        return sum(one.items for one in self._waiting)

    def idle(self, now_ns: int) -> bool:
        """Whether a request that arrives now would start now."""
        return not self._waiting and self._free[0] <= now_ns and self._calendar.start(now_ns) == now_ns

    def next_start(self) -> int | None:
        """When the request at the head starts, unless nobody waits."""
        if not self._waiting:
            return None
        return self._calendar.start(max(self._free[0], self._waiting[0].arrival_ns))

    def started(self, now_ns: int) -> Iterator[tuple[int, int, T]]:
        """(start, departure, ticket) of every request whose service begins by `now_ns`, each told once, in FIFO order."""
        while (start := self.next_start()) is not None and start <= now_ns:
            batch = self._take(start)
            done = self._calendar.finish(start, self._law.draw_ns(sum(one.items for one in batch), self._draws))
            heapreplace(self._free, done)
            for one in batch:
                yield start, done, one.ticket

    def _take(self, start_ns: int) -> list[Waiting[T]]:
        """The head, and with a batch law those behind it that fit and were there before `start_ns`.

        Who comes in the very instant of a start has missed it, however late the process is that asks.
        """
        batch = [self._waiting.popleft()]
        size = batch[0].items
        while self._waiting and self._waiting[0].arrival_ns < start_ns:
            size += self._waiting[0].items
            if size > self._law.max_items:
                break
            batch.append(self._waiting.popleft())
        return batch
