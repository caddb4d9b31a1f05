"""The checker beside a launch: started with its job, ended with the workers' pipes, and what it found."""

from __future__ import annotations

import asyncio
import os
import select
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any

import msgspec

from clipload.agreement import FACT, Checked
from clipload.frames import Part
from clipload.host import WORKER_ENVIRONMENT
from clipload.integrity.checker import CheckJob
from clipload.integrity.references import Taken
from clipload.integrity.standing import Standing
from clipload.launchers import Assignment, Observer
from clipload.sampler import Sampling, sample_pipe, spacing_ns

_START_S = 10.0  # for it to be ready, so that its start takes no core from a load; one that is not drops samples
_READ = 2**16
_END_S = 20.0  # for the checker to look at what is left in its pipes, at most 1 MiB a worker


class Watch:
    """The checker's words, added up as they come. `facts` are whole when its block is left in peace."""

    def __init__(self, assignment: Assignment, standing: Standing) -> None:
        self.assignment, self._before = assignment, standing.agreement
        self._sum, self._new, self._rest = Checked(), list[Checked](), b""
        self.facts: dict[str, Any] = {}
        self.settle()

    def settle(self, error: str = "") -> None:
        """The facts as they are now."""
        compared = not self._before.skipped
        found = self._sum.agreement(self._before, self.assignment.plan.workers if compared else 0, error)
        self.facts[FACT] = msgspec.to_builtins(found)

    def beside(self, observer: Observer) -> Observer:
        """The same observer, to whom what is found is told as well, second by second."""

        def seen() -> Iterator[Part]:
            yield from observer.seen()
            new, self._new = self._new, []
            yield from new

        return replace(observer, seen=seen)

    def hear(self, said: bytes) -> None:
        """Bytes of the checker's, in any pieces."""
        *lines, self._rest = (self._rest + said).split(b"\n")
        for line in filter(None, lines):
            found = msgspec.json.decode(line, type=Checked)
            self._sum.add(found)
            self._new.append(found)


@asynccontextmanager
async def watching(assignment: Assignment, standing: Standing) -> AsyncIterator[Watch]:
    """The assignment for a launch, and the facts that come of it."""
    watch = Watch(assignment, standing)
    if standing.taken is None:
        yield watch
        return
    with _pipes(assignment.plan.workers) as (reading, writing):
        process = _started(assignment, standing.taken, standing.agreement.limit, reading)
        try:
            await asyncio.to_thread(_wait_until_ready, process)
            spacing, bodies = spacing_ns(len(writing), assignment.plan.vectors_per_request), list(standing.taken.bodies)
            watch.assignment = replace(assignment, sampling=tuple(Sampling(fd, bodies, spacing) for fd in writing))
            with _heard(process, watch):
                yield watch
        except BaseException:
            process.kill()
            process.communicate()
            raise
    said, error = await asyncio.to_thread(_last_words, process)  # its pipes are closed: it comes to an end
    watch.hear(said)
    watch.settle(error)


@contextmanager
def _heard(process: subprocess.Popen[bytes], watch: Watch) -> Iterator[None]:
    """While the block lasts, what the checker says is heard when it is said."""
    assert process.stdout is not None
    loop, fd = asyncio.get_running_loop(), process.stdout.fileno()

    def hear() -> None:
        said = os.read(fd, _READ)
        watch.hear(said)
        if not said:
            loop.remove_reader(fd)

    loop.add_reader(fd, hear)
    try:
        yield
    finally:
        loop.remove_reader(fd)


@contextmanager
def _pipes(workers: int) -> Iterator[tuple[list[int], list[int]]]:
    """The ends at which the checker reads, which are for `_started` to close, and those at which the workers write: ours are
    closed when the block is left."""
    pipes = [sample_pipe() for _ in range(workers)]
    try:
        yield [reading for reading, _ in pipes], [writing for _, writing in pipes]
    finally:
        for _, writing in pipes:
            os.close(writing)


def _wait_until_ready(process: subprocess.Popen[bytes]) -> None:
    """Until the checker has said so, has died, or has had _START_S."""
    assert process.stdout is not None
    select.select([process.stdout], [], [], _START_S)


def _started(assignment: Assignment, taken: Taken, limit: float, fds: list[int]) -> subprocess.Popen[bytes]:
    """The job is its standard input, as a file: nobody waits for it to be read. It inherits the supervisor's cores."""
    targets, rows, dim = taken.rows.shape
    job = CheckJob(assignment.plan.to_dict(), fds, taken.bodies, taken.rows.tobytes(), targets, rows, dim, limit)
    with ExitStack() as stack:
        for fd in fds:  # the checker's alone, so that workers notice when it is gone
            stack.callback(os.close, fd)
        file = stack.enter_context(os.fdopen(os.memfd_create("clipload-checker", os.MFD_CLOEXEC), "w+b"))
        file.write(msgspec.msgpack.encode(job))
        file.seek(0)
        return subprocess.Popen(
            [sys.executable, "-m", "clipload.integrity.checker"],
            stdin=file,
            stdout=subprocess.PIPE,
            bufsize=0,
            stderr=stack.enter_context((assignment.directory / "checker.err").open("wb")),
            pass_fds=fds,
            env={name: value for name, value in os.environ.items() if name != "CLIPLOAD_API_KEY"} | WORKER_ENVIRONMENT,
            start_new_session=True,
        )


def _last_words(process: subprocess.Popen[bytes]) -> tuple[bytes, str]:
    """What the checker says at its end, and what went wrong with it, if anything did."""
    try:
        said, _ = process.communicate(timeout=_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return b"", f"the checker did not end within {_END_S:g} s"
    code = process.returncode
    return said, f"the checker died (exit status {code}); its last words are in checker.err" if code else ""
