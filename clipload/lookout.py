"""The lookout: once a second, beside the load, what the targets tell of themselves, what their processes and GPUs do.

All of it happens on the supervisor's core and changes nothing: whatever cannot be seen is left out of a Sighting, and the facts
say why. A scrape that is slow (the target's front-end answers it, and may be full) is waited for beside the rest: a Sighting
holds what was told since the one before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from clipload import gauges
from clipload.credentials import Credentials
from clipload.dialects import dialect_of
from clipload.folding import Folding
from clipload.frames import SECOND_NS
from clipload.gpus import Gpus
from clipload.launchers import Observer
from clipload.plan import Plan
from clipload.processes import Tree
from clipload.sightings import Sighting, TargetSeen
from clipload.target import open_session
from clipload.transports import Endpoint
from clipload.wire import Ready

if TYPE_CHECKING:
    import aiohttp

PATIENCE_S = 10.0  # for one scrape
LARGEST = 8 * 2**20  # bytes of one


class Scrape:
    """What one target tells. A path that it does not have is not asked for again; `missing` says what it answered."""

    def __init__(self, session: aiohttp.ClientSession, endpoint: Endpoint, served: str) -> None:
        self._session, self._endpoint, self._served = session, endpoint, served
        self._paths = list(gauges.PATHS)
        self._task: asyncio.Task[tuple[dict[str, float], int]] | None = None
        self.missing = ""

    @property
    def path(self) -> str:
        """Where it tells; "" when nowhere."""
        return self._paths[0] if self._paths else ""

    def take(self) -> tuple[dict[str, float], int, str]:
        """What came since the last time, how long it took (ns), or why nothing did; and asks again."""
        told: dict[str, float] = {}
        took, missing = 0, self.missing
        if self._task is not None and not self._task.done():
            return {}, 0, "it has not answered yet"
        if self._task is not None:
            told, took = self._task.result()
            missing = self.missing
        self._task = asyncio.create_task(self._ask()) if self._paths else None
        return told, took, missing

    async def _ask(self) -> tuple[dict[str, float], int]:
        import aiohttp

        began, path = monotonic_ns(), self.path
        try:
            async with self._session.get(path, allow_redirects=False, timeout=aiohttp.ClientTimeout(total=PATIENCE_S)) as reply:
                status, body = reply.status, await reply.content.read(LARGEST)
                while len(body) < LARGEST and (more := await reply.content.read(LARGEST - len(body))):
                    body += more
        except TimeoutError:
            self.missing = f"GET {path} took more than {PATIENCE_S:g} s"
            return {}, 0
        except (aiohttp.ClientError, OSError) as error:
            self.missing = f"GET {path}: {type(error).__name__}"
            return {}, 0
        if status != 200:
            self._give_up(path, f"answered {status}")
            return {}, 0
        try:
            told = gauges.parse(path, body, self._served)
        except ValueError as error:
            self._give_up(path, f"is not what it should be: {str(error)[:100]}")
            return {}, 0
        self.missing = "" if told else f"GET {path} told nothing that is known here"
        return told, monotonic_ns() - began

    def _give_up(self, path: str, why: str) -> None:
        self.missing = f"GET {path} {why}"
        self._paths.remove(path)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])


class Lookout:
    """Listens to a launch from its start to its end."""

    def __init__(
        self, plan: Plan, endpoints: Sequence[Endpoint], sessions: Sequence[aiohttp.ClientSession], said: Callable[[str], None]
    ) -> None:
        """HostError when --server-pid names nobody."""
        import prometheus_client.parser  # noqa: F401 - now, and not when the load is on

        served = dialect_of(plan).path
        self._scrapes = [Scrape(session, endpoint, served) for session, endpoint in zip(sessions, endpoints, strict=True)]
        self._trees = [Tree(endpoint, plan.server_pid) for endpoint in endpoints]
        self._gpus = Gpus()
        self._said = said
        self._seen: list[Sighting] = []
        self._course: asyncio.Task[None] | None = None
        self.facts: dict[str, Any] = {}

    def beside(self, observer: Observer) -> Observer:
        """The same observer, with this one looking from the start instant on."""

        def opened(ready: list[Ready], start_ns: int) -> Folding:
            folding = observer.opened(ready, start_ns)
            self._course = asyncio.create_task(self._run(start_ns))
            return folding

        return replace(observer, opened=opened, seen=self.take)

    def take(self) -> list[Sighting]:
        """What was seen since the last time."""
        seen, self._seen = self._seen, []
        return seen

    def look(self) -> Sighting:
        """One instant: processes and GPUs as they are now, and what was told since the last look."""
        at_ns = monotonic_ns()
        processes = [tree.read() for tree in self._trees]
        told = [scrape.take() for scrape in self._scrapes]
        targets = {
            number: TargetSeen(gauges, took, missing, found, tree.cores, tree.cores_ms())
            for number, ((gauges, took, missing), found, tree) in enumerate(zip(told, processes, self._trees, strict=True))
        }
        pids = {pid for found in processes for pid in found}
        return Sighting(at_ns, targets, self._gpus.read(pids) if pids else {})

    async def _run(self, start_ns: int) -> None:
        """At the start and at each whole second; a second that was missed is left out."""
        second = 0
        while True:
            await asyncio.sleep((start_ns + second * SECOND_NS - monotonic_ns()) / 1e9)
            self._seen.append(self.look())
            second = (monotonic_ns() - start_ns) // SECOND_NS + 1

    async def close(self) -> None:
        """The load is over, however it ended. A defect of ours is said: what was measured is worth more than this."""
        course = self._course
        if course is not None:
            course.cancel()
            await asyncio.wait([course])
            if not course.cancelled() and (error := course.exception()):
                self._said(f"the lookout: an internal error: {error!r}")
                self.facts["error"] = repr(error)
        for scrape in self._scrapes:
            await scrape.close()
        self.facts["targets"] = [
            tree.document() | {"told_at": scrape.path, "not_told": scrape.missing}
            for tree, scrape in zip(self._trees, self._scrapes, strict=True)
        ]
        self.facts["gpus_missing"] = self._gpus.missing
        self._gpus.close()


@asynccontextmanager
async def looking_out(
    plan: Plan, endpoints: Sequence[Endpoint], credentials: Credentials, observer: Observer
) -> AsyncIterator[tuple[Observer, dict[str, Any]]]:
    """The observer for a launch, and facts that are whole when the block is left; with --no-lookout nothing is added."""
    if plan.no_lookout:
        yield observer, {}
        return
    async with AsyncExitStack() as stack:
        sessions = [await stack.enter_async_context(open_session(plan, endpoint, credentials)) for endpoint in endpoints]
        lookout = Lookout(plan, endpoints, sessions, observer.said)
        lookout.look()  # whoever is to be found is found before the load
        try:
            yield lookout.beside(observer), {"lookout": lookout.facts}
        finally:
            await lookout.close()
