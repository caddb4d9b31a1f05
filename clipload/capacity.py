"""What the generator itself can do with a Run's payload, and how much of that the Run used.

A Calibration of that shape says it, where there is one among the Run's facts. Else it is reckoned from the Run's own CPU: the
busiest worker's core, filled. A lightly loaded worker pays more for each request (it wakes for every one), so that is an
understatement, and it is called reckoned wherever it is shown. A pure function of the Run.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from clipload.run import Run
from clipload.tally import ERROR

Limit = Literal["worker", "engine", "others"]


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """A Plan's payload against the null engine: closed loop, then a light open one. Times in ns, shares from 0 to 1.

    `requests_per_s` of the closed loop is what the generator can do when `limit` is the *worker* (no core left); when that was
    the null *engine*, or *others* on the worker's core, it can do at least so much. `busy`: share of its core in which a worker
    ran or wanted to, `starved`: in which it only wanted to; `cpu_ns`: for each request. The light figures are latencies: what
    client, wire and null engine add together.
    """

    taken_s: float  # wall clock
    in_flight: int
    requests_per_s: float
    limit: Limit
    busy: float
    starved: float
    cpu_ns: float
    light_per_s: float
    light_requests: int
    light_p50_ns: int
    light_p99_ns: int
    light_p50_bounds_ns: tuple[float, float | None] | None = None  # 95 % interval; None: unbounded, or not known
    light_p99_bounds_ns: tuple[float, float | None] | None = None

    @property
    def at_least(self) -> bool:
        return self.limit != "worker"


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """`requests_per_s` is the generator's; `used` the share of it in the measured phase, `busiest` in its busiest second."""

    requests_per_s: float
    used: float
    busiest: float
    basis: Literal["calibration", "own cpu"]
    at_least: bool
    taken_s: float | None  # when it was calibrated


def calibration_of(run: Run) -> Calibration | None:
    """The one that was known when the Run began."""
    found = run.facts.get("calibration")
    return None if found is None else msgspec.convert(found, Calibration)


def capacity(run: Run) -> Capacity | None:
    """None when there is neither a Calibration nor a whole second of the measured phase in which something was done."""
    per_second = _per_second(run)
    mean = sum(per_second) / len(per_second) if per_second else run.requests_per_s
    busiest = max(per_second, default=mean)
    known = calibration_of(run)
    if known is not None:
        most, at_least, taken_s = known.requests_per_s, known.at_least, known.taken_s
        return _capacity(most, mean, busiest, "calibration", at_least=at_least, taken_s=taken_s)
    loads = [run.load(number) for number in run.workers]
    share = max(load.cpu_ns / (load.seconds * 1e9) if load.seconds else 0.0 for load in loads)
    if not share or not mean:
        return None
    return _capacity(mean / share, mean, busiest, "own cpu", at_least=True, taken_s=None)


def _capacity(
    most: float, mean: float, busiest: float, basis: Literal["calibration", "own cpu"], *, at_least: bool, taken_s: float | None
) -> Capacity:
    return Capacity(
        requests_per_s=most, used=mean / most, busiest=busiest / most, basis=basis, at_least=at_least, taken_s=taken_s
    )


def _per_second(run: Run) -> list[int]:
    """Requests that ended, in whatever way but unsent, in each whole second of the measured phase."""
    ended = {second.index: sum(_ended(part.counts) for part in second.of()) for second in run.seconds}
    return [ended.get(i, 0) for i in run.whole_seconds]


def _ended(counts: dict[str, int]) -> int:
    return sum(n for name, n in counts.items() if name in ("ok", "timeout") or name.startswith(ERROR))
