"""A search's Ask as a Plan, and a judged Run as what the search is told. Pure functions.

Law: what is told follows from the Ask, the Run and the time it took, so that a search is resumed from the Runs on disk.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from clipload.bottleneck import limit_of
from clipload.errors import EXIT_INTERRUPTED
from clipload.estimate import Estimate
from clipload.figures import objectives
from clipload.objectives import judge_objectives
from clipload.payload import network_limited
from clipload.plan import Plan, overlaid
from clipload.run import Run
from clipload.search import Ask, Told
from clipload.search.dialogue import Binding, Fate
from clipload.slo import Objective
from clipload.units import Duration
from clipload.verdict import Verdict

KEPT_UP = 0.98  # share of the offered rate, below which an open loop's target is behind
LEAN = 2.0  # effective observations in a tail, below which its estimate is not leant on
# What the user said of an open loop means nothing on the closed-loop ladder before a Find.
_OPEN_ONLY = ("arrival", "cv", "burst", "cooldown", "max_backlog", "max_connections")
_LATENESS = ("lag", "reading")  # rules of the generator's health by which latencies are longer than the target's
_BINDINGS: dict[str, Binding] = {"latency": "latency", "service": "latency", "errors": "errors", "throughput": "throughput"}


def plan_for(base: Mapping[str, Any], ask: Ask) -> Plan:
    """`base`: values of the Plan's fields, as typed. PlanError when the two contradict each other."""
    said: dict[str, Any] = dict(ask.values)
    if ask.seconds is not None:
        said["duration"] = Duration.seconds(ask.seconds)
    if ask.settle_s:
        said["warmup"] = Duration.seconds(ask.settle_s)
    if ask.backlog is not None:
        said["max_backlog"] = ask.backlog
    if ask.why == "ceiling":
        base = {name: value for name, value in base.items() if name not in _OPEN_ONLY}
    return Plan.from_dict(overlaid(base, said))


def interrupted(verdict: Verdict) -> bool:
    """Whether the Run says too little to be told."""
    return verdict.exit_code == EXIT_INTERRUPTED


def told(ask: Ask, run: Run, verdict: Verdict, seconds: float) -> Told:
    """`seconds`: all that the Ask took. Without an objective, a Run that can be believed is a pass."""
    fate, aim = _fate(ask, run, verdict), aimed(run.plan)
    estimate = None if aim is None else run.figures.of(aim.subject)
    return Told(
        ask,
        fate,
        achieved=run.requests_per_s,
        seconds=seconds,
        quantile=estimate,
        meets=_meets(run),
        binding=_binding(run, fate),
        limited=verdict.limited,
        sentence=_sentence(run, verdict, fate),
        busy=_busy(run, fate),
    )


def _binding(run: Run, fate: Fate) -> Binding | None:
    """A full link explains whatever was missed."""
    if fate in ("unsound", "pass"):
        return "generator" if fate == "unsound" else None
    missed = _missed(run) or ("latency" if fate in ("fail", "overload") else None)
    return "network" if missed and network_limited(run) is not None else missed


def _busy(run: Run, fate: Fate) -> str:
    """What of the target was full; of one that died, or through an unsound generator, nothing is said."""
    limit = None if fate in ("died", "unsound") else limit_of(run)
    return "" if limit is None else limit.what


def aimed(plan: Plan) -> Objective | None:
    """The first objective of the Plan that limits a percentile of latency."""
    return next((one for one in objectives(plan) if one.subject.metric == "latency"), None)


def _fate(ask: Ask, run: Run, verdict: Verdict) -> Fate:
    """In the order of the verdict: generator, target, objective."""
    if verdict.target_died:
        return "died"
    if verdict.generator == "unsound" and _late_alone(verdict):
        if ask.why == "ceiling":  # its figure is the rate, and what lateness does to that has a rule of its own
            return "pass"
        if _met_all_the_same(run):
            return "pass"
    if verdict.generator == "unsound":
        return "unsound"
    if run.ended == "overload":
        return "overload"
    if behind(run):
        return "fail"
    return {"missed": "fail", "inconclusive": "inconclusive"}.get(verdict.objective, "pass")  # type: ignore[return-value]


def _late_alone(verdict: Verdict) -> bool:
    """Whether nothing but lateness makes the generator unsound: that adds to latencies, and takes nothing from them."""
    fatal = [finding for finding in verdict.findings if finding.about == "generator" and finding.weight == "fatal"]
    return all(finding.rule in _LATENESS for finding in fatal)


def _met_all_the_same(run: Run) -> bool:
    """Whether an open loop met its objectives with the generator's lateness in its latencies: without it, it does the more, for
    who comes later to a queue never leaves it earlier (batches apart, which lateness may fill).
    Its figures are the generator's all the same, and count for nothing else."""
    if not run.plan.open_loop or run.ended != "complete" or behind(run):
        return False
    judged = judge_objectives(run, limited=False)
    return bool(judged) and all(one.judgement == "met" for one in judged)


def behind(run: Run) -> bool:
    """An open loop with fewer replies than requests were due, by more than `KEPT_UP` allows and chance explains."""
    whole = run.by_second.whole
    if not run.plan.open_loop or not whole:
        return False
    due, done = (sum(second.count(name) for second in whole) for name in ("scheduled", "ok"))
    return due - done > (1 - KEPT_UP) * due + 3 * math.sqrt(due)


def _meets(run: Run) -> bool | None:
    """Whether the values, intervals aside, are all on the right side. A bad one counts however little it rests on."""
    asked = objectives(run.plan)
    pairs = [(objective, run.figures.of(objective.subject)) for objective in asked]
    known = [(objective, estimate) for objective, estimate in pairs if estimate is not None]
    if any(not _right(objective, estimate) for objective, estimate in known):
        return False
    poor = len(known) < len(pairs) or any(e.quantity == "latency" and e.effective < LEAN for _, e in known)
    return None if poor or not asked else True


def _right(objective: Objective, estimate: Estimate) -> bool:
    return estimate.value < objective.limit if objective.relation == "<" else estimate.value > objective.limit


def _missed(run: Run) -> Binding | None:
    """The first objective on the wrong side."""
    for objective in objectives(run.plan):
        estimate = run.figures.of(objective.subject)
        if estimate is not None and not _right(objective, estimate):
            return _BINDINGS[objective.subject.metric]
    return None


def _sentence(run: Run, verdict: Verdict, fate: Fate) -> str:
    """The one that says why, if there is one to say."""
    about = "generator" if fate == "unsound" else "target"
    fatal = [f.sentence for f in verdict.findings if f.about == about and f.weight == "fatal"]
    if fatal:
        return fatal[0]
    if fate == "overload":
        return "more requests were due and unanswered than the objective allows"
    judged = next((one for one in verdict.objectives if one.judgement != "met"), None)
    if judged is not None:
        return judged.sentence
    return f"the target did not keep up: {run.requests_per_s:.4g} requests/s came back" if fate == "fail" else ""
