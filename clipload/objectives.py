"""Objectives judged on the intervals of a Run, or of repeats of one: met, missed, or inconclusive with what it would take.

Laws: what is met or missed stays so for any narrower interval on the same side; while the queue grows no time is met, since a
longer run would be slower; a closed loop that was limited by its client misses nothing: the target does at least this much.
A reply with a wrong vector is not ok (and infinitely slow), so where a sample found any their share counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from clipload.agreement import agreement_in, not_right, rightly
from clipload.certainty import estimate_document
from clipload.estimate import FEWEST, FEWEST_RUNS, ROOF, Estimate, Repeats, quantile, repeats
from clipload.figures import objectives
from clipload.judgement import Judgement, judge
from clipload.run import Run
from clipload.slo import Objective, Subject
from clipload.units import format_ns

Overall = Literal["met", "missed", "inconclusive", "none"]
_TOO_MANY = 1e4  # times the run: who needs so much stands at the limit itself


@dataclass(frozen=True, slots=True)
class Judged:
    """One objective and what became of it. `estimate` is None when nothing was measured."""

    objective: str
    judgement: Judgement
    sentence: str
    estimate: Estimate | None


def judged_document(judged: Judged) -> dict[str, Any]:
    estimate = None if judged.estimate is None else estimate_document(judged.estimate)
    return {
        "objective": judged.objective,
        "judgement": judged.judgement,
        "sentence": judged.sentence,
        "estimate": estimate,
    }


def overall(judged: Sequence[Judged]) -> Overall:
    """One that is missed decides; then one that is not known."""
    found = {one.judgement for one in judged}
    for judgement in ("missed", "inconclusive", "met"):
        if judgement in found:
            return judgement
    return "none"


def judge_objectives(run: Run, *, limited: bool) -> tuple[Judged, ...]:
    """Each of the Plan's. `limited`: a closed loop whose worker had no core left."""
    return tuple(_judged(run, objective, limited=limited) for objective in objectives(run.plan))


def judge_over_runs(runs: Sequence[Run], *, limited: bool) -> tuple[Judged, ...]:
    """Each of the Plan's, on the median over repeats of one load and the interval over them. None when there is no run.

    `limited`: in one of them a worker had no core left.
    """
    return tuple(_judged_over(runs, one, limited=limited) for one in objectives(runs[0].plan)) if runs else ()


def _judged(run: Run, objective: Objective, *, limited: bool) -> Judged:
    estimate = run.figures.of(objective.subject)
    if estimate is None:
        return Judged(str(objective), "inconclusive", f"{objective} is undecided: nothing was measured", None)
    estimate, among = _rightly(run, objective.subject, estimate)
    judgement = judge(estimate, objective.relation, objective.limit)
    but = _proviso(objective, judgement, "throughout" if _grew(run) else "", limited=limited)
    if not but and judgement == "inconclusive":
        but = _lacking(run, objective, estimate)
    figures = f"{estimate.said} ({estimate.span}){among}"
    if judgement == "met" and judge(replace(estimate, roof=math.inf), objective.relation, objective.limit) != "met":
        figures += f", and none of {run.measure['scheduled']} requests took longer than {format_ns(estimate.roof / ROOF)}"
    return _stated(objective, judgement, estimate, figures, but)


def _judged_over(runs: Sequence[Run], objective: Objective, *, limited: bool) -> Judged:
    """A queue that grew in half of the runs grew in the median one."""
    known = [one for one in (run.figures.of(objective.subject) for run in runs) if one is not None]
    if len(known) < len(runs):
        lack = f"nothing was measured in {len(runs) - len(known)} of {len(runs)} runs"
        return Judged(str(objective), "inconclusive", f"{objective} is undecided: {lack}", None)
    known = [_rightly(run, objective.subject, one)[0] for run, one in zip(runs, known, strict=True)]
    found, grew = repeats(known), sum(map(_grew, runs))
    judgement = judge(found.estimate, objective.relation, objective.limit)
    where = f"in {grew} of {len(runs)} runs" if 2 * grew >= len(runs) else ""
    but = _proviso(objective, judgement, where, limited=limited)
    if not but and judgement == "inconclusive":
        but = _lacking_runs(found, known, objective.limit)
    over = f"over {len(runs)} run{'' if len(runs) == 1 else 's'}"
    return _stated(objective, judgement, found.estimate, f"{found.estimate.said} {over} ({found.estimate.span})", but)


def _grew(run: Run) -> bool:
    return run.figures.drift is not None and run.figures.drift.drifting


def _proviso(objective: Objective, judgement: Judgement, grew: str, *, limited: bool) -> str:
    """Why an interval does not decide. `grew`: where the queue did."""
    if judgement != "missed" and grew and objective.subject.percent is not None:
        return f" so far, but the queue grew {grew}, and a longer run would be slower"
    if judgement == "missed" and limited:
        return ", but the client was the limit: the server does at least this much"
    return ""


def _stated(objective: Objective, judgement: Judgement, estimate: Estimate, figures: str, but: str) -> Judged:
    if but:
        return Judged(str(objective), "inconclusive", f"{objective} is undecided: {figures}{but}", estimate)
    return Judged(str(objective), judgement, f"{objective} is {judgement}: {figures}", estimate)


def _rightly(run: Run, subject: Subject, estimate: Estimate) -> tuple[Estimate, str]:
    """The Estimate with wrong vectors counted as not ok, and how many there were; as it is when a sample showed none."""
    agreement = agreement_in(run.facts)
    wrong = agreement.share if agreement else None
    if agreement is None or wrong is None or not agreement.wrong:
        return estimate, ""
    among = f", {agreement.wrong} of {agreement.sampled} sampled replies being wrong"
    if subject.metric == "errors":
        return not_right(estimate, wrong), among
    if subject.percent is None:
        return rightly(estimate, wrong), among
    return _slower(run, subject, estimate, wrong), among


def _slower(run: Run, subject: Subject, estimate: Estimate, wrong: Estimate) -> Estimate:
    """The quantile when that share is infinitely slow: as likely among slow as among fast ones for the value, only among the
    slowest for the lower bound, among the fastest for the upper."""
    series, q = run.by_second.series(subject.metric, failures=True), subject.q

    def at(rank: float) -> Estimate:
        infinite = replace(estimate, value=math.inf, low=math.inf, high=math.inf)
        return quantile(series, rank) if rank < 1 else infinite

    value = at(q / (1 - wrong.value) if wrong.value < 1 else 1.0).value
    low = math.inf if wrong.low > 1 - q else min(estimate.low, value)
    top = at(q + wrong.high)
    enough = estimate.sufficient and top.sufficient
    return replace(estimate, value=value, low=low, high=max(top.high, value), sufficient=enough, roof=math.inf)


def _lacking(run: Run, objective: Objective, estimate: Estimate) -> str:
    """What a decision would take. Too few seconds show no dependence: then as many as independent requests would need."""
    if estimate.sufficient or not objective.subject.percent:
        return f"; {more(run, factor(estimate, objective.limit))}"
    if not estimate.effective:
        least = FEWEST / (min(objective.subject.q, 1 - objective.subject.q) * max(1, run.measure["scheduled"]))
        return f", from too short a time; {more(run, least, 'at least')}"
    few = f"{estimate.effective:.1f}" if estimate.effective >= 0.1 else "hardly any"
    return f", from {few} of the {FEWEST} independent requests that it takes; {more(run, factor(estimate, objective.limit))}"


def _lacking_runs(found: Repeats, runs: Sequence[Estimate], limit: float) -> str:
    """What a decision would take. More runs that are too short repeat their bias, more that agree repeat their answer."""
    short, n = sum(not run.sufficient for run in runs), len(runs)
    if short:
        return f", but {short} of {n} runs are too short by themselves; repeat longer ones"
    if n < FEWEST_RUNS:
        return f", from {n} of the {FEWEST_RUNS} runs that it takes"
    if not found.between:
        return "; the runs agree, so that longer ones are needed, and not more"
    times = factor(found.estimate, limit)
    if not 1 < times < _TOO_MANY:
        return "; nobody can say how many more runs are needed"
    return f"; about {_round(n * (times - 1))} more runs are needed"


def factor(estimate: Estimate, limit: float) -> float:
    """How many times the observations it would take for the interval to leave `limit` beside it; ∞ when none would do.

    An interval shrinks as 1/√n; that of an event never seen as 1/n. An insufficient one must first become sufficient.
    """
    enough = FEWEST / estimate.effective if estimate.effective else math.inf
    if not estimate.sufficient and estimate.quantity == "latency":
        return max(enough, 1.0)
    reach = estimate.high - estimate.value if estimate.value < limit else estimate.value - estimate.low
    apart = abs(limit - estimate.value)
    if not apart or not math.isfinite(apart):
        return math.inf
    return max(1.0, (reach / apart) ** (2 if estimate.value else 1))


def more(run: Run, times: float, how: str = "about") -> str:
    """`times` the run, as requests and time beyond it."""
    if not 1 < times < _TOO_MANY:
        return "nobody can say how much more is needed"
    seconds, requests = run.measured_ns / 1e9 * (times - 1), run.measure["scheduled"] * (times - 1)
    return f"{how} {_round(requests)} more requests ({_round(seconds)} s) are needed"


def _round(value: float) -> str:
    """Upwards to two digits: an estimate of an effort has no more."""
    if value <= 0:
        return "1"
    step = 10.0 ** max(0, math.floor(math.log10(value)) - 1)
    return f"{math.ceil(value / step) * step:.0f}"
