"""Percentile spectrum: what share of the requests took how long, the slow ones drawn out as far as the others."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import altair as alt
import numpy as np

from clipload.histogram import LOWEST, Histogram
from clipload.reports.percentiles import believed_said
from clipload.reports.plots.palette import (
    BLUE,
    GREEN,
    HEIGHT,
    MANY,
    ORANGE,
    WIDTH,
    Panel,
    clickable,
    coloured,
    kept,
    ms,
    values,
)
from clipload.run import Run
from clipload.units import format_ns

SERIES = {"latency": "latency (done − due)", "service": "service (done − sent)", "server_time": "the server's own time"}
_COLOURS = {"latency": BLUE, "service": ORANGE, "server_time": GREEN}
_POINTS = 160
_WIDE = 20.0  # slowest over median, above which a straight axis would flatten the rest
_APART = 1.05
_TICKS = {1: "0 %", 2: "50 %", 4: "75 %", 10: "90 %", 100: "99 %", 1000: "99.9 %", 10**4: "99.99 %", 10**5: "99.999 %",
          10**6: "99.9999 %"}  # fmt: skip


def spectrum(run: Run) -> Panel:
    """Latency and service time of ok requests, overlaid; the target's own time where it told one."""
    shown = {label: run.measure.histogram(name) for name, label in SERIES.items() if run.measure.histogram(name).total}
    return _drawn(shown, [_COLOURS[name] for name, label in SERIES.items() if label in shown])


def spectra(runs: Sequence[tuple[str, Run]]) -> Panel:
    """The latency of each of several labelled Runs."""
    shown = {label: run.measure.histogram("latency") for label, run in runs if run.measure.histogram("latency").total}
    return _drawn(shown, MANY)


def _drawn(shown: dict[str, Histogram], colours: Sequence[str]) -> Panel:
    rows = [row for label, histogram in shown.items() for row in _rows(label, histogram)]
    most = max((histogram.total for histogram in shown.values()), default=1)
    ticks = [tick for tick in _TICKS if tick <= max(most, 10)]
    slowest = max((histogram.max for histogram in shown.values()), default=1)
    spread = slowest > _WIDE * min((histogram.quantile(0.5) for histogram in shown.values()), default=1)
    dashes = [[5, 3] if label == SERIES["service"] else [1, 0] for label in shown]  # it may lie on latency
    chosen = clickable("series", "spectrum")
    return (
        alt.Chart(values(rows))
        .mark_line(strokeWidth=2)
        .encode(
            x=alt.X(
                "odds:Q",
                title="share of requests that took at most so long",
                scale=alt.Scale(type="log", domain=[1, max(most, 10)], nice=False),
                axis=alt.Axis(values=ticks, labelExpr=_labels(ticks), grid=True),
            ),
            y=alt.Y("ms:Q", title="ms", scale=alt.Scale(type="log") if spread else alt.Scale(zero=True)),
            strokeDash=alt.StrokeDash("series:N", sort=list(shown), scale=alt.Scale(domain=list(shown), range=dashes)),
            color=coloured("series", list(shown), colours),
            opacity=kept(chosen),
            tooltip=[
                alt.Tooltip("series:N"),
                alt.Tooltip("percent:Q", title="% of requests", format=".5~g"),
                alt.Tooltip("ms:Q", title="at most (ms)"),
            ],
        )
        .add_params(chosen)
        .properties(width=WIDTH, height=HEIGHT)
    )


def _labels(ticks: Sequence[int]) -> str:
    return "{" + ",".join(f"'{tick}':'{_TICKS[tick]}'" for tick in ticks) + "}[datum.value]"


def _rows(label: str, histogram: Histogram) -> list[dict[str, float | str]]:
    """Equally far apart on the axis, as far as the histogram has requests; a value that stays is told at its ends only.

    Below LOWEST nothing is resolved.
    """
    odds = np.geomspace(1, histogram.total, _POINTS) if histogram.total > 1 else np.ones(1)
    found = [(float(odd), ns) for odd, ns in zip(odds, histogram.quantiles([1 - 1 / float(odd) for odd in odds]))]
    found[-1] = (found[-1][0], histogram.max)
    kept_ = [
        found[0],
        *(here for (before, here), after in zip(pairwise(found), found[2:]) if not before[1] == here[1] == after[1]),
    ]
    kept_ += found[-1:] if len(found) > 1 else []
    return [
        {
            "series": label,
            "odds": float(f"{odd:.5g}"),
            "percent": float(f"{100 * (1 - 1 / odd):.7g}"),
            "ms": ms(max(ns, LOWEST)),
        }
        for odd, ns in kept_
    ]


def spectrum_sentence(run: Run) -> str:
    latency, service = run.measure.histogram("latency"), run.measure.histogram("service")
    p50, p99 = (run.figures.quantiles["latency"][label] for label in ("p50", "p99"))
    said = (
        f"Of {latency.total} ok requests half took at most {p50.said} ({believed_said(p50)}), "
        f"99 % at most {p99.said} ({believed_said(p99)}), the slowest {format_ns(latency.max)}, "
        "each counted from the instant at which it was due."
    )
    own = service.quantile(0.99)
    if p99.value > _APART * own:
        said += f" From the instant at which it was sent p99 is {format_ns(own)}: the rest was spent waiting to be sent."
    else:
        said += " Latency and service time are the same within 5 %: hardly any of it was spent waiting to be sent."
    return said + _failed(run)


def _failed(run: Run) -> str:
    lost = run.measure.not_ok
    if not lost:
        return ""
    found = run.figures.with_failures["latency"]["p99"]
    said = f"{found.said} ({believed_said(found)})"
    return f" The {lost} requests that were not ok are not drawn; were each infinitely slow, p99 would be {said}."


def spectra_sentence(runs: Sequence[tuple[str, Run]]) -> str:
    p99 = {
        label: run.measure.histogram("latency").quantile(0.99) for label, run in runs if run.measure.histogram("latency").total
    }
    low, high = min(p99, key=lambda label: p99[label]), max(p99, key=lambda label: p99[label])
    return f"p99 of latency lies between {format_ns(p99[low])} ({low}) and {format_ns(p99[high])} ({high})."
