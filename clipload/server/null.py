"""The null server: answers as soon as the body has ended, so that only the client and the wire are measured.

A bare asyncio Protocol. What a head means (path, length, reply) is remembered by its bytes, so a client that repeats itself
costs one search, two dictionary look-ups and one write. Bodies up to 4 KiB are looked up by their bytes, longer ones by their
length: once such a length is known, its bodies are counted, never stored.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar, cast

import numpy as np
import orjson

from clipload import __version__
from clipload.dialects import (
    EmbeddingRequest,
    EncodingFormat,
    RequestRefused,
    ServerDialect,
    ServerItem,
    Vectors,
    dialects_served,
)
from clipload.server.app import OPEN_PATHS, authorised
from clipload.server.options import ServerOptions

DEFAULT_DIM = 512
HEAD_LIMIT = 64 * 1024
KEPT = 4096
SMALL = 4096
REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 405: "Method Not Allowed"}
MODEL = "clipload/null"

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Head:
    """What follows from a request's head: bytes of body to come, and the reply, unless the body has to be read for it."""

    length: int
    reply: bytes | None
    door: Door | None = None
    last: bool = False
    expects: bool = False


class Door:
    """One dialect's path, and the replies that are known there."""

    def __init__(self, dialect: ServerDialect, options: ServerOptions, name: str, vector: Vectors) -> None:
        self.dialect = dialect
        self.by_length: dict[int, bytes] = {}
        self._name, self._vector, self._items = name, vector, options.items
        self._by_body: dict[bytes, bytes] = {}
        self._by_shape: dict[tuple[int, str, bool], bytes] = {}

    def reply(self, length: int) -> bytes | None:
        """The reply to any body of that length, when it is known unread."""
        if self._items:
            return self._reply_for(self._items, "float", single=self._items == 1)
        return self.by_length.get(length)

    def read(self, body: bytes) -> bytes:
        """The reply to a body. Of long ones, those of a length met before are taken to be of its shape and never come here."""
        known = self._by_body.get(body)
        if known is not None:
            return known
        try:
            request = self.dialect.parse(body)
        except RequestRefused as refused:
            return http(refused.status, refused.body)
        reply = self._reply_for(len(request.items), request.encoding_format, single=request.single)
        if len(body) <= SMALL:
            _keep(self._by_body, body, reply)
        else:
            _keep(self.by_length, len(body), reply)
        return reply

    def _reply_for(self, items: int, encoding_format: EncodingFormat, *, single: bool) -> bytes:
        """Times are not told: nobody waited, and nothing was done."""
        shape = (items, encoding_format, single)
        if shape not in self._by_shape:
            request = EmbeddingRequest((ServerItem(),) * items, self._name, encoding_format, single)
            vectors = np.tile(self._vector, (items, 1))
            self._by_shape[shape] = http(200, self.dialect.reply(request, vectors, [3] * items, self._name))
        return self._by_shape[shape]


class Answers:
    """What each head means, shared by all connections."""

    def __init__(self, options: ServerOptions) -> None:
        self._options = options
        self._heads: dict[bytes, Head] = {}
        draws = np.random.default_rng(options.seed).standard_normal(options.dim or DEFAULT_DIM, np.float32)
        self.name = options.served_model_name or MODEL
        self._doors = {
            path: Door(dialect, options, self.name, draws / np.linalg.norm(draws))
            for path, dialect in dialects_served(options.api).items()
        }

    def head(self, raw: bytes) -> Head:
        known = self._heads.get(raw)
        if known is None:
            known = self._understand(raw)
            if known.reply is not None or known.length <= SMALL:
                _keep(self._heads, raw, known)
        return known

    def _understand(self, raw: bytes) -> Head:
        lines = raw.decode("latin-1").split("\r\n")
        method, _, rest = lines[0].partition(" ")
        path = rest.partition(" ")[0]
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        last = fields.get("connection", "").lower() == "close" or lines[0].endswith("HTTP/1.0")
        if "transfer-encoding" in fields or not fields.get("content-length", "0").isdigit():
            return Head(0, http(400, orjson.dumps({"detail": "the null server needs a content-length"})), last=True)
        length = int(fields.get("content-length", "0"))
        expects = fields.get("expect", "").lower() == "100-continue"
        return Head(length, self._reply(method, path, length, fields), self._doors.get(path), last, expects)

    def _reply(self, method: str, path: str, length: int, fields: dict[str, str]) -> bytes | None:
        key, door = self._options.api_key, self._doors.get(path)
        if key is not None and not path.startswith(OPEN_PATHS) and not authorised(fields.get("authorization", ""), key):
            return http(401, door.dialect.unauthorized() if door is not None else b'{"error":"Unauthorized"}')
        if door is not None and method in door.dialect.methods:
            return door.reply(length)
        documents = {"/health": b"", "/health_generate": b"", "/ready": b"", "/v1/models": self._models()}
        documents["/server_info"] = self._info()
        if path not in documents and door is None:
            return http(404, b'{"detail":"Not Found"}')
        known = door is None and method == "GET"
        return http(200, documents[path]) if known else http(405, b'{"detail":"Method Not Allowed"}')

    def _models(self) -> bytes:
        return orjson.dumps({"object": "list", "data": [{"id": self.name, "object": "model", "owned_by": "sglang"}]})

    def _info(self) -> bytes:
        """Who asks whether vectors are right hears that these mean nothing."""
        return orjson.dumps({"served_model_name": self.name, "version": f"clipload {__version__}", "engine": "null"})


def _door(head: Head) -> Door:
    """Where a body is read: only a dialect's path leaves its reply open."""
    assert head.door is not None
    return head.door


def _keep(table: dict[K, V], key: K, value: V) -> None:
    """Remembers, but does not grow for ever (heads with request ids, bodies that never repeat)."""
    if len(table) >= KEPT:
        table.clear()
    table[key] = value


def http(status: int, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status} {REASONS[status]}\r\ncontent-length: {len(body)}\r\ncontent-type: application/json\r\n\r\n"
    return head.encode() + body


class Connection(asyncio.Protocol):
    """One client. `_left` is what is still to come of the body; `_body` collects it only when it has to be read."""

    def __init__(self, answers: Answers, alive: set[Connection]) -> None:
        self._answers, self._alive = answers, alive
        self._head: Head | None = None
        self._left = 0
        self._unread = b""
        self._body: list[bytes] = []
        self.used = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        self._alive.add(self)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - the interface
        self._alive.discard(self)

    def data_received(self, data: bytes) -> None:
        self.used = True
        while data:
            data = self._take_head(data) if self._head is None else self._take_body(data)

    def _take_head(self, data: bytes) -> bytes:
        """Returns what stands behind the head, once that is there."""
        if self._unread:
            data, self._unread = self._unread + data, b""
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._unread = data
            if len(data) > HEAD_LIMIT:
                self._transport.abort()
            return b""
        head = self._answers.head(data[:end])
        data = data[end + 4 :]
        if head.length == 0:
            self._send(head, head.reply if head.reply is not None else _door(head).read(b""))
            return data
        if head.expects:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._head, self._left = head, head.length
        return data

    def _take_body(self, data: bytes) -> bytes:
        head, left = self._head, self._left
        assert head is not None
        more = len(data) - left
        if head.reply is None:
            self._body.append(data if more <= 0 else data[:left])
        if more < 0:
            self._left = -more
            return b""
        self._head = None
        reply = head.reply
        if reply is None:
            reply = _door(head).read(b"".join(self._body))
            self._body.clear()
        self._send(head, reply)
        return data[left:] if more else b""

    def _send(self, head: Head, reply: bytes) -> None:
        self._transport.write(reply)
        if head.last:
            self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def close_if_idle(self) -> None:
        """Called once per keep-alive time: closes what was not used since the last call, so idle for one to two such times."""
        if not self.used and self._head is None:
            self._transport.close()
        self.used = False


@asynccontextmanager
async def listening(options: ServerOptions, listener: socket.socket, backlog: int) -> AsyncIterator[None]:
    """Accepts connections on `listener`, and closes it in the end."""
    loop = asyncio.get_running_loop()
    answers, alive = Answers(options), set[Connection]()

    async def sweep() -> None:
        while True:
            await asyncio.sleep(options.keep_alive_s)
            for connection in list(alive):
                connection.close_if_idle()

    sweeper = loop.create_task(sweep())
    server = await loop.create_server(lambda: Connection(answers, alive), sock=listener, backlog=backlog, ssl=options.tls)
    try:
        yield
    finally:
        sweeper.cancel()
        server.close()
        for connection in list(alive):
            connection.abort()
