"""Colours and axes of all plots. Each colour stands out from a white page and a near-black one; words are the page's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

BLUE, ORANGE, GREEN, RED, PURPLE, TEAL, GREY = "#3b82c4", "#d9822b", "#2f9e6e", "#d64550", "#8b6bd1", "#1f9aa8", "#8a929c"
ERRORS = (RED, "#e07b39", "#b3568f", PURPLE, "#a0703c", TEAL, GREY)
MANY = (BLUE, ORANGE, GREEN, PURPLE, TEAL, RED, "#a0703c", GREY)
WIDTH, HEIGHT = 720, 260
FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"
FADED = 0.12

Panel = Any  # what altair's functions return, its others do not take: unions, or Any itself

CONFIG: dict[str, Any] = {
    "font": FONT,
    "view": {"stroke": None},
    "axis": {
        "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "gridOpacity": 0.5, "tickSize": 4,
        "labelPadding": 4, "titlePadding": 8, "domain": False,
    },
    "axisX": {"grid": False, "domain": True},
    "legend": {
        "orient": "top", "title": None, "labelFontSize": 13, "symbolStrokeWidth": 3, "symbolSize": 120, "columnPadding": 18,
        "labelLimit": 320, "offset": 6, "symbolOpacity": 1,
    },
    "title": {"anchor": "start", "fontSize": 13, "fontWeight": 600, "offset": 8},
    "text": {"font": FONT, "fontSize": 11},
    "concat": {"spacing": 18},
}  # fmt: skip


def inked(chart: alt.TopLevelMixin) -> dict[str, Any]:
    """The spec for a page that colours words and axes itself."""
    spec: dict[str, Any] = chart.to_dict(validate=False)  # the tests validate; each number of it costs time
    spec.pop("title", None)  # the page has it
    return spec | {"config": CONFIG, "background": "transparent"}


def printed(chart: alt.TopLevelMixin) -> dict[str, Any]:
    """The spec for a picture that stands alone, on white."""
    spec: dict[str, Any] = chart.to_dict(validate=False)
    return spec | {"config": CONFIG, "background": "white", "padding": 14}


def values(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Inline data as plain JSON: altair's own class would check each row against its schema, at 0.15 ms a row."""
    return {"values": list(rows)}


def clickable(field: str, name: str) -> alt.Parameter:
    """A click on a legend's word shows its series alone; another click brings the others back. `name`: once in a chart."""
    return alt.selection_point(name=f"picked_{name}", fields=[field], bind="legend", toggle="true")


def kept(chosen: alt.Parameter, opacity: float = 1.0) -> Any:
    return alt.condition(chosen, alt.value(opacity), alt.value(FADED))


def coloured(field: str, names: Sequence[str], colours: Sequence[str]) -> alt.Color:
    """Names in their order, each in its colour (repeated when there are more names)."""
    used = [colours[i % len(colours)] for i in range(len(names))]
    columns = max(1, int(WIDTH / (7.5 * max(map(len, names), default=1) + 46)))  # page.js does the same for its own width
    scale, legend = alt.Scale(domain=list(names), range=used), alt.Legend(columns=columns)
    return alt.Color(f"{field}:N", scale=scale, sort=list(names), legend=legend)


def seconds_axis(end_s: float, *, title: str | None = "time since the start (s)", labels: bool = True) -> alt.X:
    axis = alt.Axis(title=title, labels=labels, ticks=labels, tickCount=8)
    return alt.X("t:Q", scale=alt.Scale(domain=[0, end_s], nice=False), axis=axis)


def ms(value_ns: float) -> float:
    """Milliseconds to four digits: as fine as the histogram."""
    return float(f"{value_ns / 1e6:.4g}")
