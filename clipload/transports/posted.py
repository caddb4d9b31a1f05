"""Requests as aiohttp wants them: header fields and a Payload, from the same ready-made pieces that `stream` sends."""

from __future__ import annotations

import asyncio
from time import monotonic_ns

import aiohttp
from aiohttp.abc import AbstractStreamWriter

from clipload.arena import Bodies
from clipload.dialects import NOT_TOLD, Told
from clipload.outcomes import Row
from clipload.transports.stream import TURN


class Posted:
    """One Lane's requests: what their heads say, how long each body is, and when each connection was last busy."""

    def __init__(self, bodies: Bodies) -> None:
        heads = [bytes(bodies.views(b)[0]).partition(b"\r\n\r\n")[0] for b in range(bodies.count)]
        self.headers = dict(line.split(": ", 1) for line in heads[0].decode().split("\r\n")[1:])
        del self.headers["Content-Length"]
        self._bodies = bodies
        self._skipped = [len(head) + 4 for head in heads]
        self.sizes = [int(size) - skip for size, skip in zip(bodies.wire_bytes, self._skipped, strict=True)]
        self.used: dict[asyncio.WriteTransport, int] = {}

    def pieces(self, body: int) -> list[memoryview]:
        """The body without its head, as views."""
        first, *rest = self._bodies.views(body)
        return [first[self._skipped[body] :], *rest]


class Request(aiohttp.Payload):
    """One request, and as a Payload its body: the views of the Arena. Its fields are its Outcome in the making."""

    def __init__(self, posted: Posted, body: int, due: int, dispatched: int) -> None:
        super().__init__(None, content_type="application/json")
        self.posted, self.body, self.due, self.dispatched = posted, body, due, dispatched
        self.sent = self.written = self.first = self.received = self.retries = 0
        self.idle_since = 0  # its connection; 0: a fresh one
        self.over = False
        self.alongside = 0  # requests at aiohttp when it was handed over, itself among them; 0: its reply is not compared
        self.transport: asyncio.WriteTransport | None = None
        self.task: asyncio.Task[None] | None = None

    @property
    def size(self) -> int:
        return self.posted.sizes[self.body]

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return b"".join(self.posted.pieces(self.body)).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:  # noqa: ARG002
        """At most TURN bytes a loop turn. The head goes out with the first piece."""
        self.sent = monotonic_ns()
        self.transport = writer.transport
        if self.transport is not None:
            self.idle_since = self.posted.used.get(self.transport, 0)
            self.posted.used.setdefault(self.transport, self.sent)
        size = 0
        for piece in self.posted.pieces(self.body):
            for at in range(0, len(piece), TURN):
                part = piece[at : at + TURN]
                size += len(part)
                if size > TURN:
                    await writer.drain()
                    await asyncio.sleep(0)
                    size = len(part)
                await writer.write(part)
        self.written = monotonic_ns()

    def row(self, target: int, done: int, code: int, told: Told = NOT_TOLD) -> Row:
        """The Outcome, as it stands."""
        sent, written, first = self.sent, self.written, self.first
        due, body, received, retries = self.due, self.body, self.received, self.retries
        return (due, self.dispatched, sent, written, first, done, code, body, received, retries, target, *told)
