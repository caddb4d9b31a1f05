"""The text of repeated runs: a line for each, and what they say together."""

from __future__ import annotations

import math
from dataclasses import replace

from clipload.campaign import Campaign
from clipload.estimate import LEVEL, Repeats
from clipload.repeats import counted, figures, seeds, verdict
from clipload.reports.campaigns import heading, row
from clipload.search import Grid
from clipload.verdict import Verdict

_LABELS = {"throughput": "samples/s"}


def summary(campaign: Campaign[Grid]) -> str:
    """Each run, then median, interval over runs, and the spread between runs beside that within them; and the verdict."""
    blocks = [_heading(campaign), _runs(campaign), _together(campaign), _judged(verdict(campaign))]
    return "\n\n".join([*blocks, f"saved       {campaign.directory}"])


def _heading(campaign: Campaign[Grid]) -> str:
    every = seeds(campaign)
    done = f"{len(campaign.points)} of {len(every)} runs, seeds {every[0]} to {every[-1]}"
    return f"repeats     {done}: new processes and connections each; the target was not restarted\nended       {campaign.ended}"


def _runs(campaign: Campaign[Grid]) -> str:
    lines, missing = [row(campaign, point) for point in campaign.points], len(seeds(campaign)) - len(campaign.points)
    if missing:
        lines.append(f"unfinished  {missing} left: clipload run --resume {campaign.directory}")
    return "\n".join([heading(campaign), *lines])


def _together(campaign: Campaign[Grid]) -> str:
    found, count = figures(campaign), len(counted(campaign))
    if not found:
        return "over runs   nothing: no run counts"
    left_out = len(campaign.points) - count
    note = f" ({left_out} left out: unsound, or not begun)" if left_out else ""
    lines = [
        f"over {count} run{'' if count == 1 else 's'}{note}",
        f"{'':<12}{'median':>10}   {f'{100 * LEVEL:.0f} % interval over runs':<40}{'between runs':>14}{'within a run':>14}",
    ]
    for name, one in found.items():
        span = one.estimate.span + ("" if one.estimate.sufficient else " (insufficient)")
        spreads = "".join(f"{_spread(one, spread):>14}" for spread in (one.between, one.within))
        lines.append(f"{_LABELS.get(name, name):<12}{one.estimate.said:>10}   {span:<40}{spreads}")
    return "\n".join(lines)


def _judged(found: Verdict) -> str:
    """Of notes, which each run's own summary has, none."""
    no = ": no statement is made about the target" if found.generator == "unsound" else ""
    lines = [f"generator   {found.generator}{no}"]
    for finding in found.findings:
        remedy = f" ({finding.remedy})" if finding.remedy else ""
        lines.append(f"  {finding.about:<10}{finding.sentence}{remedy}")
    if found.objectives:
        lines += [f"objective   {found.objective}", *(f"  {judged.sentence}" for judged in found.objectives)]
    return "\n".join(lines)


def _spread(found: Repeats, spread: float | None) -> str:
    return "unknown" if spread is None or not math.isfinite(spread) else replace(found.estimate, value=spread).said
