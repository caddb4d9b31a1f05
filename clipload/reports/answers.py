"""What a campaign found, as the head of a page or of a text: the answer first, then what speaks against it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from clipload import repeats
from clipload.campaign import Campaign, Point
from clipload.plan import Plan
from clipload.reports.campaigns import answered, best_point, place_said
from clipload.reports.descriptions import describe_load, describe_requests, plural
from clipload.reports.percentiles import believed_said, time_said
from clipload.search import Answer, Grid, Over
from clipload.search.over import Branch
from clipload.searches import any_plan

_GIVES = {"latency": "its latency", "errors": "its errors", "throughput": "its throughput", "network": "the network"}
_SHAPES = {"cliff": "a cliff: it breaks there", "smooth": "smooth: it bends there"}
ON_AN_ANSWER = "Small below a rate: between a certain pass and a certain fail, each let out by half of the precision."
OVER_RUNS = "Medians over the runs. Small: 95 % intervals over the runs."
ON_RUNS = "Small: 95 % intervals, in brackets where they rest on too few requests to be believed above."


@dataclass(frozen=True, slots=True)
class Remark:
    """A sentence that qualifies the answer. `weight` as of a Finding: fatal, degrading or note."""

    about: str
    sentence: str
    weight: str = "note"
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Head:
    """What stands above everything else. `tone`: sound, degraded or unsound. `figures`: (name, value, what stands below)."""

    title: str
    tone: str
    verdict: str
    lines: tuple[str, ...]
    figures: tuple[tuple[str, str, str], ...]
    findings: Sequence[Any] = field(default=())  # Findings or Remarks
    note: str = ON_RUNS


def head_of_campaign(campaign: Campaign[Any]) -> Head:
    kinds: dict[str, Callable[[Campaign[Any]], Head]] = {"find": _find, "sweep": _sweep, "repeats": _repeats}
    return kinds[campaign.kind](campaign)


# find


def _find(campaign: Campaign[Over]) -> Head:
    search = campaign.search
    branches = search.so_far if not search.done else search.branches
    shown = search.best or branches[-1]
    asked = " ".join(campaign.base["slo"])
    place = f" at {place_said(shown.values)}" if shown.values else ""
    title = f"Capacity for {asked}{place}" if len(branches) == 1 else f"Capacity for {asked}, at each of {len(branches)} loads"
    tone, verdict = _verdict(shown, search)
    remarks = [remark for branch in branches for remark in _remarks(branch, several=len(branches) > 1)]
    remarks += _unfinished(campaign, "find") if not search.done else []
    plan = any_plan(campaign.base)
    return Head(title, tone, verdict, _setting(plan, campaign.points), _find_figures(shown), remarks, ON_AN_ANSWER)


def _verdict(shown: Branch, search: Over) -> tuple[str, str]:
    """The tone, and the answer in one sentence."""
    answer = shown.answer
    if not search.done and not answer.rate:
        return "degraded", "The capacity is not known yet: no rate has passed."
    if answer.outcome == "doomed":
        tone = "unsound" if answer.binding == "generator" else "degraded"
        return tone, f"No capacity is stated: {answer.because}."
    if not answer.rate:
        return "degraded", f"The capacity is not known: {answer.because}."
    least = {"at least": "at least ", "inconclusive": "perhaps "}.get(answer.outcome, "")
    said = f"It sustains {least}{answer.rate:.4g} requests/s = {shown.worth:.4g} samples/s"
    if shown.values:
        said += f" at {place_said(shown.values)}"
    if answer.binding == "generator":
        said += "; above that the generator was the limit, not the target"
    elif answer.binding:
        said += f"; {_GIVES[answer.binding]} gives first" + (f", with the target's {answer.busy}" if answer.busy else "")
    sure = answer.outcome == "found" and answer.confirmed and answer.monotone and search.done
    return "sound" if sure else "degraded", said + "."


def _find_figures(shown: Branch) -> tuple[tuple[str, str, str], ...]:
    answer = shown.answer
    if not answer.rate:
        return ()
    samples = shown.worth / answer.rate
    figures = [
        ("requests/s", f"{answer.rate:.4g}", _span(answer, 1.0)),
        ("samples/s", f"{shown.worth:.4g}", _span(answer, samples)),
        ("bound by", answer.binding or "not told", _SHAPES.get(answer.shape or "", "cliff or smooth: not told")),
    ]
    if answer.busy:
        figures.append(("full at the wall", answer.busy.removesuffix(" full"), "of the target, as far as it was seen"))
    if answer.ceiling is not None:
        top, least = answer.ceiling, "≥ " if answer.ceiling.at_least else ""
        figures.append(("ceiling", f"{least}{top.rate:.4g}", f"requests/s in a closed loop, from {top.concurrency} in flight"))
    figures.append(("confirmed", "yes" if answer.confirmed else "no", "by fresh probes of the same rate"))
    figures.append(("probes", f"{answer.probes}", f"in {answer.seconds:.0f} s"))
    return tuple(figures)


def _span(answer: Answer, scale: float) -> str:
    if math.isfinite(answer.high):
        return f"{answer.low * scale:.4g} … {answer.high * scale:.4g}"
    return f"{answer.low * scale:.4g} or more"


def _remarks(branch: Branch, *, several: bool) -> Iterator[Remark]:
    answer, where = branch.answer, f" (at {place_said(branch.values)})" if several else ""
    if answer.rate and not answer.confirmed:
        yield Remark("doubt", f"{answer.rate:.4g} requests/s was not confirmed by fresh probes{where}.", "degrading")
    if answer.rate and not answer.monotone:
        yield Remark("doubt", f"A rate below one that passes failed, and both stood when asked again{where}.", "degrading")
    if answer.rate and answer.outcome == "at least" and answer.because:
        yield Remark("end", f"The search ended before the target did: {answer.because}{where}.")
    if answer.rate and answer.outcome == "inconclusive":
        yield Remark("doubt", f"No probe was certain of passing{where}.", "degrading", "give it more time (--budget)")
    for sentence in answer.left_out:
        last = sentence is answer.left_out[-1]
        remedy = "a longer --budget has room for it, and the interval is narrower then" if last else ""
        yield Remark("left out", f"{sentence[:1].upper()}{sentence[1:]}{where}.", remedy=remedy)


def _unfinished(campaign: Campaign[Any], verb: str) -> list[Remark]:
    remedy = f"clipload {verb} --resume {campaign.directory}"
    why = "" if campaign.ended in ("complete", "under way") else f" ({campaign.ended})"
    return [
        Remark("unfinished", f"The campaign has not come to its end{why}: this is what is known so far.", "degrading", remedy)
    ]


def _setting(plan: Plan, points: Sequence[Point]) -> tuple[str, ...]:
    """What was sent where, and how many Runs it rests on. `plan`: that of all where there are no Runs."""
    runs = [point.run for point in points if point.run is not None]
    plans = [run.plan for run in runs] or [plan]
    alike = {f"{describe_requests(one)}; {one.workers} worker{plural(one.workers)}." for one in plans}
    targets = {f"{', '.join(one.base_url)} ({one.api}, model {one.model!r})" for one in plans}
    return (
        *(alike if len(alike) == 1 else ()),
        f"Target {'; '.join(sorted(targets))}.",
        f"{len(runs)} Run{plural(len(runs))}, measured for {sum(run.measured_ns for run in runs) / 1e9:.4g} s in all.",
    )


# sweep


def _sweep(campaign: Campaign[Grid]) -> Head:
    axes, points = campaign.described["axes"], campaign.points
    names = " and ".join(name.replace("_", " ") for name in axes)
    best, total = best_point(points), len(campaign.search.points)
    counted = [point for point in points if answered(point)]
    out = len(points) - len(counted)
    if best is None or best.run is None:
        verdict = "No point has a figure that counts."
    else:
        of = "" if out == 0 and len(points) == total else ", of the points that count"
        verdict = f"The most is {best.run.throughput:.4g} samples/s, at {place_said(best.ask.values)}{of}."
    lines = _setting(_one_plan(campaign), points)
    figures = _sweep_figures(best, len(counted), total)
    remarks = [
        Remark("point", f"{place_said(point.ask.values)}: {why}.", "degrading") for point in points if (why := _why_not(point))
    ]
    if len(points) < total:
        remarks += _unfinished(campaign, "sweep")
    tone = "unsound" if not counted else "degraded" if out or len(points) < total else "sound"
    return Head(f"Sweep over {names}", tone, verdict, lines, figures, remarks)


def _one_plan(campaign: Campaign[Grid]) -> Plan:
    run = next((point.run for point in campaign.points if point.run is not None), None)
    return any_plan(campaign.base) if run is None else run.plan


def _sweep_figures(best: Point | None, counted: int, total: int) -> tuple[tuple[str, str, str], ...]:
    figures = []
    if best is not None and best.run is not None:
        rate = best.run.figures.throughput
        figures.append(("most samples/s", f"{best.run.throughput:.4g}", f"{rate.low:.4g} … {rate.high:.4g}"))
        figures.append(("requests/s there", f"{best.run.requests_per_s:.4g}", place_said(best.ask.values)))
        latency = best.run.figures.with_failures.get("latency", {})
        figures += [
            (f"{label} there", time_said(latency[label].value), believed_said(latency[label]))
            for label in ("p50", "p99")
            if label in latency
        ]
    return (*figures, ("points that count", f"{counted}", f"of {total}"))


def _why_not(point: Point) -> str:
    """Why a point is not the answer; empty when it could be."""
    if answered(point):
        return ""
    if point.verdict is None:
        return f"the target died: {point.told.sentence}"
    if point.told.limited:
        return "client-limited: the target does at least this much"
    return point.told.sentence or point.told.fate


# repeats


def _repeats(campaign: Campaign[Grid]) -> Head:
    verdict, every = repeats.verdict(campaign), repeats.seeds(campaign)
    count, found = len(repeats.counted(campaign)), repeats.figures(campaign)
    title = describe_load(Plan.from_dict(campaign.base))
    said = {
        "none": f"{count} of {len(every)} runs count; median and interval are those over them.",
        "met": f"The objectives are met over {count} runs.",
        "missed": f"An objective is missed over {count} runs.",
        "inconclusive": f"{count} runs do not suffice to tell whether the objectives are met.",
    }[verdict.objective]
    if verdict.generator == "unsound":
        said = "The generator was unsound. No statement is made about the target."
    figures = [
        (
            {"throughput": "samples", "errors": "not ok", "wrong": "wrong vectors"}.get(name, f"{name} of latency"),
            one.estimate.said,
            one.estimate.span if one.estimate.sufficient else f"({one.estimate.span})",
        )
        for name, one in found.items()
    ]
    remarks: list[Any] = [
        Remark("objective", f"{one.sentence}.", "note" if one.judgement == "met" else "degrading") for one in verdict.objectives
    ]
    remarks += verdict.findings
    if len(campaign.points) < len(every):
        remarks += _unfinished(campaign, "run")
    tone = verdict.generator if verdict.objective in ("met", "none") or verdict.generator == "unsound" else "degraded"
    whole = count == len(every) or tone == "unsound"
    lines = _setting(Plan.from_dict(campaign.base), campaign.points)
    title = f"{title[:1].upper()}{title[1:]}, {len(every)} times"
    return Head(title, tone if whole else "degraded", said, lines, tuple(figures), remarks, OVER_RUNS)
