"""Plots: each a function of one Run, or of several, to an altair Chart, with a function that says in words what it shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import altair as alt

from clipload.reports.curves import curves_of
from clipload.reports.plots.batch_law import batch_law_chart, batch_law_sentence
from clipload.reports.plots.heatmap import heatmap, heatmap_sentence
from clipload.reports.plots.hockey_stick import hockey_stick, hockey_stick_sentence
from clipload.reports.plots.ladder import ladder, ladder_sentence
from clipload.reports.plots.sightings import sightings_chart, sightings_sentence
from clipload.reports.plots.spectrum import spectra, spectra_sentence, spectrum, spectrum_sentence
from clipload.reports.plots.timeline import timeline, timeline_sentence
from clipload.reports.points import flaw, labels, series_of
from clipload.reports.slices import slices
from clipload.run import Run

_MOST_OVERLAID = 12


@dataclass(frozen=True, slots=True)
class Plot:
    """A chart with its words. `name` is that of its files."""

    name: str
    title: str
    sentence: str
    chart: alt.TopLevelMixin


def plots_of(run: Run) -> list[Plot]:
    """Of one Run: of its requests none when nothing came back ok, of its targets none when nothing was seen of them."""
    return [*_requests(run), *_targets(run)]


def _requests(run: Run) -> list[Plot]:
    if not run.measure["ok"]:
        return []
    pieces = slices(run)
    return [
        Plot("spectrum", "How long requests took", spectrum_sentence(run), spectrum(run)),
        Plot("timeline", "Second by second", timeline_sentence(run, pieces), timeline(run, pieces)),
        Plot("heatmap", "Latency over time", heatmap_sentence(run, pieces), heatmap(run, pieces)),
    ]


def _targets(run: Run) -> list[Plot]:
    curves = curves_of(run)
    if not curves:
        return []
    whose = "targets" if len(run.plan.base_url) > 1 else "target"
    return [Plot("sightings", f"What was seen of the {whose}", sightings_sentence(run, curves), sightings_chart(run, curves))]


def plots_of_many(runs: Sequence[Run], names: Sequence[str]) -> list[Plot]:
    """Of several Runs: each plot for each of their series that has two values or more on its axis."""
    return [*_hockey_sticks(runs), *_ladders(runs), *_batches(runs), *_overlaid(runs, names)]


def _hockey_sticks(runs: Sequence[Run]) -> Iterator[Plot]:
    steady = [run for run in runs if run.plan.rate is not None and run.plan.burst is None]
    for name, title, group in _named("hockey_stick", "Latency against the rate", series_of(steady, "rate", "duration")):
        if len({run.plan.rate for run in group}) > 1:
            yield Plot(name, title, hockey_stick_sentence(group), hockey_stick(group))


def _ladders(runs: Sequence[Run]) -> Iterator[Plot]:
    closed = [run for run in runs if not run.plan.open_loop and run.measure["ok"]]
    groups = series_of(closed, "concurrency", "duration", "num_samples")
    for name, title, group in _named("ladder", "Throughput against requests in flight", groups):
        if len({run.plan.concurrency for run in group}) > 1:
            yield Plot(name, title, ladder_sentence(group), ladder(group))


def _batches(runs: Sequence[Run]) -> Iterator[Plot]:
    groups = series_of(runs, "batch_size", "duration", "num_samples")
    for name, title, group in _named("batch_size", "Throughput against batch size", groups):
        if len({run.plan.batch_size for run in group}) > 1:
            yield Plot(name, title, batch_law_sentence(group), batch_law_chart(group))


def _overlaid(runs: Sequence[Run], names: Sequence[str]) -> Iterator[Plot]:
    """Of those that count, and never of both kinds of loop at once."""
    counted = [(label, run) for label, run in zip(labels(runs, names), runs) if not flaw(run)]
    for loop, is_open in (("open", True), ("closed", False)):
        shown = [(label, run) for label, run in counted if run.plan.open_loop is is_open]
        if 1 < len(shown) <= _MOST_OVERLAID:
            yield Plot(f"spectra_{loop}", f"Latency of each Run, {loop} loop", spectra_sentence(shown), spectra(shown))


def _named(name: str, title: str, groups: Sequence[list[Run]]) -> Iterator[tuple[str, str, list[Run]]]:
    """File names and titles that tell the groups apart."""
    apart = labels([group[0] for group in groups], [str(place + 1) for place in range(len(groups))]) if groups else []
    for place, (group, label) in enumerate(zip(groups, apart)):
        several = len(groups) > 1
        yield f"{name}_{place + 1}" if several else name, f"{title}: {label}" if several else title, group
