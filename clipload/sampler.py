"""The worker's end of the integrity check: some raw replies go down a pipe to the checker, and are not looked at here.

Laws
* Nothing here waits for anybody: a full pipe means that the sample is not taken, and counted (`dropped`).
* At most `SHARE` of the worker's time goes into it: after a sample that took t none is taken for t / SHARE. The checker has a
  bound too, so none is taken for `spacing_ns` (`spared` counts both).
* Only replies to requests that were due in the measured phase are taken.

A sample is `HEAD` (length, body, target, in flight, done, whether HTTP's own head is in it), then the bytes as they came. The
last record has the body `TAIL`, no bytes, and in the place of the others: dropped, spared, ns spent.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import select
import struct
from collections.abc import Callable, Sequence
from time import monotonic_ns

import msgspec

HEAD = struct.Struct("=6q")
TAIL = -1
SHARE = 0.03  # of the worker's time
PIPE_BYTES = 2**20  # as much as one may ask for without privileges
VECTORS_PER_S = 200  # all workers together: decoding one takes the checker some 0.15 ms, so 3 % of its core
_PIECES = 512
_LAST_WORD_MS = 1000  # for the checker to take what is left


class Sampling(msgspec.Struct, frozen=True):
    """What a worker is told: the pipe that it inherits, the bodies that have references, the least time between samples."""

    fd: int
    bodies: list[int]
    spacing_ns: int


def sample_pipe() -> tuple[int, int]:
    """The ends of a pipe with as much room as may be had: (to read, to write)."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    with contextlib.suppress(OSError):  # less room, and more that is dropped
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return reading, writing


def spacing_ns(workers: int, vectors: int) -> int:
    """The least time between two samples of one worker whose replies have so many vectors."""
    return workers * vectors * 10**9 // VECTORS_PER_S


class Sampler:
    """One worker's samples. `workers`: all have equal shares, so the load is so many times what one of them sees. `headed`:
    HTTP's own head is in the replies."""

    def __init__(
        self,
        sampling: Sampling,
        workers: int,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], int] = monotonic_ns,
        *,
        headed: bool = True,
    ) -> None:
        self._headed = headed
        self._fd, self._spacing_ns, self._workers = sampling.fd, sampling.spacing_ns, workers
        self._loop, self._clock = loop, clock
        self.bodies = frozenset(sampling.bodies)
        self._begin_ns = self._end_ns = self._next_ns = 0
        self._rest: list[bytes] = []  # of a sample that the pipe has begun to take
        self.taken = self.dropped = self.spared = self.spent_ns = 0
        os.set_blocking(self._fd, False)

    def __repr__(self) -> str:
        return f"Sampler({self.taken} taken, {self.dropped} dropped, {self.spared} spared)"

    def start(self, begin_ns: int, end_ns: int) -> None:
        """The measured phase by *due* instant."""
        self._begin_ns, self._end_ns = begin_ns, end_ns

    def take(self, due: int, body: int, target: int, in_flight: int, done: int, reply: Sequence[bytes]) -> None:
        """A reply that looked whole; `in_flight`: requests on the way to this target when it was sent, itself among them."""
        if done < self._next_ns:  # first, since it is so of nearly all
            self.spared += due < self._end_ns
            return
        if not self._begin_ns <= due < self._end_ns:
            return
        if self._rest:
            self.dropped += 1
            return
        began = self._clock()
        size = sum(map(len, reply))
        self._rest = [HEAD.pack(size, body, target, in_flight * self._workers, done, self._headed), *reply]
        self.taken += 1
        if not self._write():
            self._rest = []
            self.taken -= 1
            self.dropped += 1
        self._spend(began, self._spacing_ns)

    def _spend(self, began: int, least: int) -> None:
        took = self._clock() - began
        self.spent_ns += took
        self._next_ns = max(self._next_ns, began + max(least, round(took / SHARE)))

    def _write(self) -> bool:
        """As much as the pipe takes; the loop calls again for the rest. False: it took nothing at all."""
        try:
            written = os.writev(self._fd, self._rest[:_PIECES])
        except BlockingIOError:
            return False
        except BrokenPipeError:  # the checker is gone, and the supervisor knows
            self._begin_ns = self._end_ns
            return False
        self._rest = _left(self._rest, written)
        if self._rest:
            self._loop.add_writer(self._fd, self._go_on)
        return True

    def _go_on(self) -> None:
        began = self._clock()
        self._loop.remove_writer(self._fd)
        if not self._write():
            if self._begin_ns == self._end_ns:
                self._rest = []
            else:
                self._loop.add_writer(self._fd, self._go_on)
        self._spend(began, 0)

    def close(self) -> None:
        """The last record; a checker that takes nothing for a second does not hear it."""
        if self._rest:
            self._loop.remove_writer(self._fd)
        self._rest.append(HEAD.pack(0, TAIL, self.dropped, self.spared, self.spent_ns, 0))
        room = select.poll()
        room.register(self._fd, select.POLLOUT)
        with contextlib.suppress(BrokenPipeError, BlockingIOError):
            while self._rest and room.poll(_LAST_WORD_MS):
                self._rest = _left(self._rest, os.writev(self._fd, self._rest[:_PIECES]))
        os.close(self._fd)


def _left(pieces: list[bytes], written: int) -> list[bytes]:
    """What of `pieces` is not among the first `written` bytes."""
    for place, piece in enumerate(pieces):
        if written < len(piece):
            return [piece[written:], *pieces[place + 1 :]]
        written -= len(piece)
    return []
