"""Throughput against batch size, with the batch law where the points bear it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np

from clipload.reports.batches import batch_chart, batch_sentence
from clipload.reports.plots.palette import GREEN, values
from clipload.reports.points import client_limited, flaw
from clipload.run import Run
from clipload.scaling import BatchLaw, Refusal, Rung, fit_batch_law
from clipload.units import format_ns


def fit(runs: Sequence[Run]) -> BatchLaw | Refusal:
    """Samples/s by samples in flight: in a closed loop, requests in flight times the samples of each. An open loop's throughput
    is the one that was asked for, and says nothing of batches."""
    if any(run.plan.open_loop for run in runs):
        return Refusal(("an open loop's throughput is the one that was asked for",))
    return fit_batch_law(
        [Rung(_in_flight(run), run.throughput, flaw(run) or client_limited(run) * "client-limited") for run in runs]
    )


def _in_flight(run: Run) -> int:
    return (run.plan.concurrency or 0) * run.plan.batch_size


def batch_law_chart(runs: Sequence[Run]) -> alt.TopLevelMixin:
    """The picture of batch sizes; behind it the law, where it was tried."""
    law = fit(runs)
    if isinstance(law, Refusal):
        return batch_chart(runs)
    slots = runs[0].plan.concurrency or 1
    sizes = np.geomspace(law.tried[0] / slots, law.tried[1] / slots, 60).tolist()
    rows: list[dict[str, Any]] = [
        {"batch_size": float(f"{size:.4g}"), "throughput": float(f"{law.reading(size * slots).throughput:.5g}")}
        for size in sizes
    ]
    curve = alt.Chart(values(rows)).mark_line(color=GREEN, strokeWidth=2, strokeDash=[5, 3])
    shown = curve.encode(x=alt.X("batch_size:Q"), y=alt.Y("throughput:Q"))
    return batch_chart(runs, [shown])


def batch_law_sentence(runs: Sequence[Run]) -> str:
    """The best batch size, and the law with the intervals of its parameters, or why there is none."""
    law = fit(runs)
    if isinstance(law, Refusal):
        return f"{batch_sentence(runs)} Of the batch law: {law}."
    fixed, each = (_span(one.low, one.value, one.high) for one in (law.fixed_s, law.each_s))
    slots = runs[0].plan.concurrency or 1
    many = f" The law's batches are of the samples in flight, {slots} requests at a time." if slots > 1 else ""
    least, beyond = ("", "") if law.reached else ("at least ", ", and no plateau was seen")
    return (
        f"{batch_sentence(runs)} Dashed, the batch law: {fixed} a batch and {each} a sample, "
        f"so {least}{law.peak.throughput:.4g} samples/s with {law.most.value:g} samples in a batch{beyond}.{many}"
    )


def _span(low: float, value: float, high: float) -> str:
    top = format_ns(high * 1e9) if math.isfinite(high) else "∞"
    return f"{format_ns(value * 1e9)} ({format_ns(low * 1e9)} … {top})"
