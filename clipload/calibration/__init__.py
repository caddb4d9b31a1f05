"""The calibration: a Plan's own payload against the null engine, which answers at once, so that the client is what is measured.

Two loads of a few seconds. A closed loop with every worker's core filled gives the requests/s that the generator can do, and
the CPU of each; a light open loop gives the latency that client, wire and engine add. Workers, transport, dialect, bodies and
length of the vectors are the Plan's; its rate, length, target, key, proxy and certificates are not. With images by URL the
engine fetches none of them.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import msgspec

from clipload import host
from clipload.calibration.engine import null_engines
from clipload.capacity import Calibration, Limit
from clipload.credentials import Credentials
from clipload.errors import HostError, PlanError
from clipload.estimate import Estimate
from clipload.folding import Folding
from clipload.frames import Interval
from clipload.measurement import measure
from clipload.plan import Plan
from clipload.run import Load, Run
from clipload.shapes import Kept, Shape, way_of
from clipload.units import Duration

IN_FLIGHT = 16  # for each worker: enough that replies wait for the worker, and not it for them
FILLED, DISTURBED = 0.9, 0.05  # share of its core: a worker that uses so much has none left; one that waits so long has rivals
LIGHT_SHARE, LIGHT_MOST = 0.05, 1000.0  # of what it can do, and requests/s
_FULL = {"warmup": Duration.seconds(1), "duration": Duration.seconds(2)}
_LIGHT = {"warmup": Duration.parse("500ms"), "duration": Duration.seconds(2)}
_PATIENCE = {"timeout": Duration.seconds(10), "grace": Duration.seconds(10)}
_SAME = ("api", "model", "encoding_format", "transport", "header", "seed")
_SAME_GROUPS = ("samples", "images", "machine")

Said = Callable[[str], None]


def calibrate(plan: Plan, dim: int, said: Said) -> Kept:
    """Some seven seconds; KeyboardInterrupt when a signal ends it. CliploadError when the loads cannot be, or go wrong."""
    if plan.data == "-":
        raise PlanError("stdin can be read but once, and is needed twice", flag="--data", remedy="name a file")
    placement = host.place(plan.workers, plan.cores, host.allowed_cores(), images=plan.image_transport == "url")
    cores = placement.supervisor[-plan.workers :]
    with null_engines(way_of(plan), cores, dim=dim, api=plan.api) as address:
        said(f"closed loop with {IN_FLIGHT * plan.workers} requests in flight, {_FULL['duration']} after {_FULL['warmup']}")
        at_ceiling = _payload_of(plan, concurrency=IN_FLIGHT * plan.workers, **address._asdict(), **_FULL, **_PATIENCE)
        full = _measured(at_ceiling, said)
        rate = max(1.0, min(LIGHT_MOST, LIGHT_SHARE * full.requests_per_s))
        said(f"open loop at {rate:.0f} requests/s, {_LIGHT['duration']} after {_LIGHT['warmup']}")
        light = _measured(at_ceiling.replace(concurrency=None, rate=rate, **_LIGHT), said)
    return Kept(shape=msgspec.convert(full.facts["shape"], Shape), calibration=_calibration(full, light, time.time()))


def _payload_of(plan: Plan, **load: Any) -> Plan:
    """The same bodies from the same workers under another load. A unique one becomes one that repeats."""
    same = [spec.name for spec in fields(plan) if spec.name in _SAME or spec.metadata["group"] in _SAME_GROUPS]
    alone = {"unique": False, "no_lookout": True, "no_integrity": True}
    return Plan(**{name: getattr(plan, name) for name in same} | load | alone)


def _measured(plan: Plan, said: Said) -> Run:
    with tempfile.TemporaryDirectory(prefix="clipload-") as folder:
        run, _ = measure(plan, Credentials(), Path(folder), _Quiet(said))
    if run.ended in ("interrupted", "aborted"):
        raise KeyboardInterrupt
    bad = run.measure.not_ok
    if run.ended != "complete" or bad or not run.requests_per_s:
        why = run.ended if run.ended != "complete" else f"{bad} of {run.measure['scheduled']} requests were not ok"
        raise HostError(f"the calibration went wrong: {why}", remedy="a smaller payload, or a machine with less to do")
    return run


def _calibration(full: Run, light: Run, now_s: float) -> Calibration:
    """The worker that was least busy says whether all were at their ceiling."""
    loads = [full.load(number) for number in full.workers]
    busy, starved = min(load.busy for load in loads), max(load.starved for load in loads)
    latency, known = light.measure.histogram("latency"), light.figures.quantiles["latency"]
    return Calibration(
        taken_s=now_s,
        in_flight=full.plan.concurrency or 0,
        requests_per_s=full.requests_per_s,
        limit=_limit(busy, starved),
        busy=busy,
        starved=starved,
        cpu_ns=_cpu_ns(full, loads),
        light_per_s=light.plan.rate or 0.0,
        light_requests=latency.total,
        light_p50_ns=latency.quantile(0.5),
        light_p99_ns=latency.quantile(0.99),
        light_p50_bounds_ns=_bounds(known["p50"]),
        light_p99_bounds_ns=_bounds(known["p99"]),
    )


def _bounds(estimate: Estimate) -> tuple[float, float | None]:
    """Of an insufficient one only the lower bound is believed."""
    return estimate.low, estimate.high if estimate.sufficient and estimate.bounded else None


def _limit(busy: float, starved: float) -> Limit:
    if starved > DISTURBED:
        return "others"
    return "worker" if busy > FILLED else "engine"


def _cpu_ns(full: Run, loads: list[Load]) -> float:
    """Of each request: all workers' CPU in the measured phase, which is whole seconds, by the requests done in it."""
    return sum(load.cpu_ns for load in loads) / (full.requests_per_s * full.measured_ns / 1e9)


class _Quiet:
    """A View that passes on sentences, and says nothing of seconds."""

    def __init__(self, said: Said) -> None:
        self.said = said

    def preparing(self, done: int, total: int) -> None: ...

    def interval(self, folding: Folding, interval: Interval) -> None: ...

    def close(self) -> None: ...
