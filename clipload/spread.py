"""The figures of one Run, or of repeats of one load, with the interval that their spread gives: over seconds, or over runs.

Latencies are of all measured requests, those that were not ok infinite.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from clipload.agreement import agreement_in
from clipload.estimate import Estimate, Repeats, repeats
from clipload.run import Run

ERRORS, WRONG = "errors", "wrong"
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


def estimates_of(runs: Sequence[Run]) -> dict[str, Estimate]:
    """Each figure that all Runs have: of one Run from its own seconds, of several the median and the interval over them."""
    if len(runs) == 1:
        return estimates(runs[0])
    return {figure: found.estimate for figure, found in over_runs(runs).items()}


def over(each: Sequence[Estimate]) -> Estimate:
    """One figure of one Run, or of several over them."""
    return each[0] if len(each) == 1 else repeats(each).estimate


def over_runs(runs: Sequence[Run], labels: Iterable[str] = QUANTILES) -> dict[str, Repeats]:
    """Each figure that all Runs have, over them; `labels`: which percentiles. None when there is no Run."""
    found = [estimates(run, labels) for run in runs]
    shared = [figure for figure in (found[0] if found else ()) if all(figure in each for each in found)]
    return {figure: repeats([each[figure] for each in found]) for figure in shared}


def estimates(run: Run, labels: Iterable[str] = QUANTILES) -> dict[str, Estimate]:
    """One Run's figures: `throughput` in samples/s, latencies in ns, `errors` as the share of requests that were not ok,
    `wrong` as that of the sampled replies whose vectors were wrong, where any were sampled."""
    found, latency = {"throughput": run.figures.throughput}, run.figures.with_failures.get("latency", {})
    found |= {label: latency[label] for label in labels if label in latency}
    agreement = agreement_in(run.facts)
    shares = {ERRORS: run.figures.errors, WRONG: None if agreement is None else agreement.share}
    return found | {figure: share for figure, share in shares.items() if share is not None}
