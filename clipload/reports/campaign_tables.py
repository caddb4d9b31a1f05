"""Tables of a campaign: the answers of a find and its probes, the points of a sweep, what repeats say together."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from clipload import repeats
from clipload.campaign import Campaign, Point
from clipload.estimate import Repeats
from clipload.reports.campaigns import place_said
from clipload.reports.percentiles import Figure, believed_said
from clipload.reports.points import flaw
from clipload.reports.tables import Table, runs_table
from clipload.search import Answer, Over
from clipload.units import format_ns

PURPOSES = {
    "point": "a point",
    "ceiling": "ceiling",
    "start": "first",
    "bracket": "bracket",
    "bisect": "bisection",
    "extend": "longer",
    "again": "again",
    "confirm": "confirmation",
    "repeat": "second look",
    "check": "look above",
}
FATES = {
    "pass": "passes",
    "fail": "misses",
    "inconclusive": "not told",
    "unsound": "no statement",
    "overload": "overload",
    "died": "target died",
}


def tables_of_campaign(campaign: Campaign[Any]) -> list[Table]:
    measured = [(point.directory.name, point.run) for point in campaign.points if point.run and point.directory]
    runs = runs_table([run for _, run in measured], [name for name, _ in measured]) if measured else None
    if campaign.kind == "find":
        return [*([_answers(campaign)] if len(campaign.search.so_far) > 1 else []), probes(campaign)]
    found = [together(campaign)] if campaign.kind == "repeats" else []
    return [*(table for table in found if table.rows), *([runs] if runs else [])]


def _answers(campaign: Campaign[Over]) -> Table:
    """A row for each value of the dimensions, the best one named."""
    search = campaign.search
    best = search.best
    rows, grey = [], set()
    for place, branch in enumerate(search.so_far):
        answer = branch.answer
        if not answer.rate:
            grey.add(place)
        mark = " (best)" if best is not None and branch.values == best.values else ""
        rows.append((f"{place_said(branch.values)}{mark}", *_cells(answer, branch.worth)))
    sentence = "The capacity at each; the best by samples/s is named."
    if search.tied:
        sentence += f" The interval of {'; '.join(place_said(one.values) for one in search.tied)} reaches it."
    head = ("at", "requests/s", "samples/s", "bound by", "confirmed", "probes")
    return Table("answers", "Answers", sentence, head, tuple(rows), grey=frozenset(grey))


def _cells(answer: Answer, worth: float) -> tuple[str, ...]:
    if not answer.rate:
        return "–", "–", answer.because or "–", "–", f"{answer.probes}"
    capacity = Figure(f"{'≥ ' if answer.outcome == 'at least' else ''}{answer.rate:.4g}")
    top = f" … {answer.high:.4g}" if math.isfinite(answer.high) else " or more"
    capacity.below, capacity.pale = f"{answer.low:.4g}{top}", answer.outcome == "inconclusive"
    shape = f", {answer.shape}" if answer.shape else ""
    confirmed = "yes" if answer.confirmed else "no"
    return capacity, f"{worth:.4g}", f"{answer.binding or '–'}{shape}", confirmed, f"{answer.probes}"


def probes(campaign: Campaign[Over]) -> Table:
    """In the order in which they were asked; grey is what does not count."""
    rows, grey = [], set()
    for place, point in enumerate(campaign.points):
        if point.run is None or flaw(point.run):
            grey.add(place)
        rows.append((f"{place + 1}", PURPOSES[point.ask.why], _load(point), *_measured(point), _fate(point)))
    sentence = (
        "In the order in which they were asked. A probe passes or misses when the whole interval of its percentile lies on one "
        "side of the objective. Percentiles are of all requests, those that were not ok infinitely slow."
    )
    if any(place in grey and point.told.fate == "pass" for place, point in enumerate(campaign.points)):
        sentence += " Grey are the figures of a generator that was late; who passes all the same would be quicker without that."
    head = ("", "purpose", "load", "requests/s", "p50", "p90", "p99", "not ok", "fate")
    return Table("probes", "Probes", sentence, head, tuple(rows), grey=frozenset(grey))


def _load(point: Point) -> str:
    values = dict(point.ask.values)
    loads = {"rate": "{:g}/s", "concurrency": "{} in flight"}
    said = [text.format(values.pop(name)) for name, text in loads.items() if name in values]
    return ", ".join([*([place_said(values)] if values else []), *said])


def _measured(point: Point) -> tuple[str, ...]:
    if point.run is None:
        return ("–",) * 5
    latency = point.run.figures.with_failures.get("latency", {})
    found = [latency.get(label) for label in ("p50", "p90", "p99")]
    said = ["–" if one is None else Figure.saying(format_ns(one.value), one, below=believed_said(one)) for one in found]
    return f"{point.run.requests_per_s:.4g}", *said, f"{point.run.measure.not_ok}"


def _fate(point: Point) -> str:
    said = FATES[point.told.fate]
    return f"{said}: {point.told.sentence}" if point.told.sentence and point.told.fate in ("unsound", "died") else said


def together(campaign: Campaign[Any]) -> Table:
    """Each figure over the runs: median, interval, and the spread between runs beside what each run knows of itself."""
    rows = [
        (
            {"throughput": "samples", "errors": "not ok", "wrong": "wrong vectors"}.get(name, name),
            Figure.saying(one.estimate.said, one.estimate, below=believed_said(one.estimate)),
            _spread(one, one.between),
            _spread(one, one.within),
        )
        for name, one in repeats.figures(campaign).items()
    ]
    sentence = (
        "Medians over the runs that count, each with its 95 % interval. Where the spread between runs is wider than that "
        "within a run, a single run's interval is too narrow to be believed."
    )
    return Table("together", "Over the runs", sentence, ("", "median", "between runs", "within a run"), tuple(rows))


def _spread(found: Repeats, spread: float | None) -> str:
    return "unknown" if spread is None or not math.isfinite(spread) else replace(found.estimate, value=spread).said
