"""What supervisor and worker say to each other, and the pipes that carry it.

Down (the worker's stdin): one `Job`, then `Order`s, each a line of JSON. Up (an inherited descriptor): messages, each a
4-byte little-endian length and msgpack. Writing up never blocks the worker's loop: what the pipe does not take waits in memory.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Iterator
from typing import Any

import msgspec

from clipload.arena import ArenaMap
from clipload.credentials import Credentials
from clipload.frames import Interval
from clipload.sampler import Sampling
from clipload.traces import TraceMap
from clipload.transports import Endpoint


class Job(msgspec.Struct, frozen=True):
    """What a worker is told. The credentials stand in this pipe and nowhere else."""

    plan: dict[str, Any]
    worker: int
    arena: ArenaMap
    endpoints: list[Endpoint]  # one for each base URL
    credentials: Credentials
    bounds: tuple[int, int, int, int]
    connect_ahead: int  # for each base URL, as is the limit
    connection_limit: int
    frames_fd: int
    trace: TraceMap | None
    sampling: Sampling | None = None  # None: no reply is compared


class Order(msgspec.Struct, frozen=True, omit_defaults=True):
    """An order to a worker; instants in ns of CLOCK_MONOTONIC. Exactly one of `start`, `stop`, `steady`, `close` is set."""

    start: int | None = None
    stop: int | None = None
    grace: int = 0  # with stop
    steady: int | None = None  # the steady window of a closed loop ended then
    close: bool = False


class Ready(msgspec.Struct, tag="ready", frozen=True):
    """Connections are open, the collector is frozen: the worker waits for the start instant."""

    worker: int
    pid: int
    cores: list[int]
    alarm: str
    loop: str
    connections: int


class SlotIdle(msgspec.Struct, tag="slot_idle", frozen=True):
    """A counted closed loop: the worker's first slot has no work left."""

    worker: int
    at_ns: int


class TooMany(msgspec.Struct, tag="too_many", frozen=True):
    """More requests are due and unanswered than the worker's share of --max-backlog."""

    worker: int
    outstanding: int


class TargetGone(msgspec.Struct, tag="target_gone", frozen=True):
    """No connection to any base URL is left and nothing but refusals has come since."""

    worker: int
    since_ns: int
    refusals: int


class Drained(msgspec.Struct, tag="drained", frozen=True):
    """Nothing is outstanding and nothing more will be due."""

    worker: int
    at_ns: int


Message = Ready | SlotIdle | TooMany | TargetGone | Drained | Interval

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Message).decode


class Uplink:
    """The worker's end of the pipe up."""

    def __init__(self, loop: asyncio.AbstractEventLoop, fd: int) -> None:
        self._loop, self._fd = loop, fd
        self._queue: deque[memoryview] = deque()
        os.set_blocking(fd, False)

    def send(self, message: Message) -> None:
        payload = _encode(message)
        self._queue.append(memoryview(len(payload).to_bytes(4, "little") + payload))
        if len(self._queue) == 1:
            self._flush()

    def _flush(self) -> None:
        """Writes what the pipe takes; the loop calls again when there is room. A supervisor that is gone ends the worker."""
        queue = self._queue
        while queue:
            try:
                taken = os.write(self._fd, queue[0])
            except BlockingIOError:
                self._loop.add_writer(self._fd, self._flush)
                return
            queue[0] = queue[0][taken:]
            if not queue[0]:
                queue.popleft()
        self._loop.remove_writer(self._fd)

    def close(self) -> None:
        """Sends the rest, waiting for room: the last words of a worker."""
        os.set_blocking(self._fd, True)
        self._flush()
        os.close(self._fd)


class Unpacker:
    """Bytes in any pieces -> messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        buffer = self._buffer
        buffer += data
        while len(buffer) >= 4:
            end = 4 + int.from_bytes(buffer[:4], "little")
            if len(buffer) < end:
                return
            payload = bytes(buffer[4:end])
            del buffer[:end]  # first: whoever hears it may fail, and must not hear it again
            yield _decode(payload)
