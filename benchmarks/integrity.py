"""What integrity under load costs a worker: CPU per request with it and without, interleaved, against the null server.

    python -m benchmarks.integrity [ROUNDS [SECONDS]]

The worker is on core 0, the server on core 1. The null server answers at once, so a request costs as little as it can and the
share is the largest that there is.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

_LISTENING = re.compile(r"listening on (\S+) ")
FLAGS = ("--mode", "text", "--text-tokens", "5-9", "--concurrency", "16", "--warmup", "1s", "--no-preflight", "--cores", "0")


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
    integrity = document["facts"]["integrity"]
    sampled = sum(level["sampled"] for level in integrity["levels"])
    return Cost(spent / (document["requests_per_s"] * seconds), sampled, integrity["spent_ns"] / (seconds * 1e9))


def main(arguments: Sequence[str]) -> None:
    rounds, seconds = [int(given) for given in (*arguments, *("7", "4")[len(arguments) :])]
    server = subprocess.Popen(
        clipload("serve", "--engine", "null", "--port", "0", "--cores", "1"), stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    try:
        found = _LISTENING.search(server.stdout.readline())
        assert found is not None
        ratios, shares = [], []
        for number in range(rounds):
            first, second = ("", "--no-integrity") if number % 2 else ("--no-integrity", "")
            told = {flag: cost(found[1], seconds, *filter(None, [flag])) for flag in (first, second)}
            with_, without = told[""], told["--no-integrity"]
            ratios.append(with_.cpu_ns / without.cpu_ns)
            shares.append(with_.handing)
            figures = f"{with_.cpu_ns / 1e3:.2f} µs with ({with_.sampled} compared, {with_.handing:.2%} of the time)"
            print(f"{figures}, {without.cpu_ns / 1e3:.2f} µs without: {ratios[-1]:.3f}", flush=True)
        in_all = f"median {median(ratios):.3f} of {rounds} rounds; {median(shares):.2%} of the time for handing on"
        print(f"CPU per request with integrity / without: {in_all}")
    finally:
        server.terminate()
        server.wait(10)


if __name__ == "__main__":
    main(sys.argv[1:])
