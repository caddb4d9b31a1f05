"""What the host's kernel says of the cores, the network and their limits, within the measured phase."""

from __future__ import annotations

from collections.abc import Callable

from clipload.frames import SECOND_NS
from clipload.run import Run
from clipload.signals.signal import Signal
from clipload.units import format_ns

COARSE_MS = 20  # a difference of two of the kernel's times is known to a tick of 10 ms at either end
FEW = 10  # segments sent again that say nothing


def _stolen(run: Run) -> Signal | None:
    return _core_share(run, 1)


def _interrupted(run: Run) -> Signal | None:
    return _core_share(run, 2)


def _core_share(run: Run, kind: int) -> Signal | None:
    """Of a worker's core, the one that lost most: at least so much."""
    if (span := run.watched()) is None:
        return None
    before, after = span
    found = {}
    for core, times in after.cores.items():
        passed, lost = times[0] - before.cores[core][0], times[kind] - before.cores[core][kind]
        found[core] = max(0, lost - COARSE_MS) / max(1, passed)
    worst = max(found, key=lambda core: found[core], default=None)
    return None if worst is None else Signal(found[worst], {"core": str(worst), "share": f"{100 * found[worst]:.1f} %"})


def _throttled(run: Run) -> Signal | None:
    if (span := run.watched()) is None:
        return None
    before, after = span
    times, held = (late - early for early, late in zip(before.throttled, after.throttled, strict=True))
    return Signal(times, {"times": str(times), "held": format_ns(held)})


def _sent_again(run: Run) -> Signal | None:
    """Of the segments of the whole host; a handful says nothing."""
    if (span := run.watched()) is None:
        return None
    before, after = span
    sent, again, connects = (late - early for early, late in zip(before.tcp, after.tcp, strict=True))
    if again < FEW:
        return None
    return Signal(
        again / max(1, sent), {"again": str(again), "connects": str(connects), "share": f"{100 * again / max(1, sent):.2f} %"}
    )


def _ports(run: Run) -> Signal | None:
    limit, within = run.facts.get("limits", {}).get("ports", 0), run.within()
    if not limit or not within:
        return None
    used = max(sum(reading.sockets) for reading in within)
    return Signal(used / limit, {"used": str(used), "limit": str(limit)})


def _descriptors(run: Run) -> Signal | None:
    limit, within = run.facts.get("limits", {}).get("descriptors", 0), run.within()
    used = max((count for reading in within for count in reading.descriptors.values()), default=0)
    return Signal(used / limit, {"used": str(used), "limit": str(limit)}) if limit and used else None


def _link(run: Run) -> Signal | None:
    """The busier direction of the busiest link to a target, where its speed is known."""
    links, span = run.facts.get("limits", {}).get("links", {}), run.watched()
    if span is None:
        return None
    seconds = (span[1].at_ns - span[0].at_ns) / SECOND_NS
    found = []
    for name, speed in links.items():
        if speed and name in span[1].traffic:
            moved = max(late - early for early, late in zip(span[0].traffic[name], span[1].traffic[name], strict=True))
            found.append((8 * moved / seconds / speed, name, speed))
    if not found:
        return None
    used, name, speed = max(found)
    return Signal(used, {"name": name, "share": f"{100 * used:.0f} %", "speed": f"{speed / 1e9:g} Gbit/s"})


HOST: dict[str, Callable[[Run], Signal | None]] = {
    "stolen": _stolen, "interrupted": _interrupted, "throttled": _throttled, "sent_again": _sent_again, "ports": _ports,
    "descriptors": _descriptors, "link": _link,
}  # fmt: skip
