"""The stream transport over real loopback sockets: a Lane on one end, a peer that is scripted byte by byte on the other.

Every scenario ends with the same check: what was demanded came back exactly once, with its due instant unchanged.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import random
import socket
import struct
import subprocess
import sys
import termios
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from time import monotonic_ns
from typing import Any, NamedTuple

import numpy as np
import pytest
import uvloop

from clipload.arena import Arena, Bodies, request_head
from clipload.credentials import Credentials
from clipload.dialects import EmbeddingRequest, ServerItem, dialect_for, server_dialect_for
from clipload.outcomes import CONNECT, LOCAL, NOT_JSON, OK, PROTOCOL, RESET, TIMEOUT, UNSENT, VECTORS
from clipload.transports import TRANSPORTS, Endpoint
from clipload.transports.stream import STALE_NS, TURN, Lane
from clipload.units import Size
from clipload.values import Image, Sample, Text

pytestmark = pytest.mark.clock

ROOT = Path(__file__).parents[2]
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}
both_loops = pytest.mark.parametrize("loop", LOOPS)
SMALL, LARGE = 0, 1  # bodies: a text; an image of 16 MB
LIMIT_S = 10.0
IDLE_S = STALE_NS / 1e9 + 0.05
KEY = "a-key"
DIALECT = dialect_for("v1", "m", "float", "text")


def embeddings(vectors: int = 1, dim: int = 2) -> bytes:
    request = EmbeddingRequest((ServerItem(text="a"),) * vectors, "m", "float")
    return server_dialect_for("v1").reply(request, np.ones((vectors, dim), np.float32), [3] * vectors, "m")


def http(body: bytes, status: int = 200, *fields: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Said So", "Content-Type: application/json", f"Content-Length: {len(body)}", *fields, "", ""]
    return "\r\n".join(lines).encode() + body


def chunked(body: bytes, size: int = 7) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    coded = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + coded + b"0\r\nTrailer: x\r\n\r\n"


REPLY = http(embeddings())


class Row(NamedTuple):
    """What the Sink is told of one request."""

    due: int
    dispatched: int
    sent: int
    written: int
    first: int
    done: int
    code: int
    body: int
    received: int
    retries: int
    target: int
    server_queue: int
    server_time: int


def endpoint(address: tuple[int, Any]) -> Endpoint:
    return Endpoint("http://h:1", "h:1", address[0], tuple(address[1]))


class Recorder:
    """A Sink that keeps everything, in order."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def __call__(self, row: tuple[int, ...]) -> None:
        self.rows.append(Row(*row))


class End:
    """The peer's end of one connection, read and written by hand; `close` and `reset` take effect before they return."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.loop = asyncio.get_running_loop()
        self.unread = b""

    async def head(self) -> bytes:
        while b"\r\n\r\n" not in self.unread:
            await self._more()
        head, _, self.unread = self.unread.partition(b"\r\n\r\n")
        return head

    async def request(self) -> bytes:
        """The body of the next request."""
        head = await self.head()
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:"))
        while len(self.unread) < length:
            await self._more()
        body, self.unread = self.unread[:length], self.unread[length:]
        return body

    async def _more(self) -> None:
        data = await self.loop.sock_recv(self.sock, 2**20)
        if not data:
            raise ConnectionResetError("the client closed the connection")
        self.unread += data

    async def send(self, data: bytes) -> None:
        await self.loop.sock_sendall(self.sock, data)

    async def answer(self, reply: bytes = REPLY) -> bytes:
        body = await self.request()
        await self.send(reply)
        return body

    async def closed(self) -> None:
        """Returns when the client has closed the connection; what it still sends is thrown away."""
        try:
            while await self.loop.sock_recv(self.sock, 2**20):
                pass
        except ConnectionError:
            pass

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class Peer:
    """A listener on loopback; connections are accepted by hand, or each is given to a script."""

    def __init__(self, listener: socket.socket | None = None) -> None:
        self.listener = listener or socket.create_server(("127.0.0.1", 0), backlog=256)
        self.listener.setblocking(False)
        self.ends: list[End] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> tuple[int, Any]:
        return (socket.AF_INET, self.listener.getsockname())

    async def accept(self) -> End:
        sock, _ = await asyncio.get_running_loop().sock_accept(self.listener)
        self.ends.append(End(sock))
        return self.ends[-1]

    def serve(self, script: Callable[[End], Awaitable[None]]) -> None:
        self._spawn(self._accept_all(script))

    async def _accept_all(self, script: Callable[[End], Awaitable[None]]) -> None:
        while True:
            self._spawn(self._converse(script, await self.accept()))

    @staticmethod
    async def _converse(script: Callable[[End], Awaitable[None]], end: End) -> None:
        with contextlib.suppress(ConnectionError):
            await script(end)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.add(asyncio.get_running_loop().create_task(work))

    async def stop(self) -> None:
        """Raises what a script failed with."""
        for task in self._tasks:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        for end in self.ends:
            end.close()
        self.listener.close()
        failures = [error for error in ended if isinstance(error, Exception)]
        if failures:
            raise failures[0]


async def always(end: End) -> None:
    """The script of a healthy server."""
    while True:
        await end.answer()


class Stage:
    """A Lane, the peer that it talks to, and what was demanded of it."""

    def __init__(self, bodies: Bodies, limit: int, address: tuple[int, Any] | None) -> None:
        self.peer, self.sink = Peer(), Recorder()
        self.bodies = bodies
        self.lane = Lane(self.sink, bodies, DIALECT, endpoint(address or self.peer.address), 1, limit)
        self.dues: list[int] = []

    def demand(self, body: int = SMALL, *, ago_ns: int = 0) -> int:
        """Demands a request that was dispatched `ago_ns` ago and due a millisecond before that; returns its due instant."""
        now = monotonic_ns() - ago_ns
        due = now - 1_000_000
        self.dues.append(due)
        self.lane.demand(body, due, now)
        return due

    async def ended(self, count: int) -> list[Row]:
        """The rows, once there are `count` of them."""
        await until(lambda: len(self.sink.rows) >= count)
        assert len(self.sink.rows) == count
        return self.sink.rows

    async def one(self, body: int = SMALL) -> Row:
        """Demands one request and waits for its end."""
        count = len(self.sink.rows)
        self.demand(body)
        return (await self.ended(count + 1))[-1]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await asyncio.sleep(0.001)


Scenario = Callable[[Stage], Coroutine[Any, Any, None]]


@pytest.fixture(scope="module")
def bodies() -> Bodies:
    picture = random.Random(1).randbytes(12_000_000)  # more than the buffers of both kernels take together
    arena = Arena.build([Sample((Text("a small text"),)), Sample((Image(picture, "image/png"),))], DIALECT, Size(2**26))
    made = Bodies(arena.map, 1, DIALECT.frame(), request_head(DIALECT.path, "the-target", Credentials(KEY).headers))
    arena.close()
    assert made.small[SMALL] is not None
    assert made.small[LARGE] is None
    assert made.wire_bytes[LARGE] > 16_000_000
    return made


Play = Callable[..., None]


@pytest.fixture
def play(bodies: Bodies) -> Play:
    """Runs a scenario; afterwards the Lane is cut and everything demanded must have ended exactly once."""

    async def whole(scenario: Scenario, limit: int, address: tuple[int, Any] | None) -> None:
        faults: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
        stage = Stage(bodies, limit, address)
        try:
            async with asyncio.timeout(3 * LIMIT_S):
                await scenario(stage)
        finally:
            stage.lane.cut()
            await asyncio.sleep(0.01)
            await stage.peer.stop()
            await asyncio.sleep(0.01)
        assert faults == []
        assert sorted(row.due for row in stage.sink.rows) == sorted(stage.dues), "each demanded request ends exactly once"
        assert not stage.lane.connections
        assert not stage.lane.opening
        for row in stage.sink.rows:
            check_instants(row)

    def run(scenario: Scenario, *, limit: int = 8, loop: str = "uvloop", address: tuple[int, Any] | None = None) -> None:
        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.run(whole(scenario, limit, address))

    return run


def check_instants(row: Row) -> None:
    """due ≤ dispatched ≤ sent ≤ first ≤ done as far as each happened, and a retry is one at most."""
    happened = [at for at in (row.due, row.dispatched, row.sent, row.first, row.done) if at]
    assert happened == sorted(happened), row
    assert row.retries in (0, 1)
    assert row.received == 0 or row.first > 0
    if row.code == OK:
        assert row.written == 0 or row.sent <= row.written <= row.done
        assert row.first > 0


# ---- replies


FRAMES = {
    "content-length": REPLY,
    "chunked": chunked(embeddings()),
    "one chunk": chunked(embeddings(), 10**6),
    "no reason phrase": REPLY.replace(b" Said So", b""),
    "large": http(embeddings(dim=20_000)),
}


@pytest.mark.parametrize("frame", ["content-length", "chunked"])
@both_loops
def test_a_reply_may_come_byte_by_byte(play: Play, loop: str, frame: str) -> None:
    reply = FRAMES[frame]

    async def scenario(stage: Stage) -> None:
        async def script(end: End) -> None:
            while True:
                await end.request()
                for at in range(len(reply)):
                    await end.send(reply[at : at + 1])
                    await asyncio.sleep(0)

        stage.peer.serve(script)
        for _ in range(2):
            row = await stage.one()
            assert (row.code, row.received) == (OK, len(reply))
        assert len(stage.peer.ends) == 1

    play(scenario, loop=loop)


@pytest.mark.parametrize("frame", ["content-length", "chunked"])
def test_a_reply_may_be_cut_in_two_anywhere(play: Play, frame: str) -> None:
    reply = FRAMES[frame]

    async def scenario(stage: Stage) -> None:
        async def script(end: End) -> None:
            for cut in range(1, len(reply)):
                await end.request()
                await end.send(reply[:cut])
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                await end.send(reply[cut:])

        stage.peer.serve(script)
        for _ in range(1, len(reply)):
            row = await stage.one()
            assert (row.code, row.received) == (OK, len(reply))
        assert len(stage.peer.ends) == 1

    play(scenario)


def test_an_interim_reply_is_not_the_reply(play: Play) -> None:
    """RFC 9110 15.2: a client must be able to read 1xx replies even if it did not ask for them."""

    async def scenario(stage: Stage) -> None:
        async def script(end: End) -> None:
            while True:
                await end.request()
                await end.send(b"HTTP/1.1 100 Continue\r\n\r\n")
                await asyncio.sleep(0.01)
                await end.send(REPLY)

        stage.peer.serve(script)
        assert [(await stage.one()).code for _ in range(3)] == [OK] * 3

    play(scenario)


# ---- connections


def test_two_connections_do_not_mix_their_requests(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        first, second = stage.demand(), stage.demand()
        one, two = await stage.peer.accept(), await stage.peer.accept()
        await two.answer()
        await stage.ended(1)
        await one.answer(http(b"{}", 500))
        rows = await stage.ended(2)
        assert {row.due: row.code for row in rows} in ({first: 500, second: OK}, {first: OK, second: 500})
        assert [row.code for row in rows] == [OK, 500]

    play(scenario)


def test_a_large_body_arrives_whole_and_lets_others_pass(play: Play) -> None:
    """Two free connections. The large body's peer reads nothing at first: the small request ends while it is stuck."""

    async def scenario(stage: Stage) -> None:
        stage.demand()
        stage.demand()
        ends = [await stage.peer.accept(), await stage.peer.accept()]
        await until(lambda: len(stage.lane.connections) == 2)  # else the first, answered, would take both requests
        for end in ends:
            await end.answer()
        await stage.ended(2)
        using = stage.lane.free[-1]
        large = stage.demand(LARGE)
        sock = using.transport.get_extra_info("socket")
        assert 0 < pending_out(sock) + sum(pending_in(end.sock) for end in ends) <= 2 * TURN, "more than a turn at once"
        small = stage.demand()
        readable = [end for end in ends if end.sock.getpeername() != sock.getsockname()]
        assert len(readable) == 1
        await readable[0].answer()
        rows = await stage.ended(3)
        assert (rows[2].due, rows[2].code) == (small, OK)
        stuck = next(end for end in ends if end is not readable[0])
        assert await stuck.answer() == stage.bodies.payload(LARGE)
        row = (await stage.ended(4))[3]
        assert (row.due, row.code) == (large, OK)
        assert row.written > rows[2].done
        assert len(stage.lane.free) == 2

    play(scenario, limit=2)


def pending_out(sock: Any) -> int:
    """Bytes that the kernel holds and the peer has not acknowledged."""
    return struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))[0]


def pending_in(sock: socket.socket) -> int:
    return struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.FIONREAD, bytes(4)))[0]


@both_loops
def test_large_bodies_arrive_byte_for_byte(play: Play, loop: str) -> None:
    async def scenario(stage: Stage) -> None:
        got: list[bytes] = []

        async def script(end: End) -> None:
            while True:
                got.append(await end.answer())

        stage.peer.serve(script)
        for _ in range(3):
            for _ in range(4):
                stage.demand(LARGE)
            await until(lambda: len(stage.sink.rows) == len(stage.dues))
        assert {row.code for row in stage.sink.rows} == {OK}
        assert len(got) == 12
        assert set(got) == {stage.bodies.payload(LARGE)}

    play(scenario, loop=loop, limit=2)


class ShortOnce:
    """A socket whose first sendmsg leaves 5000 bytes, as a full kernel buffer does; a moment later there is room."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket, self._cut = sock, True

    def sendmsg(self, pieces: list[memoryview]) -> int:
        if self._cut:
            self._cut = False
            return self._socket.send(b"".join(pieces)[:-5000])
        return self._socket.sendmsg(pieces)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)


@both_loops
def test_a_body_goes_on_though_the_transport_takes_the_rest_at_once(play: Play, loop: str) -> None:
    """The transport finds room at once, never pauses, and so never calls resume_writing."""

    async def scenario(stage: Stage) -> None:
        stage.peer.serve(always)
        assert (await stage.one()).code == OK
        connection = stage.lane.free[-1]
        connection._socket = ShortOnce(connection._socket)  # type: ignore[assignment]
        stage.demand(LARGE)
        row = (await stage.ended(2))[1]
        assert (row.code, row.written > 0) == (OK, True)

    play(scenario, loop=loop)


# ---- time-outs and the end


def test_a_request_times_out_on_its_connection(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        due = stage.demand()
        end = await stage.peer.accept()
        await end.request()
        stage.lane.expire(monotonic_ns() - 10**9)
        assert stage.sink.rows == []
        stage.lane.expire(monotonic_ns())
        (row,) = stage.sink.rows
        assert (row.due, row.code, row.received, row.first) == (due, TIMEOUT, 0, 0)
        assert row.sent > 0
        await end.closed()
        stage.peer.serve(always)
        assert (await stage.one()).code == OK

    play(scenario)


@pytest.mark.parametrize("body", [SMALL, LARGE])
def test_a_time_out_amid_the_transfer(play: Play, body: int) -> None:
    """Half of the reply has come, or half of the body has gone."""

    async def scenario(stage: Stage) -> None:
        stage.demand(body)
        end = await stage.peer.accept()
        await end.head()
        if body == SMALL:
            await end.send(REPLY[:-5])
            await until(lambda: any(connection.received for connection in stage.lane.connections))
        stage.lane.expire(monotonic_ns())
        (row,) = stage.sink.rows
        assert (row.code, row.received, row.written > 0) == (TIMEOUT, len(REPLY) - 5 if body == SMALL else 0, body == SMALL)
        await end.closed()
        stage.peer.serve(always)
        assert (await stage.one()).code == OK

    play(scenario)


def test_a_request_times_out_in_the_queue(play: Play) -> None:
    """The old one on the connection and the old one that waits go; the young one gets the next connection."""

    async def scenario(stage: Stage) -> None:
        stage.demand(ago_ns=3 * 10**9)
        stuck = await stage.peer.accept()
        await stuck.request()
        stage.demand(ago_ns=2 * 10**9)
        young = stage.demand()
        stage.lane.expire(monotonic_ns() - 10**9)
        codes = {row.due: (row.code, row.sent > 0) for row in stage.sink.rows}
        assert codes == {stage.dues[0]: (TIMEOUT, True), stage.dues[1]: (TIMEOUT, False)}
        stage.peer.serve(always)
        assert {row.due: row.code for row in await stage.ended(3)}[young] == OK

    play(scenario, limit=1)


def test_a_request_times_out_while_its_connection_is_being_made(play: Play) -> None:
    """A listener whose queue is full drops what would be the handshake."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        crowd = [socket.socket() for _ in range(3)]
        for sock in crowd:
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())

        async def scenario(stage: Stage) -> None:
            due = stage.demand()
            await asyncio.sleep(0.1)
            assert len(stage.lane.opening) == 1
            stage.lane.expire(monotonic_ns())
            (row,) = stage.sink.rows
            assert (row.due, row.code, row.sent, row.received) == (due, TIMEOUT, 0, 0)
            stage.demand()
            stage.lane.cut()
            assert stage.sink.rows[1].code == UNSENT

        play(scenario, address=(socket.AF_INET, listener.getsockname()))
        for sock in crowd:
            sock.close()


# ---- stale connections


def leave(end: End, how: str) -> None:
    (end.close if how == "close" else end.reset)()


@pytest.mark.parametrize("how", ["close", "reset"])
@both_loops
def test_a_request_that_crosses_the_peers_close_is_sent_once_more(play: Play, loop: str, how: str) -> None:
    """The peer's close and our request cross: the Lane cannot have known."""

    async def scenario(stage: Stage) -> None:
        stage.demand()
        first = await stage.peer.accept()
        await first.answer()
        await stage.ended(1)
        await asyncio.sleep(IDLE_S)
        leave(first, how)
        before = monotonic_ns()
        due = stage.demand()
        second = await stage.peer.accept()
        await second.request()
        between = monotonic_ns()
        await second.send(REPLY)
        row = (await stage.ended(2))[1]
        assert (row.due, row.code, row.retries) == (due, OK, 1)
        assert before <= row.dispatched <= row.sent <= between, "sent is the successful send"
        assert (await answered_on(stage, second)).retries == 0

    play(scenario, loop=loop)


async def answered_on(stage: Stage, end: End) -> Row:
    """One more request, which must come on `end`."""
    count = len(stage.sink.rows)
    stage.demand()
    await end.answer()
    return (await stage.ended(count + 1))[-1]


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_connection_that_was_busy_just_now_is_not_stale(play: Play, how: str) -> None:
    async def scenario(stage: Stage) -> None:
        stage.demand()
        first = await stage.peer.accept()
        await first.answer()
        await stage.ended(1)
        leave(first, how)
        row = await stage.one()
        assert (row.code, row.retries) == (RESET, 0)

    play(scenario)


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_fresh_connection_is_not_stale(play: Play, how: str) -> None:
    async def scenario(stage: Stage) -> None:
        stage.demand()
        end = await stage.peer.accept()
        await end.request()
        leave(end, how)
        (row,) = await stage.ended(1)
        assert (row.code, row.retries, row.received) == (RESET, 0, 0)
        assert row.sent > 0

    play(scenario)


def test_a_connection_that_went_from_request_to_request_is_not_stale(play: Play) -> None:
    """It was opened long ago but never idled: the server dropped a request, and that is the server's failure."""

    async def scenario(stage: Stage) -> None:
        for _ in range(4):
            stage.demand()
        end = await stage.peer.accept()
        for _ in range(3):
            await end.request()
            await asyncio.sleep(IDLE_S / 3 + 0.02)
            await end.send(REPLY)
        await end.request()
        end.close()
        stage.peer.serve(always)
        rows = await stage.ended(4)
        assert [(row.code, row.retries) for row in rows] == [(OK, 0)] * 3 + [(RESET, 0)]

    play(scenario, limit=1)


def test_a_slow_server_that_drops_a_request_is_not_stale(play: Play) -> None:
    """What counts is how long the connection idled before the send, not how long the reply took."""

    async def scenario(stage: Stage) -> None:
        stage.demand()
        end = await stage.peer.accept()
        await end.request()
        await asyncio.sleep(IDLE_S)
        end.close()
        (row,) = await stage.ended(1)
        assert (row.code, row.retries) == (RESET, 0)

    play(scenario)


def test_an_idle_connection_that_began_to_reply_is_not_stale(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        stage.demand()
        end = await stage.peer.accept()
        await end.answer()
        await stage.ended(1)
        await asyncio.sleep(IDLE_S)
        stage.demand()
        await end.request()
        await end.send(REPLY[:10])
        await asyncio.sleep(0.02)
        end.close()
        row = (await stage.ended(2))[1]
        assert (row.code, row.retries, row.received) == (RESET, 0, 10)

    play(scenario)


def test_a_stale_retry_keeps_to_the_limit_of_connections(play: Play) -> None:
    """One connection allowed. It is stale, and a second request already waits: there is never a second connection."""

    async def scenario(stage: Stage) -> None:
        open_now = most = 0

        async def script(end: End) -> None:
            nonlocal open_now, most
            open_now += 1
            most = max(most, open_now)
            try:
                while True:
                    await end.request()
                    await asyncio.sleep(0.1)
                    await end.send(REPLY)
            finally:
                open_now -= 1

        stage.demand()
        first = await stage.peer.accept()
        await first.answer()
        await stage.ended(1)
        await asyncio.sleep(IDLE_S)
        stage.peer.serve(script)
        first.close()
        stage.demand()
        stage.demand()
        rows = await stage.ended(3)
        assert sorted((row.code, row.retries) for row in rows) == [(OK, 0), (OK, 0), (OK, 1)]
        assert most == 1

    play(scenario, limit=1)


def test_a_stale_request_whose_retry_finds_nobody_ends_as_not_connected(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        stage.demand()
        first = await stage.peer.accept()
        await first.answer()
        await stage.ended(1)
        await asyncio.sleep(IDLE_S)
        stage.peer.listener.close()
        first.close()
        row = await stage.one()
        assert (row.code, row.retries) == (CONNECT, 1)

    play(scenario)


# ---- what a peer may do wrong


@pytest.mark.parametrize("status", [401, 413, 503])
@pytest.mark.parametrize("then", ["close", "reads on", "reads nothing"])
@both_loops
def test_a_reply_that_comes_before_the_body_was_sent_counts(play: Play, loop: str, then: str, status: int) -> None:
    """The rest is not sent. Many times over, since the peer's close may come at any point of our writing."""

    async def scenario(stage: Stage) -> None:
        swallowed: list[int] = []

        async def script(end: End) -> None:
            await end.head()
            await end.send(http(b'{"error":"no"}', status, "Connection: close"))
            if then == "close":
                end.close()
            elif then == "reads on":
                before = len(end.unread)
                while data := await end.loop.sock_recv(end.sock, 2**16):
                    before += len(data)
                swallowed.append(before)
            else:
                await asyncio.sleep(LIMIT_S)

        stage.peer.serve(script)
        for _ in range(15):
            row = await stage.one(LARGE)
            assert (row.code, row.retries) == (status, 0)
            assert row.received > 0
        assert len(stage.peer.ends) == 15, "a connection in the middle of a body cannot be used again"
        assert all(count < stage.bodies.wire_bytes[LARGE] for count in swallowed)

    play(scenario, loop=loop)


@both_loops
def test_a_refusal_counts_though_the_reset_came_with_it(play: Play, loop: str) -> None:
    """Between two turns of our writing the peer refuses and resets: its reply lies in our kernel's buffer, and is read."""

    async def scenario(stage: Stage) -> None:
        stage.demand()
        end = await stage.peer.accept()
        await end.answer()
        await stage.ended(1)
        stage.demand(LARGE)
        end.sock.send(http(b'{"error":"no"}', 503, "Connection: close"))
        end.close()
        assert (await stage.ended(2))[1].code == 503

    play(scenario, loop=loop)


@pytest.mark.parametrize("close", [False, True])
def test_an_early_reply_that_would_keep_the_connection_still_ends_it(play: Play, close: bool) -> None:
    """The peer promised nothing about closing: the connection is in the middle of a body all the same."""

    async def scenario(stage: Stage) -> None:
        stage.demand(LARGE)
        end = await stage.peer.accept()
        await end.head()
        await end.send(http(b'{"error":"no"}', 503))
        if close:
            end.close()
        (row,) = await stage.ended(1)
        assert (row.code, row.written) == (503, 0)
        if not close:
            await end.closed()
        stage.peer.serve(always)
        assert (await stage.one()).code == OK

    play(scenario)


def test_refusals_are_forgotten_after_a_success(play: Play) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", 0))

        async def scenario(stage: Stage) -> None:
            assert (await stage.one()).code == CONNECT
            taken.listen(8)
            taken.setblocking(False)
            stage.demand()
            sock, _ = await asyncio.get_running_loop().sock_accept(taken)
            end = End(sock)
            await end.answer()
            assert (await stage.ended(2))[1].code == OK
            assert stage.lane.refusals == 0
            end.close()

        play(scenario, address=(socket.AF_INET, taken.getsockname()))


WRONG = {
    "garbage": (b"\x16\x03\x01 this is not HTTP at all\r\n\r\n", PROTOCOL),
    "another protocol": (b"SSH-2.0-OpenSSH_9.6\r\n", PROTOCOL),
    "a bad length": (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{}", PROTOCOL),
    "a bad chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", PROTOCOL),
}


NOT_VECTORS = {
    "a page": (b"<html>hello</html>", NOT_JSON),
    "nothing": (b"", NOT_JSON),
    "cut JSON": (embeddings()[:-3], NOT_JSON),
    "no vectors": (b'{"data":[]}', VECTORS),
    "two vectors": (embeddings(2), VECTORS),
    "other JSON": (b'{"hello":"world"}', VECTORS),
}


def test_an_error_status_is_kept_with_what_it_said(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        stage.demand()
        end = await stage.peer.accept()
        await end.answer(http(b'{"object":"error","message":"too long","type":"BadRequestError","code":400}', 400))
        (row,) = await stage.ended(1)
        assert row.code == 400
        assert "too long" in stage.lane.examples[400]
        assert (await answered_on(stage, end)).code == OK

    play(scenario)


def test_a_connection_lost_amid_a_large_body(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        async def script(end: End) -> None:
            await end.head()
            end.reset()

        stage.peer.serve(script)
        for _ in range(10):
            row = await stage.one(LARGE)
            assert (row.code, row.written, row.received) == (RESET, 0, 0)

    play(scenario)


UNASKED = {
    "a whole reply": http(b'{"error":"timeout"}', 408, "Connection: close"),
    "a whole reply to keep": REPLY,
    "half a reply": REPLY[:25],
    "half a head": b"HTTP/1.1 408 Request Time",
    "garbage": b"\x00\x01\x02",
}


@pytest.mark.parametrize("what", UNASKED)
@pytest.mark.parametrize("close", [False, True])
def test_what_nobody_asked_for_spoils_no_request(play: Play, what: str, close: bool) -> None:
    """Bytes on an idle connection. The next request gets its own reply, from wherever."""

    async def scenario(stage: Stage) -> None:
        stage.demand()
        end = await stage.peer.accept()
        await end.answer()
        await stage.ended(1)
        stage.peer.serve(always)
        await end.send(UNASKED[what])
        if close:
            end.close()
        await asyncio.sleep(0.05)
        row = await stage.one()
        assert (row.code, row.received, row.retries) == (OK, len(REPLY), 0)
        assert len(stage.peer.ends) == 2, "a connection that speaks unasked is not trusted again"

    play(scenario)


@both_loops
def test_a_connection_that_took_no_request_takes_no_other_though_a_reply_came(play: Play, loop: str) -> None:
    """Its send fails, and before that is looked into a reply ends the request: the next one must go elsewhere."""

    async def scenario(stage: Stage) -> None:
        stage.peer.serve(always)
        await stage.one()
        (connection,) = stage.lane.connections
        connection._socket.shutdown(socket.SHUT_WR)
        stage.demand()
        connection.data_received(REPLY)
        stage.demand()
        first, second, third = await stage.ended(3)
        assert (first.code, second.code, third.code) == (OK, OK, OK)
        assert (second.written, second.retries, third.retries) == (0, 0, 0)
        assert len(stage.peer.ends) == 2

    play(scenario, limit=1, loop=loop)


@contextlib.contextmanager
def full_listener() -> Iterator[socket.socket]:
    """Its queue of connections is full, so that the kernel answers no SYN until somebody accepts."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, contextlib.ExitStack() as held:
        for _ in range(4):
            filler = held.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(full.getsockname())
        yield full


@both_loops
def test_a_target_that_drops_what_asks_for_a_connection_refuses_nobody(
    play: Play, loop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections are asked for anew, and the request has until its own time-out: no refusal is counted, so that a target
    which only stalls is not taken for dead."""
    monkeypatch.setattr("clipload.transports.stream.CONNECT_S", 0.05)
    with full_listener() as full:

        async def scenario(stage: Stage) -> None:
            stage.demand()
            await asyncio.sleep(0.3)
            assert stage.sink.rows == []
            assert (stage.lane.refusals, len(stage.lane.opening)) == (0, 1)
            stage.lane.expire(monotonic_ns())
            (row,) = await stage.ended(1)
            assert row.code == TIMEOUT

        play(scenario, loop=loop, address=(socket.AF_INET, full.getsockname()))


@both_loops
def test_when_the_target_accepts_again_the_waiting_request_goes_out(
    play: Play, loop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clipload.transports.stream.CONNECT_S", 0.2)
    with full_listener() as full:

        async def scenario(stage: Stage) -> None:
            stage.demand()
            await asyncio.sleep(0.3)
            server = Peer(full)
            server.serve(always)
            (row,) = await stage.ended(1)
            assert row.code == OK
            stage.lane.cut()
            await server.stop()

        play(scenario, loop=loop, address=(socket.AF_INET, full.getsockname()))


# ---- the generator's own limits

STARVED = """
import asyncio, os, resource, sys
from tests.transports.test_stream import *
from clipload.transports import lane_for

async def main(ahead):
    arena = Arena.build([Sample((Text("a"),))], DIALECT, Size(2**26))
    bodies = Bodies(arena.map, 1, DIALECT.frame(), request_head(DIALECT.path, "h"))
    sink = Recorder()
    address = (socket.AF_INET, ("127.0.0.1", int(sys.argv[1])))
    lane = lane_for(sys.argv[3], endpoint(address))(sink, bodies, DIALECT, endpoint(address), 1, 50)
    if ahead:
        lane.open()
        await until(lambda: len(lane.connections) == 1)
    used = max(int(name) for name in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 1 + 2 * ahead, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    held = []
    try:
        while not ahead:
            held.append(os.dup(0))
    except OSError:
        pass
    for due in range(1, 41):
        lane.demand(0, due, monotonic_ns())
    await until(lambda: len(sink.rows) == 40)
    print(sorted(row.due for row in sink.rows) == list(range(1, 41)), sorted({row.code for row in sink.rows}), lane.starved > 0)
    lane.cut()
    await lane.close()
    await asyncio.sleep(0.01)

uvloop.run(main(int(sys.argv[2])))
"""


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(("ahead", "codes"), [(1, [OK]), (0, [LOCAL])])
def test_without_descriptors_requests_wait_for_the_connections_there_are(ahead: int, codes: list[int], transport: str) -> None:
    """With a connection open they queue for it; without one they end as the generator's own failure."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        program = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", STARVED, str(listener.getsockname()[1]), str(ahead), transport],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, cwd=ROOT,
        )  # fmt: skip
        try:
            serve_blocking(listener, program)
            said, failed = program.communicate(timeout=LIMIT_S)
        finally:
            program.kill()
            program.wait()
    assert said == f"True {codes} True\n", failed


def serve_blocking(listener: socket.socket, program: subprocess.Popen[str]) -> None:
    """Answers every request on every connection, in this thread, until the program ends."""
    listener.settimeout(0.05)
    open_ones: list[socket.socket] = []
    for _ in range(int(3 * LIMIT_S / 0.05)):
        if program.poll() is not None:
            break
        try:
            sock, _ = listener.accept()
            sock.settimeout(0.001)
            open_ones.append(sock)
        except TimeoutError:
            pass
        for sock in open_ones:
            try:
                while sock.recv(65536):
                    sock.sendall(REPLY)
            except (TimeoutError, ConnectionError):
                pass
    for sock in open_ones:
        sock.close()
