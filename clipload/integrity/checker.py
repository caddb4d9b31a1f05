"""The checker: one process beside the workers that decodes the replies they sample and holds them against the references.

It is given a `CheckJob` (msgpack) as its standard input, reads the workers' pipes until all are closed, and writes what it
found (an `Agreement` as JSON) to its standard output. It steps back for everybody else (`nice`): who falls behind is the
checker, and the workers then drop samples. SIGINT is the supervisor's.
"""

from __future__ import annotations

import os
import selectors
import signal
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import numpy as np

from clipload.agreement import Agreement, Level
from clipload.dialects import dialect_of
from clipload.integrity.reading import Unreadable, read
from clipload.likeness import Compared, References, compare
from clipload.plan import Plan
from clipload.sampler import HEAD, TAIL
from clipload.transports.stream import body_of

LISTENING = b"\n"  # the first that it says: from now on it only steps back
_READ = 2**20
_NICE = 10
SECOND_NS = 10**9


class CheckJob(msgspec.Struct, frozen=True):
    """`rows`: float32[targets, items, dim], the references; `bodies`: body → the row of each of its Items."""

    plan: dict[str, Any]
    fds: list[int]
    bodies: dict[int, list[int]]
    rows: bytes
    targets: int
    items: int
    dim: int
    limit: float


class Sampled(NamedTuple):
    """One record of a worker's pipe; of the last one see `sampler`."""

    body: int
    target: int
    in_flight: int
    done: int
    headed: bool
    reply: bytes


class Inlet:
    """Bytes of one pipe in any pieces -> records."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Sampled]:
        buffer = self._buffer
        buffer += data
        while len(buffer) >= HEAD.size:
            size, body, target, in_flight, done, headed = HEAD.unpack_from(buffer)
            end = HEAD.size + size
            if len(buffer) < end:
                return
            reply = bytes(buffer[HEAD.size : end])
            del buffer[:end]
            yield Sampled(body, target, in_flight, done, bool(headed), reply)


class Checker:
    """Hears records, and adds them up."""

    def __init__(self, job: CheckJob) -> None:
        plan = Plan.from_dict(job.plan)
        self._dialect, self._bodies = dialect_of(plan), job.bodies
        rows = np.frombuffer(job.rows, np.float32).reshape(job.targets, job.items, job.dim)
        with np.errstate(invalid="ignore"):
            self._references = [References(own, job.limit) for own in rows]
        self._urls = plan.base_url
        self._levels: dict[int, Level] = {}
        self._seconds: dict[int, tuple[int, int]] = {}
        self._found = Agreement(limit=job.limit, examples={}, unheard=len(job.fds))

    def hear(self, sampled: Sampled) -> None:
        if sampled.body == TAIL:
            self._found.unheard -= 1
            self._found.dropped += sampled.target
            self._found.spared += sampled.in_flight
            self._found.spent_ns += sampled.done
            return
        own = self._bodies[sampled.body]
        compared, said = self._compared(sampled, own)
        wrong = compared.wrong
        level = self._levels.setdefault(sampled.in_flight, Level(sampled.in_flight, classes={}))
        level.sampled += 1
        level.vectors += len(own)
        level.wrong_vectors += sum(map(bool, compared.classes))
        if wrong:
            level.wrong += 1
            level.classes[wrong] = level.classes.get(wrong, 0) + 1
            whose = f" from {self._urls[sampled.target]}" if len(self._references) > 1 else ""
            self._found.examples.setdefault(wrong, (said or described(compared, sampled)) + whose)
        before = self._seconds.get(sampled.done // SECOND_NS, (0, 0))
        self._seconds[sampled.done // SECOND_NS] = (before[0] + 1, before[1] + bool(wrong))
        self._found.compared += compared.compared
        self._found.distance = max(self._found.distance, compared.distance)
        self._found.difference = max(self._found.difference, compared.difference)

    def _compared(self, sampled: Sampled, own: list[int]) -> tuple[Compared, str]:
        """And what was said of a reply that holds no vectors."""
        try:
            vectors = read(self._dialect, body_of(sampled.reply) if sampled.headed else sampled.reply, len(own))
        except Unreadable as error:
            return Compared((error.name,) * len(own), 0, 0.0, 0.0), str(error)[:200]
        return compare(vectors, own, self._references[sampled.target]), ""

    def agreement(self) -> Agreement:
        self._found.levels = [self._levels[n] for n in sorted(self._levels)]
        self._found.seconds = [self._seconds[second] for second in sorted(self._seconds)]
        return self._found


def described(compared: Compared, sampled: Sampled) -> str:
    """The first wrong reply of its class."""
    place = next(number for number, name in enumerate(compared.classes) if name)
    cosine = f", cosine {1 - compared.distance:.4f} at worst" if compared.compared else ""
    return f"vector {place + 1} of {len(compared.classes)} with {sampled.in_flight} in flight{cosine}"


def listen(job: CheckJob, checker: Checker) -> None:
    """Until every pipe has been closed by its worker, or with it."""
    with selectors.DefaultSelector() as selector:
        for fd in job.fds:
            selector.register(fd, selectors.EVENT_READ, Inlet())
        while selector.get_map():
            for key, _ in selector.select():
                data = os.read(key.fd, _READ)
                if not data:
                    selector.unregister(key.fd)
                for sampled in key.data.feed(data):
                    checker.hear(sampled)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(_NICE)
    job = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=CheckJob)
    checker = Checker(job)
    sys.stdout.buffer.write(LISTENING)
    sys.stdout.buffer.flush()
    listen(job, checker)
    sys.stdout.buffer.write(msgspec.json.encode(checker.agreement()))


if __name__ == "__main__":
    main()
