"""The sampler at a real pipe: what goes down it, what is not taken and counted, and that nobody is waited for."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvloop

from clipload.sampler import HEAD, SHARE, TAIL, Sampler, Sampling, spacing_ns

S = 10**9
REPLY = [b"HTTP/1.1 200 OK\r\n", b"\r\n{}"]
SMALL = 4096


class Clock:
    """Each reading is `step` later than the one before."""

    def __init__(self, step: int = 0) -> None:
        self.now, self.step = 10 * S, step

    def __call__(self) -> int:
        self.now += self.step
        return self.now


@pytest.fixture(params=["uvloop", "asyncio"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, None]], None]:
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def run(coroutine: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(asyncio.wait_for(coroutine, 10))

    return run


@contextmanager
def sampler_of(clock: Clock, workers: int = 1, spacing: int = 0, room: int = 2**16) -> Iterator[tuple[Sampler, int]]:
    """A sampler in its measured phase, 10 s … 20 s, and the end of the pipe at which the checker reads."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, room)
    sampler = Sampler(Sampling(writing, [3, 5], spacing), workers, asyncio.get_running_loop(), clock)
    sampler.start(10 * S, 20 * S)
    try:
        yield sampler, reading
    finally:
        os.close(reading)


def take(sampler: Sampler, due: int = 11 * S, reply: list[bytes] | None = None, done: int = 0) -> None:
    sampler.take(due, 5, 1, 4, done or due + S, REPLY if reply is None else reply)


def all_of(reading: int) -> bytes:
    """Until the other end is closed."""
    data = b""
    while piece := os.read(reading, 2**16):
        data += piece
    return data


def tail(dropped: int, spared: int, spent: int) -> bytes:
    return HEAD.pack(0, TAIL, dropped, spared, spent, 0)


def test_a_sample_is_a_head_and_the_bytes_as_they_came(run: Callable[[Any], None]) -> None:
    async def course() -> None:
        with sampler_of(Clock(), workers=3) as (sampler, reading):
            take(sampler)
            sampler.close()
            whole = b"".join(REPLY)
            assert all_of(reading) == HEAD.pack(len(whole), 5, 1, 12, 12 * S, 1) + whole + tail(0, 0, 0)

    run(course())


def test_only_what_was_due_in_the_measured_phase_is_taken(run: Callable[[Any], None]) -> None:
    async def course() -> None:
        with sampler_of(Clock()) as (sampler, _):
            for due in (10 * S - 1, 20 * S):
                take(sampler, due)
            assert (sampler.taken, sampler.spared) == (0, 0)
            for due in (10 * S, 20 * S - 1):
                take(sampler, due)
            assert sampler.taken == 2

    run(course())


@pytest.mark.parametrize(("step", "spacing", "pause"), [(30_000, 0, round(30_000 / SHARE)), (30_000, 5_000_000, 5_000_000)])
def test_what_a_sample_costs_is_a_share_of_the_time_until_the_next(
    run: Callable[[Any], None], step: int, spacing: int, pause: int
) -> None:
    async def course() -> None:
        clock = Clock(step)
        with sampler_of(clock, spacing=spacing) as (sampler, reading):
            take(sampler)
            began = clock.now - step
            take(sampler, done=began + pause - 1)
            take(sampler, due=20 * S, done=began + pause - 1)  # not of the measured phase
            assert (sampler.taken, sampler.spared, sampler.spent_ns) == (1, 1, step)
            take(sampler, done=began + pause)
            assert (sampler.taken, sampler.spared) == (2, 1)
            sampler.close()
            assert all_of(reading).endswith(tail(0, 1, 2 * step))

    run(course())


def test_the_checkers_share_is_divided_among_the_workers() -> None:
    assert spacing_ns(1, 1) == 5_000_000
    assert spacing_ns(4, 128) == 4 * 128 * 5_000_000


def test_a_full_pipe_takes_no_sample_and_one_that_has_begun_is_finished(run: Callable[[Any], None]) -> None:
    async def course() -> None:
        with sampler_of(Clock(), room=SMALL) as (sampler, reading):
            large = [b"a" * 3000, b"b" * 3000]
            take(sampler, reply=large)
            take(sampler)  # the first is on its way
            assert (sampler.taken, sampler.dropped) == (1, 1)
            found = b""
            os.set_blocking(reading, False)
            while len(found) < HEAD.size + 6000:
                with contextlib.suppress(BlockingIOError):
                    found += os.read(reading, 1000)
                await asyncio.sleep(0.001)
            assert found == HEAD.pack(6000, 5, 1, 4, 12 * S, 1) + b"".join(large)
            take(sampler, reply=[b"c" * (SMALL - HEAD.size)])
            take(sampler)  # the pipe is full, and has nothing of it
            assert (sampler.taken, sampler.dropped) == (2, 2)
            os.read(reading, SMALL)
            take(sampler)
            assert (sampler.taken, sampler.dropped) == (3, 2)

    run(course())


def test_a_checker_that_is_gone_harms_nobody(run: Callable[[Any], None]) -> None:
    async def course() -> None:
        with sampler_of(Clock()) as (sampler, reading):
            os.dup2(os.open(os.devnull, os.O_RDONLY), reading)  # its end is closed
            take(sampler)
            take(sampler)
            assert (sampler.taken, sampler.dropped) == (0, 1)
            sampler.close()

    run(course())
