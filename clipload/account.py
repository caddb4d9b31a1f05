"""A worker's account: rows and counts of what was scheduled and how it ended, folded into one Interval a second.

Laws
* A request is counted as scheduled when it becomes due and again, independently, when it ends; at the end the two agree.
* Interval j holds the requests *done* in [start + j s, start + (j+1) s), by the phase in which they were *due*.
* With several base URLs the measured requests are also added up for each of them.
* Memory is fixed: rows are folded when their buffer is full, whatever the rate.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from time import monotonic_ns, process_time_ns

import msgspec
import numpy as np
import numpy.ma  # by np.unique at its first call, which would be in the middle of the load
from numpy.typing import NDArray

from clipload.frames import SECOND_NS, Interval
from clipload.host import OwnProcess
from clipload.outages import Absences
from clipload.outcomes import CODE, DONE, DUE, OK, TARGET, Outcomes, Row, Rows, fold, tally_of
from clipload.pacing import NEVER, PHASES
from clipload.plan import Plan
from clipload.tally import Tally
from clipload.transports import Gauges
from clipload.witness import Lateness


def _nothing(done: int) -> None:
    """Nobody asked."""


def _silence() -> None:
    """There is no witness."""


class Account:
    """Everything that one worker counts."""

    def __init__(self, worker: int, bounds: tuple[int, int, int, int], plan: Plan, wire_bytes: NDArray[np.int64]) -> None:
        self._worker, self._offsets = worker, bounds
        self._samples, self._wire_bytes = plan.batch_size, wire_bytes
        self._targets = len(wire_bytes)
        self._steady_ns = bounds[2]  # an offset until the start is known; a counted closed loop's is told when it comes
        self._outcomes = Outcomes()
        self._add = self._outcomes.add
        self.after: Callable[[int], None] = _nothing  # told `done` of each request that ended
        self._tallies: dict[int, dict[str, Tally]] = {}  # interval -> phase -> Tally, not shipped yet
        self._by_target: dict[int, dict[int, Tally]] = {}  # interval -> target -> Tally of what was measured
        self._absences = Absences(self._targets)
        self._recent: list[Rows] = []  # what the last two intervals folded, for a steady window that ended in them
        self._older = 0  # how many of `_recent` are of the interval before
        self._scheduled = [0] * len(PHASES)
        self._shipped = [0] * len(PHASES)  # of the scheduled
        self._ended = [0] * len(PHASES)  # and shipped
        self._outstanding = 0
        self._phase = 0
        self._phase_end = 0
        self._index = 0
        self._steady_ok = np.zeros(self._targets, np.int64)
        self._last_done_ns = 0
        self._examples_sent = 0
        self.itself = OwnProcess()
        self.testimony: Callable[[], Lateness | None] = _silence  # of the worker's own loop, since the last interval

    def start(self, at_ns: int) -> None:
        self._bounds = np.array(self._offsets, dtype=np.int64) + at_ns
        self._starts: list[int] = self._bounds.tolist()
        self._phase_end = self._starts[1]
        self._start_ns = at_ns
        self._absences.start(at_ns)
        self._steady_ns += at_ns
        self._cpu_ns, self._starved_ns = process_time_ns(), self.itself.run_queue_wait_ns()

    # ---- the hot path

    @property
    def outstanding(self) -> int:
        """Scheduled and not ended."""
        return self._outstanding

    def schedule(self, due: int) -> None:
        """A request is due; due instants never go back by more than a phase's edge."""
        while due >= self._phase_end:
            self._phase += 1
            self._phase_end = self._starts[self._phase + 1] if self._phase < len(PHASES) - 1 else NEVER
        self._scheduled[self._phase] += 1
        self._outstanding += 1

    def ended(self, row: Row) -> None:
        """A request has ended (the Lane's Sink)."""
        self._outstanding -= 1
        if self._add(row):
            self._fold(NEVER)  # more in a second than the buffer holds
        self.after(row[DONE])

    # ---- once a second

    def until_next_s(self) -> float:
        """Seconds until the current interval is over."""
        return max(0.0, (self._boundary() - monotonic_ns()) / 1e9) + 0.001

    def _boundary(self) -> int:
        return self._start_ns + (self._index + 1) * SECOND_NS

    def intervals(self, gauges: Gauges) -> Iterator[Interval]:
        """Every interval that is over by now and not shipped yet."""
        now = monotonic_ns()
        while self._boundary() <= now:
            self._fold(self._boundary())
            yield self._interval(gauges, final=False)
            self._index += 1

    def close(self, stopped_ns: int | None, gauges: Gauges, gone: list[int]) -> Iterator[Interval]:
        """The rest: whole seconds first, then the final one. `stopped_ns`: when the schedule was shortened, if it was."""
        yield from self.intervals(gauges)
        self._fold(NEVER)
        last = self._interval(gauges, final=True)
        outages = last.outages + self._absences.open()
        yield msgspec.structs.replace(last, stopped_ns=stopped_ns, gone=gone, outages=outages)

    def _fold(self, until_ns: int) -> None:
        rows = self._outcomes.take(until_ns)
        if not len(rows):
            return
        index = (rows[:, DONE] - self._start_ns) // SECOND_NS  # more than one only when the loop was late
        for number in np.unique(index).tolist():
            tallies = self._tallies.setdefault(max(number, self._index), {})
            for name, tally in fold(rows[index == number], self._bounds, self._samples, self._wire_bytes).items():
                tallies.setdefault(name, Tally()).__iadd__(tally)
        measured = (rows[:, DUE] >= self._starts[1]) & (rows[:, DUE] < self._starts[2])
        if self._targets > 1:
            self._fold_targets(rows[measured], index[measured])
        self._last_done_ns = int(rows[measured, DONE][-1]) if measured.any() else self._last_done_ns
        self._steady_ok += self._count_ok(rows, self._starts[1], self._steady_ns)
        self._absences.fold(rows)
        self._recent.append(rows)

    def _fold_targets(self, rows: Rows, index: Rows) -> None:
        """Whatever ended was scheduled, and planned: each target's own ledger is that of what it was asked."""
        for number in np.unique(index).tolist():
            tallies = self._by_target.setdefault(max(number, self._index), {})
            for target in range(self._targets):
                mine = rows[(index == number) & (rows[:, TARGET] == target)]
                tally = tallies.setdefault(target, Tally())
                tally += tally_of(mine, self._samples, self._wire_bytes)
                tally.add("planned", len(mine))
                tally.add("scheduled", len(mine))

    def _count_ok(self, rows: Rows, begin_ns: int, end_ns: int) -> NDArray[np.int64]:
        """Of each target the ok requests done in [begin, end)."""
        done = rows[:, DONE]
        found = rows[(rows[:, CODE] == OK) & (done >= begin_ns) & (done < end_ns), TARGET]
        return np.bincount(found, minlength=self._targets)

    def end_steady(self, at_ns: int) -> None:
        """A closed loop's steady window ended at `at_ns`, within the last second: what was counted past it is taken back."""
        if at_ns < self._steady_ns:
            begin = max(at_ns, self._starts[1])
            for rows in self._recent:
                self._steady_ok -= self._count_ok(rows, begin, self._steady_ns)
            self._steady_ns = at_ns

    def _interval(self, gauges: Gauges, *, final: bool) -> Interval:
        """What happened since the last one. A young collection is made, timed and reported here, and nowhere else."""
        before = process_time_ns()  # not the clock: what a competitor takes meanwhile is not the collection's
        gc.collect(0)
        cpu_ns, starved_ns = process_time_ns(), self.itself.run_queue_wait_ns()
        gc_ns = cpu_ns - before
        tallies = self._tallies.pop(self._index, {})
        del self._recent[: self._older]
        self._older = len(self._recent)
        for phase, name in enumerate(PHASES):
            if name in tallies:  # counted when shipped: what is folded and not yet shipped would die with the supervisor
                self._ended[phase] += tallies[name].ended
            fresh = self._scheduled[phase] - self._shipped[phase]
            if fresh:
                tallies.setdefault(name, Tally()).add("scheduled", fresh)
                self._shipped[phase] = self._scheduled[phase]
        testimony = self.testimony()
        examples = {} if len(gauges.examples) == self._examples_sent else dict(gauges.examples)
        self._examples_sent = len(gauges.examples)
        interval = Interval(
            worker=self._worker,
            index=self._index,
            phases={name: tally.to_wire() for name, tally in tallies.items()},
            outstanding={
                name: self._scheduled[p] - self._ended[p]
                for p, name in enumerate(PHASES)
                if self._scheduled[p] > self._ended[p]
            },
            in_flight=gauges.in_flight,
            waiting=gauges.waiting,
            connections=gauges.connections,
            cpu_ns=cpu_ns - self._cpu_ns,
            starved_ns=starved_ns - self._starved_ns,
            gc_ns=gc_ns,
            rss=self.itself.resident_bytes(),
            examples=examples,
            steady_ok=self._steady_ok.tolist(),
            targets={target: tally.to_wire() for target, tally in self._by_target.pop(self._index, {}).items()},
            last_done_ns=self._last_done_ns,
            capped=gauges.capped,
            refused_here=gauges.starved,
            lacking=dict(gauges.lacking),
            late=None if testimony is None else testimony.late.to_sparse(),
            withheld=None if testimony is None else testimony.withheld.to_sparse(),
            final=final,
            outages=self._absences.took(),
        )
        self._cpu_ns, self._starved_ns = cpu_ns, starved_ns
        return interval
