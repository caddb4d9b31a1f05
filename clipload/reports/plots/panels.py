"""Panels over the time of a Run, one above the other: the same time axis, lines where a phase begins, series as lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import altair as alt

from clipload.pacing import PHASES
from clipload.reports.plots.palette import GREY, WIDTH, Panel, clickable, coloured, kept, seconds_axis, values
from clipload.run import Run

PANEL = 110
_GUTTER = 58  # px for the labels of each panel, the same for all, so that their times stand one above the other
_WIDE = 20.0

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Time:
    """The axis that the panels share: from 0 to `end_s`; `phases` as `phases_of`."""

    end_s: float
    phases: Rows

    def x(self, *, last: bool) -> alt.X:
        """Labelled in the `last` panel only."""
        return seconds_axis(self.end_s, title="time since the start (s)" if last else None, labels=last)

    def marks(self, *, last: bool, words: bool = False) -> list[Panel]:
        """A line at each phase; with `words` also its name, at the foot, where no series runs that is not 0."""
        if not self.phases:
            return []
        base = alt.Chart(values(self.phases)).encode(x=self.x(last=last))
        rule = base.mark_rule(color=GREY, strokeDash=[3, 3])
        word = base.mark_text(align="left", baseline="bottom", dx=4, dy=-3, color=GREY)
        return [rule, *([word.encode(y=alt.value("height"), text="phase:N")] if words else [])]


def phases_of(run: Run, end_s: float) -> Rows:
    """Where each phase of some length begins, after the first."""
    begins = [bound / 1e9 for bound in run.bounds]
    untils = [*begins[1:], end_s]
    return [
        {"t": begin, "phase": name}
        for name, begin, until in zip([*PHASES, "drain"], begins, untils)
        if 0 < begin < min(until, end_s)
    ]


def lines(
    rows: Rows, title: str, colours: Mapping[str, str], time: Time, *, words: bool, last: bool, straight: bool = False
) -> Panel:
    """One panel: a line for each of `colours`, whose keys are the series. `rows`: `t`, `series`, `y`; a line is broken where
    `y` is None. `straight`: never a log axis; `words`: with the names of the phases."""
    chosen = clickable("series", title.split()[0].replace("/", "_"))
    scale = alt.Scale(zero=True, nice=True) if straight else _scale(rows)
    drawn = (
        alt.Chart(values(rows))
        .mark_line(strokeWidth=1.6)
        .encode(
            x=time.x(last=last),
            y=alt.Y("y:Q", title=title, scale=scale, axis=y_axis()),
            color=coloured("series", list(colours), list(colours.values())),
            opacity=kept(chosen),
            tooltip=[alt.Tooltip("series:N"), alt.Tooltip("t:Q", title="at (s)"), alt.Tooltip("y:Q", title=title)],
        )
        .add_params(chosen)
    )
    return alt.layer(*time.marks(last=last, words=words), drawn).properties(width=WIDTH, height=PANEL)


def _scale(rows: Rows) -> alt.Scale:
    """Straight from 0, or logarithmic when the highest is far above the rest."""
    found = sorted(row["y"] for row in rows if row["y"])
    wide = bool(found) and found[-1] > _WIDE * found[len(found) // 2]
    return alt.Scale(type="symlog" if wide else "linear", zero=True, nice=True)


def y_axis() -> alt.Axis:
    return alt.Axis(minExtent=_GUTTER, maxExtent=_GUTTER, tickCount=4)
