"""A server that keeps what came: real sockets, no parsing of bodies, the same reply to each."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256

import numpy as np

from clipload.dialects import EmbeddingRequest, ServerItem, server_dialect_for


class Recording:
    """Every body that came, hashed, and the instant (CLOCK_MONOTONIC ns) at which it was whole, in order of arrival."""

    def __init__(self, vectors: int) -> None:
        self.arrivals: list[tuple[int, bytes]] = []
        self.connections: list[list[int]] = []  # the instants of each
        self.thread = 0  # its kernel's number
        items = (ServerItem(text="a"),) * vectors
        dialect = server_dialect_for("v1")
        reply = dialect.reply(EmbeddingRequest(items, "m", "float"), np.ones((vectors, 2), np.float32), [1] * vectors, "m")
        self._reply = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(reply) + reply

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mine: list[int] = []
        self.connections.append(mine)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
                body = await reader.readexactly(int(fields[b"content-length"]))
                mine.append(time.monotonic_ns())
                self.arrivals.append((mine[-1], sha256(body).digest()))
                writer.write(self._reply)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


@contextmanager
def recording(vectors: int) -> Iterator[tuple[Recording, str]]:
    """A recording server in a thread of this process, and its URL. Every reply has `vectors` vectors."""
    recorded, started = Recording(vectors), threading.Event()
    where: list[int] = []
    stop = asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        recorded.thread = threading.get_native_id()
        server = await asyncio.start_server(recorded.converse, "127.0.0.1", 0)
        where.append(server.sockets[0].getsockname()[1])
        started.set()
        await stop.wait()
        server.close()
        conversations = asyncio.all_tasks() - {asyncio.current_task()}
        for conversation in conversations:
            conversation.cancel()
        await asyncio.gather(*conversations, return_exceptions=True)
        await asyncio.sleep(0.05)

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert started.wait(10)
        yield recorded, f"http://127.0.0.1:{where[0]}"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
