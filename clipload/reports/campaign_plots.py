"""The plots of a campaign, those of its answer first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from clipload import repeats
from clipload.campaign import Campaign, Point
from clipload.figures import objectives
from clipload.reports.campaigns import place_said
from clipload.reports.plots import Plot, plots_of_many
from clipload.reports.plots.course import course, course_sentence
from clipload.reports.plots.hockey_stick import hockey_stick, hockey_stick_sentence
from clipload.reports.plots.ladder import ladder, ladder_sentence
from clipload.reports.plots.over_runs import over_runs, over_runs_sentence
from clipload.reports.plots.spectrum import spectra, spectra_sentence
from clipload.reports.points import flaw
from clipload.run import Run
from clipload.search.over import Branch
from clipload.trials import aimed


def plots_of_campaign(campaign: Campaign[Any]) -> list[Plot]:
    if campaign.kind == "find":
        branches = campaign.search.so_far
        return [plot for place, branch in enumerate(branches) for plot in _find(campaign, branch, place, len(branches))]
    measured = [(point.directory.name, point.run) for point in campaign.points if point.run and point.directory]
    runs, names = [run for _, run in measured], [name for name, _ in measured]
    found = plots_of_many(runs, names) if runs else []
    if campaign.kind == "repeats" and (counted := repeats.counted(campaign)):
        figures = repeats.figures(campaign)
        sentence = over_runs_sentence(counted, figures)
        found.insert(0, Plot("over_runs", "Run by run", sentence, over_runs(counted, figures)))
    return found


def _find(campaign: Campaign[Any], branch: Branch, place: int, count: int) -> Iterator[Plot]:
    """Of one search. Files of several are numbered."""
    points = [point for point in campaign.points if branch.values.items() <= point.ask.values.items()]
    ending, said = (f"_{place + 1}", f" at {place_said(branch.values)}") if count > 1 else ("", "")
    answer = branch.answer
    rates = [point.run for point in points if point.run is not None and "rate" in point.ask.values]
    if rates:
        objective = aimed(rates[0].plan)
        band = (answer.low, answer.high) if answer.rate else None
        chart = hockey_stick(rates, None if objective is None else objective.limit, band)
        yield Plot(f"capacity{ending}", f"Latency against the rate{said}", _sentence(rates, branch), chart)
        tried = [(n + 1, p) for n, p in enumerate(campaign.points) if p in points and "rate" in p.ask.values]
        title = f"The course of the search{said}"
        yield Plot(f"course{ending}", title, course_sentence(tried, answer), course(tried, answer))
    closed = [p.run for p in points if p.run is not None and "concurrency" in p.ask.values and p.run.measure["ok"]]
    if len({run.plan.concurrency for run in closed}) > 1:
        yield Plot(f"ceiling{ending}", f"The ceiling, in a closed loop{said}", ladder_sentence(closed), ladder(closed))
    pair = _edge(points, branch)
    if len(pair) > 1:
        yield Plot(f"edge{ending}", f"Latency at the edge{said}", f"{_EDGE} {spectra_sentence(pair)}", spectra(pair))


_EDGE = "The longest probe of the answer beside that of the lowest rate above it that missed the objective."


def _sentence(rates: Sequence[Run], branch: Branch) -> str:
    asked = objectives(rates[0].plan)
    words = " and ".join(map(str, asked))
    line = "The dashed line is the objective; " if aimed(rates[0].plan) else ""
    band = "the band is the interval in which the capacity lies. " if branch.answer.rate else "no rate passed. "
    start = f"{line}{band}"
    return f"{start[:1].upper()}{start[1:]}Asked for was {words}; {hockey_stick_sentence(rates)}"


def _edge(points: Sequence[Point], branch: Branch) -> list[tuple[str, Run]]:
    """The highest rate that passed, and the lowest above it that missed."""
    sound = [(float(p.ask.values["rate"]), p) for p in points if "rate" in p.ask.values and p.run and not flaw(p.run)]
    floor = [p.run for rate, p in sound if rate == branch.answer.rate and p.run]
    missed = sorted(rate for rate, p in sound if rate > branch.answer.rate and p.told.fate in ("fail", "overload"))
    wall = [p.run for rate, p in sound if missed and rate == missed[0] and p.run]
    found = [max(runs, key=lambda run: run.measured_ns) for runs in (floor, wall) if runs]
    return [(f"{run.plan.rate:g} requests/s", run) for run in found if run.measure["ok"]]
