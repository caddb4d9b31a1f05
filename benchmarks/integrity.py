"""What integrity under load costs a worker: CPU per request with it and without, interleaved, against the null server.

    python -m benchmarks.integrity [ROUNDS [SECONDS]]

The worker is on core 0, the server on core 1, which the checker shares. The null server answers at once, so a request of a
closed loop costs as little as it can and the share is the largest that there is; but how many replies come in one turn of the
worker's loop is then up to the server, which the checker takes time from. So there is a third way beside with and without:
without, but a process that works for nobody takes of the server's core what the checker is reckoned to (*stand-in*). An
open loop's turns are its own. What integrity does in a worker is timed by itself too: a reply that the sampler lets pass, by a
loop over it; one that is handed on, by the sampler's own clock during the rounds. There is nothing else that it does there.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from statistics import median
from typing import NamedTuple

from clipload.sampler import Sampler, Sampling, sample_pipe

_LISTENING = re.compile(r"listening on (\S+) ")
FLAGS = ("--mode", "text", "--text-tokens", "5-9", "--warmup", "1s", "--no-preflight", "--cores", "0")
LOADS = (("--concurrency", "16"), ("--rate", "20000"))
WITH, WITHOUT, STAND_IN = "with", "without", "stand-in"
CHECKER = """
import os, time
os.nice(10)
os.sched_setaffinity(0, {1})
while True:
    until = time.perf_counter() + 150e-6
    while time.perf_counter() < until:
        pass
    time.sleep(1 / 200)
"""  # 200 times a second what decoding a vector takes: clipload.sampler.VECTORS_PER_S


def clipload(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "clipload", *arguments]


class Cost(NamedTuple):
    """Of the measured phase: the worker's CPU a request, replies compared, the share of its time that handing them on took."""

    cpu_ns: float
    sampled: int
    handing: float


def cost(url: str, seconds: int, *flags: str) -> Cost:
    with tempfile.TemporaryDirectory() as out:
        command = clipload("run", "--base-url", url, "--duration", f"{seconds}s", "--json", "--out", out, *FLAGS, *flags)
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=120, check=False)
    document = json.loads(done.stdout)
    spent = document["workers"]["0"]["measured_load"]["cpu_ns"]
    integrity = document["facts"].get("integrity", {"levels": [], "spent_ns": 0})
    sampled = sum(level["sampled"] for level in integrity["levels"])
    return Cost(spent / (document["requests_per_s"] * seconds), sampled, integrity["spent_ns"] / (seconds * 1e9))


class Passing:
    """What a connection does for integrity with a reply that is not taken; `sampler` None: what it does without."""

    def __init__(self, sampler: Sampler | None) -> None:
        self.compared = frozenset[int]() if sampler is None else sampler.bodies
        self.sampled = None if sampler is None else sampler.take
        self.connections, self.free, self.reply = [0] * 16, [0], [b""]

    def ns(self, times: int) -> float:
        began = time.perf_counter_ns()
        for body in range(times):
            alongside = len(self.connections) - len(self.free) if body & 255 in self.compared else 0
            if alongside:
                self.sampled(0, body, 0, alongside, 1, self.reply)  # type: ignore[misc]
        return (time.perf_counter_ns() - began) / times


def passing_ns(times: int = 200_000, rounds: int = 9) -> float:
    """What a reply that is let pass costs a worker, all bodies being compared: the median of rounds, with and without it."""
    reading, writing = sample_pipe()
    sampler = Sampler(Sampling(writing, list(range(256)), 0), 1, asyncio.new_event_loop())
    sampler.start(0, 1)
    sampler._next_ns = 2  # as it is between two samples
    with_, without = Passing(sampler), Passing(None)
    found = median(with_.ns(times) - without.ns(times) for _ in range(rounds))
    assert sampler.taken == 0
    assert sampler.spared == times * rounds
    sampler.close()
    os.close(reading)
    return found


def arm(way: str, url: str, seconds: int, load: Sequence[str]) -> Cost:
    if way == WITH:
        return cost(url, seconds, *load)
    with ExitStack() as stack:
        if way == STAND_IN:
            stand_in = subprocess.Popen([sys.executable, "-c", CHECKER])
            stack.callback(stand_in.wait)
            stack.callback(stand_in.kill)
        return cost(url, seconds, *load, "--no-integrity")


def rounds_of(load: Sequence[str], url: str, rounds: int, seconds: int) -> None:
    """Prints each round, the three ways in an order that turns, and what came of all."""
    ways = (WITHOUT, WITH, STAND_IN)
    found: dict[str, list[Cost]] = {way: [] for way in ways}
    for number in range(rounds):
        for way in ways[number % 3 :] + ways[: number % 3]:
            found[way].append(arm(way, url, seconds, load))
        last = {way: f"{costs[-1].cpu_ns / 1e3:.2f} µs {way}" for way, costs in found.items()}
        print(f"{', '.join(last.values())} ({found[WITH][-1].sampled} compared)", flush=True)
    passing, request = passing_ns(), median(one.cpu_ns for one in found[WITHOUT])
    handing = median(one.handing for one in found[WITH])
    said = f"{passing:.0f} ns of a request's {request / 1e3:.2f} µs to let one pass, {passing / request:.2%}"
    together = f"together {passing / request + handing:.2%} (asked: at most 3 %)"
    print(f"{' '.join(load)}: {said}; {handing:.2%} to hand on; {together}")
    for mine, base in ((WITH, WITHOUT), (STAND_IN, WITHOUT), (WITH, STAND_IN)):
        ratios = [one.cpu_ns / other.cpu_ns for one, other in zip(found[mine], found[base], strict=True)]
        in_all = f"median {median(ratios):.3f}, {min(ratios):.2f} to {max(ratios):.2f}, of {rounds} rounds"
        print(f"{' '.join(load)}: CPU per request {mine} / {base}: {in_all}", flush=True)


def main(arguments: Sequence[str]) -> None:
    rounds, seconds = [int(given) for given in (*arguments, *("7", "4")[len(arguments) :])]
    server = subprocess.Popen(
        clipload("serve", "--engine", "null", "--port", "0", "--cores", "1"), stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    try:
        found = _LISTENING.search(server.stdout.readline())
        assert found is not None
        for load in LOADS:
            rounds_of(load, found[1], rounds, seconds)
    finally:
        server.terminate()
        server.wait(10)


if __name__ == "__main__":
    main(sys.argv[1:])
