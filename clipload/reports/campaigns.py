"""Campaigns for people: a line for each load as it ends, the table of a sweep, the answer of a find."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from clipload.campaign import Campaign, Point
from clipload.reports.descriptions import plural
from clipload.reports.percentiles import believed_said
from clipload.search import Answer, Over
from clipload.search.over import Branch

_FIGURES = (
    ("samples/s", 11),
    ("requests/s", 12),
    ("p50", 9),
    ("p50 interval", 17),
    ("p99", 9),
    ("p99 interval", 17),
    ("not ok", 8),
    ("generator", 11),
)
_FATES = {"overload": "overload", "died": "target died", "unsound": "no statement"}


def as_json(campaign: Campaign[Any]) -> str:
    """campaign.json and where it is."""
    return msgspec.json.encode(msgspec.to_builtins(campaign.document()) | {"directory": str(campaign.directory)}).decode()


def heading(campaign: Campaign[Any]) -> str:
    """The names of the columns of `row`."""
    names = _names(campaign)
    return "".join(f"{_label(name):>{_width(campaign, name)}}" for name in names) + "".join(
        f"{label:>{width}}" for label, width in _FIGURES
    )


def row(campaign: Campaign[Any], point: Point) -> str:
    """One load: its place on the axes and its figures; why there are none, where there are none."""
    place = "".join(f"{point.ask.values.get(name, '')!s:>{_width(campaign, name)}}" for name in _names(campaign))
    said = _remark(point, by_itself=campaign.kind != "repeats")
    return place + _figures(point) + (f"  {said}" if said else "")


def _names(campaign: Campaign[Any]) -> list[str]:
    if "axes" in campaign.described:
        return list(campaign.described["axes"])
    return [*campaign.described.get("over", {}), "concurrency", "rate"]


def _label(name: str) -> str:
    return name.replace("_", "-")


def _width(campaign: Campaign[Any], name: str) -> int:
    values = campaign.described.get("axes", {}).get(name, ())
    return 2 + max(len(_label(name)), 8, *(len(str(value)) for value in values))


def _figures(point: Point) -> str:
    run = point.run
    if run is None or point.verdict is None:
        cells = ["-"] * len(_FIGURES)
    else:
        latency = run.figures.with_failures.get("latency", {})
        found = [latency.get(label) for label in ("p50", "p99")]
        cells = [
            f"{run.throughput:.2f}",
            f"{run.requests_per_s:.2f}",
            *(cell for one in found for cell in (("-", "-") if one is None else (one.said, believed_said(one)))),
            str(run.measure.not_ok),
            point.verdict.generator,
        ]
    return "".join(f"{cell:>{width}}" for cell, (_, width) in zip(cells, _FIGURES, strict=True))


def _remark(point: Point, *, by_itself: bool) -> str:
    """What the figures do not say by themselves. `by_itself`: whether its own objectives are of interest."""
    if point.verdict is None:
        return f"target died: {point.told.sentence}"
    said = [_FATES[point.told.fate]] if point.told.fate in _FATES else []
    said += ["client-limited"] if point.told.limited else []
    if by_itself and point.verdict.objective != "none" and not said:
        said = [point.verdict.objective]
    return ", ".join(said)


def sweep_table(campaign: Campaign[Any]) -> str:
    """All points in the order of the axes, whatever the order in which they were measured."""
    points = sorted(campaign.points, key=lambda point: _place(campaign, point))
    missing = len(campaign.search.points) - len(points)
    lines = [heading(campaign), *(row(campaign, point) for point in points)]
    if missing:
        lines.append(f"unfinished  {missing} of {len(points) + missing} left: clipload sweep --resume {campaign.directory}")
    return "\n".join([*lines, *_best(points)])


def _place(campaign: Campaign[Any], point: Point) -> list[int]:
    axes = campaign.described["axes"]
    return [list(axes[name]).index(point.ask.values[name]) for name in axes]


def answered(point: Point) -> bool:
    """Whether its figures are the target's and meet the objectives, where there are any."""
    return point.run is not None and point.told.fate == "pass" and not point.told.limited


def best_point(points: Iterable[Point]) -> Point | None:
    """That of the most samples/s among those that can be believed and, where there are objectives, meet them."""
    good = [(point.run.throughput, point) for point in points if point.run is not None and answered(point)]
    return max(good, key=lambda pair: pair[0])[1] if good else None


def place_said(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{_label(name)} {value}" for name, value in values.items())


def _best(points: Iterable[Point]) -> list[str]:
    best = best_point(points)
    if best is None or best.run is None:
        return []
    return ["", f"most        {best.run.throughput:.2f} samples/s at {place_said(best.ask.values)}"]


def answer_text(campaign: Campaign[Over]) -> str:
    """What a find found, at each value of its dimensions, and which is the best."""
    search, blocks = campaign.search, []
    for branch in search.branches:
        place = place_said(branch.values)
        blocks.append("\n".join(_branch(branch, place, campaign)))
    if not search.done:
        probes = len(campaign.points)
        blocks.append(f"unfinished  {probes} probe{plural(probes)}: clipload find --resume {campaign.directory}")
    best = search.best
    if best is not None and len(search.branches) > 1:
        place = place_said(best.values)
        tied = "; others may do as much" if search.tied else ""
        blocks.append(f"best        {place}: {best.worth:.1f} samples/s{tied}")
    return "\n\n".join(blocks)


def _branch(branch: Branch, place: str, campaign: Campaign[Over]) -> list[str]:
    answer = branch.answer
    asked = " ".join(campaign.base["slo"]) + (f" at {place}" if place else "")
    lines = [f"capacity    {_capacity(branch)}", f"            for {asked}"]
    if answer.binding:
        bends = {"cliff": ": it breaks there", "smooth": ": it bends there"}.get(answer.shape or "", "")
        busy = f", the target's {answer.busy}" if answer.busy else ""
        lines.append(f"bound by    {answer.binding}{busy}{bends}")
    if answer.ceiling:
        top = answer.ceiling
        least = "at least " if top.at_least else ""
        lines.append(f"ceiling     {least}{top.rate:.4g} requests/s, first seen with {top.concurrency} in flight (closed loop)")
    lines.append(f"search      {answer.probes} probe{plural(answer.probes)} in {answer.seconds:.0f} s{_doubts(answer)}")
    lines += [f"left out    {sentence}" for sentence in answer.left_out]
    return lines


def _capacity(branch: Branch) -> str:
    answer = branch.answer
    if answer.outcome == "doomed":
        return f"none: doomed, because {answer.because}"
    if not answer.rate:
        return f"unknown: {answer.because}"
    samples = branch.worth / answer.rate
    words = {"found": "", "at least": "at least ", "inconclusive": "perhaps "}[answer.outcome]
    spread = f"{answer.low:.4g} … {answer.high:.4g}" if math.isfinite(answer.high) else f"{answer.low:.4g} or more"
    reason = f"; {answer.because}" if answer.because else ""
    return f"{words}{answer.rate:.4g} requests/s ({spread}) = {answer.rate * samples:.4g} samples/s{reason}"


def _doubts(answer: Answer) -> str:
    said = [] if answer.confirmed else ["not confirmed by fresh probes"]
    said += [] if answer.monotone else ["a rate below it failed"]
    return f"; {', '.join(said)}" if said else ""
