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

from clipload.agreement import BEFORE, FACT, Agreement
from clipload.host import WORKER_ENVIRONMENT
from clipload.integrity.checker import CheckJob
from clipload.integrity.references import Taken
from clipload.integrity.standing import Standing
from clipload.launchers import Assignment
from clipload.sampler import Sampling, sample_pipe, spacing_ns

_START_S = 10.0  # for it to be ready, so that its start takes no core from a load; one that is not drops samples
_END_S = 20.0  # for the checker to look at what is left in its pipes, at most 1 MiB a worker


@asynccontextmanager
async def watching(assignment: Assignment, standing: Standing) -> AsyncIterator[tuple[Assignment, dict[str, Any]]]:
    """The assignment for a launch, and facts that are whole when the block is left in peace."""
    facts: dict[str, Any] = {}
    if standing.taken is None:
        facts[FACT] = msgspec.to_builtins(standing.agreement)
        yield assignment, facts
        return
    with _pipes(assignment.plan.workers) as (reading, writing):
        process = _started(assignment, standing.taken, standing.agreement.limit, reading)
        try:
            await asyncio.to_thread(_wait_until_ready, process)
            spacing, bodies = spacing_ns(len(writing), assignment.plan.vectors_per_request), list(standing.taken.bodies)
            yield replace(assignment, sampling=tuple(Sampling(fd, bodies, spacing) for fd in writing)), facts
        except BaseException:
            process.kill()
            process.communicate()
            raise
    found = await asyncio.to_thread(_found, process)  # its pipes are closed: it comes to an end
    facts[FACT] = msgspec.to_builtins(_whole(standing.agreement, found))


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


def _found(process: subprocess.Popen[bytes]) -> Agreement:
    """What the checker says at its end; what went wrong with it, when it does not."""
    try:
        said, _ = process.communicate(timeout=_END_S)
        return msgspec.json.decode(said, type=Agreement)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return Agreement(error=f"the checker did not end within {_END_S:g} s")
    except msgspec.DecodeError:
        return Agreement(error=f"the checker died (exit status {process.returncode}); its last words are in checker.err")


def _whole(before: Agreement, found: Agreement) -> Agreement:
    """What was known before the load, and what came of it."""
    return msgspec.structs.replace(found, **{name: getattr(before, name) for name in BEFORE})
