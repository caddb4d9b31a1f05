"""The local launcher: spawns one worker a core, pins it, names one start instant for all, and brings every Interval home.

Laws
* Every worker begins at the same named instant of CLOCK_MONOTONIC; none begins before all are ready.
* A worker that dies ends the run: its share is not given to the others, and what it had scheduled is lost in the ledger.
* The first SIGINT or SIGTERM ends the measurement and saves; the second ends the workers at once.
* No worker outlives the supervisor: each ends when its pipe closes.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from time import monotonic_ns
from typing import Any

import psutil

from clipload.errors import HostError
from clipload.folding import Folding
from clipload.frames import SECOND_NS, Closing, Interval, Part
from clipload.launchers import Assignment, Observer
from clipload.launchers.accounts import closed_accounts, open_accounts
from clipload.launchers.process import Process, spawn
from clipload.pacing import NEVER
from clipload.run import PRECISE
from clipload.stopping import Stopping
from clipload.vitals import Vitals
from clipload.wire import Drained, Message, Order, Ready, SlotIdle, TargetGone, TooMany

COMPLETE, INTERRUPTED, ABORTED = "complete", "interrupted", "aborted"
OVERLOAD, TARGET_DIED, WORKER_DIED, DISK_FULL = "overload", "target died", "worker died", "disk full"

_READY_S = 60.0
_START_AHEAD_NS = 200_000_000  # between naming the start and the start
_STOP_AHEAD_NS = 50_000_000  # between naming an early end and the end, so that every worker hears of it in time
_LAST_WORD_S = 20.0  # for a worker to close its account when all have drained
_SILENCE_NS = 20 * 10**9  # a worker that has said nothing for so long is taken for dead
_SHORT_GRACE_NS = 5 * 10**9  # after Ctrl-C nobody wants to wait for a long time-out


class Launch:
    """One launch, from spawning to the Closing."""

    def __init__(self, assignment: Assignment, observer: Observer) -> None:
        self.assignment, self.observer = assignment, observer
        self.plan = assignment.plan
        self.processes: list[Process] = []
        self.changed = asyncio.Event()
        self.folding: Folding | None = None
        self.stopping = Stopping(assignment.plan, assignment.bounds)
        self.ended = COMPLETE
        self.stop_ns: int | None = None
        self.steady_ns: int | None = None
        self.deadline_ns = NEVER  # a worker that has not drained by then never will
        self.closing = False
        self._signals = 0

    # ---- spawning

    async def spawn(self) -> None:
        for number in range(self.plan.workers):
            self.processes.append(await spawn(self.assignment, number, self))

    async def prepare(self) -> None:
        """All are ready when it returns. HostError when one is not."""
        await self.spawn()
        await self._until(lambda: all(p.ready or p.dead for p in self.processes), _READY_S)
        self._check_ready()

    # ---- what is heard

    def heard(self, process: Process, message: Message) -> None:
        if isinstance(message, Interval):
            process.final = message.final
            self._interval(message)
        elif isinstance(message, Ready):
            process.ready = message
        elif isinstance(message, Drained):
            process.drained = True
        elif isinstance(message, SlotIdle):
            self._steady(message.at_ns)
        elif isinstance(message, TooMany):
            self.end(
                OVERLOAD,
                f"worker {message.worker} has {message.outstanding} requests unanswered: more than --max-backlog allows",
            )
        elif isinstance(message, TargetGone):
            self.end(
                TARGET_DIED,
                f"the target refuses connections: {message.refusals} without a success in worker {message.worker}",
                _SHORT_GRACE_NS,
            )
        self.changed.set()

    def _interval(self, interval: Interval) -> None:
        """One worker's second; the last that a checkpoint waited for may end the run."""
        self._record(interval)
        known = "" if self.folding is None else self.stopping.reached(self.folding, interval)
        if known:
            self.end(PRECISE, known)

    def _record(self, frame: Part) -> None:
        if self.folding is not None:
            self.folding.add(frame)
        try:
            self.observer.frame(frame)
        except HostError as error:
            self.observer.said(str(error))
            self.end(DISK_FULL)

    def _steady(self, at_ns: int) -> None:
        """The first slot of all has no work left: every worker's steady window ends at that instant."""
        if self.steady_ns is None:
            self.steady_ns = at_ns
            self._tell(Order(steady=at_ns))
            self.observer.slackens()

    def died(self, process: Process) -> None:
        self.changed.set()
        if self.closing and self.ended == ABORTED:
            return
        code = process.popen.poll()
        where = self.assignment.directory / f"{self.assignment.log}_{process.number}.err"
        self.end(WORKER_DIED, f"worker {process.number} died (exit status {code}); its last words, if any, are in {where}")

    def _tell(self, order: Order) -> None:
        for process in self.processes:
            if not process.dead:
                process.send(order)

    # ---- ending

    def end(self, why: str, sentence: str = "", grace_ns: int | None = None) -> None:
        """Ends the measurement early: one instant, the same for all, is the end of the schedule. The first reason stands."""
        if self.stop_ns is not None or self.folding is None:
            return
        self.ended = why
        self.observer.ending()
        self.stop_ns = max(monotonic_ns() + _STOP_AHEAD_NS, self.folding.run.start_ns)
        grace = self.plan.grace_ns if grace_ns is None else min(grace_ns, self.plan.grace_ns)
        self.deadline_ns = self.stop_ns + grace + _SILENCE_NS
        self._tell(Order(stop=self.stop_ns, grace=grace))
        if sentence:
            self.observer.said(sentence)

    def signalled(self) -> None:
        self._signals += 1
        self.changed.set()
        if self.folding is None:
            raise KeyboardInterrupt
        if self._signals == 1:
            if self.stop_ns is not None:  # it is ending already: nobody wants to wait for the long grace any more
                self._tell(Order(stop=self.stop_ns, grace=min(_SHORT_GRACE_NS, self.plan.grace_ns)))
            self.end(INTERRUPTED, grace_ns=_SHORT_GRACE_NS)
            self.observer.said("ending the measurement; what was measured is saved (once more: at once)")
        else:
            self.ended = ABORTED
            self.kill()

    def kill(self) -> None:
        for process in self.processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.popen.kill()

    # ---- the course

    async def run(self) -> Closing:
        await self.prepare()
        return await self.course(monotonic_ns() + _START_AHEAD_NS)

    async def course(self, start_ns: int) -> Closing:
        """From the start instant, which lies ahead, to the last word of all."""
        self.folding = self.observer.opened([p.ready for p in self.processes if p.ready], start_ns)
        if not self.plan.open_loop and self.plan.requests is None:
            self.steady_ns = start_ns + self.assignment.bounds[2]
        self.deadline_ns = start_ns + self.assignment.bounds[3] + self.plan.grace_ns + _SILENCE_NS
        self._tell(Order(start=start_ns))
        for process in self.processes:
            if process.dead:  # between its ready and the start
                self.died(process)
        vitals = Vitals(self.assignment.placement.workers, {p.number: p.popen.pid for p in self.processes})
        watching = asyncio.create_task(self._watch(vitals, start_ns))
        try:
            while not all(p.drained or p.dead for p in self.processes):
                if watching.done():
                    watching.result()
                self._bury_silent()
                await self._wait(1.0)
        finally:
            watching.cancel()
        self._look(vitals)
        self.closing = True
        self._tell(Order(close=True))
        await self._until(lambda: all(p.final or p.dead for p in self.processes), _LAST_WORD_S)
        await self._bury_mute()
        self._reap()
        return self._closing(self.folding)

    async def _watch(self, vitals: Vitals, start_ns: int) -> None:
        """The host's vitals at the start and at each whole second."""
        second = 0
        while True:
            await asyncio.sleep((start_ns + second * SECOND_NS - monotonic_ns()) / 1e9)
            self._look(vitals)
            second = (monotonic_ns() - start_ns) // SECOND_NS + 1

    def _look(self, vitals: Vitals) -> None:
        self._record(vitals.read())
        for sighting in self.observer.seen():
            self._record(sighting)

    def _check_ready(self) -> None:
        late = [p for p in self.processes if not p.ready]
        if late:
            log = self.assignment.directory / f"{self.assignment.log}_{late[0].number}.err"
            said = log.read_text(errors="replace").strip().splitlines()
            raise HostError(
                f"worker {late[0].number} did not start: {said[-1] if said else 'it said nothing'}",
                remedy=f"see {log}" if said else "is the machine overloaded? Try again, with fewer --workers",
            )

    async def _wait(self, seconds: float) -> None:
        self.changed.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.changed.wait(), seconds)

    async def _until(self, condition: Any, seconds: float) -> None:
        deadline = monotonic_ns() + seconds * 1e9
        while not condition() and monotonic_ns() < deadline:
            await self._wait(0.2)

    def _bury_silent(self) -> None:
        """A worker that stopped talking (killed, stopped) is ended for good; its pipe's end then says that it died."""
        now = monotonic_ns()
        start_ns = self.folding.run.start_ns if self.folding else now
        for process in self.processes:
            silent = now - max(process.heard_ns, start_ns) > _SILENCE_NS
            if not process.dead and (silent or (now > self.deadline_ns and not process.drained)):
                process.popen.kill()

    async def _bury_mute(self) -> None:
        """A worker without a last word is ended; its pipe's end then says that it died, and its share is counted as lost."""
        mute = [p for p in self.processes if not p.final and not p.dead]
        for process in mute:
            process.popen.kill()
        await self._until(lambda: all(p.dead or p.final for p in mute), _LAST_WORD_S)

    def _reap(self) -> None:
        for process in self.processes:
            with contextlib.suppress(BrokenPipeError):
                process.popen.stdin.close()
            try:
                process.popen.wait(10)
            except psutil.TimeoutExpired:
                process.popen.kill()
                process.popen.wait(10)

    def _closing(self, folding: Folding) -> Closing:
        run, plan = folding.run, self.plan
        now = monotonic_ns()
        natural = now if plan.requests is not None and not plan.open_loop else run.start_ns + self.assignment.bounds[3]
        stop_ns = natural if self.stop_ns is None else min(natural, self.stop_ns)
        dead = frozenset(p.number for p in self.processes if p.dead)
        if self.assignment.pacer is not None and self.assignment.horizon is not None:
            accounts = open_accounts(run, self.assignment.pacer, self.assignment.horizon, dead, self.stop_ns)
        else:
            accounts = closed_accounts(run, dead, early=self.ended != COMPLETE)
        return Closing(
            ended=self.ended,
            end_ns=now,
            stop_ns=stop_ns,
            steady_ns=None if plan.open_loop else min(self.steady_ns or stop_ns, stop_ns),
            accounts=accounts,
            facts={"dead_workers": sorted(dead)},
        )


async def launch(assignment: Assignment, observer: Observer) -> Closing:
    """Runs the assignment on this host. HostError when workers cannot be started; afterwards all is in the Closing."""
    loop = asyncio.get_running_loop()
    job = Launch(assignment, observer)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, job.signalled)
    try:
        return await job.run()
    except BaseException:
        job.kill()
        raise
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
