"""The canary, for people: what a low-rate stream of its own kind noticed of the load. Its times are in no other figure."""

from __future__ import annotations

from collections.abc import Iterator

from clipload.figures import Quantiles
from clipload.histogram import Histogram
from clipload.plan.canary import parse_canary
from clipload.reports.percentiles import Figure, time_said, two_lines
from clipload.run import WITH_THE_LOAD, Run

ROWS = (  # histogram, label, what it is
    ("latency", "latency", "done − due"),
    ("service", "service", "done − sent"),
    ("delay", "delay", "sent − due"),
)
HEAD = ("", "p50", "p90", "p99", "max", "requests", "what it is")
_LABELS, _CELL, _INDENT = HEAD[1:4], 16, " " * 12


def canary_lines(run: Run, *, grey: bool) -> str:
    """The block of the text summary; "" when there was none."""
    if run.canary is None:
        return ""
    lines = [f"canary      {canary_sentence(run, run.canary)}", _INDENT + "".join(f"{label:>{_CELL}}" for label in _LABELS)]
    for label, quantiles, _, meaning in _rows(run.canary):
        pairs = [two_lines(quantiles, name, _CELL, grey=grey) for name in _LABELS]
        figures, intervals = ("".join(pair[line] for pair in pairs) for line in (0, 1))
        lines += [f"  {label:<10}{figures}", f"{_INDENT}{intervals}  {meaning}"]
    return "\n".join(lines if len(lines) > 2 else lines[:1])


def canary_sentence(run: Run, canary: Run) -> str:
    """What it was, what became of it, and what limits what it says."""
    word, book = parse_canary(run.plan.canary or ""), canary.measure.ledger()
    fates = [*book.errors.items(), ("timeout", book.timeout), ("censored", book.censored)]
    fates += [("unsent", book.unsent), ("lost", book.lost)]
    rest = "".join(f", {count} {name}" for name, count in fates if count)
    said = f"{word.kind}, {word.rate:g} requests/s beside the load: {book.ok} of {book.scheduled} ok{rest}"
    own = canary.ended not in ("complete", run.ended, WITH_THE_LOAD)
    return said + (f"; it ended by itself: {canary.ended}" if own else "")


def canary_rows(canary: Run) -> list[tuple[str, ...]]:
    """As long as `HEAD`."""
    rows: list[tuple[str, ...]] = []
    for label, quantiles, histogram, meaning in _rows(canary):
        largest, count = (
            ("–", canary.measure["scheduled"]) if histogram is None else (time_said(histogram.max), histogram.total)
        )
        rows.append((label, *(Figure.of(quantiles, name) for name in _LABELS), largest, f"{count}", meaning))
    return rows


def _rows(canary: Run) -> Iterator[tuple[str, Quantiles, Histogram | None, str]]:
    """Label, percentiles, what they are of, and what it is; the last counts what was not ok, when something was not."""
    tally, figures = canary.measure, canary.figures
    for name, label, meaning in ROWS:
        if tally.histogram(name).total:
            yield label, figures.quantiles[name], tally.histogram(name), meaning
    if tally.not_ok:
        yield "of all", figures.with_failures["latency"], None, f"{tally.not_ok} not ok are infinite"
