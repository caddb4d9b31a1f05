"""The checker beside a launch: started with its job, ended with the workers' pipes, and what it found."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import msgspec

from clipload.agreement import FACT, Agreement
from clipload.host import WORKER_ENVIRONMENT
from clipload.integrity.checker import CheckJob
from clipload.integrity.references import Taken
from clipload.integrity.standing import Standing
from clipload.launchers import Assignment
from clipload.sampler import Sampling, sample_pipe, spacing_ns

_END_S = 20.0  # for the checker to look at what is left in its pipes, at most 1 MiB a worker


@asynccontextmanager
async def watching(assignment: Assignment, standing: Standing) -> AsyncIterator[tuple[Assignment, dict[str, Any]]]:
    """The assignment for a launch, and facts that are whole when the block is left in peace."""
    facts: dict[str, Any] = {}
    if standing.taken is None:
        facts[FACT] = msgspec.to_builtins(standing.agreement)
        yield assignment, facts
        return
    pipes = [sample_pipe() for _ in range(assignment.plan.workers)]
    try:
        process = _started(assignment, standing.taken, standing.agreement.limit, [reading for reading, _ in pipes])
    finally:
        for reading, _ in pipes:
            os.close(reading)
    try:
        try:
            spacing, bodies = spacing_ns(len(pipes), assignment.plan.vectors_per_request), list(standing.taken.bodies)
            yield replace(assignment, sampling=tuple(Sampling(fd, bodies, spacing) for _, fd in pipes)), facts
        finally:
            for _, writing in pipes:
                os.close(writing)
        found = await asyncio.to_thread(_found, process)
    except BaseException:
        process.kill()
        process.wait()
        raise
    facts[FACT] = msgspec.to_builtins(_whole(standing.agreement, found))


def _started(assignment: Assignment, taken: Taken, limit: float, fds: list[int]) -> subprocess.Popen[bytes]:
    """The job is its standard input, as a file: nobody waits for it to be read. It inherits the supervisor's cores."""
    rows, dim = taken.rows.shape
    job = CheckJob(assignment.plan.to_dict(), fds, taken.bodies, taken.rows.tobytes(), rows, dim, limit)
    with os.fdopen(os.memfd_create("clipload-checker", os.MFD_CLOEXEC), "w+b") as file:
        file.write(msgspec.msgpack.encode(job))
        file.seek(0)
        with (assignment.directory / "checker.err").open("wb") as err:
            return subprocess.Popen(
                [sys.executable, "-m", "clipload.integrity.checker"],
                stdin=file,
                stdout=subprocess.PIPE,
                stderr=err,
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
    names = ("items", "bodies", "took_ns", "dtype", "limit", "without", "alike")
    return msgspec.structs.replace(found, **{name: getattr(before, name) for name in names})
