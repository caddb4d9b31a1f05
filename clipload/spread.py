"""The figures of one Run, or of repeats of one load, with the interval that their spread gives: over seconds, or over runs.

Latencies are of all measured requests, those that were not ok infinite.
"""

from __future__ import annotations

from collections.abc import Sequence

from clipload.estimate import Estimate, repeats
from clipload.run import Run

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
FIGURES = ("throughput", *QUANTILES, "errors")


def estimates_of(runs: Sequence[Run]) -> dict[str, Estimate]:
    """Each figure that all Runs have: of one Run from its own seconds, of several the median and the interval over them."""
    found = [estimates(run) for run in runs]
    shared = [figure for figure in FIGURES if all(figure in each for each in found)]
    return {
        figure: found[0][figure] if len(found) == 1 else repeats([each[figure] for each in found]).estimate for figure in shared
    }


def estimates(run: Run) -> dict[str, Estimate]:
    """One Run's figures: `throughput` in samples/s, latencies in ns, `errors` as the share of requests that were not ok."""
    found, latency = {"throughput": run.figures.throughput}, run.figures.with_failures.get("latency", {})
    found |= {label: latency[label] for label in QUANTILES if label in latency}
    return found | ({} if run.figures.errors is None else {"errors": run.figures.errors})
