"""Batch size against throughput, of one Run for each batch size: a table and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

from clipload.errors import CliploadError
from clipload.reports.descriptions import plural
from clipload.reports.percentiles import two_lines
from clipload.run import Run
from clipload.verdict import judge

if TYPE_CHECKING:
    import altair as alt

COLOURS = {"sound": "#1f6fb4", "degraded": "#e08a1e", "unsound": "#b3261e"}
NEARLY = 0.95
_CELL = 16  # columns of a percentile


def points(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """One row a Run, by batch size and then as given: what the table and the picture show. Latencies in ns, None when none."""
    return [_point(run) for run in _in_order(runs)]


def _in_order(runs: Sequence[Run]) -> list[Run]:
    return sorted(runs, key=lambda run: run.plan.batch_size)


def _point(run: Run) -> dict[str, Any]:
    latency = run.measure.histogram("latency")
    p50, p99 = latency.quantiles([0.5, 0.99]) if latency.total else (None, None)
    return {
        "batch_size": run.plan.batch_size,
        "throughput": run.throughput,
        "requests_per_s": run.requests_per_s,
        "p50": p50,
        "p99": p99,
        "not_ok": run.measure.not_ok,
        "generator": judge(run).generator,
    }


def batch_table(runs: Sequence[Run]) -> str:
    """The figures in columns, below each percentile its interval.

    A generator that is not sound is named, since its figures are its own.
    """
    heads = f"{'p50 latency':>{_CELL}}{'p99 latency':>{_CELL}}"
    lines = [f"{'batch_size':>10}{'samples/s':>12}{'requests/s':>12}{heads}{'not ok':>8}   generator"]
    for point, run in zip(points(runs), _in_order(runs)):
        latency = run.figures.quantiles.get("latency", {})
        (p50, below50), (p99, below99) = (two_lines(latency, label, _CELL, grey=False) for label in ("p50", "p99"))
        rates = f"{point['batch_size']:>10}{point['throughput']:>12.2f}{point['requests_per_s']:>12.2f}"
        lines.append(f"{rates}{p50}{p99}{point['not_ok']:>8}   {point['generator']}")
        lines += [f"{'':>34}{below50}{below99}"] if latency else []
    return "\n".join(lines)


def batch_chart(runs: Sequence[Run], behind: Sequence[alt.Chart] = ()) -> alt.TopLevelMixin:
    """Throughput over batch size, on a scale of powers of two; colour: whether the generator was sound. `behind`: what
    stands for the line between the points."""
    import altair as alt

    rows = points(runs)
    sizes = sorted({row["batch_size"] for row in rows})
    top = 1.1 * max(row["throughput"] for row in rows) or 1.0  # room for the label of the highest
    title = alt.Title(_title(runs), subtitle=_subtitle(runs), anchor="start", offset=12)
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        x=alt.X(
            "batch_size:Q",
            title="batch size (samples per request)",
            scale=alt.Scale(type="log", base=2, nice=False, padding=24),
            axis=alt.Axis(values=sizes, format="d", labelOverlap=False, labelFlush=False, grid=False),
        ),
        y=alt.Y("throughput:Q", title="throughput (samples/s)", scale=alt.Scale(domain=[0, top], nice=False)),
    )
    seen = [word for word in COLOURS if any(row["generator"] == word for row in rows)]
    colour = alt.Color(
        "generator:N",
        scale=alt.Scale(domain=seen, range=[COLOURS[word] for word in seen]),
        legend=alt.Legend(title="generator") if seen != ["sound"] else None,
    )
    line = base.mark_line(color="#9aa5b1")
    dots = base.mark_point(filled=True, opacity=1, size=70).encode(color=colour)
    labels = base.mark_text(dy=-13, fontSize=11).encode(text=alt.Text("throughput:Q", format=".3~s"))
    return alt.layer(*(behind or [line]), dots, labels).properties(title=title, width=560, height=320, background="white")


def batch_sentence(runs: Sequence[Run]) -> str:
    """The best batch size, and the smallest that is nearly as good."""
    rows = [row for row in points(runs) if row["generator"] != "unsound" and row["throughput"]]
    if not rows:
        return "No batch size has a figure that counts."
    best = max(rows, key=lambda row: row["throughput"])
    near = next(row for row in rows if row["throughput"] >= NEARLY * best["throughput"])
    said = f"The highest throughput is {best['throughput']:.4g} samples/s, with {best['batch_size']} samples a request"
    if near is best:
        return f"{said}; no smaller batch comes within 5 % of it."
    return f"{said}; {near['batch_size']} a request give {100 * near['throughput'] / best['throughput']:.0f} % of it already."


def _title(runs: Sequence[Run]) -> str:
    plan = runs[0].plan
    return f"Throughput by batch size: {plan.mode}, {plan.data_source}"


def _subtitle(runs: Sequence[Run]) -> str:
    plan = runs[0].plan
    workers = f"{plan.workers} worker{plural(plan.workers)}"
    in_flight = f"{plan.concurrency} request{plural(plan.concurrency or 0)} in flight"
    return f"{plan.model} at {', '.join(plan.base_url)}; {workers}, {in_flight}"


def png(chart: alt.TopLevelMixin) -> bytes:
    """The picture, twice as dense as its size says. CliploadError without the extra `report`."""
    picture = BytesIO()
    chart.save(picture, format="png", scale_factor=2)
    return picture.getvalue()


def check_drawing(flag: str = "") -> None:
    """CliploadError when the libraries that draw are not here."""
    try:
        import altair
        import vl_convert
    except ImportError as error:
        raise CliploadError(f"no picture can be drawn: {error}", flag=flag, remedy="pip install 'clipload[report]'") from error
    _ = altair, vl_convert
