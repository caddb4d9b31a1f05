"""The stream transport: asyncio Protocols, httptools, ready-made bytes, and as little Python as a request can do with.

Laws
* Every request that is demanded ends exactly once in the Sink, whatever the peer does.
* No connection free: the request waits in a FIFO, its due instant unchanged. Connections grow on demand up to the limit.
* A body is sent from its views, never copied in Python, at most `TURN` bytes a loop turn while anybody else waits for the loop,
  so that large bodies do not starve the other connections.
* A connection that had idled for `STALE_NS` and ends without a byte of reply was stale: its request is sent once more, on a
  fresh connection, and counted (`retries`). Any other loss is the target's (`RESET`).
* A reply that comes before the body was sent counts; the rest is not sent and the connection is closed.

*Sent* is stamped just before the first successful send; *done* when the last byte has been parsed.
"""

from __future__ import annotations

import asyncio
import errno
import select
import socket
import ssl
from collections import deque
from collections.abc import Callable
from time import monotonic_ns
from typing import Any, NamedTuple, cast

import httptools

from clipload.arena import Bodies
from clipload.dialects import NOT_TOLD, Dialect, Told
from clipload.outcomes import CENSORED, CONNECT, LOCAL, OK, PROTOCOL, RESET, TIMEOUT, UNSENT, Row
from clipload.transports import Endpoint, Gauges, Sink
from clipload.transports.connecting import PATIENT, PAUSE_S, connect, is_ours, open_socket, said
from clipload.transports.replies import Replies

TURN = 256 * 1024
PIECES = 512
CALM_TURN = 4 * TURN  # when nobody waits: a quarter less of the kernel's time than in pieces of TURN
CALM_PIECES = 8
STALE_NS = 500_000_000
CONNECT_S = 10.0  # then a connection is asked for anew: the kernel itself would ask ever more rarely, for two minutes


class Waiting(NamedTuple):
    """A request that waits for a connection."""

    body: int
    due: int
    dispatched: int
    retries: int = 0


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request on it. Its fields are that request's Outcome in the making."""

    __slots__ = (
        "_chunks", "_complete", "_keep", "_parser", "_rest", "_socket", "_status", "alongside", "body", "busy", "dispatched",
        "due", "first", "idle_since", "lane", "received", "retries", "sent", "transport", "written",
    )  # fmt: skip

    transport: asyncio.Transport

    def __init__(self, lane: Lane, sock: socket.socket) -> None:
        self.lane, self._socket = lane, sock
        self._parser = httptools.HttpResponseParser(self)
        self._chunks: list[bytes] = []
        self._rest: list[memoryview] | None = None  # what is still to be written, last piece first
        self._complete = self.busy = False
        self.idle_since = self.received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its class
        self.transport.set_write_buffer_limits(high=0)  # so that resume_writing says when a piece has gone
        self.idle_since = monotonic_ns()

    # ---- out

    def begin(self, now: int, body: int, due: int, dispatched: int, retries: int = 0) -> None:
        """Sends the request; `now` is the instant."""
        self.busy, self.body, self.due, self.dispatched, self.retries = True, body, due, dispatched, retries
        self.sent, self.first, self.received = now, 0, 0
        lane = self.lane
        self.alongside = len(lane.connections) - len(lane.free) if body in lane.compared else 0  # busy ones; 0: not compared
        small = lane.bodies.small[body]
        try:
            if small is None:
                self.written = 0
                self._rest = lane.bodies.views(body)
                self._rest.reverse()
                if self._write_some(TURN):
                    lane.write_on(self)
            elif self._socket.send(small) == len(small):
                self.written = now
            else:  # never seen: a fresh kernel buffer takes more than a small request
                raise OSError(errno.ENOBUFS, "a small request was cut")
        except OSError:
            self._rest, self.written = self._rest or [], 0  # not all was written: a reply may still come, but no other request
            lane.loop.call_soon(self._broken)

    def _write_some(self, most: int) -> bool:
        """Up to `most` bytes straight from the Arena; what the kernel does not take, the transport sends when there is room.

        True when more can be written at once: the rest has its turn after the other connections and the bodies before it.
        """
        rest = self._rest
        if rest is None:
            return False
        pieces, size = _take(rest, most)
        try:
            taken = self._socket.sendmsg(pieces)
        except BlockingIOError:
            taken = 0
        if taken == size:
            if not rest:
                self._rest, self.written = None, monotonic_ns()
            return bool(rest)
        for piece in pieces:
            if taken >= len(piece):
                taken -= len(piece)
            else:
                self.transport.write(piece[taken:])
                taken = 0
        if self.transport.get_write_buffer_size():
            return False  # resume_writing goes on
        if not rest:  # room had come meanwhile: the transport took all at once, and will not call back
            self._rest, self.written = None, monotonic_ns()
        return bool(rest)

    def go_on(self, most: int) -> bool:
        """The next piece of a body, if it still wants to go; see `_write_some`."""
        if self._rest is None or not self.busy or self.transport.is_closing():
            return False
        try:
            return self._write_some(most)
        except OSError:
            self._broken()
            return False

    def _broken(self) -> None:
        """The peer takes no more. What it had said before may be a reply, and is read before the connection is given up."""
        try:
            while self.busy and (data := self._socket.recv(TURN)):
                self.data_received(data)
        except OSError:
            pass
        self.transport.abort()  # connection_lost settles what is still open

    def resume_writing(self) -> None:
        if self._rest:
            self.lane.write_on(self)
        elif self._rest is not None:
            self._rest, self.written = None, monotonic_ns()

    # ---- in

    def data_received(self, data: bytes) -> None:
        """One clock reading serves all that came with it: a reply that came whole has its first byte and its end at once."""
        now = monotonic_ns()
        if not self.busy:  # nobody asked: a 408 on an idle connection, say
            self.lane.drop(self)
            return
        if not self.received:
            self.first = now
        self.received += len(data)
        self._chunks.append(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.lane.note(PROTOCOL, str(error))
            self._end(now, PROTOCOL, keep=False)
            return
        if self._complete:
            self._complete = False
            reply, lane, status = self._chunks, self.lane, self._status
            code = OK if status == 200 and lane.looks_whole(reply, lane.vectors) else lane.examine(status, b"".join(reply))
            told = lane.server_times(reply) if lane.tells_times and code == OK else NOT_TOLD
            if self.alongside and code == OK:
                lane.sampled(self.due, self.body, lane.target, self.alongside, now, reply)
            reply.clear()
            self._end(now, code, told, keep=self._keep and self._rest is None)

    def on_message_complete(self) -> None:
        self._status = self._parser.get_status_code()
        if self._status >= 200:  # an interim reply is none
            self._complete = True
            self._keep = self._parser.should_keep_alive()  # only here: afterwards the parser stands at the next message

    def _end(self, done: int, code: int, told: Told = NOT_TOLD, *, keep: bool) -> None:
        """Settles the request; the connection takes the next one, is free again, or is closed."""
        lane = self.lane
        self.busy = False
        self.idle_since = done
        row = self.row(done, code, told)
        if not keep:
            lane.drop(self)
        elif lane.waiting:
            self.begin(monotonic_ns(), *lane.waiting.popleft())
        else:
            lane.free.append(self)
        lane.ended(row)

    def row(self, done: int, code: int, told: Told = NOT_TOLD) -> Row:
        """The request's Outcome, as it stands."""
        sent, written, first = self.sent, self.written, self.first
        due, body, received, retries, target = self.due, self.body, self.received, self.retries, self.lane.target
        return (due, self.dispatched, sent, written, first, done, code, body, received, retries, target, *told)

    def connection_lost(self, exc: Exception | None) -> None:
        self._settle(exc)
        del self._parser  # it holds us as we hold it, and the old generations are never collected

    def _settle(self, exc: Exception | None) -> None:
        """What becomes of the request, if there is one, whose connection is lost."""
        lane = self.lane
        lane.forget(self)
        if self.busy and self._rest is not None:
            self._broken()
        if self.busy and (exc is None or self._rest is not None) and ends_with_the_connection(reply := b"".join(self._chunks)):
            self._end(monotonic_ns(), lane.examine(self._parser.get_status_code(), reply), keep=False)
        if not self.busy:
            return
        self.busy = False
        if self.received == 0 and self.retries == 0 and self.sent - self.idle_since >= STALE_NS:
            lane.again(Waiting(self.body, self.due, self.dispatched, 1))
            return
        lane.note(RESET, str(exc or "the peer closed the connection"))
        lane.settle(self, RESET)

    def expire(self, code: int) -> None:
        """The time-out, or the end of draining: the request ends with `code` and the connection is closed."""
        self._end(monotonic_ns(), code, keep=False)


def _take(rest: list[memoryview], size: int) -> tuple[list[memoryview], int]:
    """Removes up to `size` bytes from the end of `rest` (pieces in reverse order); returns them in order, and their length.

    At most PIECES of them: one sendmsg takes no more.
    """
    pieces: list[memoryview] = []
    left = size
    while rest and left and len(pieces) < PIECES:
        piece = rest.pop()
        if len(piece) > left:
            rest.append(piece[left:])
            piece = piece[:left]
        pieces.append(piece)
        left -= len(piece)
    return pieces, size - left


class _BodyOf:
    """Collects a reply's body."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []

    def on_body(self, data: bytes) -> None:
        self.chunks.append(data)


def body_of(reply: bytes) -> bytes:
    """The body of a whole reply. Parsed a second time, so that the usual reply's body need not be copied out of it at all."""
    collector = _BodyOf()
    httptools.HttpResponseParser(collector).feed_data(reply)
    return b"".join(collector.chunks)


def ends_with_the_connection(reply: bytes) -> bool:
    """Whether a reply whose connection has closed is whole: HTTP lets one without a length end so."""
    head, end_of_head, _ = reply.partition(b"\r\n\r\n")
    head = head.lower()
    return bool(end_of_head) and b"content-length:" not in head and b"transfer-encoding:" not in head


def readiness(loop: asyncio.AbstractEventLoop) -> Callable[[int], Any]:
    """A poll of the loop's own epoll descriptor: true when a socket, a pipe or the alarm is ready for the loop.

    A loop that hides its descriptor counts as always busy.
    """
    number = getattr(loop, "_get_backend_id", None) or getattr(getattr(loop, "_selector", None), "fileno", None)
    if number is None:
        return lambda _: True
    poll = select.poll()
    poll.register(number(), select.POLLIN)
    return poll.poll


class Lane(Replies):
    """One base URL's connections and FIFO in one worker."""

    def __init__(
        self,
        sink: Sink,
        bodies: Bodies,
        dialect: Dialect,
        endpoint: Endpoint,
        vectors: int,
        limit: int,
        target: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """See `transports.MakeLane`."""
        super().__init__(dialect, vectors)
        self.ended, self.bodies, self.endpoint, self.tls = sink, bodies, endpoint, tls
        self.limit, self.target = limit, target
        self.loop = asyncio.get_running_loop()
        self.free: list[Connection] = []  # the warmest last
        self.waiting: deque[Waiting] = deque()
        self.stale: deque[Waiting] = deque()  # to be sent once more, on a fresh connection and no other
        self.writers: deque[Connection] = deque()  # with more of a large body to write
        self._somebody_waits = readiness(self.loop)
        self.connections: set[Connection] = set()
        self.opening: set[asyncio.Task[None]] = set()
        self.capped = 0
        self.refusals = self.refused_ns = 0  # failures to connect since the last success, and when the first was

    def __repr__(self) -> str:
        return f"Lane({len(self.connections)} connections, {len(self.free)} free, {len(self.waiting)} waiting)"

    def demand(self, body: int, due: int, now: int) -> None:
        """Sends request `body` on a free connection, or lets it wait for one."""
        free = self.free
        while free:
            connection = free.pop()
            if not connection.transport.is_closing():
                connection.begin(now, body, due, now)
                return
        self.waiting.append(Waiting(body, due, now))
        self._open_for_waiting()

    def examine(self, status: int, reply: bytes) -> int:
        """The code of a whole reply, its head included, that did not look right at first sight."""
        return status if status in self.examples else self.judge(status, body_of(reply))

    def gauges(self) -> Gauges:
        in_flight = sum(connection.busy for connection in self.connections)
        waiting = len(self.waiting) + len(self.stale)
        return Gauges(in_flight, waiting, len(self.connections), self.examples, self.capped, self.starved, self.lacking)

    def write_on(self, connection: Connection) -> None:
        """The rest of a large body waits for its turn: body after body, in the order in which they came.

        One after the other the bodies are done sooner, on the average, than if all went on at once; small requests never wait
        here, and a body whose peer is slow lets the next one pass.
        """
        self.writers.append(connection)
        if len(self.writers) == 1:
            self.loop.call_soon(self._write_turn)

    def _write_turn(self) -> None:
        """TURN bytes when anybody waits for the loop; else larger pieces, one after the other until somebody does."""
        writers = self.writers
        for _ in range(CALM_PIECES):
            calm = not self._somebody_waits(0)
            if not writers[0].go_on(CALM_TURN if calm else TURN):
                writers.popleft()
            if not writers:
                return
            if not calm:
                break
        self.loop.call_soon(self._write_turn)

    # ---- connections

    def again(self, waiting: Waiting) -> None:
        """A request whose connection was stale."""
        self.stale.append(waiting)
        self._open_for_waiting()

    def open(self) -> None:
        """Opens a connection when the limit allows."""
        if len(self.connections) + len(self.opening) >= self.limit:
            self.capped += 1
            return
        task = self.loop.create_task(self._connect())
        self.opening.add(task)
        task.add_done_callback(self.opening.discard)

    def _open_for_waiting(self) -> None:
        """As many connections are being opened as requests wait for one, and no more."""
        if len(self.opening) < len(self.stale) + len(self.waiting):
            self.open()

    async def _connect(self) -> None:
        this = asyncio.current_task()
        try:
            connection = await self._connected()
        except OSError as error:
            was_away = self.refusals >= PATIENT
            if was_away:
                await asyncio.sleep(PAUSE_S)
            self.opening.discard(this)  # before anybody counts who is opening
            if was_away and not self.refusals:
                self.loop.call_soon(self._open_for_waiting)
            else:
                self._not_connected(error)
            return
        self.opening.discard(this)
        self.refusals = 0
        self.connections.add(connection)
        queue = self.stale or self.waiting
        if queue:
            connection.begin(monotonic_ns(), *queue.popleft())
        else:
            self.free.append(connection)

    async def _connected(self) -> Connection:
        sock = open_socket(self.endpoint)
        try:
            async with asyncio.timeout(CONNECT_S):
                await connect(self.loop, sock, self.endpoint)
                return await self._begun(sock)
        except BaseException:
            sock.close()
            raise

    async def _begun(self, sock: socket.socket) -> Connection:
        """The connection of a connected socket."""
        _, connection = await self.loop.create_connection(lambda: Connection(self, sock), sock=sock)
        return connection

    def _not_connected(self, error: OSError) -> None:
        """One refusal ends one request, so that a dead target is noticed and the ledger still closes.

        No answer at all refuses nobody: another connection is asked for, and who waits has until its own time-out.
        """
        if isinstance(error, TimeoutError):
            self.loop.call_soon(self._open_for_waiting)
            return
        ours = is_ours(error)
        if ours:
            self.lack(error)
        else:
            self.refused_ns = self.refused_ns if self.refusals else monotonic_ns()
            self.refusals += 1
        if ours and self.connections:  # no more to be had: wait for those that there are
            self.limit = len(self.connections)
            self.waiting.extendleft(self.stale)
            self.stale.clear()
            return
        queue = self.stale or self.waiting
        if queue:
            code = LOCAL if ours else CONNECT
            self.note(code, said(error))
            self._end_waiting(queue.popleft(), code)
        self.loop.call_soon(self._open_for_waiting)

    def drop(self, connection: Connection) -> None:
        """Closes a connection that is not to be used again."""
        connection.transport.abort()
        self.forget(connection)

    def forget(self, connection: Connection) -> None:
        """A connection is gone; when requests wait for one, another is opened."""
        if connection in self.connections:
            self.connections.discard(connection)
            if connection in self.free:
                self.free.remove(connection)
            self._open_for_waiting()

    # ---- endings

    def settle(self, connection: Connection, code: int) -> None:
        """Tells the Sink how the request of a lost connection ended."""
        self.ended(connection.row(monotonic_ns(), code))

    def _end_waiting(self, waiting: Waiting, code: int) -> None:
        body, due, dispatched, retries = waiting
        self.ended((due, dispatched, 0, 0, 0, monotonic_ns(), code, body, 0, retries, self.target, *NOT_TOLD))

    def expire(self, before_ns: int) -> None:
        """Times out what was dispatched before `before_ns`: on a connection, or still waiting for one."""
        late = [c for c in self.connections if c.busy and c.dispatched < before_ns]
        for queue in (self.waiting, self.stale):
            while queue and queue[0].dispatched < before_ns:
                self._end_waiting(queue.popleft(), TIMEOUT)
        for connection in late:
            connection.expire(TIMEOUT)

    def cut(self) -> None:
        """The end of draining: unanswered requests are censored, those without a connection unsent."""
        waiting = [*self.stale, *self.waiting]
        self.stale.clear()
        self.waiting.clear()
        for task in self.opening:
            task.cancel()
        for request in waiting:
            self._end_waiting(request, UNSENT)
        for connection in list(self.connections):
            if connection.busy:
                connection.expire(CENSORED)
            else:
                connection.transport.abort()

    async def close(self) -> None:
        """The sockets close with the process; whatever is in flight is nobody's concern any more."""
