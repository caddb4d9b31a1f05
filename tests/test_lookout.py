"""The lookout beside a launch: what it asks for, what it hands on, and that whatever it meets ends neither it nor the run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import monotonic_ns
from typing import Any

import pytest
from aiohttp import web

from clipload import lookout
from clipload.credentials import Credentials
from clipload.errors import HostError
from clipload.launchers import Observer
from clipload.lookout import looking_out
from clipload.plan import Plan
from clipload.sightings import QUEUED, RUNNING, Sighting
from tests.test_profiler import Load, at, until

METRICS = "sglang:num_queue_reqs 3.0\n"
BOTH = {QUEUED: 2.0, RUNNING: 1.0}
LOADS = '{"loads":[{"num_running_reqs":1,"num_waiting_reqs":2}]}'
Answer = tuple[int, str]


class Target:
    """Answers each path as it is told to; one that is not named is 404. `hangs`: paths that take for ever."""

    def __init__(self, answers: dict[str, Answer], hangs: tuple[str, ...] = ()) -> None:
        self.answers, self.hangs = answers, hangs
        self.asked: list[str] = []

    async def respond(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        if request.path in self.hangs:
            await asyncio.sleep(60)
        status, text = self.answers.get(request.path, (404, ""))
        return web.Response(status=status, text=text)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_get("/{any:.*}", self.respond)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


Course = Callable[[Observer, Target, list[Sighting]], Awaitable[None]]


def watched(target: Target, course: Course, **fields: Any) -> tuple[list[Sighting], dict[str, Any], Load]:
    """What was handed on, the facts and what was said, after `course` has been run through."""

    async def run() -> tuple[list[Sighting], dict[str, Any], Load]:
        async with target.serving() as url:
            plan = Plan(base_url=(url,), **fields)
            load, seen = Load(plan), list[Sighting]()
            async with looking_out(plan, at(plan), Credentials("sesame"), load.observer()) as (observer, facts):
                observer.opened([], monotonic_ns())
                await course(observer, target, seen)
                seen += observer.seen()
            return seen, facts.get("lookout", {}), load

    return asyncio.run(asyncio.wait_for(run(), 30))


async def first_gauges(observer: Observer, _: Target, seen: list[Sighting]) -> None:
    """Until something was told."""

    def told() -> bool:
        seen.extend(observer.seen())
        return any(sighting.targets[0].gauges for sighting in seen)

    await until(told)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second has 20 ms."""
    monkeypatch.setattr(lookout, "SECOND_NS", 20_000_000)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("answers", "told_at", "gauges"),
    [
        ({"/metrics": (200, METRICS)}, "/metrics", {QUEUED: 3.0}),
        ({"/v1/loads": (200, LOADS)}, "/v1/loads", BOTH),
        (
            {"/metrics": (200, "sglang:num_queue_reqs many"), "/v1/loads": (200, LOADS)},
            "/v1/loads",
            {QUEUED: 2.0, RUNNING: 1.0},
        ),
        ({"/metrics": (307, ""), "/v1/loads": (200, LOADS)}, "/v1/loads", BOTH),
    ],
)
def test_what_it_tells(answers: dict[str, Answer], told_at: str, gauges: dict[str, float]) -> None:
    target = Target(answers)
    seen, facts, load = watched(target, first_gauges)
    told = [sighting.targets[0] for sighting in seen if sighting.targets[0].gauges]
    assert told[0].gauges == gauges
    assert told[0].took_ns > 0
    assert (facts["targets"][0]["told_at"], facts["targets"][0]["not_told"]) == (told_at, "")
    assert load.said == []
    instants = [sighting.at_ns for sighting in seen]
    assert instants == sorted(set(instants))


@pytest.mark.usefixtures("quick")
def test_one_that_tells_nothing_is_asked_once_each() -> None:
    async def course(observer: Observer, target: Target, seen: list[Sighting]) -> None:
        await until(lambda: bool(seen.extend(observer.seen())) or len(seen) > 8)

    target = Target({})
    seen, facts, load = watched(target, course)
    assert target.asked == ["/metrics", "/v1/loads"]
    assert facts["targets"][0]["not_told"] == "GET /v1/loads answered 404"
    assert seen[-1].targets[0].missing == "GET /v1/loads answered 404"
    assert load.said == []


@pytest.mark.usefixtures("quick")
def test_one_that_is_slow_holds_up_nobody() -> None:
    async def course(observer: Observer, target: Target, seen: list[Sighting]) -> None:
        await until(lambda: bool(seen.extend(observer.seen())) or len(seen) > 5)

    target = Target({}, hangs=("/metrics",))
    seen, _, _ = watched(target, course)
    assert target.asked == ["/metrics"], "one scrape at a time"
    assert {sighting.targets[0].missing for sighting in seen} == {"it has not answered yet"}


@pytest.mark.usefixtures("quick")
def test_it_is_asked_again_and_again() -> None:
    async def course(observer: Observer, target: Target, seen: list[Sighting]) -> None:
        await first_gauges(observer, target, seen)
        target.answers["/metrics"] = (200, "sglang:num_queue_reqs 8.0\n")
        await until(lambda: bool(seen.extend(observer.seen())) or seen[-1].targets[0].gauges == {QUEUED: 8.0})

    watched(Target({"/metrics": (200, METRICS)}), course)


@pytest.mark.usefixtures("quick")
def test_a_defect_of_ours_is_said_and_ends_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("ours")

    async def course(*_: Any) -> None:
        monkeypatch.setattr(lookout.gauges, "parse", broken)
        await asyncio.sleep(0.2)

    _, facts, load = watched(Target({"/metrics": (200, METRICS)}), course)
    assert facts["error"] == "ZeroDivisionError('ours')"
    assert load.said == ["the lookout: an internal error: ZeroDivisionError('ours')"]


def test_with_no_lookout_nothing_is_asked() -> None:
    async def course(observer: Observer, target: Target, seen: list[Sighting]) -> None:
        await asyncio.sleep(0.05)

    target = Target({"/metrics": (200, METRICS)})
    seen, facts, _ = watched(target, course, no_lookout=True)
    assert (seen, facts, target.asked) == ([], {}, [])


def test_a_pid_that_is_nobody_is_a_mistake() -> None:
    with pytest.raises(HostError) as caught:
        watched(Target({}), first_gauges, server_pid=2**22 + 1)
    assert caught.value.flag == "--server-pid"
