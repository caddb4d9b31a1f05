"""Integrity under load, for people: what a sample of the replies was compared with, and what was wrong at which load."""

from __future__ import annotations

from clipload.agreement import Agreement, agreement_in, proportion
from clipload.run import Run
from clipload.units import format_ns

HEAD = ("in flight", "compared", "wrong", "share", "95 % interval", "what was wrong")
_WIDTHS = (12, 11, 8, 10, 18)
_INDENT = " " * 12


def integrity_lines(run: Run) -> str:
    """The block of the text summary; "" when the Run knows nothing of it."""
    found = agreement_in(run.facts)
    if found is None:
        return ""
    if found.skipped:
        return f"integrity   vectors under load were not compared: {found.skipped}"
    first, *more = sentences(found)
    return "\n".join([f"integrity   {first}", *(f"{_INDENT}{line}" for line in more), *_table(found)])


def sentences(found: Agreement) -> list[str]:
    """What came of it, what right means, what was not compared, and an example of each class."""
    examples = [f"{name}: {said}" for name, said in found.examples.items()]
    return [_outcome(found), _compared_with(found), *_untaken(found), *([found.error] if found.error else []), *examples]


def integrity_rows(found: Agreement) -> list[tuple[str, ...]]:
    """As long as `HEAD`. The intervals are those of independent requests."""
    rows: list[tuple[str, ...]] = []
    for label, level in found.rows():
        share = proportion(level.wrong, level.sampled)
        what = ", ".join(f"{count} × {name}" for name, count in level.classes.items())
        rows.append((label, f"{level.sampled}", f"{level.wrong}", share.said, share.span, what))
    return rows


def _table(found: Agreement) -> list[str]:
    lines = []
    for *cells, last in [HEAD, *integrity_rows(found)] if found.sampled else []:
        line = "".join(f"{cell:>{width}}" for cell, width in zip(cells, _WIDTHS, strict=True))
        lines.append(f"{_INDENT}{line}   {last}".rstrip())
    return lines


def _outcome(found: Agreement) -> str:
    share = found.share
    if share is None:
        return "no reply was compared"
    return f"{found.wrong} of {found.sampled} sampled replies had wrong vectors: {share.said} ({share.span})"


def _compared_with(found: Agreement) -> str:
    failed = ", ".join(f"{count} × {why}" for why, count in found.without.items())
    whose = f" at each of {found.targets} targets" if found.targets > 1 else ""
    items = f"compared with what {found.items} Items had alone{whose} before the load{_earlier(found)}" + (
        f" (without one: {failed})" if failed else ""
    )
    if not found.compared:
        return f"{items}; of none was it of use"
    limit = f"1 − cosine up to {found.limit:g} is right ({found.dtype or 'unknown dtype'})"
    return f"{items}; {limit}, farthest {found.distance:.2g}"


def _earlier(found: Agreement) -> str:
    """When references were not taken just before this load."""
    if not found.earlier:
        return ""
    asked = f"; {found.earlier} of them were asked before an earlier load, up to {format_ns(found.age_ns)} ago"
    return f"{asked}, and {found.again} once more: the same"


def _untaken(found: Agreement) -> list[str]:
    """What was not compared, and why."""
    counts = ((found.spared, "for their cost"), (found.dropped, "because the checker was behind"))
    said = [f"{count} {why}" for count, why in counts if count]
    lines = [f"left out {', '.join(said)}; the others cost {format_ns(found.spent_ns)} of the workers' time"] if said else []
    return lines + ([f"what {found.unheard} workers left out is not known"] if found.unheard else [])
