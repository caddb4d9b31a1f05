"""One worker process of this host: spawned, pinned, told its job, listened to."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
from time import monotonic_ns
from typing import Protocol

import msgspec
import psutil

from clipload.errors import HostError
from clipload.host import WORKER_ENVIRONMENT
from clipload.launchers import Assignment
from clipload.pacing import share
from clipload.wire import Job, Message, Order, Ready, Unpacker


class Listener(Protocol):
    """Who hears what a process says, and that it died before its last word."""

    def heard(self, process: Process, message: Message) -> None: ...

    def died(self, process: Process) -> None: ...


class Process(asyncio.Protocol):
    """One worker process: its pipes, and the last that was heard of it."""

    def __init__(self, number: int, listener: Listener, popen: psutil.Popen) -> None:
        self.number, self.popen = number, popen
        self._listener = listener
        self._unpacker = Unpacker()
        self.ready: Ready | None = None
        self.drained = self.final = self.dead = False
        self.heard_ns = monotonic_ns()

    def __repr__(self) -> str:
        return f"Process(worker {self.number}, pid {self.popen.pid}, final={self.final}, dead={self.dead})"

    def send(self, message: Job | Order) -> None:
        """A line down the pipe; a worker that is gone is noticed by its other pipe."""
        with contextlib.suppress(BrokenPipeError):
            self.popen.stdin.write(msgspec.json.encode(message) + b"\n")
            self.popen.stdin.flush()

    def data_received(self, data: bytes) -> None:
        self.heard_ns = monotonic_ns()
        for message in self._unpacker.feed(data):
            self._listener.heard(self, message)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if not self.final:
            self.dead = True
            self._listener.died(self)


async def spawn(assignment: Assignment, number: int, listener: Listener) -> Process:
    """Starts worker `number` on its core and hands it its job."""
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
    try:
        process = Process(number, listener, _popen(assignment, number, write_fd))
    finally:
        os.close(write_fd)
    await asyncio.get_running_loop().connect_read_pipe(lambda: process, os.fdopen(read_fd, "rb", buffering=0))
    process.send(_job(assignment, number, write_fd))
    return process


def _popen(assignment: Assignment, number: int, frames_fd: int) -> psutil.Popen:
    """A process group of its own, so that a terminal's Ctrl-C reaches the supervisor alone; one thread; one core."""
    core = assignment.placement.workers[number]
    command = [sys.executable, "-m", "clipload.worker"]
    if assignment.plan.use_taskset:
        if not shutil.which("taskset"):
            raise HostError(
                "there is no taskset program here", flag="--use-taskset", remedy="leave it out: psutil pins as well"
            )
        command = ["taskset", "-c", str(core), *command]
    log = assignment.directory / f"{assignment.log}_{number}"
    with log.with_suffix(".out").open("wb") as out, log.with_suffix(".err").open("wb") as err:
        popen = psutil.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=err,
            pass_fds=(
                *(assignment.arena.fd, frames_fd),
                *([assignment.trace.fd] if assignment.trace else []),
                *([assignment.sampling[number].fd] if assignment.sampling else []),
            ),
            env={name: value for name, value in os.environ.items() if name != "CLIPLOAD_API_KEY"} | WORKER_ENVIRONMENT,
            start_new_session=True,
        )
    if not assignment.plan.use_taskset:
        popen.cpu_affinity([core])
    return popen


def _job(assignment: Assignment, number: int, frames_fd: int) -> Job:
    a = assignment
    return Job(
        plan=a.plan.to_dict(),
        worker=number,
        arena=a.arena,
        endpoints=list(a.endpoints),
        credentials=a.credentials,
        bounds=a.bounds,
        connect_ahead=a.connect_ahead,
        connection_limit=share(a.connection_limit, number, a.plan.workers),
        frames_fd=frames_fd,
        trace=a.trace,
        sampling=a.sampling[number] if a.sampling else None,
    )
