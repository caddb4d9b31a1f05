"""Any program, several times: pinned, single-threaded, logged, ended together."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import psutil

from clipload.cli.predecessor.flags import KEY_VARIABLE, masked, say
from clipload.errors import EXIT_INTERRUPTED, EXIT_OK, HostError
from clipload.host import THREAD_LIMITS
from clipload.units import format_cores

_PATIENCE_S = 5.0  # between asking a program to end and ending it


@dataclass(frozen=True)
class Programs:
    """`command`, once for each part of `cores`. `key` goes into their environment."""

    command: list[str]
    cores: list[tuple[int, ...]]
    logs: Path
    stagger_s: float
    use_taskset: bool
    key: str = field(default="", repr=False)

    def line(self, worker: int) -> list[str]:
        return [*(["taskset", "-c", format_cores(self.cores[worker])] if self.use_taskset else []), *self.command]

    def rehearsal(self) -> str:
        """One line for each worker, a key masked."""
        lines = [(format_cores(part), shlex.join(masked(self.line(worker)))) for worker, part in enumerate(self.cores)]
        return "\n".join(f"worker {worker}: cores {cores}: {line}" for worker, (cores, line) in enumerate(lines))


def launch(programs: Programs) -> int:
    """Runs them to their end; the first exit code that is not 0. SIGINT and SIGTERM end them all."""
    for program in ("taskset",) if programs.use_taskset else ():
        if not shutil.which(program):
            raise HostError(f"there is no {program} program here", flag="--use-taskset", remedy="leave it out")
    if not shutil.which(programs.command[0]):
        raise HostError(f"{programs.command[0]} cannot be run", flag="--python", remedy="name a Python interpreter")
    say(programs.rehearsal())
    running: list[psutil.Popen] = []
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        for worker in range(len(programs.cores)):
            if worker:
                time.sleep(programs.stagger_s)
            running.append(_start(programs, worker))
        codes = [process.wait() for process in running]
    except KeyboardInterrupt:
        say("ending all workers")
        codes = []
    finally:
        _end(running)
        signal.signal(signal.SIGTERM, before)
    for worker, process in enumerate(running):
        say(f"worker {worker}: exit {process.returncode}; {programs.logs / f'worker_{worker}.out'}")
    if len(codes) < len(programs.cores):
        return EXIT_INTERRUPTED
    return next((code if code > 0 else 128 - code for code in codes if code), EXIT_OK)


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the interface
    raise KeyboardInterrupt


def _start(programs: Programs, worker: int) -> psutil.Popen:
    log = programs.logs / f"worker_{worker}"
    try:
        programs.logs.mkdir(parents=True, exist_ok=True)
        with log.with_suffix(".out").open("wb") as out, log.with_suffix(".err").open("wb") as err:
            process = psutil.Popen(
                programs.line(worker),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=os.environ | THREAD_LIMITS | ({KEY_VARIABLE: programs.key} if programs.key else {}),
                start_new_session=True,
            )
    except OSError as error:
        what = f"cannot write {error.filename}: {error.strerror}"
        raise HostError(what, flag="--logs_dir", remedy="name a folder that can be written to") from error
    if not programs.use_taskset and hasattr(process, "cpu_affinity"):
        with suppress(psutil.NoSuchProcess):  # it was quick
            process.cpu_affinity(list(programs.cores[worker]))
    return process


def _end(running: list[psutil.Popen]) -> None:
    """Whole groups: first asked, then ended."""
    for number, patience in ((signal.SIGTERM, _PATIENCE_S), (signal.SIGKILL, None)):
        alive = [process for process in running if process.poll() is None]
        for process in alive:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
        with suppress(psutil.TimeoutExpired, subprocess.TimeoutExpired):
            for process in alive:
                process.wait(patience)
