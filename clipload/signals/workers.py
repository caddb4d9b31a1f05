"""What the workers and the image server say of themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clipload.frames import SECOND_NS
from clipload.run import Run
from clipload.signals.quantiles import lacking
from clipload.signals.signal import Signal
from clipload.units import format_ns


def _died(run: Run) -> Signal | None:
    """An aborted run's workers were ended, and say nothing of the generator."""
    dead = run.facts.get("dead_workers") or []
    return Signal(len(dead), {"names": ", ".join(map(str, dead))}) if dead and run.ended != "aborted" else None


def _without_room(run: Run) -> Signal | None:
    count = run.measure.errors.get("local", 0)
    said = lacking(run)
    return Signal(count, {"count": str(count), "why": f" ({said})" if said else ""}) if count else None


def _cut_short(run: Run) -> Signal | None:
    return Signal(1) if run.ended == "disk full" else None


def _unverified(run: Run) -> Signal | None:
    return Signal(1) if run.plan.insecure else None


def _behind(run: Run) -> Signal | None:
    """The share of what was due in the measured phase and had not gone out when it ended. A shortened one has no such end."""
    due = run.measure["scheduled"]
    if not run.plan.open_loop or not due or run.ended != "complete":
        return None
    behind = 1 - min(due, run.dispatched_in_time) / due
    return Signal(behind, {"share": f"{100 * behind:.1f} %"})


def _paused(run: Run) -> Signal | None:
    """A closed loop's rate is its slots / mean latency: how much higher it can have been without what was withheld.

    No more than if all that time had been full of requests, and no more than if every reply had met it.
    """
    latency, late = run.measure.histogram("latency"), run.withheld
    if run.plan.open_loop or not latency.total or not late.max:
        return None
    share = late.count_above(0) / late.total
    by_time = share / max(1 / late.total, 1 - share)
    by_reply = late.mean / max(1.0, latency.mean - late.mean)
    moves = min(by_time, by_reply)
    return Signal(moves, {"late": f"{100 * share:.1f} %", "shift": f"{100 * moves:.0f} %"})


def _shares(run: Run, share: Callable[[int], float]) -> Signal | None:
    """The greatest of all workers."""
    shares = {number: share(number) for number in run.workers}
    return Signal(max(shares.values()), each=shares) if max(shares.values()) else None


def _starved(run: Run) -> Signal | None:
    return _shares(run, lambda number: run.load(number).starved)


def _busy(run: Run) -> Signal | None:
    """Open loop: what is late on the way out is late on the way in too, by its own work."""
    return _shares(run, lambda number: run.load(number).busy) if run.plan.open_loop else None


def _client_limited(run: Run) -> Signal | None:
    return None if run.plan.open_loop else _shares(run, lambda number: run.load(number).busy)


def _loop_lag(run: Run) -> Signal | None:
    found = {number: account.late.quantile(0.99) for number, account in run.workers.items() if account.late.total}
    if not found:
        return None
    worst = max(found, key=lambda number: found[number])
    return Signal(found[worst], {"worker": str(worst), "p99": format_ns(found[worst])})


def _collection(run: Run) -> Signal | None:
    longest = max(account.longest_gc_ns for account in run.workers.values())
    return Signal(longest, {"longest": format_ns(longest)}) if longest else None


# Images that we serve are part of the generator: a target that waits for them is not the slow one.


def _images(run: Run) -> dict[str, Any]:
    images: dict[str, Any] = run.facts.get("images", {})
    return images if images.get("transport") == "url" else {}


def _images_died(run: Run) -> Signal | None:
    images = _images(run)
    return Signal(1, {"said": f": {images['said']}" if images["said"] else ""}) if images and images["died"] else None


def _images_busy(run: Run) -> Signal | None:
    images = _images(run)
    return Signal(images["cpu_ns"] / images["span_ns"]) if images and images["span_ns"] >= SECOND_NS else None


WORKERS: dict[str, Callable[[Run], Signal | None]] = {
    "died": _died, "without_room": _without_room, "cut_short": _cut_short, "unverified": _unverified, "behind": _behind,
    "paused": _paused, "starved": _starved, "busy": _busy, "client_limited": _client_limited, "loop_lag": _loop_lag,
    "collection": _collection, "images_died": _images_died, "images_busy": _images_busy,
}  # fmt: skip
