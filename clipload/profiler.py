"""`--profile`: the target profiles itself in the middle of the measured phase (POST /start_profile and /stop_profile).

When: by time, the middle third, of which the middle 5 s if it is longer. A closed loop that counts has no middle in time: there
from the first second in which a third of its requests had come back, until two thirds had or 5 s later; one that may be over
within 3 s, judging by the probe, from its first request on. A run that ends early stops the profile with its schedule.

All of it happens beside the load: whatever fails is said, and stands in the facts. Answers have `--timeout`: SGLang gives its
own to /stop_profile when the trace is written, and embeds nothing meanwhile. A supervisor that is killed leaves the profile on.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from time import monotonic_ns
from typing import Any

from clipload.credentials import Credentials
from clipload.folding import Folding
from clipload.frames import Part
from clipload.launchers import Observer
from clipload.plan import Plan
from clipload.target import open_session
from clipload.transports import Endpoint
from clipload.wire import Ready

LONGEST_NS = 5 * 10**9
SHORT_NS = 3 * 10**9  # a counted run that may be shorter is profiled from its start: its seconds come home too late
_PATIENCE_S = 1.0


def window(begin_ns: int, end_ns: int) -> tuple[int, int]:
    """The middle third of a phase, or the middle `LONGEST_NS` of that."""
    half, middle = min((end_ns - begin_ns) // 3, LONGEST_NS) // 2, (begin_ns + end_ns) // 2
    return middle - half, middle + half


class Profiler:
    """Listens to a launch. `facts`: instants of CLOCK_MONOTONIC at which the target had answered, None for never."""

    def __init__(
        self,
        plan: Plan,
        endpoints: Sequence[Endpoint],
        credentials: Credentials,
        probe_ns: int,
        said: Callable[[str], None],
    ) -> None:
        import aiohttp  # noqa: F401 - now, and not when the load is on

        self._plan, self._endpoints, self._credentials = plan, endpoints, credentials
        self._probe_ns, self._said = probe_ns, said
        self._begin, self._end = asyncio.Event(), asyncio.Event()
        self._timers: list[asyncio.TimerHandle] = []
        self._course: asyncio.Task[None] | None = None
        self.facts: dict[str, Any] = {"started_ns": None, "stopped_ns": None, "error": ""}

    def beside(self, observer: Observer) -> Observer:
        """The same observer, with this one listening."""

        def opened(ready: list[Ready], start_ns: int) -> Folding:
            folding = observer.opened(ready, start_ns)
            self._folding = folding
            self._course = asyncio.create_task(self._run())
            self._set_timers(start_ns, folding.run.bounds)
            return folding

        def heard(frame: Part) -> None:
            observer.frame(frame)
            self._count()

        def ending() -> None:
            observer.ending()
            self._over()

        return replace(observer, opened=opened, frame=heard, ending=ending)

    def _set_timers(self, start_ns: int, bounds: tuple[int, int, int, int]) -> None:
        if not self._counts:
            begin_ns, end_ns = window(start_ns + bounds[1], start_ns + bounds[2])
            self._at(begin_ns, self._begin)
            self._at(end_ns, self._end)
        elif (self._plan.requests or 0) * self._probe_ns < SHORT_NS * (self._plan.concurrency or 1):
            self._at(start_ns + bounds[1], self._begin)

    @property
    def _counts(self) -> bool:
        return self._plan.requests is not None and not self._plan.open_loop

    def _at(self, instant_ns: int, event: asyncio.Event) -> None:
        wait_s = (instant_ns - monotonic_ns()) / 1e9
        self._timers.append(asyncio.get_running_loop().call_later(max(0.0, wait_s), event.set))

    def _count(self) -> None:
        """How far a counted loop has come, as far as its seconds have come home."""
        if not self._counts or self._plan.requests is None:
            return
        accounts = self._folding.run.workers.values()
        back = sum(a.phases["measure"]["scheduled"] - a.outstanding.get("measure", 0) for a in accounts)
        if 3 * back >= self._plan.requests:
            self._begin.set()
        if 3 * back >= 2 * self._plan.requests:
            self._end.set()

    def _over(self) -> None:
        """Nothing begins any more, and what has begun ends."""
        for timer in self._timers:
            timer.cancel()
        if self._course is not None and not self._begin.is_set():
            self._course.cancel()
            self._fail("the run was over before its middle was known: measure for longer")
        self._end.set()

    async def _run(self) -> None:
        await self._begin.wait()
        if await self._post("/start_profile"):
            self.facts["started_ns"] = monotonic_ns()  # one that failed may have begun all the same: it is stopped too
        if self._counts:
            self._at(monotonic_ns() + LONGEST_NS, self._end)
        await self._end.wait()
        if await self._post("/stop_profile"):
            self.facts["stopped_ns"] = monotonic_ns()

    async def _post(self, path: str) -> bool:
        """True when every target said 200."""
        errors = await asyncio.gather(*(self._ask(endpoint, path) for endpoint in self._endpoints))
        for error in filter(None, errors):
            self._fail(error)
        return not any(errors)

    def _fail(self, error: str) -> None:
        """The first failure is said and stands; others follow from it."""
        if not self.facts["error"]:
            self.facts["error"] = error
            self._said(f"--profile: {error}")

    async def _ask(self, endpoint: Endpoint, path: str) -> str:
        """What went wrong, if anything did."""
        import aiohttp

        url = endpoint.url + path
        try:
            async with (
                open_session(self._plan, endpoint, self._credentials) as session,
                session.post(path, allow_redirects=False) as reply,
            ):
                text = self._credentials.mask((await reply.content.read(1000)).decode(errors="replace"))
        except TimeoutError:
            return f"{url} did not answer within {self._plan.timeout}"
        except (aiohttp.ClientError, OSError) as error:
            return f"{url} cannot be reached: {error}"
        return "" if reply.status == 200 else f"{url} answered {reply.status}: {text.strip()[:200]}"

    async def close(self) -> None:
        """The load is over, however it ended. A target may write its trace for minutes: a signal ends the wait for it."""
        self._over()
        course, loop = self._course, asyncio.get_running_loop()
        if course is None:
            return
        if not (await asyncio.wait([course], timeout=_PATIENCE_S))[0]:
            self._said("the target is still busy with its profile (Ctrl-C: wait no longer)")
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, course.cancel)
            await asyncio.wait([course])
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
        if course.cancelled():
            self._fail("nobody waited for its end")
        elif error := course.exception():
            self._fail(f"an internal error: {error!r}")  # what was measured is worth more than this


@asynccontextmanager
async def profiling(
    plan: Plan, endpoints: Sequence[Endpoint], credentials: Credentials, probe_ns: int, observer: Observer
) -> AsyncIterator[tuple[Observer, dict[str, Any]]]:
    """The observer for a launch, and facts that are whole when the block is left; nothing is added unless the Plan says so."""
    if not plan.profile:
        yield observer, {}
        return
    profiler = Profiler(plan, endpoints, credentials, probe_ns, observer.said)
    try:
        yield profiler.beside(observer), {"profile": profiler.facts}
    finally:
        await profiler.close()
