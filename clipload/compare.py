"""Two loads against each other: what changed, by how much, and how surely (`changes`). Pure.

Laws: compared with itself nothing is worse or better. The latency of a closed loop is never set beside that of an open one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from clipload.agreement import Agreement, agreement_in
from clipload.changes import LIMIT, Change, change_of
from clipload.errors import EXIT_INCONCLUSIVE, EXIT_MISSED, EXIT_OK, EXIT_UNSOUND, CliploadError
from clipload.estimate import Estimate
from clipload.likeness import CLASSES
from clipload.plan import Plan, flag_of
from clipload.recurrence import Recurrence, recurrence
from clipload.run import Run
from clipload.spread import estimates_of, over
from clipload.verdict import counts, judge

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

Basis = Literal["repeats", "within one run", "pairs"]


class CompareError(CliploadError):
    """Two things that cannot be set beside each other."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """`basis` of the intervals of before and after. `differing`: the Plan's fields in which they differ. `unsound`: why no
    statement is made. `noise`, of pairs: how far apart two runs of one side lie, relative (of errors the difference).
    `recurrence`: whether the target remembers, where the sides differ in how often the same Samples recur."""

    changes: tuple[Change, ...]
    limit: float
    runs: tuple[int, int]
    basis: tuple[Basis, Basis]
    differing: tuple[str, ...]
    open_loop: bool
    notes: tuple[str, ...] = ()
    unsound: str = ""
    noise: Mapping[str, float] = field(default_factory=dict)
    recurrence: Recurrence | None = None

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
    differing, unsound = unlike([before[0].plan, after[0].plan]), _unsound(before, after)

    def changed(figure: str, a: Sequence[Estimate], b: Sequence[Estimate]) -> Change:
        return change_of(figure, over(a), over(b), limit)

    changes = [change_of(figure, first[figure], second[figure], limit) for figure in first if figure in second]
    return Comparison(
        tuple(changes),
        limit,
        (len(before), len(after)),
        (_basis(before), _basis(after)),
        differing,
        loops == {True},
        (*notes, *_notes(before, after), *_vectors(before, after)),
        unsound,
        recurrence=None if unsound else recurrence(before, after, differing, changed, limit),
    )


def unlike(plans: Sequence[Plan]) -> tuple[str, ...]:
    """The fields in which Plans ask for different loads, in the Plan's order. What --unique sets follows from the seed."""
    first = plans[0].to_dict()
    others = [plan.to_dict() for plan in plans[1:]]
    indifferent = _INDIFFERENT | ({"pool"} if all(plan.unique for plan in plans) else set())
    names = [spec.name for spec in fields(Plan) if spec.name not in indifferent]
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


def _vectors(before: Sequence[Run], after: Sequence[Run]) -> list[str]:
    """What the shares of wrong vectors rest on; nothing when neither side has any."""
    sides = {"before": _sampled(before), "after": _sampled(after)}
    return [f"{name}: {_compared(found)}" for name, found in sides.items()] if any(sides.values()) else []


def _sampled(runs: Sequence[Run]) -> list[Agreement]:
    found = [agreement_in(run.facts) for run in runs]
    return [one for one in found if one is not None and one.sampled]


def _compared(found: Sequence[Agreement]) -> str:
    if not found:
        return "no vectors were compared"
    classes = {name: sum(one.classes.get(name, 0) for one in found) for name in CLASSES}
    what = ", ".join(f"{count} × {name}" for name, count in classes.items() if count)
    wrong, sampled = sum(one.wrong for one in found), sum(one.sampled for one in found)
    return f"{wrong} of {sampled} sampled replies had wrong vectors" + (f" ({what})" if what else "")


def _unsound(before: Sequence[Run], after: Sequence[Run]) -> str:
    for name, runs in (("before", before), ("after", after)):
        for run in runs:
            verdict = judge(run)
            if verdict.generator == "unsound":
                fatal = next(f for f in verdict.findings if f.about == "generator" and f.weight == "fatal")
                return f"{name}: {fatal.sentence}"
    return ""


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
            change.figure: _change(change) | ({"outcome": None} if comparison.unsound else {}) for change in comparison.changes
        },
        "recurrence": None if comparison.recurrence is None else _recurrence(comparison.recurrence),
    }


def _change(change: Change) -> dict[str, Any]:
    return {
        "outcome": change.outcome,
        **{name: _finite(getattr(change, name)) for name in ("value", "low", "high")},
        "before": _estimate(change.before),
        "after": _estimate(change.after),
    }


def _recurrence(found: Recurrence) -> dict[str, Any]:
    """`repeats`: the side with fewer Samples. `changes` are from the other side to it, whatever the order of the two."""
    return {
        "shown": found.shown,
        "sentence": found.sentence,
        "remedy": found.remedy,
        "repeats": ("before", "after")[found.often],
        "samples": [each.samples for each in found.repetitions],
        "times": [each.times for each in found.repetitions],
        "changes": {
            change.figure: {
                name: value for name, value in _change(change).items() if name in ("outcome", "value", "low", "high")
            }
            | {"other": _estimate(change.before), "repeats": _estimate(change.after)}
            for change in found.changes
        },
    }


def _estimate(estimate: Estimate) -> dict[str, Any]:
    bounds = {name: _finite(getattr(estimate, name)) for name in ("value", "low", "high")}
    return bounds | {"sufficient": estimate.sufficient}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
