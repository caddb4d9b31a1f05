"""What a Run knows of its figures, as a document: intervals, and whether there was a steady state to measure.

null is ∞ where a figure or a bound would stand, and "unknown" where a whole part would: too short, or no load to say it of.
"""

from __future__ import annotations

import math
from typing import Any

from clipload.estimate import LEVEL, Estimate
from clipload.figures import Figures, Quantiles, Warming
from clipload.steadiness import Drift, Little


def estimates_document(figures: Figures) -> dict[str, Any]:
    """Every figure of the measured phase with its interval, in ns, 1/s and shares.

    `objective`: latency and service with each request that was not ok as infinite. `histograms`: of what they hold.
    """
    return {
        "level": LEVEL,
        "requests_per_s": estimate_document(figures.requests),
        "throughput": estimate_document(figures.throughput),
        "errors": None if figures.errors is None else estimate_document(figures.errors),
        "objective": quantiles_document(figures.with_failures),
        "histograms": quantiles_document(figures.quantiles),
    }


def quantiles_document(found: dict[str, Quantiles]) -> dict[str, Any]:
    """By histogram and label."""
    return {name: {label: estimate_document(one) for label, one in each.items()} for name, each in found.items()}


def estimate_document(estimate: Estimate) -> dict[str, Any]:
    """`effective`: independent observations it rests on. Not `sufficient`: believe no more of it than `low` and `roof`."""
    return {
        "value": _finite(estimate.value),
        "low": _finite(estimate.low),
        "high": _finite(estimate.high),
        "vif": _finite(estimate.vif),
        "effective": estimate.effective,
        "sufficient": estimate.sufficient,
        "roof": _finite(estimate.roof),
    }


def _finite(figure: float | None) -> float | None:
    """JSON has no word for ∞."""
    return figure if figure is not None and math.isfinite(figure) else None


def steadiness_document(figures: Figures) -> dict[str, Any]:
    drift, warming, little = figures.drift, figures.warming, figures.little
    return {
        "drift": drift and _drift(drift),
        "warm_up": warming and _warming(warming),
        "little": little and _little(little),
    }


def _little(little: Little) -> dict[str, Any]:
    """Requests in flight as read and as expected, how far apart they may be, and whether they are no further."""
    return {"level": little.level, "expected": little.expected, "margin": little.margin, "holds": little.holds}


def _drift(drift: Drift) -> dict[str, Any]:
    """`growth` of the level in flight while `arrivals` came; `t` beyond `critical` is no chance."""
    t, critical = _finite(drift.t), drift.critical
    return {"growth": drift.growth, "arrivals": drift.arrivals, "t": t, "critical": critical, "drifting": drift.drifting}


def _warming(warming: Warming) -> dict[str, Any]:
    """`cut_s` seconds whose latency was `excess` above that of the rest."""
    found = warming.warm_up
    return {"cut_s": found.cut, "settled": found.settled, "excess": warming.excess, "falling": warming.falling}
