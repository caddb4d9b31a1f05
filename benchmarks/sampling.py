"""What looking at itself costs a worker and its supervisor: CPU in µs for each second of a run.

    python -m benchmarks.sampling [ROUNDS]

The worker: the witness's fifty rings and what folds them, in a uvloop loop that does nothing else, where each is a wake-up of
its own, and in one that is awake anyway. The supervisor: one reading of the host.
"""

from __future__ import annotations

import asyncio
import os
import sys
from statistics import median
from time import monotonic_ns, process_time_ns

import uvloop

from benchmarks.bench import machine
from clipload.host import OwnProcess
from clipload.vitals import Vitals
from clipload.witness import PERIOD_NS, Witness

SECONDS, READINGS = 4, 200


def main(rounds: int = 5) -> None:
    print(machine())
    idle = [uvloop.run(loop_cpu(watched=False)) for _ in range(rounds)]
    watched = [uvloop.run(loop_cpu(watched=True)) for _ in range(rounds)]
    vitals = Vitals(os.sched_getaffinity(0), {0: os.getpid()})
    print(f"\nµs of CPU in a second, median of {rounds} rounds of {SECONDS} s")
    print(f"{median(watched) - median(idle):8.0f}  the worker, idle: the witness wakes it")
    print(f"{uvloop.run(awake_cpu()):8.0f}  the worker, awake anyway")
    print(f"{reading_cpu(vitals):8.0f}  the supervisor: a reading of the host")


async def loop_cpu(*, watched: bool) -> float:
    """µs of this process's CPU for each second in which its loop sleeps, but for a tick a second and the witness."""
    itself = OwnProcess()
    witness = Witness(asyncio.get_running_loop(), itself)
    begun = process_time_ns()
    if watched:
        witness.start(monotonic_ns())
    for _ in range(SECONDS):
        await asyncio.sleep(1)
        if watched:
            late, withheld = witness.take()
            late.to_sparse(), withheld.to_sparse()
    spent = process_time_ns() - begun
    witness.close()
    itself.close()
    return spent / 1e3 / SECONDS


async def awake_cpu() -> float:
    """µs for the rings and the folding of a second, with no wake-up."""
    itself = OwnProcess()
    witness = Witness(asyncio.get_running_loop(), itself)
    begun = process_time_ns()
    for _ in range(READINGS):
        witness.start(monotonic_ns() - 10**9)
        for _ in range(10**9 // PERIOD_NS):
            witness.ring()
        late, withheld = witness.take()
        late.to_sparse(), withheld.to_sparse()
    spent = process_time_ns() - begun
    witness.close()
    itself.close()
    return spent / 1e3 / READINGS


def reading_cpu(vitals: Vitals) -> float:
    begun = process_time_ns()
    for _ in range(READINGS):
        vitals.read()
    return (process_time_ns() - begun) / 1e3 / READINGS


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
