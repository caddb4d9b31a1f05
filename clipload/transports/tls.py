"""The stream transport through TLS: the same Connection, its bytes sealed in memory before they go to the socket.

Sealing them ourselves (`ssl.MemoryBIO`) and not in the event loop's TLS transport keeps every law of `stream`: the first bytes
go out at the instant that is stamped *sent*, *written* is when the kernel has taken the last, a body is sealed at most `TURN`
bytes a turn. What comes is stamped when it has been opened. Received bytes are counted as opened, sent ones as before sealing.

A connection makes a whole handshake: none resumes another's session. It is complete before the connection is counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from time import monotonic_ns

from clipload.transports.stream import TURN, Connection, Lane, _take

_RECORD = 16 * 1024


class Seal:
    """One side of a TLS session over bytes in memory."""

    def __init__(self, context: ssl.SSLContext, server_name: str) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.session = context.wrap_bio(self.incoming, self.outgoing, server_hostname=server_name)

    def seal(self, pieces: list[memoryview] | list[bytes]) -> bytes:
        for piece in pieces:
            self.session.write(piece)
        return self.outgoing.read()

    def open(self, data: bytes) -> tuple[bytes, bool, ssl.SSLError | None]:
        """What is whole of `data`, whether the session has ended, and of what; what is not whole waits for more."""
        self.incoming.write(data)
        opened = []
        try:
            while self.incoming.pending or self.session.pending():
                opened.append(self.session.read(_RECORD))
                if not opened[-1]:  # the peer said goodbye
                    return b"".join(opened), True, None
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            return b"".join(opened), True, error
        return b"".join(opened), False, None


async def shake_hands(loop: asyncio.AbstractEventLoop, sock: socket.socket, seal: Seal) -> None:
    """OSError (an ssl.SSLError among them) when it fails."""
    while True:
        try:
            seal.session.do_handshake()
        except ssl.SSLWantReadError:
            await loop.sock_sendall(sock, seal.outgoing.read())
            data = await loop.sock_recv(sock, TURN)
            if not data:
                raise ConnectionResetError("the peer closed the connection during the TLS handshake") from None
            seal.incoming.write(data)
        except ssl.SSLError:
            if alert := seal.outgoing.read():  # so that the peer knows why
                await loop.sock_sendall(sock, alert)
            raise
        else:
            break
    await loop.sock_sendall(sock, seal.outgoing.read())


class TlsConnection(Connection):
    """A Connection whose socket carries sealed bytes."""

    __slots__ = ("_fault", "_seal")

    def __init__(self, lane: Lane, sock: socket.socket, seal: Seal) -> None:
        super().__init__(lane, sock)
        self._seal = seal
        self._fault: Exception | None = None

    # ---- out

    def begin(self, now: int, body: int, due: int, dispatched: int, retries: int = 0) -> None:
        self.busy, self.body, self.due, self.dispatched, self.retries = True, body, due, dispatched, retries
        self.sent, self.first, self.received, self.written = now, 0, 0, 0
        lane = self.lane
        self.alongside = len(lane.connections) - len(lane.free) if body in lane.compared else 0
        small = lane.bodies.small[body]
        self._rest = lane.bodies.views(body) if small is None else [memoryview(small)]
        self._rest.reverse()
        try:
            if self._write_some(TURN):
                lane.write_on(self)
        except OSError:
            self._rest, self.written = self._rest or [], 0
            lane.loop.call_soon(self._broken)

    def _write_some(self, most: int) -> bool:
        """As of a plain connection; but sealed bytes cannot be taken back: all of the pieces are on their way."""
        rest = self._rest
        if rest is None:
            return False
        pieces, _ = _take(rest, most)
        if self._put(self._seal.seal(pieces)):
            return False  # resume_writing goes on
        if not rest:
            self._rest, self.written = None, monotonic_ns()
        return bool(rest)

    def _put(self, data: bytes) -> bool:
        """True when some of it waits in the transport."""
        taken = 0
        if not self.transport.get_write_buffer_size():
            with contextlib.suppress(BlockingIOError):
                taken = self._socket.send(data)
        if taken < len(data):
            self.transport.write(data[taken:])
        return bool(self.transport.get_write_buffer_size())

    # ---- in

    def data_received(self, data: bytes) -> None:
        opened, over, fault = self._seal.open(data)
        if opened:
            super().data_received(opened)
        if over:  # a goodbye is as good as a closed connection
            self._fault = fault
            self.transport.abort()
        elif self._seal.outgoing.pending:  # new keys, say
            self._answer()

    def _answer(self) -> None:
        try:
            self._put(self._seal.outgoing.read())
        except OSError as error:
            self._fault = error
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc or self._fault)


class TlsLane(Lane):
    """A Lane to an https URL."""

    async def _begun(self, sock: socket.socket) -> Connection:
        if self.tls is None:
            raise AssertionError("an https URL has a TLS context")
        seal = Seal(self.tls, self.endpoint.server_name)
        await shake_hands(self.loop, sock, seal)
        _, connection = await self.loop.create_connection(lambda: TlsConnection(self, sock, seal), sock=sock)
        return connection
