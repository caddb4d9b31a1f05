"""Repeats: a load measured R times, with new processes and new connections each time, and the interval over those runs.

A single run's own interval does not see what one start decides for all of its requests; more requests do not show it, more
starts do. Run i has seed + i: arrivals, bodies and synthetic Samples of its own. The same schedule again would leave what the
arrivals do to a percentile out of the interval, and the spread between runs could not be held against the spread within them.
The target is not restarted: what its own start decides is in no interval here.

They are a Campaign whose search is a Grid over the seed. What is said of them is a function of its Points.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clipload.campaign import Campaign, known, resumable
from clipload.certainty import estimate_document
from clipload.errors import EXIT_INTERRUPTED, EXIT_TARGET, PlanError, worst
from clipload.estimate import Repeats
from clipload.plan import Plan
from clipload.run import Run
from clipload.search import Grid, cartesian
from clipload.spread import estimates, over_runs
from clipload.verdict import Verdict, counts, judge_repeats, verdict_document

QUANTILES = ("p50", "p90", "p99", "p99.9")  # that are shown
MOST = 1000


def check(plan: Plan, times: int) -> None:
    """PlanError when the Plan cannot be measured so often."""
    if not 1 <= times <= MOST:
        raise PlanError(f"{times} cannot be", flag="--repeats", remedy=f"use a whole number from 1 to {MOST}")
    if times > 1 and plan.data == "-":
        raise PlanError("stdin can be read but once", flag="--repeats", remedy="name a file with --data")
    plan.replace(seed=plan.seed + times - 1)


def repeats_of(plan: Plan, times: int, directory: Path) -> Campaign[Grid]:
    """`times` runs of a Plan, to be pursued. PlanError when it cannot be repeated."""
    check(plan, times)
    return of_record(plan.to_dict(), {"axes": {"seed": list(range(plan.seed, plan.seed + times))}}, directory)


def resumed(directory: Path, given: Sequence[str]) -> Campaign[Grid]:
    """Those of a directory, told what its Runs say. PlanError when the flags `given` would make others of them."""
    document = resumable(directory, "repeats", given)
    campaign = of_record(document.base, document.search, directory)
    campaign.recall(known(directory, document))
    return campaign


def of_record(base: dict[str, Any], search: dict[str, Any], directory: Path) -> Campaign[Grid]:
    return Campaign("repeats", base, Grid(cartesian(search["axes"])), search, directory)


def seeds(campaign: Campaign[Grid]) -> list[int]:
    return [int(ask.values["seed"]) for ask in campaign.search.points]


def runs_of(campaign: Campaign[Grid]) -> list[Run]:
    """Those that were told."""
    return [point.run for point in campaign.points if point.run is not None]


def counted(campaign: Campaign[Grid]) -> list[Run]:
    """Those that figures over runs are of."""
    return [run for run in runs_of(campaign) if counts(run)]


def figures(campaign: Campaign[Grid]) -> dict[str, Repeats]:
    """Each figure that every counted run has."""
    return over_runs(counted(campaign), QUANTILES)


def verdict(campaign: Campaign[Grid]) -> Verdict:
    """Over all runs. One that found no target says that it died; an interruption comes before that."""
    found = judge_repeats(runs_of(campaign))
    codes = [EXIT_TARGET for point in campaign.points if point.run is None]
    codes += [EXIT_INTERRUPTED] if campaign.ended == "interrupted" else []
    return Verdict(found.findings, worst([found.exit_code, *codes]), found.objectives if EXIT_TARGET not in codes else ())


def answer(campaign: Campaign[Grid]) -> dict[str, Any]:
    """The answer in campaign.json: figures as in estimate.py (ns, samples/s, shares), null where they are infinite."""
    return {
        "asked": len(campaign.search.points),
        "counted": len(counted(campaign)),
        "verdict": verdict_document(verdict(campaign)),
        "figures": {name: _document(found) for name, found in figures(campaign).items()},
        "runs": [_run(run) for run in runs_of(campaign)],
    }


def _run(run: Run) -> dict[str, Any]:
    found = {name: estimate_document(estimate) for name, estimate in estimates(run, QUANTILES).items()}
    return {"seed": run.plan.seed, "ended": run.ended, "counts": counts(run), "figures": found}


def _document(found: Repeats) -> dict[str, Any]:
    return {
        **estimate_document(found.estimate),
        "values": [_finite(value) for value in found.values],
        "between": _finite(found.between),
        "within": _finite(found.within),
    }


def _finite(value: float | None) -> float | None:
    """JSON has no word for ∞."""
    return value if value is not None and math.isfinite(value) else None
