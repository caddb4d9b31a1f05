"""A Run cut into equal pieces of time, each the sum of its seconds: an hour becomes as small as a minute."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from clipload.frames import SECOND_NS
from clipload.histogram import Histogram
from clipload.run import Run
from clipload.seconds import Second
from clipload.tally import ERROR

MOST = 240
_KEPT = ("latency", "lag")


@dataclass
class Slice:
    """All phases and workers together; requests are counted when they *ended*, `scheduled` when they were *due*.

    `in_flight` and `waiting` are the highest of the seconds' ends.
    """

    begin_s: float
    length_s: float
    counts: dict[str, int] = field(default_factory=dict)
    latency: Histogram = field(default_factory=Histogram)
    lag: Histogram = field(default_factory=Histogram)
    in_flight: int = 0
    waiting: int = 0

    def add(self, second: Second) -> None:
        for part in second.of():
            for name, count in part.counts.items():
                self.counts[name] = self.counts.get(name, 0) + count
            for name in _KEPT:
                if name in part.histograms:
                    getattr(self, name).add_sparse(part.histograms[name])
        self.in_flight, self.waiting = max(self.in_flight, second.in_flight), max(self.waiting, second.waiting)

    def per_s(self, name: str) -> float:
        return self.counts.get(name, 0) / self.length_s

    @property
    def failures(self) -> dict[str, float]:
        """Class → requests/s that ended so; time-outs are one of them."""
        found = {name.removeprefix(ERROR): self.per_s(name) for name in self.counts if name.startswith(ERROR)}
        return found | ({"timeout": self.per_s("timeout")} if self.counts.get("timeout") else {})


def slices(run: Run, most: int = MOST) -> list[Slice]:
    """At most `most` pieces of whole seconds; a tail shorter than half a piece belongs to the one before it."""
    if not run.seconds:
        return []
    known = {second.index: second for second in run.seconds}
    end = max(known) + 1
    end_s = max(min(end, (run.end_ns - run.start_ns) / SECOND_NS), end - 1 + 1e-3)
    width = -(-end // most)
    found: list[Slice] = []
    for begin, length in _pieces(end, width, end_s):
        piece = Slice(float(begin), length)
        for index in range(begin, end if begin + length >= end_s else begin + width):
            if index in known:
                piece.add(known[index])
        found.append(piece)
    return found


def _pieces(end: int, width: int, end_s: float) -> Iterator[tuple[int, float]]:
    """(begin, length) in seconds."""
    begins = list(range(0, end, width))
    if len(begins) > 1 and end_s - begins[-1] < width / 2:
        begins.pop()
    for begin, until in zip(begins, [*begins[1:], end_s]):
        yield begin, until - begin
