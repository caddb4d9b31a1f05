"""Reports as Markdown that fits a pull request: the verdict, the findings, the figures, no pictures."""

from __future__ import annotations

from collections.abc import Sequence

from clipload.reports.answers import Head
from clipload.reports.descriptions import describe_load, describe_requests
from clipload.reports.percentiles import Figure
from clipload.reports.tables import Table, ledger, runs_table, targets, times, workers
from clipload.run import Run
from clipload.verdict import judge


def markdown_of(run: Run) -> str:
    verdict = judge(run)
    unsound = verdict.generator == "unsound"
    lines = [
        f"### {cell(describe_load(run.plan))}",
        "",
        f"**Generator {verdict.generator}**{': no statement is made about the target' if unsound else ''}"
        + ("" if run.ended == "complete" else f"; ended early: {run.ended}"),
        *(f"- {finding.about}: {cell(finding.sentence)}" for finding in verdict.findings),
        "",
        _in_words(run),
    ]
    shown = [times(run), ledger(run), targets(run), *([workers(run)] if run.plan.workers > 1 else [])]
    return "\n".join([*lines, *(text for table in shown if table.rows for text in ("", table_text(table)))]) + "\n"


def _in_words(run: Run) -> str:
    rates = f"**{run.throughput:.2f} samples/s** in {run.requests_per_s:.2f} requests/s"
    return f"{rates}; {cell(describe_requests(run.plan))}; target {cell(', '.join(run.plan.base_url))}."


def markdown_of_many(runs: Sequence[Run], names: Sequence[str]) -> str:
    table = runs_table(runs, names)
    return f"### {table.title}\n\n{cell(table.sentence)}\n\n{table_text(table)}\n"


def markdown_of_campaign(head: Head, tables: Sequence[Table]) -> str:
    """The answer, its figures, what speaks against it, the tables."""
    lines = [f"### {cell(head.title)}", "", f"**{cell(head.verdict)}**", ""]
    lines += [f"- {cell(name)}: **{cell(value)}** ({cell(below)})" for name, value, below in head.figures]
    lines += [f"- {finding.about}: {cell(finding.sentence)}" for finding in head.findings]
    lines += ["", *(cell(line) for line in head.lines)]
    for table in tables:
        lines += ["", f"#### {cell(table.title)}", "", cell(table.sentence), "", table_text(table)]
    return "\n".join(lines) + "\n"


def table_text(table: Table) -> str:
    """GitHub's table: words to the left, the rest to the right."""
    head = [cell(word) for word in table.head]
    rule = [":--" if place == 0 else "--:" for place in range(len(head))]
    return "\n".join(
        "| " + " | ".join(row) + " |" for row in [head, rule, *([_told(text) for text in row] for row in table.rows)]
    )


def _told(text: str) -> str:
    """A percentile with its interval; one that rests on too little leans."""
    if not isinstance(text, Figure) or not text.below:
        return cell(text)
    told = cell(f"{text} ({text.below})")
    return f"*{told}*" if text.pale else told


def cell(text: str) -> str:
    """On one line, and nothing in it is taken for markup."""
    for mark in "\\`*_|<>[]":
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())
