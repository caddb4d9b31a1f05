"""Pacing: one worker, an open loop at 1000/s against the null server.

    python -m benchmarks.open_loop [ROUNDS]

Asked for: p50 of the lag (dispatched − due) ≤ 0.15 ms; requests sent within 0.1 % of the schedule.
"""

from __future__ import annotations

import sys

from benchmarks.bench import clipload, machine, null_server

SECONDS, RATE = 10.0, 1000


def main(rounds: int = 3) -> None:
    print(machine())
    print(f"{'arrival':<10}{'due':>8}{'ok':>8}{'lag p50 µs':>12}{'p99 µs':>10}{'latency p50 µs':>16}{'p99 µs':>10}{'CPU %':>8}")
    with null_server() as url:
        for arrival in ["constant", "poisson"] * rounds:
            figure = clipload(url, SECONDS, "--mode", "text", "--rate", str(RATE), "--arrival", arrival, "--warmup", "1s")
            measure = figure.extra["phases"]["measure"]
            lag, latency = measure["histograms"]["lag"], measure["histograms"]["latency"]
            cells = (lag["p50"] / 1e3, lag["p99"] / 1e3, latency["p50"] / 1e3, latency["p99"] / 1e3)
            numbers = f"{cells[0]:>12.1f}{cells[1]:>10.1f}{cells[2]:>16.1f}{cells[3]:>10.1f}"
            counts = f"{measure['counts']['planned']:>8}{measure['counts']['ok']:>8}"
            print(f"{arrival:<10}{counts}{numbers}{100 * figure.cpu_s / SECONDS:>8.1f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
