"""The Run: Plan + Tallies + facts; a pure fold over the frames of a journal.

Law: `fold(frames)` is the only way to make a Run. What is saved as documents and what is rebuilt from `journal.bin` after
the death of any process are therefore the same value.

A journal without a `Closing` is that of a supervisor that was killed: the Run then says so, and what was outstanding is lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from clipload.errors import ArchiveError
from clipload.frames import SCHEMA, SECOND_NS, Closing, Frame, Interval, Opening
from clipload.outcomes import fate
from clipload.pacing import PHASES
from clipload.plan import Plan
from clipload.tally import Tally, WirePart

KILLED = "killed"  # how a Run ended whose supervisor left no Closing


@dataclass
class Second:
    """One second of the series, all workers together. Tallies are kept as they travelled (sparse), so an hour is small."""

    index: int
    parts: list[WirePart] = field(default_factory=list)
    in_flight: int = 0
    waiting: int = 0
    connections: int = 0
    cpu_ns: int = 0
    starved_ns: int = 0

    @property
    def tally(self) -> Tally:
        """The sum over workers and phases, made anew at each call."""
        total = Tally()
        for part in self.parts:
            total += Tally.from_wire(part)
        return total

    def add(self, frame: Interval) -> None:
        self.parts.extend(frame.phases.values())
        self.in_flight += frame.in_flight
        self.waiting += frame.waiting
        self.connections += frame.connections
        self.cpu_ns += frame.cpu_ns
        self.starved_ns += frame.starved_ns


@dataclass
class WorkerAccount:
    """One worker's part: its Tally of each phase and the sums of its gauges."""

    phases: dict[str, Tally] = field(default_factory=lambda: {name: Tally() for name in PHASES})
    cpu_ns: int = 0
    starved_ns: int = 0
    gc_ns: int = 0
    rss: int = 0
    steady_ok: int = 0
    last_done_ns: int = 0
    capped: int = 0
    refused_here: int = 0
    loads: dict[int, tuple[int, int]] = field(default_factory=dict)  # second -> (cpu_ns, starved_ns)
    lacks: dict[int, tuple[int, int]] = field(default_factory=dict)  # second -> (capped, refused here) within it
    outstanding: dict[str, int] = field(default_factory=dict)
    final: bool = False
    stopped_ns: int | None = None


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
        if self.plan.open_loop or self.plan.requests is None:
            count = sum(account.steady_ok for account in self.workers.values())
        else:
            count = self.measure["ok"]
        return count * 1e9 / self.measured_ns if self.measured_ns else 0.0

    @property
    def throughput(self) -> float:
        """Samples/s that came back ok."""
        return self.requests_per_s * self.plan.batch_size

    @property
    def steady_per_s(self) -> float | None:
        """Closed loop: ok requests/s while every slot was busy (before the tail); None for an open loop."""
        if self.steady_ns is None:
            return None
        span = self.steady_ns - self.start_ns - self.bounds[1]
        return sum(account.steady_ok for account in self.workers.values()) * 1e9 / span if span > 0 else 0.0

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


class Folding:
    """A Run in the making: frames are added as they come, by the supervisor and by whoever reads a journal alike."""

    def __init__(self, opening: Opening) -> None:
        if opening.schema > SCHEMA:
            raise ArchiveError(
                f"the journal has schema {opening.schema}, this clipload reads up to {SCHEMA}", remedy="update clipload"
            )
        self.run = _empty(opening)
        self.seconds: dict[int, Second] = {}
        self._closing: Closing | None = None

    def add(self, frame: Interval | Closing) -> None:
        if isinstance(frame, Closing):
            self._closing = frame
        else:
            _add(self.run, self.seconds, frame)

    def finish(self) -> Run:
        """Closes the accounts and sums the workers; to be called once, after the last frame."""
        run = self.run
        run.seconds = [self.seconds[index] for index in sorted(self.seconds)]
        if self._closing is not None:
            _close(run, self._closing)
        else:
            _abandon(run)
        for account in run.workers.values():
            for name, tally in account.phases.items():
                run.phases[name] += tally
        return run


def fold(frames: Iterable[Frame]) -> Run:
    """The Run of a journal. ArchiveError when it does not begin with an Opening."""
    stream = iter(frames)
    opening = next(stream, None)
    if not isinstance(opening, Opening):
        raise ArchiveError("the journal does not begin with its Plan", remedy="the run never started: run it again")
    folding = Folding(opening)
    for frame in stream:
        if isinstance(frame, Opening):
            raise ArchiveError("the journal holds two Plans", remedy="it is not a journal of one run")
        folding.add(frame)
    return folding.finish()


def _empty(opening: Opening) -> Run:
    plan = Plan.from_dict(opening.plan)
    return Run(
        plan=plan,
        facts=dict(opening.facts),
        bounds=opening.bounds,
        start_ns=opening.start_ns,
        start_wall_s=opening.start_wall_s,
        ended=KILLED,
        end_ns=opening.start_ns,
        stop_ns=opening.start_ns,
        steady_ns=None,
        phases={name: Tally() for name in PHASES},
        workers={number: WorkerAccount() for number in range(plan.workers)},
        seconds=[],
        examples={},
    )


def _add(run: Run, seconds: dict[int, Second], frame: Interval) -> None:
    account = run.workers[frame.worker]
    for name, part in frame.phases.items():
        account.phases[name] += Tally.from_wire(part)
    account.cpu_ns += frame.cpu_ns
    account.starved_ns += frame.starved_ns
    account.gc_ns += frame.gc_ns
    account.rss = max(account.rss, frame.rss)
    account.outstanding, account.final, account.stopped_ns = frame.outstanding, frame.final, frame.stopped_ns
    account.steady_ok, account.last_done_ns = frame.steady_ok, frame.last_done_ns
    account.lacks[frame.index] = (frame.capped - account.capped, frame.refused_here - account.refused_here)
    account.capped, account.refused_here = frame.capped, frame.refused_here
    account.loads[frame.index] = (frame.cpu_ns, frame.starved_ns)
    for code, message in frame.examples.items():
        run.examples.setdefault(fate(code).removeprefix("error."), message)
    seconds.setdefault(frame.index, Second(frame.index)).add(frame)


def _close(run: Run, closing: Closing) -> None:
    run.ended, run.end_ns, run.stop_ns, run.steady_ns = closing.ended, closing.end_ns, closing.stop_ns, closing.steady_ns
    run.facts.update(closing.facts)
    for number, phases in closing.accounts.items():
        for name, counts in phases.items():
            run.workers[number].phases[name] += Tally(counts)


def _abandon(run: Run) -> None:
    """No Closing: what was outstanding at each worker's last word is lost, and nothing beyond it can be known to be due."""
    run.end_ns = run.stop_ns = run.start_ns + (run.seconds[-1].index + 1 if run.seconds else 0) * 10**9
    run.steady_ns = None if run.plan.open_loop else min(run.stop_ns, run.start_ns + run.bounds[2])
    for account in run.workers.values():
        for name, tally in account.phases.items():
            tally.add("lost", account.outstanding.get(name, 0))
            tally.add("planned", tally["scheduled"])
