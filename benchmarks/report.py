"""How long the report of a long Run takes and how large it is: a journal of one hour and two workers, written by the archive.

    python -m benchmarks.report [SECONDS]

The load is made up and seeded: an open loop of 100 requests/s, log-normal latencies that swell twice, errors in one place.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clipload import archive
from clipload.folding import Folding
from clipload.frames import SCHEMA, SECOND_NS, Closing, Interval, Opening
from clipload.outcomes import COLUMNS, tally_of
from clipload.plan import Plan
from clipload.tally import Tally
from clipload.units import Duration

WORKERS, PER_WORKER = 2, 50
HOUR_S = 3600
START = 1_000 * SECOND_NS


def plan(seconds: int) -> Plan:
    return Plan(
        rate=float(WORKERS * PER_WORKER), workers=WORKERS, warmup=Duration.seconds(10), duration=Duration.seconds(seconds - 10)
    )


def second(rng: np.random.Generator, share: float) -> Tally:
    """One worker's second at `share` of the run: 50 requests, each a row as a worker writes it."""
    n = PER_WORKER
    rows = np.zeros((n, len(COLUMNS)), np.int64)
    due = np.sort(rng.integers(0, SECOND_NS, n)) + START
    swell = 1 + 4 * np.exp(-(((share - 0.35) / 0.02) ** 2)) + 2 * np.exp(-(((share - 0.8) / 0.05) ** 2))
    lag, wait = rng.integers(10_000, 80_000, n), rng.integers(0, 5_000, n)
    service = (rng.lognormal(np.log(15e6 * swell), 0.25, n)).astype(np.int64)
    rows[:, 0], rows[:, 1], rows[:, 2] = due, due + lag, due + lag + wait
    rows[:, 3], rows[:, 4], rows[:, 5] = rows[:, 2] + 30_000, rows[:, 2] + service - 20_000, rows[:, 2] + service
    rows[:, 6] = np.where(rng.random(n) < (0.05 if 0.34 < share < 0.36 else 0.0), 503, 0)
    rows[:, 8] = 10_800
    tally = tally_of(rows, 1, np.full((1, 1), 200_000, np.int64))
    tally.add("scheduled", n)
    return tally


def write(directory: Path, seconds: int, seed: int = 1) -> None:
    """A whole run directory's journal."""
    the_plan, rng = plan(seconds), np.random.default_rng(seed)
    facts = {
        "placement": {"workers": [0, 1], "supervisor": [0, 1], "shared": True},
        "skipped": [],
        "target": {"dim": 512, "probe_ns": [1]},
    }
    opening = Opening(SCHEMA, the_plan.to_dict(), facts, the_plan.bounds(), START, 1.7e9)
    journal, folding = archive.Journal(directory / "journal.bin"), Folding(opening)
    journal.append(opening)
    done = [0] * WORKERS
    for index in range(seconds):
        phase = "warmup" if index < 10 else "measure"
        for worker in range(WORKERS):
            tally = second(rng, index / seconds)
            done[worker] += tally["ok"] if phase == "measure" else 0
            frame = Interval(
                worker,
                index,
                {phase: tally.to_wire()},
                {},
                in_flight=2,
                connections=8,
                cpu_ns=90_000_000,
                starved_ns=2_000_000,
                rss=60_000_000,
                steady_ok=[done[worker]],
                final=index == seconds - 1,
            )
            journal.append(frame)
            folding.add(frame)
    accounts = {
        number: {name: {"planned": tally["scheduled"]} for name, tally in account.phases.items() if tally.counts}
        for number, account in folding.run.workers.items()
    }
    end = START + seconds * SECOND_NS
    journal.append(Closing("complete", end, end, None, accounts, {}))
    journal.close()


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one `clipload report RUN`: seconds by the clock and of CPU, the largest memory and the page in bytes."""

    wall_s: float
    cpu_s: float
    rss: int
    page: int

    def __str__(self) -> str:
        took = f"{self.wall_s:.1f} s ({self.cpu_s:.1f} s of CPU)"
        return f"{took}, {self.rss / 1e6:.0f} MB of memory, a page of {self.page / 1e6:.2f} MB"


def report(directory: Path) -> Cost:
    """RuntimeError when the command fails."""
    begin = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "clipload", "report", str(directory)], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"clipload report ended with {process.returncode}")
    wall = time.perf_counter() - begin
    page = (directory / "report.html").stat().st_size
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, page)


def main() -> None:
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else HOUR_S
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        write(directory, seconds)
        size = (directory / "journal.bin").stat().st_size / 1e6
        print(f"{seconds} s of {WORKERS} workers, a journal of {size:.0f} MB: {report(directory)}")


if __name__ == "__main__":
    main()
