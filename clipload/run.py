"""The Run: Plan + Tallies + facts, and the figures that follow from them. `folding` makes it from the frames of a journal."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from clipload.figures import Figures, figures
from clipload.frames import SECOND_NS, Reading
from clipload.histogram import Histogram
from clipload.own import Own, own
from clipload.pacing import PHASES
from clipload.plan import Plan
from clipload.seconds import Second, Seconds
from clipload.sightings import Sighting
from clipload.tally import Tally

_NEARLY_NS = 100_000_000  # by how much a reading may miss its phase
KILLED = "killed"  # how a Run ended whose supervisor left no Closing
WITH_THE_LOAD = "with the load"  # how a canary ended whose load had ended
PRECISE = "precise"  # how a Run ended that knew what it was to know before its duration was over


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
    lacking: dict[int, int] = field(default_factory=dict)  # errno -> connections that this host refused for it
    late: Histogram = field(default_factory=Histogram)  # of its loop, in the whole seconds of the measured phase as planned
    withheld: Histogram = field(default_factory=Histogram)  # the part of it in which it could not run
    in_time: int = 0  # measured requests that were dispatched in seconds which began before the phase ended
    longest_gc_ns: int = 0  # in those seconds
    loads: dict[int, tuple[int, int]] = field(default_factory=dict)  # second -> (cpu_ns, starved_ns)
    lacks: dict[int, tuple[int, int]] = field(default_factory=dict)  # second -> (capped, refused here) within it
    outstanding: dict[str, int] = field(default_factory=dict)
    final: bool = False
    stopped_ns: int | None = None
    gone: list[int] = field(default_factory=list)
    outages: list[tuple[int, int, int, int]] = field(default_factory=list)  # see `outages.Noted`


class Load(NamedTuple):
    """What a worker's core was asked for in the whole seconds of the measured phase: its own work, and waiting for the core."""

    seconds: int
    cpu_ns: int
    starved_ns: int

    @property
    def busy(self) -> float:
        """Share of the time in which the worker ran or wanted to; 0 when no second was whole."""
        return self._share(self.cpu_ns + self.starved_ns)

    @property
    def starved(self) -> float:
        """Share of the time in which it wanted to run and did not."""
        return self._share(self.starved_ns)

    def _share(self, ns: int) -> float:
        """At most 1: the second of a worker that had no core to close it in holds what came after it too."""
        return min(1.0, ns / (self.seconds * 1e9)) if self.seconds else 0.0


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
    readings: list[Reading] = field(default_factory=list)  # of the host, in order
    sightings: list[Sighting] = field(default_factory=list)  # of the targets, in order
    canary: Run | None = None  # the stream beside the load, whole and apart

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

    @cached_property
    def figures(self) -> Figures:
        """Every figure with its interval; to be asked for once the Run is whole."""
        return figures(self.plan, self.by_second, self.requests_per_s)

    @cached_property
    def own(self) -> Own:
        """Each worker's and each target's percentiles; as `figures`."""
        return own(self.by_second, self.seconds, range(self.bounds[1], self.bounds[2]))

    @property
    def by_second(self) -> Seconds:
        """The series, and the part of it that is the answer."""
        begin = self.bounds[1]
        return Seconds(self.seconds, begin, begin + self.measured_ns, self.measure["lost"])

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

    @property
    def whole_seconds(self) -> range:
        """A counted closed loop's tail is not in it, nor is warm-up, drain or a second that was only partly measured."""
        end = min(self.bounds[2], (self.steady_ns or self.stop_ns) - self.start_ns, self.stop_ns - self.start_ns)
        return range(-(-self.bounds[1] // SECOND_NS), end // SECOND_NS)

    def load(self, worker: int) -> Load:
        """Of the whole seconds."""
        loads = self.workers[worker].loads
        whole = [loads[i] for i in self.whole_seconds if i in loads]
        return Load(len(whole), sum(cpu for cpu, _ in whole), sum(starved for _, starved in whole))

    @property
    def withheld(self) -> Histogram:
        """Of all workers: how late their loops were while they could not run, at any instant of the measured phase."""
        total = Histogram()
        for account in self.workers.values():
            total += account.withheld
        return total

    def within(self) -> list[Reading]:
        """The readings of the host within the measured phase."""
        begin = self.start_ns + self.bounds[1]
        end = begin + self.measured_ns
        return [reading for reading in self.readings if begin - _NEARLY_NS <= reading.at_ns <= end + _NEARLY_NS]

    def watched(self) -> tuple[Reading, Reading] | None:
        """The first and the last of them; None when there are not two."""
        within = self.within()
        return (within[0], within[-1]) if len(within) > 1 else None

    @property
    def dispatched_in_time(self) -> int:
        """Of the measured requests those that were dispatched before the phase ended, to a worker's second."""
        return sum(account.in_time for account in self.workers.values())

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
        if self.canary is not None:
            self.canary.check_ledger()
