"""Repeats: a load measured R times, with new processes and new connections each time, and the interval over those runs.

A single run's own interval does not see what one start decides for all of its requests; more requests do not show it, more
starts do. Run i has seed + i: arrivals, bodies and synthetic Samples of its own. The same schedule again would leave what the
arrivals do to a percentile out of the interval, and the spread between runs could not be held against the spread within them.
The target is not restarted: what its own start decides is in no interval here.

Each Run is saved as always, in one directory, beside `repeats.json`, which is written anew when a run has ended.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from clipload import archive
from clipload.campaign import Point, pursue
from clipload.errors import EXIT_INTERRUPTED, CliploadError, PlanError, worst
from clipload.estimate import Estimate, Repeats
from clipload.plan import Plan
from clipload.run import Run
from clipload.search import Grid
from clipload.spread import estimates, over_runs

SCHEMA, DOCUMENT = 1, "repeats.json"
QUANTILES = ("p50", "p90", "p99", "p99.9")  # that are shown
MOST = 1000


@dataclass(frozen=True, slots=True)
class Row:
    """One run in figures; `figures` are those of the names of `QUANTILES`, `throughput` (samples/s) and `errors`."""

    directory: str
    seed: int
    ended: str
    exit_code: int
    generator: str
    findings: tuple[str, ...]  # those that weigh
    requests_per_s: float
    figures: dict[str, Estimate]

    @property
    def counts(self) -> bool:
        """Whether it is one of the runs that intervals are over: nothing is claimed through an unsound generator."""
        return self.generator != "unsound" and self.exit_code != EXIT_INTERRUPTED


class Repetition:
    """R runs of a Plan in the making. `ended`: *complete*, *interrupted*, or the sentence of what went wrong."""

    def __init__(self, plan: Plan, times: int, out: Path) -> None:
        """Makes the directory. PlanError when it cannot be repeated, HostError when there can be no directory."""
        check(plan, times)
        self.plan, self.times, self.ended = plan, times, "under way"
        self.rows: list[Row] = []
        self.runs: list[Run] = []
        self.directory = archive.create_directory(out, plan.name, time.time())

    @property
    def exit_code(self) -> int:
        return worst([*(row.exit_code for row in self.rows), *([EXIT_INTERRUPTED] if self.ended == "interrupted" else [])])

    def pursue(self, launch: Callable[[Plan], tuple[Run, Path]]) -> None:
        """All runs. What is saved stays, whatever becomes of the others; without any, the directory goes.

        A signal ends it. CliploadError when a run cannot begin: the runs before it are in `rows` then.
        """
        search = Grid([{"seed": seed} for seed in seeds(self.plan, self.times)])
        try:
            for point in pursue(self.plan, search, launch):
                self.rows.append(_row(point))
                self.runs.append(point.run)
                self._save()
            self._end("complete" if search.done else "interrupted")
        except KeyboardInterrupt:
            self._end("interrupted")
            if not self.rows:
                raise
        except CliploadError as error:
            self._end(error.what)
            raise

    def _end(self, how: str) -> None:
        self.ended = how
        if self.rows:
            self._save()
        else:
            with contextlib.suppress(OSError):  # not empty: a worker's last words are in it
                self.directory.rmdir()

    def _save(self) -> None:
        text = msgspec.json.format(msgspec.json.encode(self.document()), indent=1).decode()
        archive.write_atomically(self.directory / DOCUMENT, text)

    def figures(self) -> dict[str, Repeats]:
        """Of each figure that every counted run has."""
        return over_runs([run for run, row in zip(self.runs, self.rows, strict=True) if row.counts], QUANTILES)

    def document(self) -> dict[str, Any]:
        """repeats.json: figures as in estimate.py (ns, samples/s, shares), null where they are infinite."""
        return {
            "schema": SCHEMA,
            "asked": self.times,
            "ended": self.ended,
            "exit_code": self.exit_code,
            "plan": self.plan.to_dict(),
            "runs": [_finite(msgspec.to_builtins(row)) | {"counts": row.counts} for row in self.rows],
            "figures": {name: _finite(msgspec.to_builtins(found)) for name, found in self.figures().items()},
        }


def check(plan: Plan, times: int) -> None:
    """PlanError when the Plan cannot be measured so often."""
    if not 1 <= times <= MOST:
        raise PlanError(f"{times} cannot be", flag="--repeats", remedy=f"use a whole number from 1 to {MOST}")
    if times > 1 and plan.data == "-":
        raise PlanError("stdin can be read but once", flag="--repeats", remedy="name a file with --data")
    plan.replace(seed=seeds(plan, times)[-1])


def seeds(plan: Plan, times: int) -> range:
    return range(plan.seed, plan.seed + times)


def _finite(value: Any) -> Any:
    """The same without infinite numbers, of which JSON has none."""
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _row(point: Point) -> Row:
    run, verdict = point.run, point.verdict
    return Row(
        directory=point.directory.name,
        seed=run.plan.seed,
        ended=run.ended,
        exit_code=verdict.exit_code,
        generator=verdict.generator,
        findings=tuple(finding.sentence for finding in verdict.findings if finding.weight != "note"),
        requests_per_s=run.requests_per_s,
        figures=estimates(run, QUANTILES),
    )
