"""What was seen of the targets over the time of a Run: CPU of their processes, what they told, how busy cores and GPUs were."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle

import altair as alt

from clipload.reports.curves import BUSY, CORES, DONE, GPU, LEAST, PANELS, REQUESTS, Curve, curves_of, width_of
from clipload.reports.plots.palette import MANY, Panel
from clipload.reports.plots.panels import Rows, Time, lines, phases_of
from clipload.reports.slices import slices
from clipload.run import Run

MOST_DRAWN = len(MANY)  # of a panel, one for each colour
_AXES = {CORES: "CPU (cores)", REQUESTS: "requests", DONE: "items/s", BUSY: "busy (%)"}


def sightings_chart(run: Run, curves: Sequence[Curve] | None = None) -> Panel:
    """A panel for each kind of curve of which there is one, on the time axis of the timeline."""
    curves = curves_of(run) if curves is None else curves
    pieces = slices(run)
    last_s = max(curve.stretches[-1].end_s for curve in curves)
    end_s = max(pieces[-1].begin_s + pieces[-1].length_s, last_s) if pieces else last_s
    time, width_s = Time(end_s, phases_of(run, end_s)), width_of(curves)
    panels = {panel: found for panel in PANELS if (found := _drawn(panel, curves))}
    made = [
        lines(
            _rows(found, width_s),
            _AXES[panel],
            dict(zip((curve.name for curve in found), cycle(MANY))),
            time,
            words=panel == next(iter(panels)),
            last=panel == [*panels][-1],
            straight=panel in (CORES, BUSY),
        )
        for panel, found in panels.items()
    ]
    return alt.vconcat(*made).resolve_scale(color="independent")


def _drawn(panel: str, curves: Sequence[Curve]) -> list[Curve]:
    """Of processes the busiest; those that do next to nothing only when all do."""
    inside = [curve for curve in curves if curve.panel == panel]
    if panel != CORES:
        return inside
    working = [curve for curve in inside if curve.peak.value >= LEAST]
    return (working or inside)[:MOST_DRAWN]


def _rows(curves: Sequence[Curve], width_s: float) -> Rows:
    """A row without `y` ends each part. Of a part that is one stretch, both ends: a line of one point is none."""
    rows: Rows = []
    for curve in curves:
        for part in curve.thinned(width_s):
            first, last = part.stretches[0], part.stretches[-1]
            times = [one.middle_s for one in part.stretches] if first is not last else [first.begin_s, last.end_s]
            shown = [float(f"{one.value:.4g}") for one in part.stretches] * (1 if first is not last else 2)
            rows += [{"t": round(t, 3), "series": curve.name, "y": y} for t, y in zip(times, shown, strict=True)]
            rows.append({"t": round(last.end_s, 3), "series": curve.name, "y": None})
    return rows


def sightings_sentence(run: Run, curves: Sequence[Curve] | None = None) -> str:
    """The highest of each panel and when, what is not drawn, how long a piece is."""
    curves = curves_of(run) if curves is None else curves
    told = [said for panel in PANELS for said in _highest([curve for curve in curves if curve.panel == panel])]
    drawn = _drawn(CORES, curves)
    out = [curve for curve in curves if curve.panel == CORES and curve not in drawn]
    most = 100 * max((curve.peak.value for curve in out), default=0.0)
    names = f"{len(out)} more process{'es' * (len(out) > 1)}, at most at {most:.2g} % of a core"
    width_s = width_of(curves)
    return (
        f"Of the whole run: {'; '.join(told)}."
        + (f" Not drawn: {names}." if out else "")
        + (f" Each point is the mean of {width_s:g} s." if width_s else "")
    )


def _highest(inside: Sequence[Curve]) -> Iterator[str]:
    """Of one panel. Of requests those that wait say more than those that are worked at; of several GPUs the busiest is told."""
    tops = sorted(inside, key=lambda curve: -curve.peak.value)
    if not tops:
        return
    top = next((curve for curve in tops if curve.name.startswith("queued") and curve.peak.value >= 1), tops[0])
    if top.panel == CORES:
        yield f"the busiest process was the {top.name}, at {100 * top.peak.value:.0f} % of a core {_when(top)}"
    elif top.panel == REQUESTS:
        yield f"most requests were {top.name} {_when(top)}: {top.peak.value:.3g}"
    elif top.panel == DONE:
        yield f"most items were done {_when(top)}: {top.peak.value:.3g}/s"
    else:
        gpus = [curve for curve in tops if curve.name.startswith(GPU)]
        for curve in [*gpus[:1], *(one for one in tops if one not in gpus)]:
            yield f"{curve.name}: at most {curve.peak.value:.0f} % {_when(curve)}"


def _when(curve: Curve) -> str:
    return f"around second {curve.peak.middle_s:.0f}"
