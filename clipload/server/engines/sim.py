"""The simulated engine: real HTTP, scripted time. Departures follow `clipload.server.queueing` to the nanosecond; replies are
sent when the alarm rings, some 0.1 ms later. Vectors are functions of the item alone; an image by reference is fetched when
images are opened, at each request and before it joins the queue, but what it shows is never looked at."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from heapq import heappop, heappush
from itertools import count
from typing import Generic, TypeVar

import numpy as np

from clipload.dialects import EmbeddingRequest, ServerDialect, ServerItem, Times, Vectors
from clipload.server.engines import Answer, Load, queue_full, too_long
from clipload.server.faults import Calendar
from clipload.server.lies import LIES, Cache, prompt
from clipload.server.opening import Opener, references
from clipload.server.options import DEFAULT_LAW, ServerOptions
from clipload.server.queueing import VirtualQueue
from clipload.server.stamps import Stamps
from clipload.timer import alarm

DEFAULT_DIM = 512
CONTEXT = 77
SERVICE_STREAM = 1
VECTORS_KEPT, REPLY_BYTES_KEPT = 32 * 2**20, 64 * 2**20

V = TypeVar("V")
Ticket = tuple[int, asyncio.Future[tuple[int, int]]]  # items; told (start, departure) when the reply departs
Known = tuple[bytes, tuple[int, ...], tuple[str, ...]]  # reply, tokens of each item, images sent by reference


def make(options: ServerOptions) -> SimEngine:
    return SimEngine(options)


class SimEngine:
    """`clock` gives ns of CLOCK_MONOTONIC, the clock of the alarm."""

    def __init__(self, options: ServerOptions, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.model = options.served_model_name or "clipload/sim"
        self._options, self._clock = options, clock
        self._dim = options.dim or DEFAULT_DIM
        self._stamps = Stamps(options.stamps) if options.stamps is not None else None
        self._vectors = Kept[Vectors](VECTORS_KEPT // (4 * self._dim))
        self._replies = Kept[Known](REPLY_BYTES_KEPT // (20 * self._dim))
        self._queue: VirtualQueue[Ticket] | None = None
        self._departures: list[tuple[int, int, int, Ticket]] = []  # (departure, order, start, ticket)
        self._lie = None if options.lie is None else LIES[options.lie]()
        self._served: dict[int, tuple[ServerItem, ...]] = {}  # for the lie: items of the requests in hand, by order of arrival
        self._order = count()  # ties depart in order of arrival; Futures cannot be compared

    async def start(self) -> None:
        self._started_ns = self._clock()
        self._opener = Opener(allowed=bool(self._options.open_images))
        self._alarm = alarm(asyncio.get_running_loop(), self._ring)

    async def answer(self, dialect: ServerDialect, body: bytes) -> Answer:
        """The reply is ready before the request joins the queue, so that its making delays no departure; its times are those of
        the queue, to the nanosecond, and of the opening of images before it."""
        if self._lie is not None:
            return await self._lied(dialect, body)
        return await self._queued(body, *self._reply(dialect, body))

    async def _lied(self, dialect: ServerDialect, body: bytes) -> Answer:
        """The vectors of a lie depend on what else is in hand, so no reply is remembered."""
        request, order = dialect.parse(body), next(self._order)
        known = (*self._encode(dialect, request), references(request.items))
        cache = self._lie if isinstance(self._lie, Cache) else None
        if cache is not None and cache.knows(request.items):
            return self._at_once(body, *known)
        self._served[order] = request.items
        try:
            answer = await self._queued(body, *known)
        finally:
            del self._served[order]
        if cache is not None:
            cache.answered(request.items)
        return answer

    def _at_once(self, body: bytes, reply: bytes, tokens: tuple[int, ...], references: tuple[str, ...]) -> Answer:  # noqa: ARG002
        """Past the queue, and without opening anything."""
        now = self._clock()
        row = [] if self._stamps is None else self._stamps.arrive(now, body)
        row[1:4] = now, now, now
        return Answer(reply, tokens, Times(time.time(), 0, 0, 0))

    async def _queued(self, body: bytes, reply: bytes, tokens: tuple[int, ...], references: tuple[str, ...]) -> Answer:
        """Joins the queue, and comes back at its departure."""
        received_s, received_ns = time.time(), self._clock()
        now = await self._opened(references) if references else received_ns
        queue = self._open(now) if self._queue is None else self._queue
        self._start_services(now)
        if self._options.max_queue is not None and not queue.idle(now) and len(queue) >= self._options.max_queue:
            raise queue_full()
        row = [] if self._stamps is None else self._stamps.arrive(now, body)
        departed: asyncio.Future[tuple[int, int]] = asyncio.get_running_loop().create_future()
        queue.arrive(now, len(tokens), (len(tokens), departed))
        self._start_services(now)
        self._set_alarm()
        start, done = await departed
        row[1:4] = start, done, self._clock()
        return Answer(reply, tokens, Times(received_s, now - received_ns, start - now, done - received_ns))

    async def _opened(self, references: tuple[str, ...]) -> int:
        """The instant at which all are open; what is in them does not matter here."""
        for reference in references:
            await self._opener.open(reference)
        return self._clock()

    def load(self) -> Load:
        """As at this moment: what should have begun by now has."""
        self._start_services(self._clock())
        queued = self._queue.items if self._queue is not None else 0
        return Load(sum(ticket[0] for *_, ticket in self._departures), queued)

    def facts(self) -> dict[str, object]:
        options = self._options
        return {"law": options.law or DEFAULT_LAW, "servers": options.servers or 1, "stall": options.stall, "dim": self._dim}

    async def close(self) -> bool:
        self._alarm.close()
        await self._opener.close()
        if self._stamps is not None:
            self._stamps.close()
        return True

    def _open(self, first_ns: int) -> VirtualQueue[Ticket]:
        """The queue is made at the first request, because stalls are counted from it."""
        options = self._options
        calendar = Calendar.of(options.stalls, self._started_ns, first_ns)
        draws = np.random.default_rng([options.seed, SERVICE_STREAM])
        self._queue = VirtualQueue(options.servers or 1, options.service_law, calendar, draws)
        return self._queue

    def _start_services(self, now: int) -> None:
        if self._queue is not None:
            for start, done, ticket in self._queue.started(now):
                heappush(self._departures, (done, next(self._order), start, ticket))

    def _set_alarm(self) -> None:
        upcoming = [self._departures[0][0]] if self._departures else []
        if self._queue is not None and (start := self._queue.next_start()) is not None:
            upcoming.append(start)
        if upcoming:
            self._alarm.set(min(upcoming))

    def _ring(self) -> None:
        """Everything due: services that begin, replies that depart."""
        now = self._clock()
        self._start_services(now)
        while self._departures and self._departures[0][0] <= now:
            done, _, start, (_, departed) = heappop(self._departures)
            if not departed.done():  # the client may have gone; its work was done all the same
                departed.set_result((start, done))
        self._set_alarm()

    def _reply(self, dialect: ServerDialect, body: bytes) -> Known:
        """The encoded reply, the tokens of each item, and the images sent by reference. The same body is understood only once
        in each dialect."""
        digest = sha256(dialect.path.encode())
        digest.update(body)
        key = digest.digest()
        known = self._replies.get(key)
        if known is None:
            request = dialect.parse(body)
            known = (*self._encode(dialect, request), references(request.items))
            self._replies.put(key, known)
        return known

    def _encode(self, dialect: ServerDialect, request: EmbeddingRequest) -> tuple[bytes, tuple[int, ...]]:
        counts = tuple(_tokens(item) for item in request.items)
        if max(counts, default=0) >= CONTEXT:
            raise too_long(max(counts), CONTEXT)
        vectors = np.array(self._said(request.items), np.float32).reshape(len(counts), self._dim)
        return dialect.reply(request, vectors, counts, self.model), counts

    def _said(self, items: tuple[ServerItem, ...]) -> list[Vectors]:
        """The items' vectors, or what the lie makes of them."""
        if self._lie is None:
            return [self._vector(item) for item in items]
        return self._lie(items, [item for served in self._served.values() for item in served], self._vector)

    def _vector(self, item: ServerItem) -> Vectors:
        """Unit length; an image's does not depend on the text beside it, as in SGLang."""
        given = (
            f"image:{item.image}"
            if item.image is not None
            else f"tokens:{item.tokens}"
            if item.tokens
            else f"text:{prompt(item)}"
        )
        key = sha256(given.encode(errors="surrogatepass")).digest()
        vector = self._vectors.get(key)
        if vector is None:
            drawn = np.random.Generator(np.random.PCG64(int.from_bytes(key))).standard_normal(self._dim, np.float32)
            vector = drawn / np.linalg.norm(drawn)
            self._vectors.put(key, vector)
        return vector


def _tokens(item: ServerItem) -> int:
    """A word is a token here, and there are two more at the ends."""
    return len(item.tokens) if item.tokens is not None else len(prompt(item).split()) + 2


class Kept(Generic[V]):
    """The `limit` values used last."""

    def __init__(self, limit: int) -> None:
        self._limit = max(1, limit)
        self._values: OrderedDict[bytes, V] = OrderedDict()

    def get(self, key: bytes) -> V | None:
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: bytes, value: V) -> None:
        self._values[key] = value
        if len(self._values) > self._limit:
            self._values.popitem(last=False)
