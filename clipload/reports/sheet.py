"""CSV: one row for each Run. Rates in 1/s, times in ms; empty where there is no figure.

Beside each percentile the bounds of its interval, `inf` where nothing bounds it, or where it rests on too few requests. Of the
vectors: replies `compared`, those that were `wrong`, their share (of 1) with its bounds, and a column for each class of wrong;
empty where none were compared.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from typing import Any

from clipload.agreement import agreement_in
from clipload.archive import PERCENTILES
from clipload.campaign import Point
from clipload.figures import Quantiles
from clipload.likeness import CLASSES
from clipload.reports.points import flaw, offered
from clipload.run import Run
from clipload.spread import QUANTILES, estimates
from clipload.verdict import judge

_BOUNDS = ("low", "high")
_SHARE = ("wrong_share", *(f"wrong_share_{bound}" for bound in _BOUNDS))
_INTEGRITY = ("compared", "wrong", *_SHARE, *(f"wrong_class_{name}" for name in CLASSES))


def sheet(runs: Sequence[Run], names: Sequence[str]) -> str:
    """`names`: what the first column holds."""
    return _written([{"run": name, **_row(run)} for name, run in zip(names, runs)])


def sheet_of_points(points: Sequence[Point]) -> str:
    """One row for each load of a campaign: what was asked for, what became of it, and the row of its Run if it has one."""
    names = list(dict.fromkeys(name for point in points for name in point.ask.values))
    rows = []
    for point in points:
        asked = {f"asked_{name}": point.ask.values.get(name, "") for name in names}
        told = {"purpose": point.ask.why, **asked, "fate": point.told.fate, "sentence": point.told.sentence}
        run = "" if point.directory is None else point.directory.name
        rows.append({"run": run, **told, **({} if point.run is None else _row(point.run))})
    return _written(rows)


def _written(rows: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, max(rows, key=len, default={}), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _row(run: Run) -> dict[str, Any]:
    plan, tally, figures = run.plan, run.measure, estimates(run)
    row: dict[str, Any] = {
        "loop": "open" if plan.open_loop else "closed",
        "concurrency": plan.concurrency,
        "rate": plan.rate,
        "batch_size": plan.batch_size,
        "workers": plan.workers,
        "mode": plan.mode,
        "measured_s": f"{run.measured_ns / 1e9:.3f}",
        "offered_requests_per_s": f"{offered(run):.3f}",
        "requests_per_s": f"{run.requests_per_s:.3f}",
        "samples_per_s": f"{run.throughput:.3f}",
        **{f"samples_per_s_{bound}": _finite(getattr(figures["throughput"], bound), 1.0) for bound in _BOUNDS},
    }
    for histogram in ("latency", "service"):
        found = tally.histogram(histogram)
        row |= _percentiles(histogram, run.figures.quantiles.get(histogram, {}), PERCENTILES)
        row[f"{histogram}_max_ms"] = _finite(found.max, 1e6) if found.total else ""
    row |= _percentiles("all", run.figures.with_failures.get("latency", {}), QUANTILES)  # those that were not ok infinite
    row |= {name: tally[name] for name in ("scheduled", "ok", "timeout", "censored", "unsent", "lost")}
    row |= {"errors": sum(tally.errors.values()), "ended": run.ended, "generator": judge(run).generator, "flaw": flaw(run)}
    return row | _integrity(run)


def _integrity(run: Run) -> dict[str, Any]:
    found = agreement_in(run.facts)
    share = None if found is None else found.share
    if found is None or share is None:
        return dict.fromkeys(_INTEGRITY, "")
    bounds = (share.value, share.low, share.high)
    classes = (found.classes.get(name, 0) for name in CLASSES)
    return dict(zip(_INTEGRITY, (found.sampled, found.wrong, *(f"{each:.6f}" for each in bounds), *classes), strict=True))


def _percentiles(what: str, found: Quantiles, labels: Iterable[str]) -> dict[str, str]:
    """Value and bounds of each. Grey cannot be told here: of one that rests on too little nothing is said to bound it above."""
    cells: dict[str, str] = {}
    for label in labels:
        one = found.get(label)
        ns = None if one is None else (one.value, one.low, one.high if one.sufficient else math.inf)
        names = (f"{what}_{label}_ms{end}" for end in ("", "_low", "_high"))
        cells |= dict.fromkeys(names, "") if ns is None else {name: _finite(each, 1e6) for name, each in zip(names, ns)}
    return cells


def _finite(value: float, scale: float) -> str:
    return f"{value / scale:.3f}" if math.isfinite(value) else "inf"
