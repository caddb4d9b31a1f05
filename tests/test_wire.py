"""The pipes between supervisor and worker: any split of the bytes, and a pipe that is too small for what is said."""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipload.arena import ArenaMap
from clipload.credentials import Credentials
from clipload.frames import Interval
from clipload.traces import TraceMap
from clipload.transports import Endpoint
from clipload.wire import Drained, Job, Message, Order, Ready, SlotIdle, TargetGone, TooMany, Unpacker, Uplink
from tests.test_run import answers, interval

uvloop = pytest.importorskip("uvloop")

INTS = st.integers(0, 2**62)
COUNTS = st.integers(0, 99)
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(
        Ready, worker=COUNTS, pid=COUNTS, cores=st.lists(COUNTS, max_size=3), alarm=st.text(max_size=5),
        loop=st.text(max_size=5), connections=COUNTS,
    ),
    st.builds(SlotIdle, COUNTS, INTS),
    st.builds(TooMany, COUNTS, COUNTS),
    st.builds(TargetGone, COUNTS, INTS, COUNTS),
    st.builds(Drained, COUNTS, INTS),
    st.builds(
        Interval, worker=COUNTS, index=COUNTS, phases=st.just({}), outstanding=st.dictionaries(st.just("measure"), COUNTS),
        examples=st.dictionaries(COUNTS, st.text(max_size=9)), final=st.booleans(), stopped_ns=st.none() | INTS,
    ),
)  # fmt: skip


def packed(message: Message) -> bytes:
    """A message as it travels, written here a second time."""
    payload = msgspec.msgpack.encode(message)
    return len(payload).to_bytes(4, "little") + payload


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


@settings(max_examples=60, deadline=None)
@given(st.lists(MESSAGES, max_size=5), st.lists(st.integers(0, 10**6), max_size=12))
def test_messages_come_out_whole_however_the_bytes_come_in(messages: list[Message], cuts: list[int]) -> None:
    unpacker = Unpacker()
    found = [m for piece in split(b"".join(map(packed, messages)), cuts) for m in unpacker.feed(piece)]
    assert found == messages


def test_byte_by_byte() -> None:
    unpacker, message = Unpacker(), interval(3, 4, {"measure": answers([5_000_000] * 3)})
    data = packed(message) * 2
    found = [(at, m) for at in range(len(data)) for m in unpacker.feed(data[at : at + 1])]
    assert [at for at, _ in found] == [len(data) // 2 - 1, len(data) - 1]
    assert [msgspec.msgpack.encode(m) for _, m in found] == [msgspec.msgpack.encode(message)] * 2


def test_what_is_incomplete_is_not_said() -> None:
    unpacker = Unpacker()
    data = packed(Drained(1, 2))
    assert list(unpacker.feed(data[:-1])) == []
    assert list(unpacker.feed(b"")) == []
    assert list(unpacker.feed(data[-1:] + data[:3])) == [Drained(1, 2)]


@pytest.mark.parametrize(
    "order", [Order(start=5), Order(stop=7, grace=9), Order(stop=7), Order(steady=3), Order(close=True), Order()], ids=str
)
def test_orders_are_lines_of_json(order: Order) -> None:
    line = msgspec.json.encode(order)
    assert b"\n" not in line
    assert msgspec.json.decode(line, type=Order) == order


def test_a_job_is_one_line_whatever_its_plan_says() -> None:
    where = ArenaMap(fd=3, items=1, pool=1, items_per_sample=1, columns=1, table=8)
    job = Job(
        plan={"name": "a\nb", "rate": 5.5}, worker=1, arena=where,
        endpoints=[Endpoint("http://h:1", "h:1", 2, ("127.0.0.1", 80))],
        credentials=Credentials("se\nsame", (("X-Api-Key", "s"),)),
        bounds=(0, 1, 2, 2**62), connect_ahead=1, connection_limit=2**62, frames_fd=4, trace=TraceMap(5, 6),
    )  # fmt: skip
    line = msgspec.json.encode(job)
    assert b"\n" not in line
    assert msgspec.json.decode(line, type=Job) == job


# ---- the uplink through a real pipe

SMALLEST = 4096  # bytes in the pipe
BIG = Interval(worker=1, index=2, phases={}, outstanding={}, examples={500: "x" * 50_000})
Check = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=["uvloop", "asyncio"])
def run(request: pytest.FixtureRequest) -> Check:
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def run(coroutine: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(asyncio.wait_for(coroutine, 10))

    return run


def small_pipe() -> tuple[int, int]:
    read_fd, write_fd = os.pipe()
    if sys.platform == "linux":
        fcntl.fcntl(write_fd, fcntl.F_SETPIPE_SZ, SMALLEST)
    return read_fd, write_fd


async def hear(read_fd: int, count: int) -> list[Message]:
    """Reads, as the loop allows, until `count` messages have come; a small piece at a time."""
    loop, unpacker, found = asyncio.get_running_loop(), Unpacker(), list[Message]()
    over = asyncio.Event()

    def ready() -> None:
        found.extend(unpacker.feed(os.read(read_fd, 1000)))
        if len(found) >= count:
            loop.remove_reader(read_fd)
            over.set()

    os.set_blocking(read_fd, False)
    loop.add_reader(read_fd, ready)
    await over.wait()
    return found


def test_a_message_larger_than_the_pipe_does_not_block_the_worker(run: Check) -> None:
    said: list[Message] = [BIG, Drained(1, 7), BIG, SlotIdle(1, 8)]

    async def check() -> None:
        read_fd, write_fd = small_pipe()
        uplink = Uplink(asyncio.get_running_loop(), write_fd)
        rescue = threading.Timer(5, os.close, [read_fd])  # ends a write that blocks with a broken pipe
        rescue.start()
        for message in said:
            uplink.send(message)  # nobody reads yet: this would block for ever
        rescue.cancel()
        assert await hear(read_fd, len(said)) == said
        uplink.send(Drained(1, 9))  # and it goes on afterwards
        assert await hear(read_fd, 1) == [Drained(1, 9)]
        uplink.close()
        os.close(read_fd)

    run(check())


def test_a_message_that_fits_is_there_at_once(run: Check) -> None:
    async def check() -> None:
        read_fd, write_fd = small_pipe()
        uplink = Uplink(asyncio.get_running_loop(), write_fd)
        uplink.send(Drained(1, 7))
        assert list(Unpacker().feed(os.read(read_fd, 4096))) == [Drained(1, 7)]
        uplink.close()
        assert os.read(read_fd, 1) == b""
        os.close(read_fd)

    run(check())


def test_the_last_words_wait_for_room(run: Check) -> None:
    said: list[Message] = [BIG, Drained(1, 7), BIG]
    found: list[Message] = []

    def read_all(read_fd: int) -> None:
        unpacker = Unpacker()
        while data := os.read(read_fd, 4096):
            found.extend(unpacker.feed(data))

    async def check() -> None:
        read_fd, write_fd = small_pipe()
        uplink = Uplink(asyncio.get_running_loop(), write_fd)
        for message in said:
            uplink.send(message)
        reader = threading.Thread(target=read_all, args=(read_fd,))
        reader.start()
        uplink.close()
        reader.join(10)
        os.close(read_fd)

    run(check())
    assert found == said


def test_a_supervisor_that_is_gone_is_noticed(run: Check) -> None:
    async def check() -> None:
        read_fd, write_fd = small_pipe()
        uplink = Uplink(asyncio.get_running_loop(), write_fd)
        os.close(read_fd)
        with pytest.raises(BrokenPipeError):
            uplink.send(Drained(1, 7))
        os.close(write_fd)

    run(check())
