"""What the benchmarks share: a null server on one core, clients on another, rounds that interleave, medians and ratios.

Everything is a process of its own, pinned: the client to core 0, the server to the last core. Ratios are taken within a round,
where both sides saw the same machine; the table shows the median over the rounds and their spread.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

CORES = sorted(os.sched_getaffinity(0))
CLIENT, SERVER = CORES[0], CORES[-1]


@dataclass(frozen=True)
class Figure:
    """One client's work in one round."""

    requests: int
    wall_s: float
    cpu_s: float
    bytes: int
    extra: dict[str, Any]

    @property
    def cpu_us(self) -> float:
        """Microseconds of the client's CPU per request."""
        return 1e6 * self.cpu_s / self.requests

    @property
    def per_s(self) -> float:
        return self.requests / self.wall_s

    @property
    def gb_per_s(self) -> float:
        return self.bytes / self.wall_s / 1e9


@contextmanager
def null_server(*flags: str) -> Iterator[str]:
    """`clipload serve --engine null` on the last core, on a free port unless `flags` say another place; yields its URL."""
    where = flags if "--unix" in flags else ("--port", "0", *flags)
    command = [sys.executable, "-m", "clipload", "serve", "--engine", "null", *where, "--cores", str(SERVER)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[2]
        finally:
            process.terminate()


def rival(kind: str, url: str, body: Path, seconds: float, in_flight: int) -> Figure:
    """One client of `rivals`, pinned to the client's core."""
    command = [
        "taskset",
        "-c",
        str(CLIENT),
        sys.executable,
        "-m",
        "benchmarks.rivals",
        kind,
        url,
        str(body),
        str(seconds),
        str(in_flight),
    ]
    out = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 60).stdout
    return Figure(**json.loads(out), extra={})


def clipload(url: str, seconds: float, *flags: str) -> Figure:
    """A real `clipload run`, its one worker on the client's core; CPU is the whole worker's, over all that it sent."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "clipload", "run", "--base-url", url, "--cores", str(CLIENT), "--out", out, "--json"]
        done = subprocess.run(
            [*command, "--duration", f"{seconds}s", *flags], capture_output=True, text=True, timeout=seconds + 120
        )
        document = json.loads(done.stdout)
    measure = document["phases"]["measure"]
    ok = sum(phase["counts"].get("ok", 0) for phase in document["phases"].values())
    cpu_s = document["workers"]["0"]["cpu_ns"] / 1e9 * measure["counts"]["ok"] / ok
    wall_s = document["measured_ns"] / 1e9
    return Figure(measure["counts"]["ok"], wall_s, cpu_s, measure["counts"]["bytes_sent"], document)


def interleave(kinds: dict[str, Callable[[], Figure]], rounds: int) -> dict[str, list[Figure]]:
    """Each kind once a round, in an order that turns, so that none always follows the same neighbour."""
    names = list(kinds)
    figures: dict[str, list[Figure]] = {name: [] for name in names}
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            figures[name].append(kinds[name]())
            time.sleep(0.2)
    return figures


def show(figures: dict[str, list[Figure]], value: Callable[[Figure], float], unit: str, against: str) -> None:
    """One row a kind: the median, the spread, and the median of the ratios to `against`, round by round."""
    print(f"{'':<12}{unit:>14}{'min':>12}{'max':>12}{'ratio to ' + against:>20}")
    for name, mine in figures.items():
        values = [value(figure) for figure in mine]
        ratio = median(a / value(b) for a, b in zip(values, figures[against], strict=True))
        print(f"{name:<12}{median(values):>14.2f}{min(values):>12.2f}{max(values):>12.2f}{ratio:>20.2f}")


def machine() -> str:
    """One line about where this ran."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if "model name" in line), "unknown CPU")
    where = f"client on core {CLIENT}, server on core {SERVER}"
    return f"{len(CORES)} cores, {model}, Python {sys.version.split()[0]}; {where}; load {os.getloadavg()[0]:.1f}"
