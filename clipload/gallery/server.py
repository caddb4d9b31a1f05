"""`python -m clipload.gallery.server`: serves images from a memfd over HTTP/1.1, so that a target has something to fetch.

One thread; images go to the socket from where they lie. Told by lines on stdin: a `Job`, then `begin`; it ends with stdin, and
its last line on stdout is what it has counted since `begin`. Nothing is delayed and nothing fails on purpose before that, so
that a probe gets its images.

Law: fetch n of an image has a fate that depends on (seed, image, n) alone, whatever else is fetched in between.
"""

from __future__ import annotations

import asyncio
import contextlib
import mmap
import socket
import sys
from collections import deque
from dataclasses import dataclass
from hashlib import blake2b
from time import monotonic_ns, process_time_ns
from typing import cast

import httptools
import msgspec

from clipload.host import OwnProcess, pin

READY, BEGIN, BEGUN = b"ready\n", b"begin\n", b"begun\n"
SLOW_NS = 100_000_000  # between the moment at which an image could have left and the one at which the kernel had all of it
_REASONS = {404: b"Not Found", 405: b"Method Not Allowed", 503: b"Service Unavailable"}


class Picture(msgspec.Struct, frozen=True):
    """Where an image lies in the memfd."""

    at: int
    length: int
    media_type: str


class Job(msgspec.Struct, frozen=True):
    """What the server is told: two descriptors that it inherits, name -> Picture, and what shall go wrong."""

    listener: int
    memory: int
    pictures: dict[str, Picture]
    seed: int
    delay_ns: int
    error_rate: float
    core: int | None


class Counts(msgspec.Struct):
    """Since `begin`. Every request is one of fetched, errors (on purpose), missing (no such image), cut (the client went away)
    or other (HEAD and what is no GET). `bytes` are those of fetched images; `slow` of them took `SLOW_NS` and more to leave."""

    requests: int = 0
    fetched: int = 0
    errors: int = 0
    missing: int = 0
    cut: int = 0
    other: int = 0
    slow: int = 0
    bytes: int = 0
    span_ns: int = 0  # from the first request to the last answer
    cpu_ns: int = 0  # of this process, in that time
    starved_ns: int = 0  # waited for its core, since `begin`


@dataclass(frozen=True, slots=True)
class Answer:
    """Its head without the end, and the image."""

    head: bytes
    body: memoryview
    fate: str  # the field of Counts that it is


class Hall:
    """All that connections share: the images, their fates, the counts."""

    def __init__(self, job: Job) -> None:
        size = max((picture.at + picture.length for picture in job.pictures.values()), default=0)
        memory = memoryview(mmap.mmap(job.memory, size, prot=mmap.PROT_READ)) if size else memoryview(b"")
        self._images = {
            b"/" + name.encode(): Answer(_head(200, p.media_type, p.length), memory[p.at : p.at + p.length], "fetched")
            for name, p in job.pictures.items()
        }
        self._seed, self._error_rate, self._delay_ns = job.seed, job.error_rate, job.delay_ns
        self._begun = False
        self._itself = OwnProcess()
        self._reset()

    def _reset(self) -> None:
        self.counts = Counts()
        self._fetches: dict[bytes, int] = {}
        self._first_ns = 0
        self._cpu_ns, self._starved_ns = process_time_ns(), self._itself.run_queue_wait_ns()

    def begin(self) -> None:
        self._begun = True
        self._reset()

    @property
    def delay_s(self) -> float:
        return self._delay_ns / 1e9 if self._begun else 0.0

    def answer(self, method: bytes, path: bytes) -> Answer:
        self._first_ns = self._first_ns or monotonic_ns()
        self.counts.requests += 1
        image = self._images.get(path)
        if image is None:
            return _refusal(404, "missing")
        if method == b"HEAD":
            return Answer(image.head, memoryview(b""), "other")
        if method != b"GET":
            return _refusal(405, "other")
        n = self._fetches[path] = self._fetches.get(path, 0) + 1
        if self._begun and drawn(self._seed, path, n) < self._error_rate:
            return _refusal(503, "errors")
        return image

    def ended(self, count: str, size: int = 0, took_ns: int = 0) -> None:
        counts = self.counts
        setattr(counts, count, getattr(counts, count) + 1)
        counts.span_ns, counts.cpu_ns = monotonic_ns() - self._first_ns, process_time_ns() - self._cpu_ns
        if count == "fetched":
            counts.bytes += size
            counts.slow += took_ns >= SLOW_NS

    def close(self) -> Counts:
        self.counts.starved_ns = self._itself.run_queue_wait_ns() - self._starved_ns
        return self.counts


def drawn(seed: int, path: bytes, n: int) -> float:
    """A number of [0, 1) for fetch `n` (from 1) of an image."""
    digest = blake2b(b"%d %d %s" % (seed, n, path), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def _head(status: int, media_type: str, length: int) -> bytes:
    reason = _REASONS.get(status, b"OK")
    return b"HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n" % (status, reason, media_type.encode(), length)


def _refusal(status: int, count: str) -> Answer:
    body = _REASONS[status] + b"\n"
    return Answer(_head(status, "text/plain", len(body)), memoryview(body), count)


class Connection(asyncio.Protocol):
    """One client; what it asks ahead is answered in turn."""

    def __init__(self, hall: Hall) -> None:
        self._hall = hall
        self._parser = httptools.HttpRequestParser(self)
        self._asked: deque[tuple[bytes, bytes, bool]] = deque()
        self._now: Answer | None = None
        self._paused = self._keep = False
        self._due_ns = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(0)  # `resume_writing` then says that the kernel has everything

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def on_url(self, url: bytes) -> None:
        self._path = url.partition(b"?")[0]

    def on_message_complete(self) -> None:
        self._asked.append((self._parser.get_method(), self._path, self._parser.should_keep_alive()))
        if self._now is None:
            self._turn()

    def _turn(self) -> None:
        method, path, self._keep = self._asked.popleft()
        self._now = self._hall.answer(method, path)
        if delay := self._hall.delay_s:
            asyncio.get_running_loop().call_later(delay, self._send, self._now)
        else:
            self._send(self._now)

    def _send(self, answer: Answer) -> None:
        if self._now is not answer:  # the client did not wait
            return
        self._due_ns = monotonic_ns()
        self._transport.writelines([answer.head, b"\r\n" if self._keep else b"Connection: close\r\n\r\n", answer.body])
        if not self._paused:
            self._sent()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._now is not None and self._due_ns:
            self._sent()

    def _sent(self) -> None:
        answer, due_ns = self._now, self._due_ns
        assert answer is not None
        self._now, self._due_ns = None, 0
        self._hall.ended(answer.fate, len(answer.body), monotonic_ns() - due_ns)
        if not self._keep:
            self._transport.close()
        elif self._asked:
            self._turn()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if self._now is not None:
            self._now = None
            self._hall.ended("cut")


class Orders(asyncio.Protocol):
    """Stdin: `begin`, and the end."""

    def __init__(self, hall: Hall, over: asyncio.Event) -> None:
        self._hall, self._over = hall, over

    def data_received(self, data: bytes) -> None:
        if data == BEGIN:
            self._hall.begin()
            _say(BEGUN)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._over.set()


def _say(line: bytes) -> None:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


async def serve(job: Job) -> Counts:
    loop, over, hall = asyncio.get_running_loop(), asyncio.Event(), Hall(job)
    server = await loop.create_server(lambda: Connection(hall), sock=socket.socket(fileno=job.listener), backlog=1024)
    await loop.connect_read_pipe(lambda: Orders(hall, over), sys.stdin)
    _say(READY)
    await over.wait()
    server.close()
    return hall.close()


def main() -> None:
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)
    if job.core is not None:
        pin((job.core,))
    try:
        import uvloop
    except ImportError:
        counts = asyncio.run(serve(job))
    else:
        counts = uvloop.run(serve(job))
    with contextlib.suppress(BrokenPipeError):  # nobody is left to hear it
        _say(msgspec.json.encode(counts))


if __name__ == "__main__":
    main()
