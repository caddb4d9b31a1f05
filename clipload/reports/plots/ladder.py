"""Throughput and response time against the requests in flight, with what laws can be fitted to them. Closed loops only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np

from clipload.reports.plots.palette import BLUE, GREEN, GREY, ORANGE, WIDTH, Panel, clickable, coloured, kept, ms, values
from clipload.reports.points import client_limited, flaw
from clipload.run import Run
from clipload.scaling import BatchLaw, Refusal, Rung, Usl, fit_batch_law, fit_usl, knee
from clipload.spread import estimates
from clipload.units import format_ns

_MEASURED = "measured"
_LAWS = {"USL": ORANGE, "batch law": GREEN}
_BEYOND = 1.5  # of the highest concurrency: so far the laws are drawn, dashed where nothing was tried
Rows = list[dict[str, Any]]


def rungs(runs: Sequence[Run]) -> list[Rung]:
    """Requests/s by requests in flight; a client-limited point is a lower bound and does not count."""
    return [Rung(run.plan.concurrency or 0, run.requests_per_s, flaw(run) or _limited(run)) for run in runs]


def _limited(run: Run) -> str:
    return "client-limited: the target does at least this much" if client_limited(run) else ""


def fits(runs: Sequence[Run]) -> dict[str, Usl | BatchLaw | Refusal]:
    found = rungs(runs)
    return {"USL": fit_usl(found), "batch law": fit_batch_law(found)}


def ladder(runs: Sequence[Run]) -> Panel:
    """X(N) and R(N): points with 95 % intervals, laws where the points bear one, dashed where they are extrapolated."""
    ordered = sorted(runs, key=lambda run: run.plan.concurrency or 0)
    laws = {name: law for name, law in fits(runs).items() if not isinstance(law, Refusal)}
    curves = [row for name, law in laws.items() for row in _curve(name, law, ordered[-1].plan.concurrency or 1)]
    points = [_point(run) for run in ordered]
    panels = [
        _panel(points, curves, "x", "throughput (requests/s)", [_MEASURED, *laws]),
        _panel(points, curves, "r", "response time (ms)", [_MEASURED, *laws]),
    ]
    return alt.vconcat(*panels).resolve_scale(color="independent")


def _point(run: Run) -> dict[str, Any]:
    """R is the median of latency; of a whole loop N/X would be the mean, which is what the laws give."""
    figures, size = estimates(run), run.plan.batch_size
    rate, p50 = figures["throughput"], figures.get("p50")
    found: dict[str, Any] = {"n": run.plan.concurrency, "series": _MEASURED, "flaw": flaw(run) or _limited(run)}
    found |= {"x": _short(rate.value / size), "x_low": _short(rate.low / size), "x_high": _short(rate.high / size)}
    if p50 is not None:
        found |= {"r": _ms(p50.value), "r_low": _ms(p50.low), "r_high": _ms(p50.high)}
    return found


def _short(value: float) -> float | None:
    return float(f"{value:.4g}") if math.isfinite(value) else None


def _ms(value_ns: float) -> float | None:
    return ms(value_ns) if math.isfinite(value_ns) else None


def _curve(name: str, law: Usl | BatchLaw, last: int) -> Rows:
    """In two pieces, tried and extrapolated, that meet."""
    rows: Rows = []
    first, until = law.tried
    for piece, begin, end in (("tried", first, until), ("extrapolated", until, _BEYOND * last)):
        for n in np.geomspace(begin, max(end, begin), 40).tolist():
            x = law.reading(n).throughput
            rows.append({"n": _short(n), "series": name, "piece": piece, "x": _short(x), "r": ms(n / x * 1e9)})
    return rows


def _panel(points: Rows, curves: Rows, y: str, title: str, names: list[str]) -> Panel:
    chosen = clickable("series", y)
    colour = coloured("series", names, [BLUE, *(_LAWS[name] for name in names[1:])])
    x = alt.X("n:Q", title="requests in flight", scale=alt.Scale(type="log", base=2, nice=False, padding=12),
              axis=alt.Axis(format="~g", values=sorted({row["n"] for row in points}), labelOverlap=True))  # fmt: skip
    height = alt.Y(f"{y}:Q", title=title, scale=alt.Scale(zero=True), axis=alt.Axis(minExtent=58, maxExtent=58, tickCount=5))
    tips = [
        alt.Tooltip("n:Q", title="in flight"),
        alt.Tooltip(f"{y}:Q", title=title),
        alt.Tooltip(f"{y}_low:Q", title="at least"),
        alt.Tooltip(f"{y}_high:Q", title="at most"),
    ]
    dashes = alt.Scale(domain=["tried", "extrapolated"], range=[[1, 0], [4, 4]])
    law = (
        alt.Chart(values(curves))
        .mark_line(strokeWidth=2)
        .encode(
            x=x, y=height, color=colour, opacity=kept(chosen), strokeDash=alt.StrokeDash("piece:N", legend=None, scale=dashes)
        )
    )
    sound = [row for row in points if not row["flaw"]]
    bounded = [row for row in sound if row.get(f"{y}_low") is not None and row.get(f"{y}_high") is not None]
    base = alt.Chart(values(sound)).encode(x=x, color=colour, opacity=kept(chosen))
    spans = alt.Chart(values(bounded)).encode(x=x, color=colour, opacity=kept(chosen))
    bars = spans.mark_rule(strokeWidth=1.5).encode(y=f"{y}_low:Q", y2=f"{y}_high:Q")
    dots = base.mark_point(filled=True, size=60).encode(y=height, tooltip=tips).add_params(chosen)
    flawed = alt.Chart(values([row for row in points if row["flaw"]])).mark_point(shape="cross", color=GREY, size=60, angle=45)
    grey = flawed.encode(x=x, y=height, tooltip=[*tips, alt.Tooltip("flaw:N", title="does not count")])
    layers = [
        *([law] if curves else []),
        *([bars] if bounded else []),
        dots,
        *([grey] if any(row["flaw"] for row in points) else []),
    ]
    return alt.layer(*layers).properties(width=WIDTH, height=190)


def ladder_sentence(runs: Sequence[Run]) -> str:
    """The knee, and of each law what it says or why it is refused."""
    found = rungs(runs)
    turn = knee(found)
    said = []
    if turn is not None:
        bound = "" if turn.plateau else "at least "
        said.append(
            f"The highest throughput is {bound}{turn.throughput:.4g} requests/s; with the {format_ns(turn.response_s * 1e9)} "
            f"of the smallest load it is reached with {bound}{turn.concurrency:.3g} in flight (the knee)."
        )
    for name, law in fits(runs).items():
        if isinstance(law, Refusal):
            said.append(f"{name[:1].upper()}{name[1:]}: {law}.")
        elif isinstance(law, Usl):
            said.append(f"USL: highest at {law.peak}.")
        else:
            said.append(_batches(law))
    out = [f"{rung.concurrency} ({rung.flaw})" for rung in found if rung.flaw]
    return " ".join(said + ([f"Greyed, as they do not count: {', '.join(out)}."] if out else []))


def _batches(law: BatchLaw) -> str:
    bound, beyond = "" if law.reached else "at least ", " (extrapolated)" if law.peak.extrapolated else ""
    fixed, each = format_ns(law.fixed_s.value * 1e9), format_ns(law.each_s.value * 1e9)
    full = f"{bound}{law.peak.throughput:.4g} requests/s in the fullest batch, {bound}{law.most.value:g}{beyond}"
    return f"Batch law: {fixed} a batch and {each} a request, {full}."
