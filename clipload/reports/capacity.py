"""What the generator can do, for people: a line of a Run's summary, and the table of a calibration."""

from __future__ import annotations

import shlex
import time
from typing import Any

import msgspec

from clipload.capacity import Calibration, capacity
from clipload.run import Run
from clipload.shapes import Kept, Shape
from clipload.units import format_bytes, format_ns

DIM = 512  # of the null engine's vectors, unless it is told otherwise
_WHY = {
    "worker": "no core left",
    "engine": "the null engine was the limit",
    "others": "others had its core for {starved:.0f} % of the time, so repeat it when the machine is quiet",
}


def describe_capacity(run: Run, directory: str) -> str:
    """How much the generator can do and how much of it this run used, or how to find that out."""
    found = capacity(run)
    if found is None:
        return f"capacity    of the generator: not known; to measure it:\n            {how_to(run, directory)}"
    least, most = ("at least ", "at most ") if found.at_least else ("", "")
    share = f"this run used {most}{_percent(found.used)} of it, {_percent(found.busiest)} in its busiest second"
    if found.basis == "calibration":
        when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(found.taken_s))
        told = f"the generator can do {least}{found.requests_per_s:.0f} requests/s of this payload (calibrated {when})"
        return f"capacity    {told}:\n            {share}"
    told = f"the generator can do some {found.requests_per_s:.0f} requests/s of this payload (reckoned from this run's CPU)"
    return f"capacity    {told}:\n            {share}\n            to measure it: {how_to(run, directory)}"


def how_to(run: Run, directory: str) -> str:
    """The command that calibrates this Run's shape."""
    dim = run.facts.get("target", {}).get("dim", DIM)
    return f"clipload calibrate --config {shlex.quote(f'{directory}/plan.toml')}" + (f" --dim {dim}" if dim != DIM else "")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"


def calibration_table(kept: Kept, batch_size: int) -> str:
    shape, found = kept.shape, kept.calibration
    per_s = f"{found.requests_per_s:.0f} requests/s = {found.requests_per_s * batch_size:.0f} samples/s"
    why = _WHY[found.limit].format(starved=100 * found.starved)
    workers = f"{shape.workers} worker{'' if shape.workers == 1 else 's'}"
    adds = f"p50 {format_ns(found.light_p50_ns)} ({_within(found.light_p50_bounds_ns)}), "
    adds += f"p99 {format_ns(found.light_p99_ns)} ({_within(found.light_p99_bounds_ns)})"
    light = f"at {found.light_per_s:.0f} requests/s ({found.light_requests} of them): client, wire and null engine together"
    return "\n".join(
        [
            f"payload     {_payload(shape)}",
            f"ceiling     {'at least ' if found.at_least else ''}{per_s}: {workers}, {found.in_flight} in flight",
            f"            {100 * found.busy:.0f} % busy, {why}",
            f"cpu         {format_ns(found.cpu_ns)} a request",
            f"adds        {adds}",
            f"            {light}",
        ]
    )


def _within(bounds: tuple[float, float | None] | None) -> str:
    if bounds is None:
        return "interval unknown"
    low, high = bounds
    return f"≥ {format_ns(low)}" if high is None else f"{format_ns(low)}–{format_ns(high)}"


def _payload(shape: Shape) -> str:
    body = f"{shape.mode}, batch of {shape.batch_size}, bodies of {format_bytes(shape.body_bytes)}"
    shared = ", workers and supervisor on the same cores" if shape.shared else ""
    return f"{body}; {shape.api}, {shape.encoding_format} vectors of {shape.dim}; {shape.transport} over {shape.way}{shared}"


def calibration_document(kept: Kept, path: str) -> dict[str, Any]:
    """What `clipload calibrate --json` prints: the file that was kept, and where it is."""
    found: Calibration = kept.calibration
    document: dict[str, Any] = msgspec.to_builtins(kept)
    document["calibration"]["at_least"] = found.at_least
    return {"schema": 1, **document, "path": path}
