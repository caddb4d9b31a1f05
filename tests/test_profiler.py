"""--profile: when the target is told to begin and to stop, whatever the load does, and what is said when it does not obey."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from time import monotonic_ns
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from clipload import profiler
from clipload.credentials import Credentials
from clipload.folding import Folding
from clipload.frames import Interval
from clipload.launchers import Observer
from clipload.plan import Plan
from clipload.profiler import LONGEST_NS, profiling, window
from clipload.transports import Endpoint
from clipload.units import Duration
from tests.certificates import certificates
from tests.test_run import MS, S, interval, opening, tally

KEY = "sesame-open-thyself"


@given(st.integers(0, 2**62), st.integers(0, 2**45))
def test_the_window_is_the_middle_third_at_most_five_seconds(begin: int, length: int) -> None:
    first, last = window(begin, begin + length)
    assert begin <= first <= last <= begin + length
    assert abs((first - begin) - (begin + length - last)) <= 1
    assert abs(last - first - min(length // 3, LONGEST_NS)) <= 1


class Target:
    """A target that writes down what it is told, and obeys or not."""

    def __init__(self, status: int = 200, text: str = "Start profiling.\n", hangs: str = "") -> None:
        self.told: list[tuple[str, str]] = []
        self._status, self._text, self._hangs = status, text, hangs

    async def respond(self, request: web.Request) -> web.Response:
        self.told.append((request.path, request.headers.get("Authorization", "")))
        if request.path == self._hangs:
            await asyncio.sleep(60)
        return web.Response(status=self._status, text=self._text)

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.told]

    @asynccontextmanager
    async def serving(self, *, tls: bool = False) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_post("/{any:.*}", self.respond)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=certificates().server_context() if tls else None)
        await site.start()
        try:
            yield f"http{'s' * tls}://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


class Load:
    """A launch that never was: it opens the observer, tells it of intervals, and ends."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.said: list[str] = []
        self.frames: list[Interval] = []
        self.start_ns = monotonic_ns()
        self.ended = False

    def observer(self) -> Observer:
        return Observer(self._opened, self.frames.append, lambda sentence: self.said.append(sentence), self._ending)

    def _opened(self, _: list[Any], start_ns: int) -> Folding:
        self.folding = Folding(msgspec.structs.replace(opening(self.plan), start_ns=start_ns))
        return self.folding

    def _ending(self) -> None:
        self.ended = True

    def second(self, heard: Observer, index: int, back: int) -> None:
        """`back` more requests have come back; three are always out."""
        frame = interval(0, index, {"measure": tally({"scheduled": back + 3 * (not index)})}, outstanding={"measure": 3})
        self.folding.add(frame)
        heard.frame(frame)


Course = Callable[[Load, Observer, Target], Awaitable[None]]


def at(plan: Plan) -> list[Endpoint]:
    """Where the base URLs of `plan` are; nobody is asked whether they are there."""
    where = [urlsplit(url) for url in plan.base_url]
    return [
        Endpoint(
            url.geturl(),
            url.netloc,
            socket.AF_INET,
            (url.hostname, url.port),
            server_name=host if url.scheme == "https" else "",
        )
        for url, host in ((url, url.hostname or "") for url in where)
    ]


def profiled(plan: Plan, target: Target, course: Course, *, key: str = KEY, probe_ns: int = MS) -> tuple[Load, dict[str, Any]]:
    """What was said and the facts, after `course` has been run through."""

    async def run() -> tuple[Load, dict[str, Any]]:
        async with target.serving() as url:
            load = Load(plan.replace(base_url=(url,)))
            async with profiling(load.plan, at(load.plan), Credentials(key), probe_ns, load.observer()) as (heard, facts):
                assert heard.opened([], load.start_ns) is load.folding
                await course(load, heard, target)
            return load, facts.get("profile", {})

    return asyncio.run(asyncio.wait_for(run(), 30))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


TIMED = Plan(rate=5.0, warmup=Duration(100 * MS), duration=Duration(600 * MS), profile=True)
COUNTED = Plan(concurrency=4, num_samples=30, profile=True)
BOTH = [("/start_profile", f"Bearer {KEY}"), ("/stop_profile", f"Bearer {KEY}")]


@pytest.mark.parametrize("plan", [TIMED, TIMED.replace(rate=None, concurrency=2), TIMED.replace(duration=None, num_samples=3)])
def test_by_time_the_middle_third(plan: Plan) -> None:
    async def course(load: Load, heard: Observer, target: Target) -> None:
        await until(lambda: len(target.told) == 2)

    target = Target()
    load, facts = profiled(plan, target, course)
    assert target.told == BOTH
    bounds = plan.bounds()
    begin, end = window(load.start_ns + bounds[1], load.start_ns + bounds[2])
    assert begin <= facts["started_ns"]
    assert end <= facts["stopped_ns"]
    assert (facts["error"], load.said) == ("", [])


def told_to(plan: Plan, *targets: Target, tls: bool = False) -> dict[str, Any]:
    """The facts of a profile by count of all the `targets`, from first to last request."""

    async def run() -> dict[str, Any]:
        async with AsyncExitStack() as stack:
            urls = [await stack.enter_async_context(target.serving(tls=tls)) for target in targets]
            load = Load(plan.replace(base_url=tuple(urls)))
            async with profiling(load.plan, at(load.plan), Credentials(KEY), MS, load.observer()) as (heard, facts):
                heard.opened([], load.start_ns)
                await until(lambda: bool(load.said) or all(target.told for target in targets))
            return facts["profile"] | {"said": load.said}

    return asyncio.run(asyncio.wait_for(run(), 30))


def test_every_target_is_told_and_one_that_does_not_obey_is_named() -> None:
    obeys, also, refuses = Target(), Target(), Target(status=404)
    facts = told_to(COUNTED, obeys, also)
    assert [obeys.told, also.told] == [BOTH, BOTH]
    assert facts["started_ns"] < facts["stopped_ns"]
    assert (facts["error"], facts["said"]) == ("", [])
    obeys.told.clear()
    facts = told_to(COUNTED, obeys, refuses)
    assert [obeys.told, refuses.told] == [BOTH, BOTH], "what may have begun is stopped"
    assert (facts["started_ns"], facts["stopped_ns"]) == (None, None)
    assert "/start_profile answered 404" in facts["error"]


@pytest.mark.parametrize("trusted", [True, False])
def test_a_target_over_tls_is_told_as_it_is_loaded(trusted: bool) -> None:
    """By those whom --cacert trusts, and by nobody else."""
    target, pem = Target(), certificates()
    plan = COUNTED.replace(base_url=("https://127.0.0.1:1",), cacert=str(pem.ca if trusted else pem.other_ca))
    facts = told_to(plan, target, tls=True)
    assert target.told == (BOTH if trusted else [])
    assert (facts["started_ns"] is not None, facts["stopped_ns"] is not None) == (trusted, trusted)
    assert ("CERTIFICATE_VERIFY_FAILED" in facts["error"]) != trusted


def test_a_load_goes_on_as_if_nobody_listened() -> None:
    async def course(load: Load, heard: Observer, target: Target) -> None:
        load.second(heard, 0, 1)
        heard.said("a word")
        heard.ending()

    load, _ = profiled(TIMED, Target(), course)
    assert (len(load.frames), load.said[0], load.ended) == (1, "a word", True)


def test_by_count_from_a_third_to_two_thirds() -> None:
    async def course(load: Load, heard: Observer, target: Target) -> None:
        load.second(heard, 0, 9)
        await asyncio.sleep(0.05)
        assert target.told == []
        load.second(heard, 1, 1)
        await until(lambda: len(target.told) == 1)
        load.second(heard, 2, 9)
        await asyncio.sleep(0.05)
        assert len(target.told) == 1
        load.second(heard, 3, 1)
        await until(lambda: len(target.told) == 2)

    target = Target()
    _, facts = profiled(COUNTED, target, course, probe_ns=S)
    assert target.told == BOTH
    assert facts["started_ns"] < facts["stopped_ns"]


def test_a_count_that_may_soon_be_over_is_profiled_from_its_start_to_its_end() -> None:
    async def course(load: Load, heard: Observer, target: Target) -> None:
        await until(lambda: len(target.told) == 1)

    target = Target()
    _, facts = profiled(COUNTED, target, course)
    assert target.told == BOTH
    assert facts["started_ns"] < facts["stopped_ns"]


def test_a_long_count_is_profiled_for_five_seconds_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiler, "LONGEST_NS", 50 * MS)

    async def course(load: Load, heard: Observer, target: Target) -> None:
        load.second(heard, 0, 10)
        await until(lambda: len(target.told) == 2)

    assert profiled(COUNTED, Target(), course, probe_ns=S)[1]["error"] == ""


def test_a_run_that_ends_early_stops_the_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiler, "LONGEST_NS", 1000 * S)
    plan = TIMED.replace(duration=Duration.seconds(1000))

    async def before(load: Load, heard: Observer, target: Target) -> None:
        heard.ending()
        assert load.said, "at once, and not when all replies are in"
        await asyncio.sleep(0.05)

    target = Target()
    load, facts = profiled(plan, target, before)
    assert (target.told, facts["started_ns"]) == ([], None)
    assert "before its middle" in facts["error"]
    assert load.said == [f"--profile: {facts['error']}"]

    async def within(load: Load, heard: Observer, target: Target) -> None:
        await until(lambda: len(target.told) == 1)
        heard.ending()
        await until(lambda: len(target.told) == 2)

    target = Target()
    load, facts = profiled(COUNTED, target, within)
    assert (target.told, facts["error"], load.said) == (BOTH, "", [])


def test_a_launch_that_fails_stops_the_profile_too() -> None:
    async def course(load: Load, heard: Observer, target: Target) -> None:
        await until(lambda: len(target.told) == 1)
        raise KeyError

    target = Target()
    with pytest.raises(KeyError):
        profiled(COUNTED, target, course)
    assert target.told == BOTH


@pytest.mark.parametrize("status", [404, 401, 307])
def test_a_target_that_does_not_obey_is_said_once_and_without_the_key(status: int) -> None:
    async def course(load: Load, heard: Observer, target: Target) -> None:
        await until(lambda: len(target.told) == 1)

    load, facts = profiled(COUNTED, Target(status, f"no {KEY} here"), course)
    assert (facts["started_ns"], facts["stopped_ns"]) == (None, None)
    assert f"/start_profile answered {status}: no *** here" in facts["error"]
    assert load.said == [f"--profile: {facts['error']}"]


def test_a_stop_that_is_not_answered_is_waited_for_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiler, "_PATIENCE_S", 0.05)

    async def course(load: Load, heard: Observer, target: Target) -> None:
        await until(lambda: len(target.told) == 1)

    plan = COUNTED.replace(timeout=Duration(300 * MS))
    load, facts = profiled(plan, Target(hangs="/stop_profile"), course)
    assert facts["started_ns"]
    assert facts["stopped_ns"] is None
    assert "/stop_profile did not answer within 300ms" in facts["error"]
    assert ["still busy" in sentence for sentence in load.said] == [True, False]


def test_a_signal_ends_the_wait_for_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiler, "_PATIENCE_S", 0.05)

    async def course(load: Load, heard: Observer, target: Target) -> None:
        await until(lambda: len(target.told) == 1)
        heard.ending()
        await until(lambda: len(target.told) == 2)
        load.said = Signalling()

    _, facts = profiled(COUNTED, Target(hangs="/stop_profile"), course)
    assert "nobody waited" in facts["error"]


class Signalling(list[str]):
    """Ctrl-C, shortly after it was said how to wait no longer."""

    def append(self, sentence: str) -> None:
        super().append(sentence)
        if "still busy" in sentence:
            asyncio.get_running_loop().call_later(0.05, signal.raise_signal, signal.SIGINT)


def test_a_target_that_is_gone_is_data(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> dict[str, Any]:
        load = Load(COUNTED.replace(base_url=("http://127.0.0.1:1",)))
        async with profiling(load.plan, at(load.plan), Credentials(), MS, load.observer()) as (heard, facts):
            heard.opened([], load.start_ns)
            await until(lambda: bool(load.said))
        profile: dict[str, Any] = facts["profile"]
        return profile

    assert "cannot be reached" in asyncio.run(run())["error"]


def test_without_the_flag_nothing_listens() -> None:
    async def run() -> None:
        load = Load(Plan())
        observer = load.observer()
        async with profiling(load.plan, at(load.plan), Credentials(), MS, observer) as (heard, facts):
            assert heard is observer
        assert facts == {}

    asyncio.run(run())
