"""THE hot loop: one process, one core, one event loop, worker k's share of the Plan.

At each due instant (an absolute alarm, draining all that is due) a request goes out on a free connection or waits for one
with its due instant unchanged; when it ends, twelve integers go into a preallocated row. Once a second the rows are folded into
Tallies and shipped up a pipe. Nothing is looked up, locked or logged per request, and no other process is asked.

Instants are CLOCK_MONOTONIC ns, the same clock for every process of a host. SIGINT is ignored: the supervisor decides, and a
worker whose supervisor is gone ends by itself.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Iterator
from itertools import chain, count, repeat
from time import monotonic_ns
from typing import Any, TypeVar

import msgspec
import numpy as np

from clipload.account import Account
from clipload.arena import KEPT_JOINED, Bodies, request_head
from clipload.certificates import client_context
from clipload.dialects import dialect_of
from clipload.errors import EXIT_INTERNAL
from clipload.host import allowed_cores, raise_descriptor_limit
from clipload.pacing import BODIES, NEVER, URLS, Shuffle, Trace, arrivals, share
from clipload.plan import Plan
from clipload.sampler import Sampler
from clipload.timer import Alarm, alarm
from clipload.traces import map_trace
from clipload.transports import Endpoint, Gauges, Lane, lane_for, total
from clipload.transports.connecting import PATIENT
from clipload.wire import Drained, Job, Order, Ready, SlotIdle, TargetGone, TooMany, Uplink
from clipload.witness import Witness

BURST = 64  # dispatches before the loop looks at its sockets again
AHEAD_S = 5.0  # how long the start waits for connections
SWEEP_S = 0.05  # how often time-outs are looked for
GONE_AFTER = PATIENT  # refusals in a row, over at least GONE_NS or --outage, after which the target is called gone
GONE_NS = 10**9
_T = TypeVar("_T")


class Worker:
    """Owns a Lane for each base URL, the picks of URL and body, and the account; its traffic decides when to demand."""

    def __init__(self, job: Job, uplink: Uplink) -> None:
        self.loop = asyncio.get_running_loop()
        self.job, self.uplink = job, uplink
        self.plan = plan = Plan.from_dict(job.plan)
        self._dialect = dialect_of(plan)
        self._tls = client_context(plan)
        bodies = [self._bodies(endpoint) for endpoint in job.endpoints]
        self.account = Account(job.worker, job.bounds, plan, np.stack([one.wire_bytes for one in bodies]))
        self.witness = Witness(self.loop, self.account.itself)
        self.account.testimony = self.witness.take
        self.lanes = [self._lane(*each) for each in zip(count(), job.endpoints, bodies)]
        self.sampler = self._sampler()
        self._turns: Iterator[Lane] = repeat(self.lanes[0])
        if len(self.lanes) > 1:
            urls = Shuffle(len(self.lanes), plan.seed, URLS)
            self._turns = _ready(map(self.lanes.__getitem__, urls.share(job.worker, plan.workers)))
        self._picks = _ready(Shuffle(bodies[0].count, plan.seed, BODIES).share(job.worker, plan.workers))
        self._draining = self._drained = False
        self._grace_ns = plan.grace_ns
        self.traffic: OpenLoop | ClosedLoop = OpenLoop(self) if plan.open_loop else ClosedLoop(self)

    def _bodies(self, endpoint: Endpoint) -> Bodies:
        """The same bodies for every target; each has a head of its own."""
        headers = (*self.plan.headers, *self.job.credentials.headers)
        head = request_head(self._dialect.path, endpoint.host, headers)
        room = KEPT_JOINED // len(self.job.endpoints)
        return Bodies(self.job.arena, self.plan.batch_size, self._dialect.frame(), head, room)

    def _lane(self, target: int, endpoint: Endpoint, bodies: Bodies) -> Lane:
        plan, limit = self.plan, self.job.connection_limit
        make, vectors = lane_for(plan.transport, endpoint), plan.vectors_per_request
        lane = make(self.account.ended, bodies, self._dialect, endpoint, vectors, limit, target, self._tls)
        lane.credentials = self.job.credentials
        return lane

    def _sampler(self) -> Sampler | None:
        """Who takes samples of the replies, if anybody compares them."""
        if self.job.sampling is None:
            return None
        sampler = Sampler(self.job.sampling, self.plan.workers, self.loop, headed=self.lanes[0].headed)
        for lane in self.lanes:
            lane.compared, lane.sampled = sampler.bodies, sampler.take
        return sampler

    # ---- the hot path: a request is due, and what became of it

    def demand(self, due: int, now: int) -> None:
        """The next request of this worker's share is due."""
        self.account.schedule(due)
        next(self._turns).demand(next(self._picks), due, now)

    # ---- the course of a run

    async def prepare(self) -> None:
        """Opens the connections that the load will need, so that it does not begin with handshakes.

        Those that take longer than AHEAD_S are left to come when they may: how the target treats them is data.
        """
        for lane in self.lanes:
            for _ in range(self.job.connect_ahead):
                lane.open()
        opening = [task for lane in self.lanes for task in lane.opening]
        if opening:
            await asyncio.wait(opening, timeout=AHEAD_S)
        gc.collect()
        gc.freeze()
        gc.disable()

    def start(self, at_ns: int) -> None:
        self.account.start(at_ns)
        self.account.after = self.traffic.ended
        if self.sampler is not None:
            self.sampler.start(at_ns + self.job.bounds[1], at_ns + self.job.bounds[2])
        self.traffic.start(at_ns)
        self.witness.start(at_ns)
        self._tick()
        self._sweep()

    def stop(self, at_ns: int, grace_ns: int) -> None:
        """The schedule ends early: what is due by `at_ns` goes out, the rest is not due. The replies have `grace_ns`."""
        self._grace_ns = grace_ns
        if self._draining:
            self.drain()
        else:
            self.account.end_steady(at_ns)
            self.traffic.stop(at_ns)

    def drain(self) -> None:
        """Nothing more becomes due; waits for what is outstanding."""
        self._draining = True
        self.loop.call_later(self._grace_ns / 1e9, self._cut)
        self.account.after = self._look_drained
        self._look_drained(monotonic_ns())

    def _cut(self) -> None:
        """Draining is over. What has had its time-out by now has timed out; only the rest is censored or unsent."""
        for lane in self.lanes:
            lane.expire(monotonic_ns() - self.plan.timeout)
            lane.cut()

    def _look_drained(self, now: int) -> None:
        if not self.account.outstanding and not self._drained:
            self._drained = True
            self.uplink.send(Drained(self.job.worker, now))

    def finish(self) -> None:
        """The last word: the account is closed and shipped."""
        self.traffic.close()
        self.witness.close()
        self._ticking.cancel()  # a second that ends before the process does would come after the last word
        self._sweeping.cancel()
        if self.sampler is not None:
            self.sampler.close()
        for interval in self.account.close(self.traffic.stopped_ns, self._gauges(), self._gone(monotonic_ns())):
            self.uplink.send(interval)

    def _gauges(self) -> Gauges:
        return total(lane.gauges() for lane in self.lanes)

    def _gone(self, now: int, for_ns: int = GONE_NS) -> list[int]:
        """The targets to which no connection is left, and that have refused every new one for so long."""
        return [
            lane.target
            for lane in self.lanes
            if lane.refusals >= GONE_AFTER and now - lane.refused_ns > for_ns and not lane.connections
        ]

    def _tick(self) -> None:
        """Ships each second when it is over."""
        for interval in self.account.intervals(self._gauges()):
            self.uplink.send(interval)
        self._ticking = self.loop.call_later(self.account.until_next_s(), self._tick)

    def _sweep(self) -> None:
        """Time-outs, a backlog that is too long, a target that is gone."""
        now = monotonic_ns()
        for lane in self.lanes:
            lane.expire(now - self.plan.timeout)
        if not self._draining:
            if self.account.outstanding > self.traffic.backlog_limit:
                self.uplink.send(TooMany(self.job.worker, self.account.outstanding))
            if len(self._gone(now, max(GONE_NS, self.plan.outage))) == len(self.lanes):
                since, refusals = min(lane.refused_ns for lane in self.lanes), sum(lane.refusals for lane in self.lanes)
                self.uplink.send(TargetGone(self.job.worker, since, refusals))
        self._sweeping = self.loop.call_later(SWEEP_S, self._sweep)


def _ready(drawn: Iterator[_T]) -> Iterator[_T]:
    """The same, its first element drawn now: a permutation is made before the load, not when the first request is due."""
    return chain([next(drawn)], drawn)


class OpenLoop:
    """Due instants come from the schedule, whatever the target does."""

    def __init__(self, worker: Worker) -> None:
        plan, job = worker.plan, worker.job
        self.worker = worker
        self.backlog_limit = -(-plan.backlog_limit // plan.workers)
        self.alarm: Alarm = alarm(worker.loop, self._ring)
        pacer = plan.pacer if job.trace is None else Trace(map_trace(job.trace))
        self._blocks = arrivals(pacer, plan.seed, job.worker, plan.workers, job.bounds[3])
        self._due: list[int] = [NEVER]  # absolute, the loaded block; ends with NEVER
        self._next = 0
        self._last = 0  # the due instant of the last request sent
        self.stopped_ns: int | None = None  # when the schedule was shortened, if it was

    def start(self, at_ns: int) -> None:
        self._start_ns = at_ns
        self._end_ns = at_ns + self.worker.job.bounds[3]
        self._load()
        self.alarm.set(min(self._due[0], self._end_ns))

    def _load(self) -> bool:
        """Loads the next block that has arrivals; False when the schedule is used up."""
        self._next = 0
        for block in self._blocks:
            if block:
                self._due = [self._start_ns + offset for offset in block]
                self._due.append(NEVER)
                return True
        self._due = [NEVER]
        return False

    def _ring(self) -> None:
        """Sends all that is due, at most BURST before the sockets get their turn."""
        due, i, demand = self._due, self._next, self.worker.demand
        last = i + BURST
        now = monotonic_ns()
        while due[i] <= now and i < last:
            demand(due[i], now)
            i += 1
            now = monotonic_ns()
        if i > self._next:
            self._last = due[i - 1]
            self._next = i
        if due[i] == NEVER and not self._load() and now >= self._end_ns:
            self.worker.drain()
        else:
            self.alarm.set(min(self._due[self._next], self._end_ns))

    def ended(self, done: int) -> None:
        """What the target does changes nothing."""

    def stop(self, at_ns: int) -> None:
        """Shortens the schedule to what is due by `at_ns`; what went out later before this was known stays counted."""
        rest = [due for due in self._due[self._next :] if due <= at_ns]
        self.stopped_ns = max(at_ns, self._last)
        self._blocks = self._until(self._blocks, at_ns - self._start_ns)
        self._due, self._next = [*rest, NEVER], 0
        self._end_ns = min(self._end_ns, at_ns)
        self.alarm.set(min(self._due[0], self._end_ns))

    @staticmethod
    def _until(blocks: Iterator[list[int]], last: int) -> Iterator[list[int]]:
        """The blocks up to and including offset `last`."""
        for block in blocks:
            yield [offset for offset in block if offset <= last]
            if block and block[-1] > last:
                return

    def close(self) -> None:
        self.alarm.close()


class ClosedLoop:
    """Slots: the next request is due at the instant at which its slot became free."""

    backlog_limit = NEVER  # a slot has at most one request

    def __init__(self, worker: Worker) -> None:
        plan, job = worker.plan, worker.job
        self.worker = worker
        self.slots = plan.in_flight.share(job.worker, plan.workers)
        self.alarm: Alarm = alarm(worker.loop, self._ring)
        self._left = NEVER if plan.requests is None else share(plan.requests, job.worker, plan.workers)
        self._began = self._over = False
        self.stopped_ns: int | None = None

    def start(self, at_ns: int) -> None:
        bounds = self.worker.job.bounds
        self._start_ns = at_ns + self.worker.job.worker * self.worker.plan.stagger
        self._measure_ns, self._end_ns = at_ns + bounds[1], at_ns + bounds[2]
        self.alarm.set(self._start_ns)

    def _ring(self) -> None:
        """Rings at the start, and at the end of a loop by duration."""
        if self._began:
            self._finish()
            return
        self._began = True
        self.alarm.set(self._end_ns)
        for _ in range(self.slots):
            self.ended(self._start_ns)

    def ended(self, done: int) -> None:
        """A slot is free."""
        if done >= self._end_ns or self._over:
            self._finish()
            return
        if done >= self._measure_ns:
            if not self._left:
                self.worker.uplink.send(SlotIdle(self.worker.job.worker, done))
                self._finish()
                return
            self._left -= 1
        self.worker.demand(done, monotonic_ns())

    def _finish(self) -> None:
        if not self._over:
            self._over = True
            self.worker.drain()

    def stop(self, at_ns: int) -> None:
        """A slot that becomes free after `at_ns` stays so."""
        self.stopped_ns = at_ns
        self._end_ns = min(self._end_ns, at_ns)
        self.alarm.set(self._end_ns)

    def close(self) -> None:
        self.alarm.close()


class Orders(asyncio.Protocol):
    """The supervisor's lines. When the pipe closes, nobody wants the rest: the worker ends."""

    def __init__(self, worker: Worker, over: asyncio.Event) -> None:
        self._worker, self._over = worker, over
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            self._obey(msgspec.json.decode(line, type=Order))

    def _obey(self, order: Order) -> None:
        worker = self._worker
        if order.start is not None:
            worker.start(order.start)
        elif order.stop is not None:
            worker.stop(order.stop, order.grace)
        elif order.steady is not None:
            worker.account.end_steady(order.steady)
        elif order.close:
            worker.finish()
            self._over.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._over.set()


def fail(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An exception that nobody caught is a defect of ours: the worker dies of it, and the supervisor says so."""
    loop.default_exception_handler(context)
    os._exit(EXIT_INTERNAL)


async def work(job: Job) -> None:
    """The whole life of a worker."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(fail)
    uplink = Uplink(loop, job.frames_fd)
    worker = Worker(job, uplink)
    over = asyncio.Event()
    await worker.prepare()
    await loop.connect_read_pipe(lambda: Orders(worker, over), sys.stdin.buffer)
    uplink.send(
        Ready(
            worker=job.worker,
            pid=os.getpid(),
            cores=list(allowed_cores()),
            alarm=worker.traffic.alarm.kind,
            loop=type(loop).__module__.partition(".")[0],
            connections=sum(len(lane.connections) for lane in worker.lanes),
        )
    )
    await over.wait()
    uplink.close()
    for lane in worker.lanes:
        await lane.close()


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise_descriptor_limit()
    orders = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115  - unbuffered: the rest is the loop's
    job = msgspec.json.decode(orders.readline(), type=Job)
    try:
        import uvloop
    except ImportError:
        asyncio.run(work(job))
    else:
        uvloop.run(work(job))


if __name__ == "__main__":
    main()
