"""The hockey stick: latency against the rate that was offered, and what came back of it. Open loops only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import altair as alt

from clipload.compare import QUANTILES, estimates
from clipload.estimate import Estimate
from clipload.reports.plots.palette import (
    BLUE,
    GREEN,
    GREY,
    HEIGHT,
    ORANGE,
    RED,
    WIDTH,
    Panel,
    clickable,
    coloured,
    kept,
    ms,
    values,
)
from clipload.reports.points import flaw, offered
from clipload.run import Run
from clipload.units import format_ns

_COLOURS = {"p50": GREEN, "p90": BLUE, "p99": ORANGE}
_HEADROOM = 1.6  # of the highest figure: there the figures stand that nothing bounds
Rows = list[dict[str, Any]]


def hockey_stick(runs: Sequence[Run], objective_ns: float | None = None, capacity: tuple[float, float] | None = None) -> Panel:
    """p50, p90 and p99 of all requests (not ok: infinite) with 95 % intervals over the offered rate, and the rate achieved.

    `objective_ns` is drawn as a line, `capacity` (requests/s, ∞ allowed) as a band. Grey: Runs that do not count, with why.
    """
    found = [(run, estimates(run), flaw(run)) for run in sorted(runs, key=offered)]
    latencies = _rows(found)
    figures = [row["ms"] for row in latencies if row["ms"] is not None] + ([ms(objective_ns)] if objective_ns else [])
    top = _HEADROOM * max(figures, default=1.0)
    for row in latencies:
        row["ms"], row["open"] = (top, True) if row["ms"] is None else (row["ms"], row["high"] is None)
        row["low"] = top if row["low"] is None else max(row["low"], 0.5 * min(figures, default=1.0))
        row["high"] = top if row["high"] is None else row["high"]
    marks = _marks(objective_ns, capacity, max(offered(run) for run in runs))
    return alt.vconcat(_latency(latencies, marks), _achieved(found)).resolve_scale(color="independent")


def _rows(found: Sequence[tuple[Run, dict[str, Estimate], str]]) -> Rows:
    return [
        {
            "offered": float(f"{offered(run):.4g}"),
            "achieved": float(f"{run.requests_per_s:.4g}"),
            "series": label,
            "ms": _ms(figures[label].value),
            "low": _ms(figures[label].low),
            "high": _ms(figures[label].high),
            "flaw": why,
        }
        for run, figures, why in found
        for label in QUANTILES
        if label in figures
    ]


def _ms(value_ns: float) -> float | None:
    return ms(value_ns) if math.isfinite(value_ns) else None


def _x(title: str | None, **more: Any) -> alt.X:
    return alt.X("offered:Q", title=title, scale=alt.Scale(zero=False, padding=18, nice=False), **more)


def _latency(rows: Rows, marks: list[alt.Chart]) -> Panel:
    chosen = clickable("series", "latency")
    sound = [row for row in rows if not row["flaw"]]
    colour = coloured("series", list(_COLOURS), list(_COLOURS.values()))
    y = alt.Y("ms:Q", title="latency (ms)", scale=alt.Scale(type="log", zero=False), axis=alt.Axis(minExtent=58, maxExtent=58))
    tips = [
        alt.Tooltip("series:N"),
        alt.Tooltip("offered:Q", title="offered (requests/s)"),
        alt.Tooltip("achieved:Q", title="achieved (requests/s)"),
        alt.Tooltip("ms:Q", title="ms"),
        alt.Tooltip("low:Q", title="at least (ms)"),
        alt.Tooltip("high:Q", title="at most (ms)"),
        alt.Tooltip("flaw:N", title="does not count"),
    ]
    counted = alt.Chart(values(sound)).encode(x=_x("offered (requests/s)"), color=colour, opacity=kept(chosen))
    line = counted.mark_line(strokeWidth=2).encode(y=y)
    bar = counted.mark_rule(strokeWidth=1.5).encode(y="low:Q", y2="high:Q")
    dots = counted.mark_point(filled=True, size=55).encode(y=y, tooltip=tips[:-1])
    beyond = alt.Chart(values([row for row in sound if row["open"]])).mark_point(shape="triangle-up", filled=True, size=70)
    up = beyond.encode(x=_x(None), y="high:Q", color=colour, opacity=kept(chosen), tooltip=tips[:-1])
    out = alt.Chart(values([row for row in rows if row["flaw"]])).mark_point(shape="cross", color=GREY, size=60, angle=45)
    grey = out.encode(x=_x(None), y=y, tooltip=tips)
    return alt.layer(*marks, bar, line, dots.add_params(chosen), up, grey).properties(width=WIDTH, height=HEIGHT)


def _marks(objective_ns: float | None, capacity: tuple[float, float] | None, most: float) -> list[alt.Chart]:
    found = []
    if capacity is not None:
        low, high = capacity[0], min(capacity[1], most)
        band = alt.Chart(values([{"offered": low, "high": high}])).mark_rect(color=BLUE, opacity=0.13)
        found.append(band.encode(x=_x(None), x2="high:Q"))
    if objective_ns is not None:
        base = alt.Chart(values([{"ms": ms(objective_ns), "word": f"objective {format_ns(objective_ns)}"}])).encode(y="ms:Q")
        found.append(base.mark_rule(color=RED, strokeDash=[6, 4]))
        found.append(
            base.mark_text(color=RED, align="left", baseline="bottom", dx=4, dy=-3).encode(x=alt.value(0), text="word:N")
        )
    return found


def _achieved(found: Sequence[tuple[Run, dict[str, Estimate], str]]) -> Panel:
    rows = [
        {"offered": float(f"{offered(run):.4g}"), "achieved": float(f"{run.requests_per_s:.4g}"), "flaw": why}
        for run, _, why in found
    ]
    axis = alt.Axis(minExtent=58, maxExtent=58, tickCount=4)
    y = alt.Y("achieved:Q", title="achieved (requests/s)", axis=axis, scale=alt.Scale(zero=False))
    even = alt.Chart(values(rows)).mark_line(color=GREY, strokeDash=[3, 3]).encode(x=_x(None), y=alt.Y("offered:Q"))
    base = alt.Chart(values([row for row in rows if not row["flaw"]])).encode(x=_x("offered (requests/s)"), y=y)
    line = base.mark_line(color=BLUE, strokeWidth=2)
    dots = base.mark_point(filled=True, size=55, color=BLUE).encode(tooltip=["offered:Q", "achieved:Q"])
    flawed = alt.Chart(values([row for row in rows if row["flaw"]])).mark_point(shape="cross", color=GREY, size=60, angle=45)
    grey = flawed.encode(x=_x(None), y=y, tooltip=["offered:Q", "achieved:Q", "flaw:N"])
    return alt.layer(even, line, dots, grey).properties(width=WIDTH, height=130)


def hockey_stick_sentence(runs: Sequence[Run]) -> str:
    ordered = sorted(runs, key=offered)
    sound = [run for run in ordered if not flaw(run)]
    said = []
    told = [(run, estimates(run)) for run in sound]
    told = [(run, figures) for run, figures in told if "p99" in figures]
    if told:
        (first, low), (last, high) = told[0], told[-1]
        said.append(
            f"p99 goes from {format_ns(low['p99'].value)} at {offered(first):.4g} requests/s "
            f"to {format_ns(high['p99'].value)} at {offered(last):.4g}"
        )
        behind = [run for run in sound if run.requests_per_s < 0.95 * offered(run)]
        said.append(
            f"from {offered(behind[0]):.4g} requests/s on less than 95 % of what was offered came back in time"
            if behind
            else "at each rate the target kept up"
        )
    out = [f"{offered(run):.4g} requests/s ({flaw(run)})" for run in ordered if flaw(run)]
    said += [f"greyed, as they do not count: {', '.join(out)}"] if out else []
    text = "; ".join(said)
    return (
        f"{text[:1].upper()}{text[1:]}. Requests that were not ok count as infinitely slow; ▲ marks what nothing bounds above."
    )
