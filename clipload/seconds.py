"""A Run second by second: what travelled is kept as it came (sparse), so that an hour is small, and is added up when asked.

Seconds are by *done* instant, numbered from the start; in each, requests are told apart by the phase in which they were *due*.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from clipload.frames import SECOND_NS, Interval
from clipload.histogram import Sparse
from clipload.series import Series
from clipload.tally import ERROR, Tally, WirePart

_NOT_OK = ("timeout", "censored", "unsent")


@dataclass
class Second:
    """One second of the series, all workers together: (phase, Tally as it travelled) of each, and the sums of their gauges.

    `workers` and `targets` (where there are several): whose the measured requests were. `late`: worker -> its loop's lateness.
    """

    index: int
    parts: list[tuple[str, WirePart]] = field(default_factory=list)
    in_flight: int = 0
    waiting: int = 0
    connections: int = 0
    cpu_ns: int = 0
    starved_ns: int = 0
    workers: dict[int, list[WirePart]] = field(default_factory=dict)
    targets: dict[int, list[WirePart]] = field(default_factory=dict)
    late: dict[int, list[Sparse]] = field(default_factory=dict)

    @property
    def tally(self) -> Tally:
        """The sum over workers and phases, made anew at each call."""
        total = Tally()
        for _, part in self.parts:
            total.add_wire(part)
        return total

    @property
    def level(self) -> int:
        """Requests due and unanswered when it ended."""
        return self.in_flight + self.waiting

    def add(self, frame: Interval) -> None:
        self.parts.extend(frame.phases.items())
        self.in_flight += frame.in_flight
        self.waiting += frame.waiting
        self.connections += frame.connections
        self.cpu_ns += frame.cpu_ns
        self.starved_ns += frame.starved_ns
        if "measure" in frame.phases:
            self.workers.setdefault(frame.worker, []).append(frame.phases["measure"])
        for target, part in frame.targets.items():
            self.targets.setdefault(target, []).append(part)
        if frame.late is not None:
            self.late.setdefault(frame.worker, []).append(frame.late)

    def of(self, phase: str | None = None) -> Iterator[WirePart]:
        """The parts of one phase, or of all."""
        return (part for name, part in self.parts if phase in (None, name))

    def count(self, name: str, phase: str | None = None) -> int:
        return sum(part.counts.get(name, 0) for part in self.of(phase))

    def not_ok(self, phase: str | None = None) -> int:
        """Requests that ended in it and not well."""
        return sum(
            count for part in self.of(phase) for name, count in part.counts.items() if name.startswith(ERROR) or name in _NOT_OK
        )

    def sum_ns(self, histogram: str, phase: str | None = None) -> int:
        """The sum of what a histogram holds, exact and without unpacking it."""
        return sum(part.histograms[histogram][4] for part in self.of(phase) if histogram in part.histograms)


class Seconds:
    """Consecutive seconds of a run, and the part of it that is the answer: [`begin_ns`, `end_ns`) from the start.

    `lost`: measured requests that ended at no known instant; they count as infinite in the last second.
    """

    def __init__(self, seconds: Sequence[Second], begin_ns: int, end_ns: int, lost: int = 0) -> None:
        self.begin_ns, self.end_ns, self._lost = begin_ns, end_ns, lost
        self._known = {second.index: second for second in seconds}

    def _at(self, index: int) -> Second:
        return self._known.get(index) or Second(index)

    @property
    def whole(self) -> list[Second]:
        """Those that lie within the measured phase from end to end."""
        return [self._at(i) for i in range(-(-self.begin_ns // SECOND_NS), self.end_ns // SECOND_NS)]

    @property
    def measured(self) -> list[Second]:
        """From the beginning of the measured phase to the last in which one of its requests ended; the drain is in it."""
        first = self.begin_ns // SECOND_NS
        last = max((i for i, second in self._known.items() if any(second.of("measure"))), default=first)
        return [self._at(i) for i in range(first, max(first, last) + 1)]

    def not_ok(self) -> list[int]:
        """Of the measured requests those that were not ok, by second of `measured`."""
        counts = [second.not_ok("measure") for second in self.measured]
        counts[-1] += self._lost
        return counts

    def ok(self) -> list[int]:
        return [second.count("ok", "measure") for second in self.measured]

    def series(self, histogram: str, *, failures: bool = False) -> Series:
        """Of the measured requests; with `failures`, each that was not ok is an infinite value."""
        seconds = self.measured
        infinite = self.not_ok() if failures else [0] * len(seconds)
        return Series.of_sparse((_sparse(second, histogram) for second in seconds), infinite)

    def per_whole(self, figure: Callable[[Second], Any]) -> list[Any]:
        return [figure(second) for second in self.whole]


def _sparse(second: Second, histogram: str) -> Iterator[Any]:
    return (part.histograms[histogram] for part in second.of("measure") if histogram in part.histograms)
