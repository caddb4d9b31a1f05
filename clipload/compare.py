"""Two loads against each other: what changed, by how much, and how surely. Pure.

Laws: a figure is called *worse* or *better* only when the whole interval of its change lies beyond the limit, *unchanged*
only when it lies within; compared with itself nothing is worse or better. The latency of a closed loop is never set beside
that of an open one.

A change is a ratio, its interval that of the two figures' logarithms taken together:

    ln r ± √((ln b − ln b⁻)² + (ln a⁺ − ln a)²)        below; above likewise with the other two bounds

Source: MOVER, Zou and Donner, Statistics in Medicine 27, 2008. Of errors it is the difference of the shares, and any certain
increase is worse: a limit on a share that ought to be 0 says nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from clipload.errors import EXIT_INCONCLUSIVE, EXIT_MISSED, EXIT_OK, EXIT_UNSOUND, CliploadError
from clipload.estimate import Estimate
from clipload.plan import Plan, flag_of
from clipload.run import Run
from clipload.spread import estimates_of
from clipload.verdict import counts, judge

LIMIT = 0.05
MOST = 700.0  # ln of a ratio, beyond which a double has none
_INDIFFERENT = {
    "name",
    "seed",
    "cores",
    "share_cores",
    "use_taskset",
    "arena_limit",
    "image_threads",
    "slo",
}  # do not change the load

Outcome = Literal["better", "unchanged", "worse", "inconclusive"]
Basis = Literal["repeats", "within one run", "pairs"]


class CompareError(CliploadError):
    """Two things that cannot be set beside each other."""


@dataclass(frozen=True, slots=True)
class Change:
    """From `before` to `after`: relative (0.1: 10 % more), of errors the difference of the shares. `outcome` by `limit`."""

    figure: str
    before: Estimate
    after: Estimate
    value: float
    low: float
    high: float
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Comparison:
    """`basis` of the intervals of before and after. `differing`: the Plan's fields in which they differ. `unsound`: why no
    statement is made. `noise`, of pairs: how far apart two runs of one side lie, relative (of errors the difference)."""

    changes: tuple[Change, ...]
    limit: float
    runs: tuple[int, int]
    basis: tuple[Basis, Basis]
    differing: tuple[str, ...]
    open_loop: bool
    notes: tuple[str, ...] = ()
    unsound: str = ""
    noise: Mapping[str, float] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """As in DESIGN's table: a regression is a missed objective; what can be neither seen nor excluded is inconclusive."""
        outcomes = {change.outcome for change in self.changes}
        if self.unsound:
            return EXIT_UNSOUND
        return EXIT_MISSED if "worse" in outcomes else EXIT_INCONCLUSIVE if "inconclusive" in outcomes else EXIT_OK


def compare(before: Sequence[Run], after: Sequence[Run], limit: float = LIMIT) -> Comparison:
    """Each side: one Run, or repeats of one load, of which those that say nothing are left out.

    CompareError when latencies of both loops would stand side by side.
    """
    for name, side in (("the first", before), ("the second", after)):
        check_repeats(name, side)
    loops = {run.plan.open_loop for run in (*before, *after)}
    if len(loops) > 1:
        what = "one is a closed loop and one an open loop: their latencies mean different things"
        raise CompareError(what, remedy="compare runs of one kind: a closed loop stops asking when the target is slow")
    notes = [*_left_out("before", before), *_left_out("after", after)]
    before, after = _counted(before), _counted(after)
    first, second = estimates_of(before), estimates_of(after)
    changes = [_change(figure, first[figure], second[figure], limit) for figure in first if figure in second]
    return Comparison(
        tuple(changes),
        limit,
        (len(before), len(after)),
        (_basis(before), _basis(after)),
        unlike([before[0].plan, after[0].plan]),
        loops == {True},
        (*notes, *_notes(before, after)),
        _unsound(before, after),
    )


def unlike(plans: Sequence[Plan]) -> tuple[str, ...]:
    """The fields in which Plans ask for different loads, in the Plan's order."""
    first = plans[0].to_dict()
    others = [plan.to_dict() for plan in plans[1:]]
    names = [spec.name for spec in fields(Plan) if spec.name not in _INDIFFERENT]
    return tuple(name for name in names if any(other.get(name) != first.get(name) for other in others))


def check_repeats(name: str, runs: Sequence[Run]) -> None:
    """CompareError unless they are runs of one load."""
    if not runs:
        raise CompareError(f"{name} has no runs", remedy="name a run directory, or a folder of them")
    differing = unlike([run.plan for run in runs])
    if differing:
        flags = ", ".join(map(flag_of, differing))
        raise CompareError(
            f"{name} is a folder of runs of different loads ({flags})", remedy="name one of them, or repeats of one"
        )


def _counted(runs: Sequence[Run]) -> Sequence[Run]:
    """Those that count, as long as there are any."""
    return [run for run in runs if counts(run)] or runs


def _left_out(name: str, runs: Sequence[Run]) -> list[str]:
    out = len(runs) - len(_counted(runs))
    return [f"{name}: {out} of {len(runs)} left out, unsound or cut off"] if out else []


def _basis(runs: Sequence[Run]) -> Basis:
    return "repeats" if len(runs) > 1 else "within one run"


def _notes(before: Sequence[Run], after: Sequence[Run]) -> list[str]:
    notes = []
    for name, runs in (("before", before), ("after", after)):
        early = [run.ended for run in runs if run.ended != "complete"]
        if early:
            notes.append(f"{name}: {len(early)} of {len(runs)} ended early ({', '.join(sorted(set(early)))})")
        degraded = sum(judge(run).generator == "degraded" for run in runs)
        if degraded:
            notes.append(f"{name}: the generator of {degraded} of {len(runs)} was degraded")
    return notes


def _unsound(before: Sequence[Run], after: Sequence[Run]) -> str:
    for name, runs in (("before", before), ("after", after)):
        for run in runs:
            verdict = judge(run)
            if verdict.generator == "unsound":
                fatal = next(f for f in verdict.findings if f.about == "generator" and f.weight == "fatal")
                return f"{name}: {fatal.sentence}"
    return ""


# how much it changed


def _change(figure: str, before: Estimate, after: Estimate, limit: float) -> Change:
    a, b = _believed(before), _believed(after)
    value, low, high = _difference(a, b) if figure == "errors" else _ratio(a, b)
    bad = (-high, -low) if figure == "throughput" else (low, high)  # by how much it is the worse, at least and at most
    return Change(
        figure, before, after, value, low, high, outcome_of(bad, 0.0 if figure == "errors" else limit, figure == "errors")
    )


def _believed(estimate: Estimate) -> Estimate:
    """Of an estimate that rests on too little only the lower bound is believed."""
    return estimate if estimate.sufficient else replace(estimate, high=math.inf)


def outcome_of(bad: tuple[float, float], limit: float, absent_is_unchanged: bool) -> Outcome:
    """`bad`: by how much it is the worse, at least and at most."""
    if bad[0] > limit:
        return "worse"
    if bad[1] < -limit:
        return "better"
    return "unchanged" if absent_is_unchanged or (bad[0] >= -limit and bad[1] <= limit) else "inconclusive"


def _difference(a: Estimate, b: Estimate) -> tuple[float, float, float]:
    value = b.value - a.value
    return value, value - math.hypot(b.value - b.low, a.high - a.value), value + math.hypot(b.high - b.value, a.value - a.low)


def _ratio(a: Estimate, b: Estimate) -> tuple[float, float, float]:
    """(value, low, high) − 1 of b/a; where a figure is 0 or infinite, only the farthest apart that the bounds allow."""
    if not all(0 < one.value < math.inf for one in (a, b)):
        value = _over(b.value, a.value)
        return value - 1, min(value, _over(b.low, a.high)) - 1, max(value, _over(b.high, a.low)) - 1
    middle = math.log(b.value / a.value)
    down = math.hypot(_log(b.value, b.low), _log(a.high, a.value))
    up = math.hypot(_log(b.high, b.value), _log(a.value, a.low))
    return math.expm1(middle), math.expm1(middle - down), math.expm1(middle + up) if middle + up < MOST else math.inf


def _log(above: float, below: float) -> float:
    return math.log(above / below) if below > 0 and math.isfinite(above) else math.inf


def _over(above: float, below: float) -> float:
    """A quotient in [0, ∞]; what is as infinite, or as much nothing, as the other is its equal."""
    if above == below:
        return 1.0
    return above / below if 0 < below < math.inf else 0.0 if math.isinf(below) else math.inf


def document(comparison: Comparison) -> dict[str, Any]:
    """For programs: ns, 1/s, shares; None where nothing bounds a figure."""
    return {
        "limit": comparison.limit,
        "exit_code": comparison.exit_code,
        "unsound": comparison.unsound or None,
        "runs": list(comparison.runs),
        "basis": list(comparison.basis),
        "differing": list(comparison.differing),
        "notes": list(comparison.notes),
        "noise": {name: _finite(value) for name, value in comparison.noise.items()},
        "changes": {
            change.figure: {
                "outcome": None if comparison.unsound else change.outcome,
                **{name: _finite(getattr(change, name)) for name in ("value", "low", "high")},
                "before": _estimate(change.before),
                "after": _estimate(change.after),
            }
            for change in comparison.changes
        },
    }


def _estimate(estimate: Estimate) -> dict[str, Any]:
    bounds = {name: _finite(getattr(estimate, name)) for name in ("value", "low", "high")}
    return bounds | {"sufficient": estimate.sufficient}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
