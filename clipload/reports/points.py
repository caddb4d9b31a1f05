"""What several Runs are to each other: labels, the rate offered, why one does not count, and which of them make a series."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from clipload.compare import unlike
from clipload.estimate import Estimate
from clipload.plan import Plan, kind_of
from clipload.run import Run
from clipload.units import format_ns
from clipload.verdict import judge


def offered(run: Run) -> float:
    """Requests/s that were due in the measured phase; 0 when it did not come to one."""
    return run.measure["scheduled"] * 1e9 / run.measured_ns if run.measured_ns else 0.0


def flaw(run: Run) -> str:
    """Why a Run's figures are not the target's; empty when they are."""
    verdict = judge(run)
    if verdict.generator == "unsound":
        return next(f.sentence for f in verdict.findings if f.about == "generator" and f.weight == "fatal")
    if run.ended not in ("complete", "overload"):
        return f"ended early: {run.ended}"
    return "" if run.measure["ok"] else "no request came back ok"


def client_limited(run: Run) -> bool:
    """A closed loop whose worker had no core left: the target does at least this much."""
    return judge(run).limited


def labels(runs: Sequence[Run], names: Sequence[str]) -> list[str]:
    """A short name for each Run: that in which they differ, else its `name`; each once."""
    shown = {spec.name for spec in fields(Plan) if kind_of(spec).shown}  # the others may hold a secret
    differing = [name for name in unlike([run.plan for run in runs]) if name in shown][:3]
    found = [", ".join(f"{name.replace('_', ' ')} {_value(run.plan, name)}" for name in differing) for run in runs]
    if not differing or len(set(found)) < len(found):
        found = list(names)
    return [label if found.count(label) == 1 else f"{label} ({place + 1})" for place, label in enumerate(found)]


def ordered(found: Sequence[tuple[Path, Run]]) -> list[tuple[Path, Run]]:
    """By the numbers in which their Plans differ; else as given."""
    names = unlike([run.plan for _, run in found])
    plans = {path: run.plan.to_dict() for path, run in found}
    axes = [name for name in names if all(isinstance(plan.get(name, 0), int | float) for plan in plans.values())]
    return sorted(found, key=lambda pair: [plans[pair[0]].get(name, 0) for name in axes])


def _value(plan: Plan, name: str) -> str:
    value: Any = plan.to_dict().get(name)
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else f"{value}"


def series_of(runs: Sequence[Run], *axes: str) -> list[list[Run]]:
    """The Runs that differ in nothing but `axes`, together; only those with two values or more, in the order given."""
    groups: list[list[Run]] = []
    for run in runs:
        group = next((group for group in groups if not set(unlike([group[0].plan, run.plan])) - set(axes)), None)
        if group is None:
            groups.append([run])
        else:
            group.append(run)
    return [group for group in groups if unlike([run.plan for run in group])]


def between(estimate: Estimate) -> str:
    """A latency's interval; in brackets when it rests on too few requests to be believed above."""
    low, high = format_ns(estimate.low), format_ns(estimate.high)
    if math.isinf(estimate.low):
        return low
    if not math.isfinite(estimate.high):
        text = f"≥ {low}" if estimate.low else "not known"
    elif low.split()[-1] == high.split()[-1]:
        text = f"{low.split()[0]} … {high}"
    else:
        text = f"{low} … {high}"
    return text if estimate.sufficient else f"({text})"
