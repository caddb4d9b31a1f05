"""Runs whose latencies are those of a simulated queue: what the product would have kept of it, second by second."""

from __future__ import annotations

from typing import Any

import numpy as np

from clipload.frames import Interval
from clipload.plan import Plan
from clipload.run import Run
from clipload.seconds import Second, Seconds
from clipload.units import Duration
from tests.queues import Path
from tests.test_run import answers, interval, run_of


def intervals_of(path: Path, warmup_s: int, seconds: int, workers: int = 1) -> list[Interval]:
    """Frames of the requests that come within warm-up and measured phase, those of the drain in the second they end in.

    Request i is worker i mod n's; gauges are those of the queue, told by worker 0.
    """
    end = warmup_s + seconds
    due = path.arrivals < end
    arrivals, sojourns = path.arrivals[due], np.rint(path.sojourns[due] * 1e9).astype(np.int64)
    done = (arrivals + path.sojourns[due]).astype(int)
    came = arrivals.astype(int)
    ends = np.arange(1, end + 1)  # at the end of each second: who has come and not gone
    level = np.searchsorted(path.arrivals, ends) - np.searchsorted(np.sort(path.arrivals + path.sojourns), ends)
    number = np.arange(len(arrivals))
    frames, steady = [], [0] * workers
    for second in range(int(done.max()) + 1):
        for worker in range(workers):
            mine = number % workers == worker
            phases = {}
            for name, part in (("warmup", mine & (came < warmup_s)), ("measure", mine & (came >= warmup_s))):
                tally = answers(sojourns[part & (done == second)].tolist())
                tally.counts["scheduled"] = int((part & (came == second)).sum())
                phases[name] = tally
            if warmup_s <= second < end:
                steady[worker] += sum(tally["ok"] for tally in phases.values())
            in_flight = int(level[second]) if worker == 0 and second < end else 0
            frames.append(interval(worker, second, phases, in_flight=in_flight, steady_ok=[steady[worker]]))
    return frames


def plan_of(rate: float | None, seconds: int, **changes: Any) -> Plan:
    return Plan(**({"rate": rate, "duration": Duration.seconds(seconds)} | changes))


def seconds_of_path(path: Path, plan: Plan) -> Seconds:
    """The same without a Run: cheaper where only the series is asked."""
    warmup, seconds = int(plan.warmup) // 10**9, int(plan.duration or 0) // 10**9
    found: dict[int, Second] = {}
    for frame in intervals_of(path, warmup, seconds, plan.workers):
        found.setdefault(frame.index, Second(frame.index)).add(frame)
    return Seconds(list(found.values()), warmup * 10**9, (warmup + seconds) * 10**9)


def run_of_path(path: Path, plan: Plan) -> Run:
    """A complete Run of the plan's length."""
    warmup, seconds = int(plan.warmup) // 10**9, int(plan.duration or 0) // 10**9
    return run_of(plan, intervals_of(path, warmup, seconds, plan.workers), warmup + seconds)
