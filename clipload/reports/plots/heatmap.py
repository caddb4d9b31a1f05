"""Heat map: how many requests took how long, and when."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import numpy as np
from numpy.typing import NDArray

from clipload.histogram import COUNTS_LEN, lowest_equivalent
from clipload.reports.plots.palette import BLUE, HEIGHT, WIDTH, Panel, ms, values
from clipload.reports.slices import Slice, slices
from clipload.run import Run
from clipload.units import format_ns

_UP = 36
_LOWEST = 1_000  # ns: below it the histogram does not resolve


def heatmap(run: Run, pieces: Sequence[Slice] | None = None) -> Panel:
    """Latency of ok requests by the time at which they were done; the darker, the more requests."""
    pieces = slices(run) if pieces is None else pieces
    edges = _edges(run)
    cell_of = np.clip(np.searchsorted(edges, lowest_equivalent(np.arange(COUNTS_LEN)), side="right") - 1, 0, len(edges) - 2)
    rows = []
    for piece in pieces:
        counts = np.bincount(cell_of, piece.latency.counts, len(edges) - 1)
        for cell in np.flatnonzero(counts).tolist():
            begin, end = piece.begin_s, round(piece.begin_s + piece.length_s, 3)
            n = int(counts[cell])
            rows.append({"t": begin, "t2": end, "low": ms(edges[cell]), "high": ms(edges[cell + 1]), "n": n})
    end_s = pieces[-1].begin_s + pieces[-1].length_s if pieces else 1.0
    return (
        alt.Chart(values(rows))
        .mark_rect(color=BLUE)
        .encode(
            x=alt.X("t:Q", title="time since the start (s)", scale=alt.Scale(domain=[0, end_s], nice=False)),
            x2="t2:Q",
            y=alt.Y(
                "low:Q", title="latency (ms)", scale=alt.Scale(type="log", nice=False, domain=[ms(edges[0]), ms(edges[-1])])
            ),
            y2="high:Q",
            opacity=alt.Opacity("n:Q", scale=alt.Scale(type="sqrt", range=[0.08, 1], zero=False), legend=None),
            tooltip=[
                alt.Tooltip("t:Q", title="from (s)"),
                alt.Tooltip("low:Q", title="from (ms)"),
                alt.Tooltip("high:Q", title="to (ms)"),
                alt.Tooltip("n:Q", title="requests"),
            ],
        )
        .properties(width=WIDTH, height=HEIGHT)
    )


def _edges(run: Run) -> NDArray[np.float64]:
    """Equally far apart on a log axis, from the quickest to the slowest of all phases."""
    filled = [tally.histogram("latency") for tally in run.phases.values() if tally.histogram("latency").total]
    low = max(_LOWEST, min(histogram.min for histogram in filled))
    high = max(low + 1, max(histogram.max for histogram in filled))
    return np.geomspace(low * 0.98, max(high * 1.02, low * 1.5), _UP + 1)


def heatmap_sentence(run: Run, pieces: Sequence[Slice] | None = None) -> str:
    """Where the median of a piece of time was lowest and highest."""
    pieces = slices(run) if pieces is None else pieces
    medians = [(piece.latency.quantile(0.5), piece.begin_s) for piece in pieces if piece.latency.total]
    (low, when_low), (high, when_high) = min(medians), max(medians)
    if high <= 1.2 * low:
        return (
            f"Latency is even over time: in no part of the run is its median above {format_ns(high)} or below {format_ns(low)}."
        )
    return (
        f"The median of latency is lowest around second {when_low:.0f} ({format_ns(low)}) "
        f"and highest around second {when_high:.0f} ({format_ns(high)})."
    )
