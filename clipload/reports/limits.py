"""What limits the target, and what was seen of it, for people."""

from __future__ import annotations

from clipload.bottleneck import limit_of
from clipload.run import Run
from clipload.sightings import ACTIVE, ITEMS, QUEUED, Sight
from clipload.verdict import judge


def describe_limit(run: Run) -> str:
    """Two or three lines; nothing when nothing was seen, or the generator is unsound: then nothing is said of a target."""
    limit = limit_of(run)
    if limit is None or judge(run).generator == "unsound":
        return ""
    where = f" ({run.plan.base_url[limit.target]})" if len(run.plan.base_url) > 1 else ""
    lines = [f"limit       {limit.sentence}{where}", f"            {limit.remedy}", *_told(limit.sight)]
    return "\n".join(lines)


def _told(sight: Sight) -> list[str]:
    """What it told of its own queue."""
    names = ((ACTIVE, "{:.1f} requests active"), (QUEUED, "{:.1f} queued"), (ITEMS, "{:.1f} items/s done"))
    said = [form.format(sight.gauges[name]) for name, form in names if name in sight.gauges]
    return [f"            as it tells: {', '.join(said)}"] if said else []
