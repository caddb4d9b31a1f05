"""Timeline: what was due and what came back, latency, errors by class, requests in flight, the generator's lag."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import altair as alt

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
    values,
)
from clipload.reports.plots.panels import PANEL, Rows, Time, lines, phases_of, y_axis
from clipload.reports.slices import Slice, slices
from clipload.run import Run
from clipload.units import format_ns


def timeline(run: Run, pieces: Sequence[Slice] | None = None) -> Panel:
    """Panels over one time axis; vertical lines where a phase begins. Errors have a panel when there are any."""
    pieces = slices(run) if pieces is None else pieces
    end_s = pieces[-1].begin_s + pieces[-1].length_s if pieces else 1.0
    time, last = Time(end_s, phases_of(run, end_s)), [*_FIGURES][-1]
    errors = _errors(pieces)
    panels = [
        lines(figure(pieces), title, _COLOURS[title], time, words=place == 0, last=title == last)
        for place, (title, figure) in enumerate(_FIGURES.items())
    ]
    panels.insert(2, _stack(errors, time)) if errors else None
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


_FIGURES: dict[str, Callable[[Sequence[Slice]], Rows]] = {
    "requests/s": _rates,
    "latency (ms)": _latencies,
    "unanswered": _levels,
    "lag (ms)": _lags,
}
_COLOURS = {
    "requests/s": {"due": GREY, "done ok": BLUE},
    "latency (ms)": {"p99": ORANGE, "p50": BLUE},
    "unanswered": {"in flight": GREEN, "waiting for a connection": PURPLE},
    "lag (ms)": {"p99 of the generator's lag": TEAL},
}


def _errors(pieces: Sequence[Slice]) -> Rows:
    """Errors/s by class, each on top of those before it."""
    rows = []
    for piece in pieces:
        below = 0.0
        for name, rate in sorted(piece.failures.items()):
            until = round(piece.begin_s + piece.length_s, 3)
            y, y2 = (float(f"{height:.4g}") for height in (below, below + rate))
            rows.append({"t": piece.begin_s, "t2": until, "series": name, "y": y, "y2": y2, "rate": float(f"{rate:.4g}")})
            below += rate
    return rows


def _stack(rows: Rows, time: Time) -> Panel:
    chosen = clickable("series", "errors")
    bars = (
        alt.Chart(values(rows))
        .mark_rect()
        .encode(
            x=time.x(last=False),
            x2="t2:Q",
            y=alt.Y("y:Q", title="errors/s", scale=alt.Scale(zero=True, nice=True), axis=y_axis()),
            y2="y2:Q",
            color=coloured("series", sorted({row["series"] for row in rows}), ERRORS),
            opacity=kept(chosen),
            tooltip=[alt.Tooltip("series:N"), alt.Tooltip("t:Q", title="from (s)"), alt.Tooltip("rate:Q", title="errors/s")],
        )
        .add_params(chosen)
    )
    return alt.layer(*time.marks(last=False), bars).properties(width=WIDTH, height=PANEL)


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
