"""Objectives judged on the intervals of a Run: met, missed, or inconclusive with what it would take to know.

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
from clipload.estimate import FEWEST, Estimate, quantile
from clipload.figures import objectives
from clipload.judgement import Judgement, judge
from clipload.run import Run
from clipload.slo import Objective, Subject

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


def _judged(run: Run, objective: Objective, *, limited: bool) -> Judged:
    estimate = run.figures.of(objective.subject)
    if estimate is None:
        return Judged(str(objective), "inconclusive", f"{objective} is undecided: nothing was measured", None)
    estimate, among = _rightly(run, objective.subject, estimate)
    judgement = judge(estimate, objective.relation, objective.limit)
    figures, drift = f"{estimate.said} ({estimate.span}){among}", run.figures.drift
    but = ""
    growing = objective.subject.percent is not None and drift is not None and drift.drifting
    if judgement != "missed" and growing:
        but = " so far, but the queue grew throughout, and a longer run would be slower"
    elif judgement == "missed" and limited:
        but = ", but the client was the limit: the server does at least this much"
    elif judgement == "inconclusive":
        but = _lacking(run, objective, estimate)
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
    return replace(estimate, value=value, low=low, high=max(top.high, value), sufficient=estimate.sufficient and top.sufficient)


def _lacking(run: Run, objective: Objective, estimate: Estimate) -> str:
    """What a decision would take. Too few seconds show no dependence: then as many as independent requests would need."""
    if estimate.sufficient or not objective.subject.percent:
        return f"; {more(run, factor(estimate, objective.limit))}"
    if not estimate.effective:
        least = FEWEST / (min(objective.subject.q, 1 - objective.subject.q) * max(1, run.measure["scheduled"]))
        return f", from too short a time; {more(run, least, 'at least')}"
    few = f"{estimate.effective:.1f}" if estimate.effective >= 0.1 else "hardly any"
    return f", from {few} of the {FEWEST} independent requests that it takes; {more(run, factor(estimate, objective.limit))}"


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
