"""The Run: Plan + Tallies + facts, and the figures that follow from them. `folding` makes it from the frames of a journal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from clipload.frames import SECOND_NS, Interval
from clipload.pacing import PHASES
from clipload.plan import Plan
from clipload.tally import Tally, WirePart

KILLED = "killed"  # how a Run ended whose supervisor left no Closing


@dataclass
class Second:
    """One second of the series, all workers together: (phase, Tally as it travelled) of each, and the sums of their gauges.

    Tallies are kept sparse, so that an hour is small.
    """

    index: int
    parts: list[tuple[str, WirePart]] = field(default_factory=list)
    in_flight: int = 0
    waiting: int = 0
    connections: int = 0
    cpu_ns: int = 0
    starved_ns: int = 0

    @property
    def tally(self) -> Tally:
        """The sum over workers and phases, made anew at each call."""
        total = Tally()
        for part in self.of():
            total.add_wire(part)
        return total

    def add(self, frame: Interval) -> None:
        self.parts.extend(frame.phases.items())
        self.in_flight += frame.in_flight
        self.waiting += frame.waiting
        self.connections += frame.connections
        self.cpu_ns += frame.cpu_ns
        self.starved_ns += frame.starved_ns

    def of(self, phase: str | None = None) -> Iterator[WirePart]:
        """The parts of one phase, or of all."""
        return (part for name, part in self.parts if phase in (None, name))


@dataclass
class WorkerAccount:
    """One worker's part: its Tally of each phase and the sums of its gauges."""

    phases: dict[str, Tally] = field(default_factory=lambda: {name: Tally() for name in PHASES})
    cpu_ns: int = 0
    starved_ns: int = 0
    gc_ns: int = 0
    rss: int = 0
    targets: dict[int, Tally] = field(default_factory=dict)  # with several base URLs: the measured phase by target
    steady_ok: list[int] = field(default_factory=list)  # by target
    last_done_ns: int = 0
    capped: int = 0
    refused_here: int = 0
    loads: dict[int, tuple[int, int]] = field(default_factory=dict)  # second -> (cpu_ns, starved_ns)
    lacks: dict[int, tuple[int, int]] = field(default_factory=dict)  # second -> (capped, refused here) within it
    outstanding: dict[str, int] = field(default_factory=dict)
    final: bool = False
    stopped_ns: int | None = None
    gone: list[int] = field(default_factory=list)


class Load(NamedTuple):
    """What a worker's core was asked for in the whole seconds of the measured phase: its own work, and waiting for the core."""

    seconds: int
    cpu_ns: int
    starved_ns: int

    @property
    def busy(self) -> float:
        """Share of the time in which the worker ran or wanted to; 0 when no second was whole."""
        return (self.cpu_ns + self.starved_ns) / (self.seconds * 1e9) if self.seconds else 0.0

    @property
    def starved(self) -> float:
        """Share of the time in which it wanted to run and did not."""
        return self.starved_ns / (self.seconds * 1e9) if self.seconds else 0.0


class Target(NamedTuple):
    """One base URL's part of the measured phase. `gone`: it refused every connection in the end."""

    url: str
    tally: Tally
    requests_per_s: float
    gone: bool


@dataclass
class Run:
    """A whole run. `phases[name]` is the sum over `workers`; only `measure` is the answer."""

    plan: Plan
    facts: dict[str, Any]
    bounds: tuple[int, int, int, int]
    start_ns: int
    start_wall_s: float
    ended: str
    end_ns: int
    stop_ns: int
    steady_ns: int | None
    phases: dict[str, Tally]
    workers: dict[int, WorkerAccount]
    seconds: list[Second]
    examples: dict[str, str]  # error class -> what the first of them said

    @property
    def measure(self) -> Tally:
        return self.phases["measure"]

    @property
    def measured_ns(self) -> int:
        """The time that the measured phase took.

        By duration: the phase as planned, or until it was stopped. A counted closed loop: until its last reply.
        """
        begin = self.start_ns + self.bounds[1]
        if self.plan.open_loop or self.plan.requests is None:
            end = min(self.start_ns + self.bounds[2], self.stop_ns)
        else:
            end = max(account.last_done_ns for account in self.workers.values())
        return max(0, end - begin)

    @property
    def requests_per_s(self) -> float:
        """Ok requests/s that were *done* within the measured phase: what came back while the drain went on is not throughput.

        A counted closed loop: all of its requests by the time until the last reply.
        """
        in_time = self.plan.open_loop or self.plan.requests is None
        count = self._steady_ok() if in_time else self.measure["ok"]
        return count * 1e9 / self.measured_ns if self.measured_ns else 0.0

    def _steady_ok(self) -> int:
        return sum(sum(account.steady_ok) for account in self.workers.values())

    @property
    def throughput(self) -> float:
        """Samples/s that came back ok."""
        return self.requests_per_s * self.plan.batch_size

    @property
    def steady_per_s(self) -> float | None:
        """Closed loop: ok requests/s while every slot was busy (before the tail); None for an open loop, and for workers that
        did not begin together."""
        if self.steady_ns is None or self.plan.stagger:
            return None
        span = self.steady_ns - self.start_ns - self.bounds[1]
        return self._steady_ok() * 1e9 / span if span > 0 else 0.0

    @property
    def targets(self) -> list[Target]:
        """What became of the measured requests at each base URL; empty when there is but one.

        What died with a worker is counted at none of them.
        """
        if len(self.plan.base_url) == 1:
            return []
        return [self._target(number, url) for number, url in enumerate(self.plan.base_url)]

    def _target(self, number: int, url: str) -> Target:
        tally = Tally()
        for account in self.workers.values():
            tally += account.targets.get(number, Tally())
        in_time = self.plan.open_loop or self.plan.requests is None
        count = sum(account.steady_ok[number] for account in self.workers.values() if account.steady_ok)
        rate = (count if in_time else tally["ok"]) * 1e9 / self.measured_ns if self.measured_ns else 0.0
        return Target(url, tally, rate, any(number in account.gone for account in self.workers.values()))

    def load(self, worker: int) -> Load:
        """A counted closed loop's tail is not in it, nor is warm-up, drain or a second that was only partly measured."""
        begin = self.bounds[1]
        end = min(self.bounds[2], (self.steady_ns or self.stop_ns) - self.start_ns, self.stop_ns - self.start_ns)
        loads = self.workers[worker].loads
        whole = [loads[i] for i in loads if begin <= i * SECOND_NS and (i + 1) * SECOND_NS <= end]
        return Load(len(whole), sum(cpu for cpu, _ in whole), sum(starved for _, starved in whole))

    def lacked(self) -> tuple[int, int]:
        """In the seconds of the measured phase: (demands that met the limit of connections, connections this host refused)."""
        begin, end = self.bounds[1], self.bounds[1] + self.measured_ns
        found = [
            lack
            for account in self.workers.values()
            for i, lack in account.lacks.items()
            if begin < (i + 1) * SECOND_NS and i * SECOND_NS < end
        ]
        return sum(capped for capped, _ in found), sum(refused for _, refused in found)

    def check_ledger(self) -> None:
        """Raises LedgerError unless the ledger of each worker and of each phase closes."""
        for number, account in self.workers.items():
            for name, tally in account.phases.items():
                tally.ledger().check(f"worker {number}, {name}")
        for name, tally in self.phases.items():
            tally.ledger().check(name)
        for target in self.targets:
            target.tally.ledger().check(target.url)
