"""Repeats side by side: the percentiles of each run with its own interval, and the interval over the runs behind them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from clipload.estimate import Repeats
from clipload.reports.plots.palette import BLUE, GREEN, HEIGHT, ORANGE, WIDTH, Panel, clickable, coloured, kept, ms, values
from clipload.run import Run
from clipload.spread import QUANTILES, estimates

_COLOURS = {"p50": GREEN, "p90": BLUE, "p99": ORANGE}


def over_runs(runs: Sequence[Run], found: Mapping[str, Repeats]) -> Panel:
    """Runs that count, in order of their seeds. A figure that nothing bounds above has an interval to the top."""
    rows = [row for place, run in enumerate(runs) for row in _rows(place + 1, run)]
    finite = [row[name] for row in rows for name in ("ms", "low", "high") if row[name]]
    bottom, top = min(finite, default=1.0) / 1.3, max(finite, default=1.0) * 1.3
    for row in rows:
        row["ms"], row["high"], row["low"] = row["ms"] or top, row["high"] or top, row["low"] or bottom
    bands = [
        {"label": name, "low": max(bottom, _ms(one.estimate.low) or bottom), "high": _ms(one.estimate.high) or top}
        for name, one in found.items()
        if name in QUANTILES
    ]
    chosen = clickable("label", "runs")
    colour = coloured("label", list(_COLOURS), list(_COLOURS.values()))
    scale = alt.Scale(type="log", domain=[bottom, top], nice=False)
    axis = alt.Axis(minExtent=58, maxExtent=58)
    shown: dict[str, Any] = {"color": colour, "opacity": kept(chosen)}
    x = alt.X("run:O", title="run", axis=alt.Axis(labelAngle=0))
    base = alt.Chart(values(rows)).encode(x=x, **shown)
    low = alt.Y("low:Q", title="latency (ms)", scale=scale, axis=axis)
    tips = [alt.Tooltip("run:O"), alt.Tooltip("seed:Q"), alt.Tooltip("label:N"), *_BOUNDS]
    band = alt.Chart(values(bands)).mark_rect().encode(color=colour, opacity=kept(chosen, 0.15), y=low, y2="high:Q")
    bars = base.mark_rule(strokeWidth=1.5).encode(y=low, y2="high:Q")
    y = alt.Y("ms:Q", title="latency (ms)", scale=scale, axis=axis)
    dots = base.mark_point(filled=True, size=60).encode(y=y, tooltip=tips).add_params(chosen)
    return alt.layer(*([band] if bands else []), bars, dots).properties(width=WIDTH, height=HEIGHT)


_BOUNDS = [alt.Tooltip("ms:Q", title="latency (ms)"), alt.Tooltip("low:Q", title="≥"), alt.Tooltip("high:Q", title="≤")]


def _rows(number: int, run: Run) -> list[dict[str, Any]]:
    """None stands for what is infinite."""
    figures = estimates(run)
    return [
        {"run": number, "seed": run.plan.seed, "label": label}
        | {name: _ms(getattr(figures[label], which)) for name, which in (("ms", "value"), ("low", "low"), ("high", "high"))}
        for label in QUANTILES
        if label in figures
    ]


def _ms(value_ns: float) -> float | None:
    return ms(value_ns) if math.isfinite(value_ns) else None


def over_runs_sentence(runs: Sequence[Run], found: Mapping[str, Repeats]) -> str:
    """How much the runs differ beyond what each knows of itself."""
    said = []
    for name in QUANTILES:
        one = found.get(name)
        if one is None or one.between is None or one.within is None or not math.isfinite(one.within):
            continue
        if one.within > 0 and one.between > 1.5 * one.within:
            said.append(f"{name} differs {one.between / one.within:.2g} times as much between runs as within one")
    together = "; ".join(said) if said else "the runs differ no more than each one's own interval lets one expect"
    whole = f"{together[:1].upper()}{together[1:]}"
    return f"{whole}. Bars: of a run by itself; bands: of the median over {len(runs)} runs."
