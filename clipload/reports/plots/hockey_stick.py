"""The hockey stick: latency against the rate that was offered, and what came back of it. Open loops only."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import altair as alt

from clipload.estimate import Estimate
from clipload.reports.percentiles import believed_said
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
from clipload.reports.points import between, flaw, offered
from clipload.run import Run
from clipload.spread import QUANTILES, estimates
from clipload.units import format_ns

_COLOURS = {"p50": GREEN, "p90": BLUE, "p99": ORANGE}
_HEADROOM = 1.6  # of the highest figure: there the figures stand that nothing bounds
Rows = list[dict[str, Any]]


def hockey_stick(runs: Sequence[Run], objective_ns: float | None = None, capacity: tuple[float, float] | None = None) -> Panel:
    """p50, p90 and p99 of all requests (not ok: infinite) with 95 % intervals over the offered rate, and the rate achieved.

    `objective_ns` is drawn as a line, `capacity` (requests/s, ∞ allowed) as a band. Grey: Runs that do not count, with why.
    """
    found = [(run, estimates(run), flaw(run)) for run in sorted(runs, key=offered)]
    rows = _rows(found)
    figures = [row[name] for row in rows for name in ("ms", "low") if row[name]] + ([ms(objective_ns)] if objective_ns else [])
    bottom, top = min(figures, default=1.0) / _HEADROOM, max(figures, default=1.0) * _HEADROOM
    for row in rows:
        row["open"], row["finite"] = row["high"] is None, row["ms"] is not None
        row["ms"], row["high"] = (top if row[name] is None else min(row[name], top) for name in ("ms", "high"))
        row["low"] = top if row["low"] is None else max(row["low"], bottom)
    marks = _marks(objective_ns, capacity, (min(map(offered, runs)), max(map(offered, runs))))
    return alt.vconcat(_latency(rows, marks, (bottom, top)), _achieved(found)).resolve_scale(color="independent")


def _rows(found: Sequence[tuple[Run, dict[str, Estimate], str]]) -> Rows:
    """None stands for ∞."""
    return [
        {
            "offered": _short(offered(run)),
            "achieved": _short(run.requests_per_s),
            "series": label,
            "said": format_ns(figures[label].value),
            "within": between(figures[label]),
            **{
                name: _ms(getattr(figures[label], which)) for name, which in (("ms", "value"), ("low", "low"), ("high", "high"))
            },
            "flaw": why,
        }
        for run, figures, why in found
        for label in QUANTILES
        if label in figures
    ]


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def _ms(value_ns: float) -> float | None:
    return ms(value_ns) if math.isfinite(value_ns) else None


def _x() -> alt.X:
    scale = alt.Scale(zero=False, padding=18, nice=False)
    return alt.X("offered:Q", title="offered (requests/s)", scale=scale, axis=alt.Axis(tickCount=10))


_GREY_MARK: dict[str, Any] = {"shape": "cross", "color": GREY, "size": 60, "angle": 45, "opacity": 1}


def _layers(*pairs: tuple[Rows, Callable[[alt.Chart], Panel]]) -> list[Panel]:
    """A layer for each that has rows: vega would warn of those that have none."""
    return [draw(alt.Chart(values(rows))) for rows, draw in pairs if rows]


def _latency(rows: Rows, marks: list[Panel], domain: tuple[float, float]) -> Panel:
    chosen = clickable("series", "latency")
    colour = coloured("series", list(_COLOURS), list(_COLOURS.values()))
    scale = alt.Scale(type="log", domain=list(domain), nice=False)
    y = alt.Y("ms:Q", title="latency (ms)", scale=scale, axis=alt.Axis(minExtent=58, maxExtent=58))
    low = alt.Y("low:Q", title="latency (ms)", scale=scale)
    tips = [alt.Tooltip(name, title=title) for name, title in _TIPS.items()]
    sound, grey = [row for row in rows if not row["flaw"]], [row for row in rows if row["flaw"]]
    shown: dict[str, Any] = {"x": _x(), "color": colour, "opacity": kept(chosen)}
    layers = _layers(
        (sound, lambda chart: chart.mark_rule(strokeWidth=1.5).encode(**shown, y=low, y2="high:Q")),
        (sound, lambda chart: chart.mark_line(strokeWidth=2).encode(**shown, y=y).add_params(chosen)),
        ([row for row in sound if row["finite"]], lambda chart: _dots(chart).encode(**shown, y=y, tooltip=tips)),
        ([row for row in sound if row["open"]], lambda chart: _up(chart).encode(**shown, tooltip=tips)),
        (grey, lambda chart: chart.mark_point(**_GREY_MARK).encode(x=_x(), y=y, tooltip=[*tips, _WHY])),
    )
    return alt.layer(*marks, *layers).properties(width=WIDTH, height=HEIGHT)


_TIPS = {
    "series:N": "quantile",
    "offered:Q": "offered (requests/s)",
    "achieved:Q": "achieved (requests/s)",
    "said:N": "latency",
    "within:N": "95 %",
}
_WHY = alt.Tooltip("flaw:N", title="does not count")


def _dots(chart: alt.Chart) -> Panel:
    return chart.mark_point(filled=True, size=55)


def _up(chart: alt.Chart) -> Panel:
    """What nothing bounds above ends in an arrow."""
    return chart.mark_point(shape="triangle-up", filled=True, size=70).encode(y=alt.Y("high:Q", title="latency (ms)"))


def _marks(objective_ns: float | None, capacity: tuple[float, float] | None, tried: tuple[float, float]) -> list[Panel]:
    found: list[Panel] = []
    if capacity is not None:
        low, high = max(capacity[0], tried[0]), min(capacity[1], tried[1])
        band = alt.Chart(values([{"offered": low, "high": high}])).mark_rect(color=BLUE, opacity=0.13)
        found.append(band.encode(x=_x(), x2="high:Q"))
    if objective_ns is not None:
        row = {"ms": ms(objective_ns), "word": f"objective {format_ns(objective_ns)}"}
        base = alt.Chart(values([row])).encode(y=alt.Y("ms:Q", title="latency (ms)"))
        found.append(base.mark_rule(color=RED, strokeDash=[6, 4]))
        found.append(
            base.mark_text(color=RED, align="left", baseline="bottom", dx=4, dy=-3).encode(x=alt.value(0), text="word:N")
        )
    return found


def _achieved(found: Sequence[tuple[Run, dict[str, Estimate], str]]) -> Panel:
    rows: Rows = [
        {"offered": _short(offered(run)), "achieved": _short(run.requests_per_s), "flaw": why} for run, _, why in found
    ]
    axis = alt.Axis(minExtent=58, maxExtent=58, tickCount=4)
    y = alt.Y("achieved:Q", title="achieved (requests/s)", axis=axis, scale=alt.Scale(zero=True))
    tips = [alt.Tooltip("offered:Q"), alt.Tooltip("achieved:Q")]
    sound, grey = [row for row in rows if not row["flaw"]], [row for row in rows if row["flaw"]]
    even: dict[str, Any] = {"x": _x(), "y": alt.Y("offered:Q", title="achieved (requests/s)")}
    layers = _layers(
        (rows, lambda chart: chart.mark_line(color=GREY, strokeDash=[3, 3]).encode(**even)),
        (sound, lambda chart: chart.mark_line(color=BLUE, strokeWidth=2).encode(x=_x(), y=y)),
        (sound, lambda chart: chart.mark_point(filled=True, size=55, color=BLUE, opacity=1).encode(x=_x(), y=y, tooltip=tips)),
        (grey, lambda chart: chart.mark_point(**_GREY_MARK).encode(x=_x(), y=y, tooltip=[*tips, _WHY])),
    )
    return alt.layer(*layers).properties(width=WIDTH, height=130)


def hockey_stick_sentence(runs: Sequence[Run]) -> str:
    ordered = sorted(runs, key=offered)
    sound = [run for run in ordered if not flaw(run)]
    said = []
    told = [(run, estimates(run)) for run in sound]
    told = [(run, figures) for run, figures in told if "p99" in figures]
    if told:
        (first, low), (last, high) = told[0], told[-1]
        said.append(
            f"p99 goes from {low['p99'].said} ({believed_said(low['p99'])}) at {offered(first):.4g} requests/s "
            f"to {high['p99'].said} ({believed_said(high['p99'])}) at {offered(last):.4g}"
        )
        behind = [run for run in sound if run.requests_per_s < 0.95 * offered(run)]
        said.append(
            f"from {offered(behind[0]):.4g} requests/s on less than 95 % of what was offered came back in time"
            if behind
            else "at each rate the target kept up"
        )
    out = [f"{offered(run):.4g} requests/s ({flaw(run)})" for run in ordered if flaw(run)]
    said += [f"greyed, as they do not count: {', '.join(out)}"] if out else []
    return f"{'; '.join(said)}. Requests that were not ok count as infinitely slow; ▲ marks what nothing bounds above."
