"""Frames to a Run: a pure fold over a journal.

Law: `fold(frames)` is the only way to make a Run. What is saved as documents and what is rebuilt from `journal.bin` after
the death of any process are therefore the same value.

A journal without a `Closing` is that of a supervisor that was killed: the Run then says so, and what was outstanding is lost.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from clipload.agreement import FACT, Checked, agreement_in
from clipload.errors import ArchiveError
from clipload.frames import SCHEMA, SECOND_NS, CanaryPart, Closing, Frame, Interval, Opening, Part, Reading
from clipload.outcomes import fate
from clipload.pacing import PHASES
from clipload.plan import Plan
from clipload.run import KILLED, Run, WorkerAccount
from clipload.seconds import Second
from clipload.sightings import Sighting
from clipload.tally import Tally

_UNCHECKED = "the run was cut off, and what was compared in its last second or two is lost"


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
        self._canary: Folding | None = None
        self.checked = Checked()  # all of it so far

    def add(self, frame: Part | Closing) -> None:
        if isinstance(frame, Closing):
            self._closing = frame
        elif isinstance(frame, Reading):
            self.run.readings.append(frame)
        elif isinstance(frame, Sighting):
            self.run.sightings.append(frame)
        elif isinstance(frame, Checked):
            self.checked.add(frame)
        elif isinstance(frame, CanaryPart):
            self._add_canary(frame.part)
        else:
            _add(self.run, self.seconds, frame)

    def _leave_unchecked(self) -> None:
        """No Closing, whose facts hold the whole: what was compared by then is the answer."""
        before = agreement_in(self.run.facts)
        if before is not None and not before.skipped:
            found = self.checked.agreement(before, self.run.plan.workers, _UNCHECKED)
            self.run.facts[FACT] = msgspec.to_builtins(found)

    def _add_canary(self, part: Opening | Interval | Closing) -> None:
        """The canary's frames make a Run of their own: not a number of it gets into the load's."""
        if isinstance(part, Opening):
            self._canary = Folding(part)
        elif self._canary is not None:
            self._canary.add(part)

    def finish(self) -> Run:
        """Closes the accounts and sums the workers; to be called once, after the last frame."""
        run = self.run
        run.seconds = [self.seconds[index] for index in sorted(self.seconds)]
        if self._closing is not None:
            _close(run, self._closing)
        else:
            _abandon(run)
            self._leave_unchecked()
        for account in run.workers.values():
            for name, tally in account.phases.items():
                run.phases[name] += tally
        run.canary = None if self._canary is None else self._canary.finish()
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
        account.phases[name].add_wire(part)
    for number, part in frame.targets.items():
        account.targets.setdefault(number, Tally()).add_wire(part)
    account.cpu_ns += frame.cpu_ns
    account.starved_ns += frame.starved_ns
    account.gc_ns += frame.gc_ns
    account.rss = max(account.rss, frame.rss)
    account.outstanding, account.final, account.stopped_ns = frame.outstanding, frame.final, frame.stopped_ns
    account.gone = frame.gone
    account.outages += frame.outages
    account.steady_ok, account.last_done_ns = frame.steady_ok, frame.last_done_ns
    account.lacks[frame.index] = (frame.capped - account.capped, frame.refused_here - account.refused_here)
    account.capped, account.refused_here = frame.capped, frame.refused_here
    account.loads[frame.index] = (frame.cpu_ns, frame.starved_ns)
    account.lacking = frame.lacking
    if frame.index * SECOND_NS < run.bounds[2] and "measure" in frame.phases:
        account.in_time += frame.phases["measure"].counts.get("scheduled", 0)
    if run.bounds[1] <= frame.index * SECOND_NS and (frame.index + 1) * SECOND_NS <= run.bounds[2]:
        account.longest_gc_ns = max(account.longest_gc_ns, frame.gc_ns)
        for sum_, sparse in ((account.late, frame.late), (account.withheld, frame.withheld)):
            if sparse is not None:
                sum_.add_sparse(sparse)
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
