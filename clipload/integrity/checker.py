"""The checker: one process beside the workers that decodes the replies they sample and holds them against the references.

It is given a `CheckJob` (msgpack) as its standard input, reads the workers' pipes until all are closed, and writes what it
found to its standard output: once a second a `Checked`, as a line of JSON. It steps back for everybody else (`nice`): who falls
behind is the checker, and the workers then drop samples. SIGINT is the supervisor's.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import sys
from collections.abc import Callable, Iterator
from time import monotonic_ns
from typing import Any, NamedTuple

import msgspec
import numpy as np

from clipload.agreement import Checked, Level
from clipload.dialects import dialect_of
from clipload.integrity.reading import Unreadable, read
from clipload.likeness import Compared, References, compare
from clipload.plan import Plan
from clipload.sampler import HEAD, TAIL
from clipload.transports.stream import body_of

LISTENING = b"\n"  # the first that it says: from now on it only steps back
STDOUT = 1
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
        self._found = Checked()

    def hear(self, sampled: Sampled) -> None:
        found = self._found
        if sampled.body == TAIL:
            found.add(Checked(dropped=sampled.target, spared=sampled.in_flight, spent_ns=sampled.done, heard=1))
            return
        own = self._bodies[sampled.body]
        compared, said = self._compared(sampled, own)
        wrong, level = compared.wrong, Level(sampled.in_flight, 1, 0, len(own), sum(map(bool, compared.classes)), {})
        examples = {}
        if wrong:
            level.wrong, level.classes = 1, {wrong: 1}
            whose = f" from {self._urls[sampled.target]}" if len(self._references) > 1 else ""
            examples[wrong] = (said or described(compared, sampled)) + whose
        found.add(
            Checked(
                levels={sampled.in_flight: level},
                seconds={sampled.done // SECOND_NS: (1, int(bool(wrong)))},
                compared=compared.compared,
                distance=compared.distance,
                difference=compared.difference,
                examples=examples,
            )
        )

    def _compared(self, sampled: Sampled, own: list[int]) -> tuple[Compared, str]:
        """And what was said of a reply that holds no vectors."""
        try:
            vectors = read(self._dialect, body_of(sampled.reply) if sampled.headed else sampled.reply, len(own))
        except Unreadable as error:
            return Compared((error.name,) * len(own), 0, 0.0, 0.0), str(error)[:200]
        return compare(vectors, own, self._references[sampled.target]), ""

    def take(self) -> Checked:
        """What was found since the last time."""
        found, self._found = self._found, Checked()
        return found


def described(compared: Compared, sampled: Sampled) -> str:
    """The first wrong reply of its class."""
    place = next(number for number, name in enumerate(compared.classes) if name)
    cosine = f", cosine {1 - compared.distance:.4f} at worst" if compared.compared else ""
    return f"vector {place + 1} of {len(compared.classes)} with {sampled.in_flight} in flight{cosine}"


def listen(job: CheckJob, checker: Checker, say: Callable[[Checked], None]) -> None:
    """Until every pipe has been closed by its worker, or with it. Once a second it is said what was found."""
    said_ns = monotonic_ns()
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
            if monotonic_ns() - said_ns >= SECOND_NS:
                said_ns = monotonic_ns()
                say(checker.take())
    say(checker.take())


def _say(found: Checked) -> None:
    os.write(STDOUT, msgspec.json.encode(found) + b"\n")


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(_NICE)
    job = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=CheckJob)
    checker = Checker(job)
    with contextlib.suppress(BrokenPipeError):  # the supervisor is gone, and its workers go with it
        os.write(STDOUT, LISTENING)
        listen(job, checker, _say)


if __name__ == "__main__":
    main()
