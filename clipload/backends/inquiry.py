"""Samples put to a target, and the vectors that it answers with: one Sample a request, so many requests in flight.

What is asked here goes the way of a load: the same dialects, Arena and stream transport. A load decodes no reply; here each is
decoded, by a dialect that finds none whole at first sight and keeps what it has read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from time import monotonic_ns
from typing import Any, TypeVar, cast

import numpy as np

from clipload.arena import Arena, Bodies, request_head
from clipload.certificates import client_context
from clipload.credentials import Credentials
from clipload.dialects import Dialect, Vectors, dialect_of
from clipload.errors import CliploadError, HostError, PlanError, TargetError
from clipload.outcomes import BODY, CODE, LOCAL, OK, TIMEOUT, Row, fate
from clipload.plan import Mode, Plan
from clipload.target import probe, resolve
from clipload.transports import lane_for
from clipload.transports.stream import Lane
from clipload.units import Size, format_bytes
from clipload.values import Image, ImageRef, Sample, Text

CHUNK_BYTES = 128 * 2**20  # of images that are encoded at a time
_ROOM = Size(2**31)
_LOOK_S = 0.05  # how often it is looked for requests that are too old
_HTTP, _FULL = 100, (429, 503)

R = TypeVar("R")
Answered = Callable[[int], None]  # is told how many Samples are answered


def _nobody(_: int) -> None:
    """Nobody listens."""


class Keeping:
    """A dialect that keeps the vectors of the reply that was decoded last. A Sink hears of a request right after its reply was
    decoded, so these are that request's."""

    tells_times = False

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._kept: Vectors | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dialect, name)

    def looks_whole(self, reply: list[bytes], vectors: int) -> bool:  # noqa: ARG002
        return False

    def decode(self, body: bytes, expected: int | None = None) -> Vectors:
        self._kept = None
        self._kept = self._dialect.decode(body, expected)
        return self._kept

    def take(self) -> Vectors | None:
        kept, self._kept = self._kept, None
        return kept


class Inquiry:
    """One target that is asked. `plan` says where it is, in which words it is asked, and how many requests are in flight.

    PlanError or TargetError when it cannot be reached. `close` it, and do not ask it from within an event loop.
    """

    def __init__(self, plan: Plan, credentials: Credentials) -> None:
        if len(plan.base_url) > 1:
            raise PlanError("one server at a time can be asked for vectors", flag="--base-url", remedy="name one")
        self.plan, self.credentials = plan, credentials
        self.tls = client_context(plan)
        self.endpoint = resolve(plan, plan.base_url[0], self.tls)
        self._runner = asyncio.Runner()
        self._probed = False

    def __repr__(self) -> str:
        return f"Inquiry({self.endpoint.url}, {self.plan.api}, {self.plan.concurrency} in flight)"

    def ask(self, samples: Sequence[Sample], answered: Answered = _nobody) -> Vectors:
        """[samples, Items of each, dim]. TargetError for the first that is not answered as it should be; PlanError for what the
        API has no words for."""
        if not samples:
            return np.empty((0, 0, 0), np.float32)
        plan = self.plan.replace(mode=mode_of(samples))
        found: list[Vectors] = []
        done = 0
        for chunk in _chunks(samples):
            found.append(self._runner.run(self._ask(plan, chunk, answered, done)))
            done += len(chunk)
        if len({vectors.shape[2] for vectors in found}) > 1:
            raise _mixed_lengths(self.endpoint.url)
        return np.concatenate(found)

    def run(self, asked: Coroutine[Any, Any, R]) -> R:
        """What a coroutine of the control plane returns, on the loop that is ours."""
        return self._runner.run(asked)

    def close(self) -> None:
        self._runner.close()

    async def _ask(self, plan: Plan, samples: Sequence[Sample], answered: Answered, before: int) -> Vectors:
        dialect = dialect_of(plan)
        arena = Arena.build(samples, dialect, _ROOM)
        try:
            head = request_head(dialect.path, self.endpoint.host, (*plan.headers, *self.credentials.headers))
            bodies = Bodies(arena.map, 1, dialect.frame(), head)
        finally:
            arena.close()
        if not self._probed:
            await probe(plan, self.endpoint, dialect, bodies.payload(0), self.credentials)
            self._probed = True
        asking = _Asking(self, plan, samples, bodies, Keeping(dialect), lambda count: answered(before + count))
        return await asking.vectors()


class _Asking:
    """A closed loop over the Samples, each once; over when all are answered, or one is not."""

    def __init__(
        self, inquiry: Inquiry, plan: Plan, samples: Sequence[Sample], bodies: Bodies, dialect: Keeping, answered: Answered
    ) -> None:
        self._inquiry, self._plan, self._samples = inquiry, plan, samples
        self._dialect, self._answered = dialect, answered
        slots = min(plan.concurrency or 1, len(samples))
        make = lane_for("stream", inquiry.endpoint)
        items = plan.vectors_per_request
        lane = make(self._ended, bodies, cast(Dialect, dialect), inquiry.endpoint, items, slots, tls=inquiry.tls)
        self._lane = cast(Lane, lane)
        self._lane.credentials = inquiry.credentials
        self._slots, self._next, self._count = slots, 0, 0
        self._found: list[Vectors | None] = [None] * len(samples)
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def vectors(self) -> Vectors:
        try:
            for _ in range(self._slots):
                self._demand()
            while not self._over.done():
                await asyncio.wait([self._over], timeout=_LOOK_S)
                self._lane.expire(monotonic_ns() - int(self._plan.timeout))
            self._over.result()
        finally:
            await self._end()
        whole = [vectors for vectors in self._found if vectors is not None]
        if len({vectors.shape for vectors in whole}) > 1:
            raise _mixed_lengths(self._inquiry.endpoint.url)
        return np.stack(whole)

    def _demand(self) -> None:
        if self._next < len(self._samples):
            now = monotonic_ns()
            self._next += 1
            self._lane.demand(self._next - 1, now, now)

    def _ended(self, row: Row) -> None:
        """The Sink."""
        if self._over.done():
            return
        vectors = self._dialect.take()
        if row[CODE] != OK or vectors is None:
            self._over.set_exception(self._failed(row))
            return
        self._found[row[BODY]] = vectors
        self._count += 1
        self._answered(self._count)
        if self._count == len(self._samples):
            self._over.set_result(None)
        self._demand()

    def _failed(self, row: Row) -> CliploadError:
        code, url = row[CODE], self._inquiry.endpoint.url
        which = f"request {row[BODY] + 1} of {len(self._samples)} ({described(self._samples[row[BODY]])})"
        said = self._lane.examples.get(code, "")
        if code == TIMEOUT:
            what = f"{url} did not answer {which} within {self._plan.timeout}"
            return TargetError(what, flag="--timeout", remedy="allow more time, or have fewer in flight: --concurrency 1")
        if code == LOCAL:
            return HostError(f"no connection could be had: {said}", flag="--concurrency", remedy="have fewer in flight")
        answer = f"answered {code} to" if code >= _HTTP else f"failed ({fate(code).removeprefix('error.')}) at"
        remedy = "have fewer in flight: --concurrency 1" if code in _FULL else "the server's log may say more"
        return TargetError(f"{url} {answer} {which}: {said}", flag="--base-url", remedy=remedy)

    async def _end(self) -> None:
        """Every connection is closed before the loop is: what is still asked is of no use."""
        if not self._over.done():
            self._over.cancel()
        opening = list(self._lane.opening)
        self._lane.cut()
        await asyncio.gather(*opening, return_exceptions=True)
        for connection in list(self._lane.connections):
            connection.transport.abort()
        await asyncio.sleep(0)
        await self._lane.close()


def _mixed_lengths(url: str) -> TargetError:
    what = f"{url} sends vectors of different lengths"
    return TargetError(what, flag="--base-url", remedy="is there one model behind it?")


def mode_of(samples: Sequence[Sample]) -> Mode:
    """As what a load of these Samples would be sent. All have as many Items."""
    if len(samples[0].items) > 1:
        return "multimodal"
    kinds = {isinstance(item, Text) for sample in samples for item in sample.items}
    return "mixed" if len(kinds) > 1 else "text" if True in kinds else "image"


def described(sample: Sample) -> str:
    """Enough to find it again."""
    words = []
    for item in sample.items:
        if isinstance(item, Text):
            words.append(repr(item.text[:60]))
        elif isinstance(item, ImageRef):
            words.append(item.reference[:80])
        else:
            words.append(item.origin or f"an image of {format_bytes(len(item.data))}")
    return ", ".join(words)


def _chunks(samples: Sequence[Sample]) -> Iterator[Sequence[Sample]]:
    """So many that their images fill no more than CHUNK_BYTES, if one does not do so alone."""
    begin = size = 0
    for place, sample in enumerate(samples):
        more = sum(len(item.data) for item in sample.items if isinstance(item, Image))
        if size + more > CHUNK_BYTES and place > begin:
            yield samples[begin:place]
            begin, size = place, 0
        size += more
    yield samples[begin:]
