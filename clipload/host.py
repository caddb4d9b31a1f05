"""The host: cores, limits, and what the kernel says of a process. Linux first; what is missing elsewhere reads as 0 or None."""

from __future__ import annotations

import os
import platform
import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from clipload.errors import HostError
from clipload.units import format_cores

_RESERVED_DESCRIPTORS = 64  # for pipes, logs, the Arena, the loop itself

THREAD_LIMITS = {
    f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS", "VECLIB", "NUMEXPR")
}  # a worker is one thread: a library that starts more would fight it for its core
MALLOC_KEEPS = {"MALLOC_TRIM_THRESHOLD_": str(2**28), "MALLOC_MMAP_THRESHOLD_": str(2**25)}  # large replies come and go: glibc
# would give their pages back to the kernel and fault them in again at each
WORKER_ENVIRONMENT = THREAD_LIMITS | MALLOC_KEEPS


def allowed_cores() -> tuple[int, ...]:
    """The cores that this process may use (cgroups and taskset respected), ascending."""
    cores = psutil.Process().cpu_affinity() if hasattr(psutil.Process, "cpu_affinity") else None
    return tuple(sorted(cores or range(os.cpu_count() or 1)))


def pin(cores: tuple[int, ...]) -> None:
    """Binds this process to `cores`, where the system can."""
    process = psutil.Process()
    if hasattr(process, "cpu_affinity"):
        process.cpu_affinity(list(cores))


@dataclass(frozen=True, slots=True)
class Placement:
    """Which cores the workers have, one each, and which are left for the supervisor; `shared` when none was.

    `images`: the core of the process that serves images, when there is one; the supervisor keeps off it if it has another.
    """

    workers: tuple[int, ...]
    supervisor: tuple[int, ...]
    images: int | None = None

    @property
    def shared(self) -> bool:
        return bool(set(self.workers) & set(self.supervisor))

    def __str__(self) -> str:
        note = " (shared with a worker)" if self.shared else ""
        images = "" if self.images is None else f", images on {self.images}"
        return f"workers on cores {format_cores(self.workers)}, supervisor on {format_cores(self.supervisor)}{note}{images}"


def place(
    workers: int, wanted: tuple[int, ...] | None, allowed: tuple[int, ...], *, images: bool = False, share: bool = False
) -> Placement:
    """Worker i's core, and the rest for the supervisor and, with `images`, for their server, the last one. With `share`,
    workers without a core of their own take turns on those that there are.

    HostError when there are too few or one does not exist.
    """
    missing = sorted(set(wanted or ()) - set(allowed))
    if missing:
        raise HostError(
            f"core {format_cores(tuple(missing))} is not available here",
            flag="--cores",
            remedy=f"choose from {format_cores(allowed)}",
        )
    mine = (wanted or allowed)[:workers]
    if share:
        mine = tuple(mine[worker % len(mine)] for worker in range(workers))
    if len(mine) < workers:
        raise HostError(
            f"{workers} workers on {len(mine)} cores",
            flag="--workers",
            remedy=f"use at most {len(mine)}: one worker fills one core (--share-cores lets them take turns)",
        )
    rest = tuple(core for core in allowed if core not in mine) or allowed
    return Placement(mine, rest[:-1] or rest, rest[-1]) if images else Placement(mine, rest)


def raise_descriptor_limit() -> int:
    """Raises the soft limit to the hard one; returns how many connections that leaves room for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return (2**20 if hard == resource.RLIM_INFINITY else hard) - _RESERVED_DESCRIPTORS


class OwnProcess:
    """What the kernel says of this process. The files stay open: a µs or two a reading, and without a descriptor to spare."""

    def __init__(self) -> None:
        self._schedstat, self._statm = _kept_open("/proc/self/schedstat"), _kept_open("/proc/self/statm")
        self._page = resource.getpagesize()

    def run_queue_wait_ns(self) -> int:
        """How long it has waited for a core since it began; 0 where the kernel does not say."""
        return int(os.pread(self._schedstat, 64, 0).split()[1]) if self._schedstat >= 0 else 0

    def resident_bytes(self) -> int:
        return int(os.pread(self._statm, 64, 0).split()[1]) * self._page if self._statm >= 0 else 0

    def close(self) -> None:
        for fd in (self._schedstat, self._statm):
            if fd >= 0:
                os.close(fd)
        self._schedstat = self._statm = -1

    __del__ = close


def _kept_open(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # a kernel without it
        return -1


def facts() -> dict[str, Any]:
    """What a reader of the Run must know of the machine and the software."""
    import numpy

    import clipload

    return {
        "host": {
            "system": f"{platform.system()} {platform.release()}",
            "machine": platform.machine(),
            "cpu": _cpu_model(),
            "cores": list(allowed_cores()),
            "memory": psutil.virtual_memory().total,
            "load": [round(value, 2) for value in os.getloadavg()],
        },
        "software": {"clipload": clipload.__version__, "python": sys.version.split()[0], "numpy": numpy.__version__},
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
