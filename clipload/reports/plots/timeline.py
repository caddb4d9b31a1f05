"""Timeline: what was due and what came back, latency, errors by class, requests in flight, the generator's lag."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from clipload.pacing import PHASES
from clipload.reports.plots.palette import (
    BLUE,
    ERRORS,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    TEAL,
    WIDTH,
    Panel,
    clickable,
    coloured,
    kept,
    ms,
    seconds_axis,
    values,
)
from clipload.reports.slices import Slice, slices
from clipload.run import Run
from clipload.units import format_ns

_PANEL = 110
_GUTTER = 58  # px for the labels of each panel, the same for all, so that their times stand one above the other
_WIDE = 20.0

Rows = list[dict[str, Any]]


def timeline(run: Run, pieces: Sequence[Slice] | None = None) -> Panel:
    """Panels over one time axis; vertical lines where a phase begins. Errors have a panel when there are any."""
    pieces = slices(run) if pieces is None else pieces
    end_s = pieces[-1].begin_s + pieces[-1].length_s if pieces else 1.0
    marks = _phases(run, end_s)
    errors = sorted({name for piece in pieces for name in piece.failures})
    panels = [
        _lines(_rates(pieces), "requests/s", ["due", "done ok"], [GREY, BLUE], end_s, marks),
        _lines(_latencies(pieces), "latency (ms)", ["p99", "p50"], [ORANGE, BLUE], end_s, marks),
        *([_stack(pieces, errors, end_s, marks)] if errors else []),
        _lines(_levels(pieces), "unanswered", ["in flight", "waiting for a connection"], [GREEN, PURPLE], end_s, marks),
        _lines(_lags(pieces), "lag (ms)", ["p99 of the generator's lag"], [TEAL], end_s, marks, last=True),
    ]
    return alt.vconcat(*panels).resolve_scale(color="independent")


def _long(pieces: Sequence[Slice], figures: dict[str, Any]) -> Rows:
    """One row for each piece and series that has a value."""
    rows = []
    for name, figure in figures.items():
        for piece in pieces:
            value = figure(piece)
            if value is not None:
                rows.append({"t": _middle(piece), "series": name, "y": float(f"{value:.4g}")})
    return rows


def _middle(piece: Slice) -> float:
    return round(piece.begin_s + piece.length_s / 2, 3)


def _rates(pieces: Sequence[Slice]) -> Rows:
    return _long(pieces, {"due": lambda piece: piece.per_s("scheduled"), "done ok": lambda piece: piece.per_s("ok")})


def _quantile(histogram: str, q: float) -> Any:
    def figure(piece: Slice) -> float | None:
        found = getattr(piece, histogram)
        return ms(found.quantile(q)) if found.total else None

    return figure


def _latencies(pieces: Sequence[Slice]) -> Rows:
    return _long(pieces, {"p99": _quantile("latency", 0.99), "p50": _quantile("latency", 0.5)})


def _levels(pieces: Sequence[Slice]) -> Rows:
    figures = {"in flight": lambda piece: piece.in_flight, "waiting for a connection": lambda piece: piece.waiting}
    return _long(pieces, figures)


def _lags(pieces: Sequence[Slice]) -> Rows:
    return _long(pieces, {"p99 of the generator's lag": _quantile("lag", 0.99)})


def _scale(rows: Rows) -> alt.Scale:
    """Straight from 0, or logarithmic when the highest is far above the rest."""
    found = sorted(row["y"] for row in rows if row["y"] > 0)
    wide = bool(found) and found[-1] > _WIDE * found[len(found) // 2]
    return alt.Scale(type="symlog" if wide else "linear", zero=True, nice=True)


def _y(title: str, rows: Rows) -> alt.Y:
    axis = alt.Axis(minExtent=_GUTTER, maxExtent=_GUTTER, tickCount=4, format="~s" if title != "lag (ms)" else "~g")
    return alt.Y("y:Q", title=title, scale=_scale(rows), axis=axis)


def _lines(
    rows: Rows, title: str, names: list[str], colours: list[str], end_s: float, marks: Panel, *, last: bool = False
) -> Panel:
    chosen = clickable("series", title.split()[0].replace("/", "_"))
    lines = (
        alt.Chart(values(rows))
        .mark_line(strokeWidth=1.6)
        .encode(
            x=seconds_axis(end_s, title="time since the start (s)" if last else None, labels=last),
            y=_y(title, rows),
            color=coloured("series", names, colours),
            opacity=kept(chosen),
            tooltip=[alt.Tooltip("series:N"), alt.Tooltip("t:Q", title="at (s)"), alt.Tooltip("y:Q", title=title)],
        )
        .add_params(chosen)
    )
    return alt.layer(marks, lines).properties(width=WIDTH, height=_PANEL)


def _stack(pieces: Sequence[Slice], names: list[str], end_s: float, marks: Panel) -> Panel:
    """Errors/s by class, one on the other."""
    rows = [
        {"t": piece.begin_s, "t2": round(piece.begin_s + piece.length_s, 3), "series": name, "y": float(f"{rate:.4g}")}
        for piece in pieces
        for name, rate in piece.failures.items()
    ]
    chosen = clickable("series", "errors")
    axis = alt.Axis(minExtent=_GUTTER, maxExtent=_GUTTER, tickCount=4)
    bars = (
        alt.Chart(values(rows))
        .mark_bar(strokeWidth=0)
        .encode(
            x=seconds_axis(end_s, title=None, labels=False),
            x2="t2:Q",
            y=alt.Y("y:Q", title="errors/s", stack=True, axis=axis),
            color=coloured("series", names, ERRORS),
            opacity=kept(chosen),
            tooltip=[alt.Tooltip("series:N"), alt.Tooltip("t:Q", title="from (s)"), alt.Tooltip("y:Q", title="errors/s")],
        )
        .add_params(chosen)
    )
    return alt.layer(marks, bars).properties(width=WIDTH, height=_PANEL)


def _phases(run: Run, end_s: float) -> Panel:
    """Where each phase of some length begins, after the first."""
    begins = [bound / 1e9 for bound in run.bounds]
    untils = [*begins[1:], end_s]
    rows = [
        {"t": begin, "phase": name}
        for name, begin, until in zip([*PHASES, "drain"], begins, untils)
        if 0 < begin < min(until, end_s)
    ]
    base = alt.Chart(values(rows)).encode(x=seconds_axis(end_s, title=None, labels=False))
    rule = base.mark_rule(color=GREY, strokeDash=[3, 3])
    word = base.mark_text(align="left", baseline="top", dx=4, color=GREY).encode(y=alt.value(0), text="phase:N")
    return alt.layer(rule, word)


def timeline_sentence(run: Run, pieces: Sequence[Slice] | None = None) -> str:
    """The worst piece of time of each panel, where there is something to be seen."""
    pieces = slices(run) if pieces is None else pieces
    filled = [piece for piece in pieces if piece.latency.total]
    if not filled:
        return "No request came back ok."
    p99, slow = max((piece.latency.quantile(0.99), piece.begin_s) for piece in filled)
    level, deep = max((piece.in_flight + piece.waiting, piece.begin_s) for piece in pieces)
    worst, when = max((sum(piece.failures.values()), piece.begin_s) for piece in pieces)
    lag = max((piece.lag.quantile(0.99) for piece in pieces if piece.lag.total), default=0)
    failed = f"most errors came around second {when:.0f}, {worst:.3g}/s" if worst else "no request failed"
    return (
        f"p99 was highest around second {slow:.0f}, at {format_ns(p99)}; most requests were unanswered around second "
        f"{deep:.0f}: {level}; {failed}. The generator's own lag had a p99 of at most {format_ns(lag)}."
    )
