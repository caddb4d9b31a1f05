"""The aiohttp transport: a client session of a well-known library, for proxies and whatever else it knows.

The laws of `stream` hold, save what aiohttp does not tell:
* *Sent* is stamped just before the head goes out with the first piece of the body; *written* when the last piece was handed to
  aiohttp's transport, which may hold up to 64 KiB of it; *first byte* when the head of the reply has been parsed.
* Received bytes are head and body as parsed, without the framing of chunks.
* aiohttp itself sends no POST twice. A request whose connection had idled for `STALE_NS` and ended before a head came is sent
  once more, through a connector that keeps no connection, and counted.
* A request that waits for a new connection may be overtaken by one that finds an old one free.

A task, a parsed URL, a dictionary of headers and a stream for each request: that is what it costs (benchmarks/README.md).
"""

from __future__ import annotations

import asyncio
import errno
import ssl
from collections import deque
from contextlib import AbstractAsyncContextManager
from time import monotonic_ns

import aiohttp
from aiohttp import http_exceptions
from yarl import URL

from clipload.arena import Bodies
from clipload.dialects import NOT_TOLD, Dialect, Told
from clipload.outcomes import CENSORED, CONNECT, LOCAL, OK, PROTOCOL, RESET, TIMEOUT, UNSENT
from clipload.transports import Endpoint, Gauges, Sink
from clipload.transports.clients import session_for
from clipload.transports.connecting import AGAIN_S, PATIENT, PAUSE_S, is_ours, said
from clipload.transports.posted import Posted, Request
from clipload.transports.replies import Replies
from clipload.transports.stream import CONNECT_S, STALE_NS


class SessionLane(Replies):
    """One base URL's requests in one worker: at most `limit` of them are aiohttp's at a time, the others wait in the FIFO."""

    headed = False

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
        self.ended, self.endpoint, self.tls = sink, endpoint, tls
        self.limit, self.target = limit, target
        self.loop = asyncio.get_running_loop()
        self.posted = Posted(bodies)
        self.url = URL(endpoint.root + dialect.path)
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S)
        self.session = session_for(endpoint, tls, timeout=self._timeout)
        self._fresh: aiohttp.ClientSession | None = None  # for what is sent once more
        self.waiting: deque[Request] = deque()
        self.active: dict[Request, None] = {}  # in the order in which they were handed over
        self.opening: set[asyncio.Task[None]] = set()
        self._tasks: set[asyncio.Task[None]] = set()  # running ones; of a request that is over, it only closes a connection
        self.capped = self.refusals = self.refused_ns = 0

    def __repr__(self) -> str:
        return f"SessionLane({len(self.connections)} connections, {len(self.active)} active, {len(self.waiting)} waiting)"

    @property
    def connections(self) -> list[asyncio.WriteTransport]:
        """Those that are open, and carried or will carry requests."""
        gone = [transport for transport in self.posted.used if transport.is_closing()]
        for transport in gone:
            del self.posted.used[transport]
        return list(self.posted.used)

    def demand(self, body: int, due: int, now: int) -> None:
        """Hands request `body` to aiohttp, or lets it wait."""
        request = Request(self.posted, body, due, now)
        if len(self.active) < self.limit:
            self._start(request)
        else:
            self.capped += 1
            self.waiting.append(request)

    def _start(self, request: Request) -> None:
        self.active[request] = None
        request.alongside = len(self.active) if request.body in self.compared else 0
        request.task = self.loop.create_task(self._send(request))
        self._tasks.add(request.task)
        request.task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        """A task that failed is a defect of ours: the loop hears of it."""
        self._tasks.discard(task)
        if not task.cancelled():
            task.result()

    async def _send(self, request: Request) -> None:
        """One request until it is over; its connection is looked for again as long as nobody answers or refuses."""
        while not request.over:
            try:
                async with self._posting(request) as reply:
                    request.first = monotonic_ns()
                    head = sum(len(name) + len(value) + 4 for name, value in reply.raw_headers)
                    request.received = head + len(f"HTTP/1.1 {reply.status} {reply.reason}\r\n\r\n")
                    body = await reply.read()
                request.received += len(body)
                code = self._code(reply.status, body)
                told = self.server_times([body]) if self.tells_times and code == OK else NOT_TOLD
                if request.alongside and code == OK and not request.over:
                    done = monotonic_ns()
                    self.sampled(request.due, request.body, self.target, request.alongside, done, [body])
                self._end(request, code, told)
            except (TimeoutError, aiohttp.ClientError, OSError) as error:
                if not request.over:
                    await self._failed(request, error)

    def _code(self, status: int, body: bytes) -> int:
        self.refusals = 0
        return OK if status == 200 and self.looks_whole([body], self.vectors) else self.judge(status, body)

    def _posting(self, request: Request) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        session = self._again() if request.retries else self.session
        return session.post(self.url, data=request, headers=self.posted.headers, allow_redirects=False)

    def _again(self) -> aiohttp.ClientSession:
        if self._fresh is None:
            self._fresh = session_for(self.endpoint, self.tls, keep=False, timeout=self._timeout)
        return self._fresh

    def _end(self, request: Request, code: int, told: Told = NOT_TOLD) -> None:
        """Settles the request; the next one takes its place."""
        if request.over:
            return
        done = monotonic_ns()
        request.over = True
        self.active.pop(request, None)
        if request.transport in self.posted.used:
            self.posted.used[request.transport] = done
        if self.waiting and len(self.active) < self.limit:
            self._start(self.waiting.popleft())
        self.ended(request.row(self.target, done, code, told))

    # ---- what goes wrong

    async def _failed(self, request: Request, error: Exception) -> None:
        """What becomes of a request that aiohttp gave up. No answer at all refuses nobody: it tries again."""
        if request.sent and self._is_stale(request, error):
            request.retries, request.sent, request.written = 1, 0, 0
        elif request.sent:
            self.refusals = 0
            code = PROTOCOL if _is_no_http(error) else RESET
            self.note(code, str(error) or type(error).__name__)
            self._end(request, code)
        elif isinstance(error, OSError) and error.errno == errno.EAGAIN:  # a Unix socket whose queue is full
            await asyncio.sleep(AGAIN_S)
        elif not isinstance(error, TimeoutError):
            was_away = self.refusals >= PATIENT
            if was_away:
                await asyncio.sleep(PAUSE_S)
            if not request.over and (self.refusals or not was_away):
                self._refused(request, error)

    def _is_stale(self, request: Request, error: Exception) -> bool:
        idle = request.idle_since and request.sent - request.idle_since >= STALE_NS
        lost = isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError)
        begun = isinstance(error, aiohttp.ServerDisconnectedError) and not isinstance(error.message, str | None)
        return bool(idle and lost and not begun and not request.first and not request.retries)

    def _refused(self, request: Request, error: Exception) -> None:
        cause = getattr(error, "os_error", None) or getattr(error, "certificate_error", None) or error
        ours = isinstance(cause, OSError) and is_ours(cause)
        if isinstance(cause, OSError) and ours:
            self.lack(cause)
        if ours and len(self.active) > 1:  # no more to be had: wait for those that there are
            del self.active[request]
            self.limit = len(self.active)
            request.over = True
            self.waiting.appendleft(_anew(request))
            return
        if not ours:
            self.refused_ns = self.refused_ns if self.refusals else monotonic_ns()
            self.refusals += 1
        self.note(LOCAL if ours else CONNECT, said(cause) if isinstance(cause, OSError) else str(error))
        self._end(request, LOCAL if ours else CONNECT)

    # ---- connections ahead

    def open(self) -> None:
        if len(self.connections) + len(self.opening) >= self.limit:
            self.capped += 1
            return
        task = self.loop.create_task(self._open())
        self.opening.add(task)
        task.add_done_callback(self.opening.discard)

    async def _open(self) -> None:
        """What fails here will fail again under load, and be counted there."""
        proxy = URL(self.endpoint.proxy) if self.endpoint.proxy else None
        request = aiohttp.ClientRequest("POST", self.url, loop=self.loop, session=self.session, proxy=proxy)
        connector = self.session.connector
        assert connector is not None
        try:
            connection = await connector.connect(request, [], self._timeout)
        except (TimeoutError, aiohttp.ClientError, OSError):
            return
        if connection.transport is not None:
            self.posted.used[connection.transport] = monotonic_ns()
        connection.release()

    # ---- endings

    def gauges(self) -> Gauges:
        in_flight = sum(request.sent > 0 for request in self.active)
        waiting = len(self.waiting) + len(self.active) - in_flight
        return Gauges(in_flight, waiting, len(self.connections), self.examples, self.capped, self.starved, self.lacking)

    def expire(self, before_ns: int) -> None:
        """Times out what was dispatched before `before_ns`: handed to aiohttp, or still waiting."""
        late = [request for request in self.active if request.dispatched < before_ns]
        while self.waiting and self.waiting[0].dispatched < before_ns:
            self.ended(self.waiting.popleft().row(self.target, monotonic_ns(), TIMEOUT))
        for request in late:
            self._drop(request, TIMEOUT)

    def cut(self) -> None:
        waiting = list(self.waiting)
        self.waiting.clear()
        for task in self.opening:
            task.cancel()
        for request in waiting:
            self.ended(request.row(self.target, monotonic_ns(), UNSENT))
        for request in list(self.active):
            self._drop(request, CENSORED if request.sent else UNSENT)

    def _drop(self, request: Request, code: int) -> None:
        """Ends the request; aiohttp closes its connection when the task hears of it."""
        if request.task is not None:
            request.task.cancel()
        if request.transport is not None:
            self.posted.used.pop(request.transport, None)
            request.transport.abort()
        self._end(request, code)

    async def close(self) -> None:
        for task in (*self._tasks, *self.opening):
            task.cancel()
        await asyncio.gather(*self._tasks, *self.opening, return_exceptions=True)
        for session in (self.session, self._fresh):
            if session is not None:
                await session.close()


def _anew(request: Request) -> Request:
    """Once more in the FIFO: a task that is over begins nothing again."""
    again = Request(request.posted, request.body, request.due, request.dispatched)
    again.retries = request.retries
    return again


def _is_no_http(error: Exception) -> bool:
    """Whether what came was no HTTP; a reply that breaks off is."""
    broken_off = isinstance(error.__cause__, http_exceptions.ContentLengthError) or "Not enough data" in str(error)
    return isinstance(error, aiohttp.ClientResponseError) or (isinstance(error, aiohttp.ClientPayloadError) and not broken_off)
