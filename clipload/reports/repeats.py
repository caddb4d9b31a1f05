"""The text of repeated runs: a line for each, and what they say together."""

from __future__ import annotations

import math

from clipload.estimate import LEVEL, Estimate, Repeats
from clipload.repeats import Repetition, Row
from clipload.units import format_ns

_COLUMNS = ("p50", "p99", "throughput", "errors")
_LABELS = {"throughput": "samples/s", "errors": "errors"}


def summary(repetition: Repetition) -> str:
    """Each run, then median, interval over runs, and the spread between runs beside that within them."""
    blocks = [_heading(repetition), _runs(repetition.rows), _together(repetition), _findings(repetition.rows)]
    return "\n\n".join([*(block for block in blocks if block), f"saved       {repetition.directory}"])


def _heading(repetition: Repetition) -> str:
    first, last = repetition.plan.seed, repetition.plan.seed + repetition.times - 1
    done = f"{len(repetition.rows)} of {repetition.times} runs, seeds {first} to {last}"
    return (
        f"repeats     {done}: new processes and connections each; the target was not restarted\nended       {repetition.ended}"
    )


def _runs(rows: list[Row]) -> str:
    lines = ["   run" + "".join(f"{_LABELS.get(name, name):>12}" for name in _COLUMNS) + f"{'generator':>12}  ended, and where"]
    for number, row in enumerate(rows, 1):
        cells = "".join(f"{_value(row.figures[name]) if name in row.figures else '-':>12}" for name in _COLUMNS)
        lines.append(f"{number:>6}{cells}{row.generator:>12}  {row.ended}, {row.directory}")
    return "\n".join(lines)


def _together(repetition: Repetition) -> str:
    figures, counted = repetition.figures(), sum(row.counts for row in repetition.rows)
    if not figures:
        return "over runs   nothing: no run counts"
    left_out = len(repetition.rows) - counted
    note = f" ({left_out} left out: unsound or interrupted)" if left_out else ""
    title = f"over {counted} run{'' if counted == 1 else 's'}{note}"
    lines = [
        title,
        f"{'':<12}{'median':>10}   {f'{100 * LEVEL:.0f} % interval over runs':<40}{'between runs':>14}{'within a run':>14}",
    ]
    for name, found in figures.items():
        span = _span(found.estimate) + ("" if found.estimate.sufficient else " (insufficient)")
        spreads = "".join(f"{_spread(found, spread):>14}" for spread in (found.between, found.within))
        lines.append(f"{_LABELS.get(name, name):<12}{_value(found.estimate):>10}   {span:<40}{spreads}")
    return "\n".join(lines)


def _findings(rows: list[Row]) -> str:
    said = [f"  run {number:<5} {sentence}" for number, row in enumerate(rows, 1) for sentence in row.findings]
    return "\n".join(["generator", *said]) if said else ""


def _value(found: Estimate) -> str:
    return _text(found, found.value)


def _span(found: Estimate) -> str:
    return f"{_text(found, found.low)} … {_text(found, found.high)}" if found.bounded else f"≥ {_text(found, found.low)}"


def _spread(found: Repeats, spread: float | None) -> str:
    return "unknown" if spread is None or not math.isfinite(spread) else _text(found.estimate, spread)


def _text(found: Estimate, figure: float) -> str:
    if found.quantity == "latency":
        return format_ns(figure)
    return f"{figure:.4g}" if found.quantity == "rate" else f"{100 * figure:.3g} %"
