"""The canary: a low-rate stream of one kind beside a load, with a worker, an Arena and an account of its own.

Laws
* It is an open loop like any other: its due instants are a Poisson schedule that depends on the seed alone, in a stream of its
  own, and its latencies are done − due. The hot loop is that of every worker; it runs on a core of the supervisor's.
* It begins with the load and ends with it, in the same phases. Its frames make a Run of their own within the load's, whose
  ledger closes by itself: not a number of it is added to the load's.
* What becomes of it ends nothing but itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from time import monotonic_ns

from clipload.arena import Arena, Bodies
from clipload.credentials import Credentials
from clipload.dialects import Dialect, dialect_of
from clipload.folding import Folding
from clipload.frames import SCHEMA, CanaryPart, Closing, Interval, Opening, Part
from clipload.host import Placement
from clipload.launchers import Assignment, Observer
from clipload.launchers.local import ABORTED, Launch
from clipload.pacing import CANARY, NEVER, generator, horizon
from clipload.plan import Plan
from clipload.plan.canary import parse_canary
from clipload.plan.schema import DEFAULT_DURATION
from clipload.preparation import source_options
from clipload.run import WITH_THE_LOAD
from clipload.sources import source_for
from clipload.target import probe
from clipload.transports import Endpoint
from clipload.wire import Ready

POOL = 16  # Samples
LENGTHS = "8-16"  # tokens of its texts: random ones, so that a server that keeps answers is not flattered much
CONNECTIONS = 256  # most to each base URL
_GRACE_NS = 2 * 10**9  # when the load's own draining is over

_TAKEN_OVER = (
    *("base_url", "api", "model", "encoding_format", "timeout", "outage", "grace", "warmup", "cooldown", "use_taskset"),
    *("transport", "header", "proxy", "cacert", "cert", "cert_key", "insecure", "arena_limit"),
)


def canary_plan(plan: Plan) -> Plan:
    """What its stream would be as a load of its own. The Plan must have a canary."""
    word = parse_canary(plan.canary or "")
    return Plan(
        name="canary",
        seed=int(generator(plan.seed, CANARY).integers(2**62)),
        mode=word.kind,
        rate=word.rate,
        arrival="poisson",
        duration=plan.duration or DEFAULT_DURATION,
        pool=POOL,
        text_tokens=LENGTHS if word.kind == "text" else None,
        no_preflight=True,
        no_lookout=True,
        no_integrity=True,
        **{name: getattr(plan, name) for name in _TAKEN_OVER},
    )


class _Beside(Launch):
    """A launch that begins and ends with another, which looks at the host for both."""

    def _look(self, vitals: object) -> None:
        """The load's launch does."""

    def _closing(self, folding: Folding) -> Closing:
        """Beside a counted load the schedule has no end of its own: what was planned is what was due when the load ended."""
        a = self.assignment
        if a.horizon is None and a.pacer is not None:
            last = max([self.stop_ns or 0, *(account.stopped_ns or 0 for account in folding.run.workers.values())])
            until = (last or monotonic_ns()) - folding.run.start_ns + 1
            zero, *edges = (min(edge, until) for edge in a.bounds)
            self.assignment = replace(a, horizon=horizon(a.pacer, self.plan.seed, 1, (zero, edges[0], edges[1], edges[2])))
        return super()._closing(folding)


class Canary:
    """One stream, from its worker's spawning to its Closing. `take` gives what is for the load's journal, in order."""

    def __init__(self, assignment: Assignment, said: Callable[[str], None]) -> None:
        observer = Observer(opened=self._opened, frame=self._heard, said=lambda sentence: said(f"canary: {sentence}"))
        self._launch = _Beside(assignment, observer)
        self._parts: list[CanaryPart] = []
        self._course: asyncio.Task[Closing] | None = None

    async def prepare(self) -> None:
        """Its worker is ready when it returns. HostError when it is not."""
        await self._launch.prepare()

    def beside(self, observer: Observer) -> Observer:
        """The same observer of a load, with this stream from its start instant to its end."""

        def opened(ready: list[Ready], start_ns: int) -> Folding:
            folding = observer.opened(ready, start_ns)
            self._course = asyncio.create_task(self._launch.course(start_ns))
            return folding

        def ending() -> None:
            observer.ending()
            self._launch.end(WITH_THE_LOAD)

        def slackens() -> None:
            observer.slackens()
            self._launch.end(WITH_THE_LOAD)

        def seen() -> Iterator[Part]:
            yield from observer.seen()
            yield from self.take()

        return replace(observer, opened=opened, ending=ending, slackens=slackens, seen=seen)

    def take(self) -> list[CanaryPart]:
        """What came since the last time."""
        parts, self._parts = self._parts, []
        return parts

    async def end(self, load: Closing) -> None:
        """The load is over, its draining too: what is unanswered has a moment yet, unless nobody waits any more."""
        if self._course is None:
            raise AssertionError("a load that has a Closing was opened")
        if load.ended == ABORTED:
            self._launch.ended = ABORTED
            self._launch.kill()
        elif not self._course.done():
            self._launch.end(WITH_THE_LOAD, grace_ns=_GRACE_NS)
        self._parts.append(CanaryPart(await self._course))

    async def abandon(self) -> None:
        """The load failed."""
        self._launch.kill()
        if self._course is not None:
            self._course.cancel()
            await asyncio.wait([self._course])

    def _opened(self, ready: list[Ready], start_ns: int) -> Folding:
        a = self._launch.assignment
        wall_s = time.time() + (start_ns - monotonic_ns()) / 1e9
        facts = {"workers": [{"pid": r.pid, "cores": r.cores, "timer": r.alarm, "loop": r.loop} for r in ready]}
        opening = Opening(SCHEMA, a.plan.to_dict(), facts, a.bounds, start_ns, wall_s)
        self._parts.append(CanaryPart(opening))
        return Folding(opening)

    def _heard(self, part: Part) -> None:
        if isinstance(part, Interval):
            self._parts.append(CanaryPart(part))


@asynccontextmanager
async def canary_beside(load: Assignment, observer: Observer) -> AsyncIterator[Canary | None]:
    """The canary of a load that is about to be launched, its worker ready; None when the Plan has none.

    TargetError when the target does not answer such a request at all.
    """
    if load.plan.canary is None:
        yield None
        return
    plan = canary_plan(load.plan)
    dialect = dialect_of(plan)
    source = source_for(plan.data_source, **source_options(plan))
    arena = await asyncio.to_thread(Arena.build, source.draw(POOL), dialect, plan.arena_limit)
    try:
        await _probe(plan, load.endpoints, arena, dialect, load.credentials)
        canary = Canary(_assignment(load, plan, arena), observer.said)
        try:
            await canary.prepare()
            yield canary
        except BaseException:
            await canary.abandon()
            raise
    finally:
        arena.close()


async def _probe(plan: Plan, to: tuple[Endpoint, ...], arena: Arena, dialect: Dialect, credentials: Credentials) -> None:
    body = Bodies(arena.map, 1, dialect.frame(), b"", room=0).payload(0)
    for endpoint in to:
        await probe(plan, endpoint, dialect, body, credentials)


def _assignment(load: Assignment, plan: Plan, arena: Arena) -> Assignment:
    """One worker, on the last of the supervisor's cores; the phases of the load."""
    cores = load.placement.supervisor
    endless = load.bounds[3] >= NEVER // 2
    return Assignment(
        plan=plan,
        arena=arena.map,
        endpoints=load.endpoints,
        credentials=load.credentials,
        bounds=load.bounds,
        pacer=plan.pacer,
        horizon=None if endless else horizon(plan.pacer, plan.seed, 1, load.bounds),
        trace=None,
        connect_ahead=1,
        connection_limit=CONNECTIONS,
        placement=Placement(cores[-1:], cores),
        directory=load.directory,
        log="canary",
    )
