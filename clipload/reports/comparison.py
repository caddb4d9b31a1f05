"""What `clipload compare` says: as text, and as Markdown for a pull request."""

from __future__ import annotations

import math

from clipload.changes import SHARES, Change, percent
from clipload.compare import Comparison
from clipload.estimate import Estimate
from clipload.plan import flag_of
from clipload.reports.markdown import cell, table_text
from clipload.reports.percentiles import Figure, believed_said
from clipload.reports.tables import Table
from clipload.units import format_ns

_WORDS = {"better": "better", "unchanged": "no change", "worse": "WORSE", "inconclusive": "inconclusive"}
_CELL = 18  # columns of a figure
HEAD = ("", "before", "after", "change", "95 %", "")


def comparison_text(comparison: Comparison, names: tuple[str, str]) -> str:
    """The table, below each figure its interval; how far it can be believed, and the answer in one line."""
    lines = [f"{'before' if place == 0 else 'after':<12}{name}" for place, name in enumerate(names)]
    lines += [f"{'basis':<12}{basis_of(comparison)}", *(f"{'':<12}{line}" for line in _provisos(comparison)), ""]
    rows = rows_of(comparison)
    lines.append(f"{'':<12}" + "".join(f"{word:>{width}}" for word, width in zip(HEAD[1:5], (_CELL, _CELL, 11, 24))))
    for name, before, after, change, span, word in rows:
        lines.append(f"{name:<12}{_plain(before):>{_CELL}}{_plain(after):>{_CELL}}{change:>11}{span:>24}   {word}")
        lines.append(f"{'':<12}{before.below:>{_CELL}}{after.below:>{_CELL}}")
    return "\n".join([*lines, "", answer(comparison), *_recurrence(comparison)])


def comparison_markdown(comparison: Comparison, names: tuple[str, str]) -> str:
    table = Table("changes", "Changes", "", HEAD, tuple(rows_of(comparison)))
    notes = [f"- {cell(line)}" for line in (*_recurrence(comparison), *_provisos(comparison))]
    head = f"### {cell(names[0])} → {cell(names[1])}"
    return (
        "\n".join([head, "", f"**{cell(answer(comparison))}**", "", table_text(table), "", cell(basis_of(comparison)), *notes])
        + "\n"
    )


def rows_of(comparison: Comparison) -> list[tuple[str, Figure, Figure, str, str, str]]:
    return [
        (
            change.figure,
            _figure(change.before),
            _figure(change.after),
            _change(change, change.value),
            f"{_change(change, change.low)} … {_change(change, change.high)}",
            "–" if comparison.unsound else _WORDS[change.outcome],
        )
        for change in comparison.changes
    ]


def _figure(estimate: Estimate) -> Figure:
    """With as much of its interval as is believed."""
    value = estimate.value
    words = {"latency": format_ns(value), "rate": f"{value:.4g}/s", "share": f"{100 * value:.2g} %"}
    return Figure.saying(words[estimate.quantity], estimate, below=believed_said(estimate))


def _plain(figure: Figure) -> str:
    """In brackets when it rests on too little."""
    return f"({figure})" if figure.pale else str(figure)


def _change(change: Change, value: float) -> str:
    return percent(value, "pp" if change.figure in SHARES else "%")


def basis_of(comparison: Comparison) -> str:
    """What the intervals rest on."""
    if set(comparison.basis) == {"pairs"}:
        return f"{comparison.runs[0]} pairs, measured in turn (ABBA), one seed for each: the changes are those within pairs"
    if set(comparison.basis) == {"repeats"}:
        return f"{comparison.runs[0]} and {comparison.runs[1]} runs: the intervals are those between runs"
    sides = [f"{count} runs" if count > 1 else "one run" for count in comparison.runs]
    return (
        f"{sides[0]} before, {sides[1]} after: intervals from within a run do not know how runs differ from each other; "
        "repeat both sides to be sure"
    )


def _provisos(comparison: Comparison) -> list[str]:
    found = list(comparison.notes)
    if comparison.differing:
        found.insert(0, f"the Plans differ: {', '.join(map(flag_of, comparison.differing))}")
    if not comparison.open_loop:
        found.append("closed loops: their latencies are not to be set beside an open loop's")
    if comparison.noise:
        found.append(f"noise: two runs of one side differ by up to {', '.join(map(_noise, comparison.noise.items()))}")
    return found


def _recurrence(comparison: Comparison) -> list[str]:
    """Whether the target remembers, and the remedy; nothing where the loads do not tell."""
    found = comparison.recurrence
    return [] if found is None else [found.sentence + (f" ({found.remedy})" if found.remedy else "")]


def _noise(pair: tuple[str, float]) -> str:
    figure, value = pair
    unit = " pp" if figure in SHARES else " %"
    return f"{figure} ±{100 * value:.2g}{unit}" if math.isfinite(value) else f"{figure} unknown"


def answer(comparison: Comparison) -> str:
    if comparison.unsound:
        return f"no statement: a generator was unsound ({comparison.unsound})"
    by = {word: [change.figure for change in comparison.changes if change.outcome == word] for word in _WORDS}
    limit = f"{100 * comparison.limit:g} %"
    if by["worse"]:
        return f"regression: {', '.join(by['worse'])} worse by more than {limit}" + _also(by["better"])
    if by["inconclusive"]:
        return f"inconclusive: a change of {limit} of {', '.join(by['inconclusive'])} is neither seen nor excluded" + _also(
            by["better"]
        )
    if by["better"]:
        return f"better: {', '.join(by['better'])}; nothing is worse by more than {limit}"
    return f"no change: nothing moved by more than {limit}"


def _also(better: list[str]) -> str:
    return f"; better: {', '.join(better)}" if better else ""
