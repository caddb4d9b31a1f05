"""The laws of a Lane, held against every transport over every way to a target: TCP, TLS, a Unix socket.

What only the stream transport promises (instants to the byte, replies that come with a reset) is in `test_stream`.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import ssl
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from time import monotonic_ns
from typing import Any, NamedTuple

import pytest

from clipload.arena import Arena, Bodies, request_head
from clipload.credentials import Credentials
from clipload.outcomes import CENSORED, CONNECT, NOT_JSON, OK, PROTOCOL, RESET, TIMEOUT, UNSENT, VECTORS
from clipload.transports import OVER_TLS, TRANSPORTS, Endpoint, Lane, lane_for
from clipload.units import Size
from clipload.values import Image, Sample, Text
from tests.certificates import certificates
from tests.transports.test_stream import (
    DIALECT,
    FRAMES,
    KEY,
    LARGE,
    LIMIT_S,
    LOOPS,
    NOT_VECTORS,
    REPLY,
    SMALL,
    WRONG,
    End,
    Peer,
    Recorder,
    Row,
    always,
    check_instants,
    chunked,
    embeddings,
    http,
    leave,
    until,
)

pytestmark = pytest.mark.clock

WAYS = ("tcp", "tls", "unix")
HEADERS = (("X-Trace", "load"), *Credentials(KEY, (("X-Api-Key", "s3same"),)).headers)


class SealedEnd(End):
    """The peer's end of a TLS connection; hands are shaken when it first reads."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._session = certificates().server_context().wrap_bio(self._incoming, self._outgoing, server_side=True)

    async def _step(self, step: Callable[[], Any]) -> Any:
        while True:
            try:
                done = step()
            except ssl.SSLWantReadError:
                await self._flush()
                data = await self.loop.sock_recv(self.sock, 2**20)
                if not data:
                    raise ConnectionResetError("the client closed the connection") from None
                self._incoming.write(data)
            else:
                await self._flush()
                return done

    async def _flush(self) -> None:
        await self.loop.sock_sendall(self.sock, self._outgoing.read())

    async def _more(self) -> None:
        data = await self._step(lambda: self._session.read(2**16))
        if not data:
            raise ConnectionResetError("the client said goodbye")
        self.unread += data

    async def send(self, data: bytes) -> None:
        self._session.write(data)
        await self._flush()

    async def closed(self) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                await self._more()


class WayPeer(Peer):
    """A Peer at the end of one of the ways."""

    def __init__(self, way: str, folder: Path) -> None:
        self.way = way
        if way == "unix":
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(folder / "s"))
            listener.listen(256)
            super().__init__(listener)
        else:
            super().__init__()

    @property
    def endpoint(self) -> Endpoint:
        if self.way == "unix":
            return Endpoint("unix:/s", "the-target", socket.AF_UNIX, (self.listener.getsockname(),))
        address = self.listener.getsockname()
        scheme, name = ("https", "127.0.0.1") if self.way == "tls" else ("http", "")
        return Endpoint(f"{scheme}://127.0.0.1:{address[1]}", "the-target", socket.AF_INET, address, server_name=name)

    async def accept(self) -> End:
        sock, _ = await asyncio.get_running_loop().sock_accept(self.listener)
        self.ends.append(self.end(sock))
        return self.ends[-1]

    def end(self, sock: socket.socket) -> End:
        if self.way == "tls":
            return SealedEnd(sock)
        return PlainEnd(sock) if self.way == "unix" else End(sock)


class PlainEnd(End):
    """A Unix socket has no options of TCP."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock, self.unread = sock, b""
        self.loop = asyncio.get_running_loop()

    def reset(self) -> None:
        self.sock.close()


class Stage:
    """A Lane of one transport, its peer at the end of one way, and what was demanded."""

    def __init__(self, transport: str, peer: WayPeer, bodies: Bodies, limit: int, tls: ssl.SSLContext | None) -> None:
        self.transport, self.peer, self.bodies, self.sink = transport, peer, bodies, Recorder()
        context = tls or (certificates().client_context() if peer.way == "tls" else None)
        make = lane_for(transport, peer.endpoint)
        self.lane: Lane = make(self.sink, bodies, DIALECT, peer.endpoint, 1, limit, 0, context)
        self.lane.credentials = Credentials(KEY, (("X-Api-Key", "s3same"),))
        self.dues: list[int] = []

    def demand(self, body: int = SMALL, *, ago_ns: int = 0) -> int:
        now = monotonic_ns() - ago_ns
        self.dues.append(now - 1_000_000)
        self.lane.demand(body, now - 1_000_000, now)
        return now - 1_000_000

    async def ended(self, count: int) -> list[Row]:
        await until(lambda: len(self.sink.rows) >= count)
        assert len(self.sink.rows) == count
        return self.sink.rows

    async def one(self, body: int = SMALL) -> Row:
        count = len(self.sink.rows)
        self.demand(body)
        return (await self.ended(count + 1))[-1]

    @property
    def examples(self) -> dict[int, str]:
        return self.lane.gauges().examples


Scenario = Callable[[Stage], Coroutine[Any, Any, None]]
Play = Callable[..., None]


@pytest.fixture(scope="module")
def bodies() -> Bodies:
    picture = random.Random(1).randbytes(3_000_000)
    arena = Arena.build([Sample((Text("a small text"),)), Sample((Image(picture, "image/png"),))], DIALECT, Size(2**26))
    made = Bodies(arena.map, 1, DIALECT.frame(), request_head(DIALECT.path, "the-target", HEADERS))
    arena.close()
    assert made.small[LARGE] is None
    return made


class Way(NamedTuple):
    transport: str
    way: str
    loop: str = "uvloop"


EVERY = [Way(transport, way) for transport in TRANSPORTS for way in WAYS]
STOCK = Way("stream", "tcp", "asyncio")  # the default transport without uvloop


@pytest.fixture(params=[*EVERY, STOCK], ids="-".join)
def play(request: pytest.FixtureRequest, bodies: Bodies, tmp_path: Path) -> Iterator[Play]:
    """Runs a scenario; afterwards the Lane is cut and closed, and everything demanded must have ended exactly once."""
    transport, way, loop = request.param

    async def whole(scenario: Scenario, limit: int, tls: ssl.SSLContext | None) -> None:
        faults: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
        stage = Stage(transport, WayPeer(way, tmp_path), bodies, limit, tls)
        try:
            async with asyncio.timeout(3 * LIMIT_S):
                await scenario(stage)
        finally:
            stage.lane.cut()
            await stage.lane.close()
            await asyncio.sleep(0.01)
            await stage.peer.stop()
            await asyncio.sleep(0.01)
        assert faults == []
        assert sorted(row.due for row in stage.sink.rows) == sorted(stage.dues), "each demanded request ends exactly once"
        assert len(stage.lane.connections) == 0
        assert not stage.lane.opening
        for row in stage.sink.rows:
            check_instants(row)

    def run(scenario: Scenario, *, limit: int = 8, tls: ssl.SSLContext | None = None) -> None:
        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.run(whole(scenario, limit, tls))

    return run


def test_every_transport_has_a_way_through_tls() -> None:
    assert TRANSPORTS.keys() == OVER_TLS.keys()


@pytest.mark.parametrize("play", [way._replace(loop=loop) for way in EVERY for loop in LOOPS], indirect=True, ids="-".join)
def test_a_connection_is_used_again(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        stage.peer.serve(always)
        for _ in range(10):
            row = await stage.one()
            assert (row.code, row.received, row.retries, row.body, row.target) == (OK, len(REPLY), 0, SMALL, 0)
            assert row.written >= row.sent > 0
        assert len(stage.peer.ends) == len(stage.lane.connections) == 1

    play(scenario)


def test_an_ok_reply_of_a_compared_body_is_sampled_with_what_was_in_flight_beside_it(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        taken: list[tuple[int, ...]] = []
        asked, all_there = 0, asyncio.Event()

        async def script(end: End) -> None:
            nonlocal asked
            while True:
                await end.request()
                asked += 1
                if asked == 5:
                    all_there.set()
                if asked > 2:
                    await all_there.wait()
                await end.send(REPLY)

        def sampled(due: int, body: int, target: int, in_flight: int, done: int, reply: list[bytes]) -> None:
            whole = REPLY if stage.lane.headed else REPLY.partition(b"\r\n\r\n")[2]
            assert b"".join(reply) == whole
            assert done >= due
            taken.append((stage.dues.index(due), body, target, in_flight))

        stage.lane.compared, stage.lane.sampled = {SMALL}, sampled
        stage.peer.serve(script)
        await stage.one()
        await stage.one(LARGE)  # it has no reference
        for _ in range(3):
            stage.demand()
        await stage.ended(5)
        first, *others = taken
        assert first == (0, SMALL, 0, 1)
        assert [each[:3] for each in sorted(others)] == [(2, SMALL, 0), (3, SMALL, 0), (4, SMALL, 0)]
        assert sorted(each[3] for each in others) == [1, 2, 3]

    play(scenario)


def test_a_reply_that_is_not_ok_is_not_sampled(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        async def script(end: End) -> None:
            await end.answer(http(b"{}", 503))
            await end.answer(http(b"not JSON"))

        def sampled(*_: Any) -> None:
            raise AssertionError("it is an error already")

        stage.lane.compared, stage.lane.sampled = {SMALL}, sampled
        stage.peer.serve(script)
        assert [(await stage.one()).code for _ in range(2)] == [503, NOT_JSON]

    play(scenario)


def test_what_is_sent_is_the_request(play: Play) -> None:
    """The same lines, whatever sends them: nothing is added, nothing is left out."""

    async def scenario(stage: Stage) -> None:
        stage.demand()
        end = await stage.peer.accept()
        first, *fields = (await end.head()).split(b"\r\n")
        assert first == b"POST /v1/embeddings HTTP/1.1"
        body = stage.bodies.payload(SMALL)
        wanted = {
            "Host": "the-target", "Content-Type": "application/json", "Accept": "application/json", "X-Trace": "load",
            "Authorization": f"Bearer {KEY}", "X-Api-Key": "s3same", "Content-Length": str(len(body)),
        }  # fmt: skip
        assert sorted(fields) == sorted(f"{name}: {value}".encode() for name, value in wanted.items())
        while len(end.unread) < len(body):
            await end._more()
        assert end.unread == body
        await end.send(REPLY)
        assert (await stage.ended(1))[0].code == OK

    play(scenario)


@pytest.mark.parametrize("frame", FRAMES)
def test_a_reply_is_understood_however_it_is_framed(play: Play, frame: str) -> None:
    async def scenario(stage: Stage) -> None:
        async def script(end: End) -> None:
            while True:
                await end.answer(FRAMES[frame])

        stage.peer.serve(script)
        for _ in range(3):
            row = await stage.one()
            assert row.code == OK
            assert stage.transport != "stream" or row.received == len(FRAMES[frame])
        assert len(stage.peer.ends) == 1

    play(scenario)


def test_a_reply_may_come_in_pieces(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        async def script(end: End) -> None:
            while True:
                await end.request()
                for at in range(0, len(REPLY), 9):
                    await end.send(REPLY[at : at + 9])
                    await asyncio.sleep(0)

        stage.peer.serve(script)
        assert [(await stage.one()).code for _ in range(3)] == [OK] * 3

    play(scenario)


@pytest.mark.parametrize("reply", [http(embeddings(), 200, "Connection: close"), REPLY.replace(b"HTTP/1.1", b"HTTP/1.0")])
@pytest.mark.parametrize("who", ["peer", "nobody"])
def test_a_connection_that_is_to_be_closed_is_not_used_again(play: Play, reply: bytes, who: str) -> None:
    """Whether or not the peer closes it at once."""

    async def scenario(stage: Stage) -> None:
        async def script(end: End) -> None:
            await end.answer(reply)
            if who == "peer":
                end.close()
            else:
                await end.closed()

        stage.peer.serve(script)
        for _ in range(3):
            row = await stage.one()
            assert (row.code, row.retries) == (OK, 0)
        assert len(stage.peer.ends) == 3

    play(scenario)


@pytest.mark.parametrize(("body", "code"), [(embeddings(), OK), (b"not JSON", NOT_JSON)])
def test_a_reply_without_a_length_ends_with_its_connection(play: Play, body: bytes, code: int) -> None:
    """Legal HTTP/1.1: the probe's client takes it, so the load must."""

    async def scenario(stage: Stage) -> None:
        async def script(end: End) -> None:
            await end.answer(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + body)
            end.close()

        stage.peer.serve(script)
        for _ in range(2):
            row = await stage.one()
            assert (row.code, row.retries) == (code, 0)

    play(scenario)


def test_at_the_limit_requests_wait_in_order_with_their_due_instants(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        async def script(end: End) -> None:
            while True:
                await end.request()
                await asyncio.sleep(0.002)
                await end.send(REPLY)

        stage.peer.serve(script)
        await opened(stage, 2)
        dues = [stage.demand() for _ in range(20)]
        assert stage.lane.gauges().waiting >= 18
        rows = await stage.ended(20)
        assert {row.code for row in rows} == {OK}
        assert [row.due for row in sorted(rows, key=lambda row: row.sent)] == dues
        assert len(stage.peer.ends) == 2
        assert stage.lane.gauges()[:3] == (0, 0, 2)

    play(scenario, limit=2)


def test_large_bodies_arrive_whole_and_let_others_pass(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        got: list[bytes] = []
        gate = asyncio.Event()

        async def script(end: End) -> None:
            while True:
                if b"Content-Length: 4" in await peek(end):
                    await gate.wait()
                got.append(await end.answer())

        stage.peer.serve(script)
        stage.demand(LARGE)
        row = await stage.one()
        assert (row.code, row.body) == (OK, SMALL)
        gate.set()
        await stage.ended(2)
        for _ in range(3):
            stage.demand(LARGE)
        rows = await stage.ended(5)
        assert {row.code for row in rows} == {OK}
        assert all(row.sent < row.written <= row.done for row in rows if row.body == LARGE)
        assert sorted(map(len, got)) == sorted(len(stage.bodies.payload(row.body)) for row in rows)
        assert set(got) == {stage.bodies.payload(SMALL), stage.bodies.payload(LARGE)}

    play(scenario, limit=2)


async def opened(stage: Stage, count: int) -> None:
    """That many connections, ahead of any request."""
    for _ in range(count):
        stage.lane.open()
    await asyncio.gather(*stage.lane.opening)


async def peek(end: End) -> bytes:
    """The next head, left where it is."""
    head = await end.head()
    end.unread = head + b"\r\n\r\n" + end.unread
    return head


def test_connections_are_opened_ahead_up_to_the_limit(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        stage.peer.serve(always)
        await opened(stage, 5)
        await until(lambda: len(stage.peer.ends) == 3)
        assert (len(stage.lane.connections), stage.lane.gauges().capped) == (3, 2)
        for _ in range(3):
            stage.demand()
        await stage.ended(3)
        assert len(stage.peer.ends) == 3

    play(scenario, limit=3)


# ---- time-outs and the end


def test_a_request_times_out_on_its_connection_and_in_the_queue(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        old = stage.demand(ago_ns=3 * 10**9)
        end = await stage.peer.accept()
        await end.request()
        waits = stage.demand(ago_ns=2 * 10**9)
        young = stage.demand()
        stage.lane.expire(monotonic_ns() - 10**9)
        assert {row.due: (row.code, row.sent > 0) for row in stage.sink.rows} == {old: (TIMEOUT, True), waits: (TIMEOUT, False)}
        await end.closed()
        stage.peer.serve(always)
        assert {row.due: row.code for row in await stage.ended(3)}[young] == OK

    play(scenario, limit=1)


def test_a_time_out_amid_the_reply(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        stage.demand()
        end = await stage.peer.accept()
        await end.request()
        await end.send(REPLY[:-5])
        await asyncio.sleep(0.03)
        stage.lane.expire(monotonic_ns())
        (row,) = stage.sink.rows
        assert (row.code, row.first > 0) == (TIMEOUT, True)
        await end.closed()
        stage.peer.serve(always)
        assert (await stage.one()).code == OK

    play(scenario)


def test_cut_censors_what_was_sent_and_gives_back_what_was_not(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        sent = [stage.demand(), stage.demand(LARGE)]
        ends = [await stage.peer.accept(), await stage.peer.accept()]
        await asyncio.gather(*(end.head() for end in ends))
        unsent = [stage.demand() for _ in range(3)]
        stage.lane.cut()
        codes = {row.due: (row.code, row.sent > 0) for row in stage.sink.rows}
        assert codes == dict.fromkeys(sent, (CENSORED, True)) | dict.fromkeys(unsent, (UNSENT, False))
        for end in ends:
            await end.closed()

    play(scenario, limit=2)


def test_a_request_whose_connection_is_still_being_made_is_unsent(play: Play) -> None:
    """Nobody accepts: through TLS nobody shakes hands, and through a full queue nobody comes."""

    async def scenario(stage: Stage) -> None:
        if stage.peer.way != "tls":
            stage.peer.listener.listen(0)
            crowd = [socket.socket(stage.peer.listener.family) for _ in range(4)]
            for sock in crowd:
                sock.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    sock.connect(stage.peer.listener.getsockname())
        late = stage.demand()
        await asyncio.sleep(0.05)
        assert stage.sink.rows == []
        assert stage.lane.refusals == 0
        stage.lane.expire(monotonic_ns())
        (row,) = stage.sink.rows
        assert (row.due, row.code, row.sent) == (late, TIMEOUT, 0)
        stage.demand()
        stage.lane.cut()
        assert stage.sink.rows[1].code == UNSENT
        if stage.peer.way != "tls":
            for sock in crowd:
                sock.close()

    play(scenario)


# ---- what a peer may do wrong


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("cut", [0, 1, 30, len(REPLY) - 1])
def test_a_reply_that_breaks_off(play: Play, cut: int, how: str) -> None:
    async def scenario(stage: Stage) -> None:
        stage.demand()
        end = await stage.peer.accept()
        await end.answer(REPLY[:cut])
        await asyncio.sleep(0.02)
        leave(end, how)
        (row,) = await stage.ended(1)
        assert (row.code, row.retries, row.sent > 0) == (RESET, 0, True)
        assert stage.transport != "stream" or row.received == cut
        stage.peer.serve(always)
        assert (await stage.one()).code == OK

    play(scenario)


@pytest.fixture
def soon_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection counts as idle after 50 ms."""
    for module in ("stream", "session"):
        monkeypatch.setattr(f"clipload.transports.{module}.STALE_NS", 50_000_000)


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.usefixtures("soon_stale")
def test_a_stale_connection_costs_one_counted_retry(play: Play, how: str) -> None:
    async def scenario(stage: Stage) -> None:
        stage.demand()
        first = await stage.peer.accept()
        await first.answer()
        await stage.ended(1)
        await asyncio.sleep(0.06)
        due = stage.demand()
        await first.request()
        leave(first, how)
        before = monotonic_ns()
        second = await stage.peer.accept()
        await second.answer()
        row = (await stage.ended(2))[1]
        assert (row.due, row.code, row.retries) == (due, OK, 1)
        assert row.sent > before, "sent is the successful send"

    play(scenario)


@pytest.mark.usefixtures("soon_stale")
def test_nothing_is_sent_a_third_time(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        stage.demand()
        first = await stage.peer.accept()
        await first.answer()
        await stage.ended(1)
        await asyncio.sleep(0.06)
        stage.demand()
        await first.request()
        first.close()
        second = await stage.peer.accept()
        await second.request()
        second.close()
        assert [(row.code, row.retries) for row in await stage.ended(2)] == [(OK, 0), (RESET, 1)]

    play(scenario)


def test_a_connection_closed_while_it_idles_is_simply_not_used(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        stage.demand()
        first = await stage.peer.accept()
        await first.answer()
        await stage.ended(1)
        first.close()
        await until(lambda: len(stage.lane.connections) == 0)
        stage.peer.serve(always)
        assert [(row.code, row.retries) for row in (await stage.one(), await stage.one())] == [(OK, 0)] * 2

    play(scenario)


@pytest.mark.parametrize("what", WRONG)
def test_what_is_not_http_is_said_to_be(play: Play, what: str) -> None:
    said, code = WRONG[what]

    async def scenario(stage: Stage) -> None:
        stage.demand()
        end = await stage.peer.accept()
        await end.answer(said)
        (row,) = await stage.ended(1)
        assert row.code == code
        assert stage.transport != "stream" or row.received == len(said)
        assert stage.examples[PROTOCOL]
        await end.closed()
        stage.peer.serve(always)
        assert (await stage.one()).code == OK

    play(scenario)


@pytest.mark.parametrize("what", [name for name in NOT_VECTORS if name != "cut JSON"])
def test_a_200_must_hold_the_vectors(play: Play, what: str) -> None:
    body, code = NOT_VECTORS[what]

    async def scenario(stage: Stage) -> None:
        stage.demand()
        end = await stage.peer.accept()
        await end.answer(http(body))
        (row,) = await stage.ended(1)
        assert (row.code, bool(stage.examples[code])) == (code, True)
        stage.demand()
        await end.answer()
        assert (await stage.ended(2))[1].code == OK, "the connection is as good as before"

    play(scenario)


def test_an_error_is_kept_with_what_it_said_but_for_the_secrets(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        stage.demand()
        end = await stage.peer.accept()
        await end.answer(http(f'{{"message":"no {KEY} and no s3same"}}'.encode(), 401))
        assert (await stage.ended(1))[0].code == 401
        assert stage.examples == {401: "no *** and no ***"}
        assert VECTORS not in stage.examples
        assert NOT_JSON not in stage.examples

    play(scenario)


def test_a_redirect_is_not_followed(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        stage.demand()
        end = await stage.peer.accept()
        await end.answer(http(b"{}", 307, "Location: /elsewhere"))
        assert (await stage.ended(1))[0].code == 307

    play(scenario)


def test_an_early_refusal_of_a_large_body_counts(play: Play) -> None:
    """The connection, amid a body, is not used again."""

    async def scenario(stage: Stage) -> None:
        async def script(end: End) -> None:
            await end.head()
            await end.send(http(b'{"error":"no"}', 413, "Connection: close"))
            await end.closed()

        stage.peer.serve(script)
        for _ in range(3):
            assert (await stage.one(LARGE)).code == 413
        assert len(stage.peer.ends) == 3

    play(scenario)


def test_refused_connections_end_their_requests(play: Play, tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.peer.listener.close()
        for _ in range(30):
            stage.demand()
        rows = await stage.ended(30)
        assert {(row.code, row.sent, row.received, row.retries) for row in rows} == {(CONNECT, 0, 0, 0)}
        assert stage.lane.refusals == 30
        assert "refused" in stage.examples[CONNECT]

    play(scenario, limit=4)


# ---- TLS

only_tls = pytest.mark.parametrize("play", [Way(transport, "tls") for transport in TRANSPORTS], indirect=True, ids="-".join)


@only_tls
def test_a_peer_that_nobody_trusts_refuses_each_request(play: Play) -> None:
    """Under load it is data: class connect, with the reason; and it is the target's fault, whatever the error's number."""

    async def scenario(stage: Stage) -> None:
        stage.peer.serve(shown_a_stranger)
        for _ in range(5):
            stage.demand()
        rows = await stage.ended(5)
        assert {(row.code, row.sent) for row in rows} == {(CONNECT, 0)}
        assert (stage.lane.refusals, stage.lane.gauges().starved) == (5, 0)
        assert "CERTIFICATE_VERIFY_FAILED" in stage.examples[CONNECT]

    async def shown_a_stranger(end: End) -> None:
        with contextlib.suppress(ssl.SSLError):  # the client's alert
            await end.request()

    play(scenario, tls=ssl.create_default_context(cafile=certificates().other_ca))


@only_tls
def test_a_peer_that_hangs_up_during_the_handshake_refuses(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        async def script(end: End) -> None:
            await end.loop.sock_recv(end.sock, 100)
            end.close()

        stage.peer.serve(script)
        assert (await stage.one()).code == CONNECT
        assert stage.lane.refusals == 1

    play(scenario)


@only_tls
@pytest.mark.parametrize("reply", [REPLY, http(embeddings())[:17] + b"Connection: close\r\n\r\n" + embeddings()])
def test_a_goodbye_that_comes_with_the_reply_takes_nothing_from_it(play: Play, reply: bytes) -> None:
    """Both in one segment, and the peer does not close the socket: whether or not the reply says its length, it is whole."""

    async def scenario(stage: Stage) -> None:
        async def script(end: End) -> None:
            assert isinstance(end, SealedEnd)
            await end.request()
            end._session.write(reply)
            with contextlib.suppress(ssl.SSLWantReadError):
                end._session.unwrap()
            await end._flush()
            await end.loop.sock_recv(end.sock, 2**16)

        stage.peer.serve(script)
        assert [(await stage.one()).code for _ in range(3)] == [OK] * 3
        assert len(stage.peer.ends) == 3

    play(scenario)


@only_tls
def test_what_is_no_tls_record_ends_the_request(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        stage.demand()
        end = await stage.peer.accept()
        await end.request()
        await end.loop.sock_sendall(end.sock, REPLY)
        (row,) = await stage.ended(1)
        assert row.code == RESET
        assert "SSL" in stage.examples[RESET]

    play(scenario)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_whatever_the_peer_does_each_request_ends_once(play: Play, seed: int) -> None:
    """A peer that draws its conduct, bodies of both sizes, time-outs now and then, and a cut in the end."""
    draw = random.Random(seed)

    async def misbehave(end: End) -> None:
        while True:
            conduct = draw.randrange(12)
            if conduct == 0:
                await end.head()
                return end.close()
            assert await end.request()
            if conduct <= 5:
                await end.send(draw.choice([REPLY, chunked(embeddings())]))
            elif conduct == 6:
                await end.send(http(b"{}", 503))
            elif conduct == 7:
                await end.send(http(embeddings(), 200, "Connection: close"))
            elif conduct == 8:
                await end.send(REPLY[: draw.randrange(len(REPLY))])
                return leave(end, draw.choice(["close", "reset"]))
            elif conduct == 9:
                await end.send(b"garbage\r\n\r\n")
            elif conduct == 10:
                await end.closed()
                return None
            else:
                await end.send(REPLY)
                await end.send(REPLY)

    async def scenario(stage: Stage) -> None:
        stage.peer.serve(misbehave)
        for i in range(200):
            stage.demand(LARGE if draw.random() < 0.1 else SMALL)
            if i == 100:  # whoever is fast enough to meet none of the others
                stage.lane.expire(monotonic_ns())
            if draw.random() < 0.3:
                await asyncio.sleep(draw.random() * 0.004)
            if draw.random() < 0.2:
                stage.lane.expire(monotonic_ns() - 20_000_000)
            assert len(stage.lane.connections) <= 6
        await asyncio.sleep(0.1)
        stage.lane.cut()
        met = {OK, 503, RESET, PROTOCOL, TIMEOUT} & {row.code for row in stage.sink.rows}
        assert len(met) >= 3, "the peer was not met in its moods; aiohttp over TLS is slow enough to time two of them out"

    play(scenario, limit=6)
