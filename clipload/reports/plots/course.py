"""The course of a find: the rate of each probe in the order in which they were asked, and what became of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import altair as alt

from clipload.campaign import Point
from clipload.reports.campaign_tables import FATES, PURPOSES
from clipload.reports.plots.palette import BLUE, GREEN, GREY, ORANGE, RED, WIDTH, Panel, clickable, coloured, kept, values
from clipload.search import Answer

_COLOURS = {"pass": GREEN, "fail": RED, "overload": ORANGE, "inconclusive": BLUE, "unsound": GREY, "died": GREY}
_SHAPES = {"pass": "circle", "fail": "cross", "overload": "triangle-up", "inconclusive": "diamond"}  # else a square
_FRESH = ("confirm", "repeat")


def course(probes: Sequence[tuple[int, Point]], answer: Answer) -> Panel:
    """The open loops of one search: rate over number. The band is the capacity's interval, a ring a fresh probe."""
    rows = _rows(probes)
    fates = [fate for fate in FATES if any(row["fate"] == FATES[fate] for row in rows)]
    chosen = clickable("fate", "course")
    names = [FATES[fate] for fate in fates]
    domain, shapes = alt.Scale(domain=names, range=[_SHAPES.get(fate, "square") for fate in fates]), alt.Legend()
    rates = [row["rate"] for row in rows]
    y_scale = alt.Scale(type="log", domain=[min(rates) / 1.08, max(rates) * 1.08], nice=False)
    axis = alt.Axis(minExtent=58, maxExtent=58, format="~s", tickCount=5)
    y = alt.Y("rate:Q", title="offered (requests/s)", scale=y_scale, axis=axis)
    last = max(row["n"] for row in rows)
    x_scale = alt.Scale(domain=[min(row["n"] for row in rows) - 0.6, last + 0.6], nice=False)
    x = alt.X("n:Q", title="probe", scale=x_scale, axis=alt.Axis(format="d", tickMinStep=1))
    base = alt.Chart(values(rows)).encode(x=x, y=y)
    shape = alt.Shape("fate:N", scale=domain, sort=names, legend=shapes)
    colour = coloured("fate", names, [_COLOURS[fate] for fate in fates])
    dots = base.mark_point(filled=True, size=80).encode(shape=shape, color=colour, opacity=kept(chosen), tooltip=_TIPS)
    rings = alt.Chart(values([row for row in rows if row["fresh"]])).mark_point(shape="circle", size=260, color=GREY)
    layers = [
        *_band(answer, rates, y_scale),
        base.mark_line(color=GREY, strokeWidth=1, opacity=0.6),
        *([rings.encode(x=x, y=y)] if any(row["fresh"] for row in rows) else []),
        dots.add_params(chosen),
    ]
    return alt.layer(*layers).properties(width=WIDTH, height=220)


_TIPS = [
    alt.Tooltip("n:Q", title="probe"),
    alt.Tooltip("purpose:N"),
    alt.Tooltip("rate:Q", title="offered (requests/s)"),
    alt.Tooltip("achieved:Q", title="came back ok (requests/s)"),
    alt.Tooltip("fate:N"),
    alt.Tooltip("why:N"),
]


def _rows(probes: Sequence[tuple[int, Point]]) -> list[dict[str, Any]]:
    """Numbered as in the table of probes."""
    return [
        {
            "n": number,
            "rate": float(point.ask.values["rate"]),
            "achieved": float(f"{point.told.achieved:.4g}"),
            "purpose": PURPOSES[point.ask.why],
            "fresh": point.ask.why in _FRESH,
            "fate": FATES[point.told.fate],
            "why": point.told.sentence or "–",
        }
        for number, point in probes
    ]


def _band(answer: Answer, rates: Sequence[float], scale: alt.Scale) -> list[Panel]:
    if not answer.rate:
        return []
    low, high = max(answer.low, min(rates) / 1.08), min(answer.high, max(rates) * 1.08)
    chart = alt.Chart(values([{"rate": low, "high": high}])).mark_rect(color=BLUE, opacity=0.13)
    return [chart.encode(y=alt.Y("rate:Q", title="offered (requests/s)", scale=scale), y2="high:Q")]


def course_sentence(probes: Sequence[tuple[int, Point]], answer: Answer) -> str:
    """How the search went, in words."""
    rows = _rows(probes)
    told = {fate: sum(row["fate"] == said for row in rows) for fate, said in FATES.items()}
    counts = ", ".join(f"{count} {FATES[fate]}" for fate, count in told.items() if count)
    fresh = sum(row["fresh"] for row in rows)
    said = f"Rates rose until one missed the objective, then the gap was halved: {len(rows)} probes in an open loop ({counts})"
    ringed = f", {fresh} of them fresh ones of a rate that had been tried (ringed)" if fresh else ""
    if not answer.rate:
        return f"{said}{ringed}."
    top = f"{answer.high:.4g}" if math.isfinite(answer.high) else "no end"
    return f"{said}{ringed}. The band is the capacity's interval, {answer.low:.4g} to {top} requests/s."
