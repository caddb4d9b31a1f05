"""The signals of a Run by which its generator is judged: each a figure and the words for it, recomputed from the Run alone.

A signal that this Run does not have (no witness, a kernel that does not say, the other kind of loop) is left out. `health`
holds the thresholds.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from clipload.frames import SECOND_NS
from clipload.lateness import least, once_more, shift
from clipload.outliers import outliers, without
from clipload.run import Run
from clipload.units import format_ns

JUDGED = (0.99,)
WORTH = 0.05  # the shift by another dose of lateness, up to which it is no suspect
COARSE_MS = 20  # a difference of two of the kernel's times is known to a tick of 10 ms at either end


class Signal(msgspec.Struct, frozen=True):
    """`value`: a share, ns or a count, as its rule says; `words` fill the rule's sentence."""

    value: float
    words: dict[str, str] = {}


Health = dict[str, Signal]


def health_of(run: Run, judged: Sequence[float] = JUDGED) -> Health:
    """Every signal of the Run; `judged` are the quantiles of latency that its answer rests on."""
    found = {name: signal(run) for name, signal in _SIGNALS.items()}
    found |= {name: _worst(run, judged, moved) for name, moved in _SHIFTS.items()}
    return {name: signal for name, signal in found.items() if signal is not None}


# ---- what moves a judged quantile: (with it, without it)

Moved = tuple[int, int, dict[str, str]]


def _worst(run: Run, judged: Sequence[float], moved: Callable[[Run, float], Moved | None]) -> Signal | None:
    """The judged quantile that moves most."""
    found = [(q, figures) for q in judged if (figures := moved(run, q)) is not None]
    signals = [_shift(q, *figures) for q, figures in found]
    return max(signals, key=lambda signal: signal.value, default=None)


def _shift(q: float, with_it: int, rest: int, words: dict[str, str]) -> Signal:
    moves = shift(with_it, rest)
    said = {"p": f"p{100 * q:g}", "with": format_ns(with_it), "without": format_ns(rest), "shift": f"{moves:+.0%}"}
    return Signal(moves, said | words)


def _lag(run: Run, q: float) -> Moved | None:
    """The time between due and dispatched."""
    latency, unlagged = run.measure.histogram("latency"), run.measure.histogram("unlagged")
    return (latency.quantile(q), unlagged.quantile(q), {}) if latency.total else None


def _reading(run: Run, q: float) -> Moved | None:
    """Replies that lay there while a worker could not run: judged by the most that it can have done, together with the lag.

    Nobody knows which replies they were. A lateness of which another dose would hardly move the quantile is no suspect, and is
    shown by what that would do.
    """
    latency, unlagged, late = run.measure.histogram("latency"), run.measure.histogram("unlagged"), run.withheld
    if not unlagged.total or not late.max:
        return None
    words = {"late": f"{late.count_above(0) / late.total:.1%}"}
    now, more = unlagged.quantile(q), once_more(unlagged, late, q)
    if shift(more, now) <= WORTH:
        return now, max(0, 2 * now - more), words
    return latency.quantile(q), least(unlagged, late, q), words


def _own_limit(run: Run, q: float) -> Moved | None:
    """Requests that waited because this host gave no more connections."""
    met, refused = run.lacked()
    capped = met and run.facts.get("connections", {}).get("ours", False)
    waited, service = run.measure.histogram("unlagged"), run.measure.histogram("service")
    if not (refused or capped) or not waited.total:
        return None
    why = f"{refused} connections were refused by this host" if refused else "this host has descriptors for no more connections"
    lacking = _lacking(run)
    return waited.quantile(q), service.quantile(q), {"why": f"{why} ({lacking})" if refused and lacking else why}


def _lacking(run: Run) -> str:
    """What this host had not enough of."""
    total: Counter[int] = Counter()
    for account in run.workers.values():
        total.update(account.lacking)
    return ", ".join(_NAMES.get(number, os.strerror(number)) for number, _ in total.most_common() if number)


_NAMES = {
    errno.EADDRNOTAVAIL: "no local port was free",
    errno.EMFILE: "ulimit -n: no descriptor was free",
    errno.ENFILE: "no descriptor was free on the whole host",
}


def _outlying(run: Run, q: float) -> Moved | None:
    """A worker with a slow way of its own owns the tail of all."""
    slow = [outlier for outlier in outliers(run) if outlier.slow]
    others = without(run, {outlier.worker for outlier in slow})
    if not slow or not others.total:
        return None
    names = "; ".join(f"worker {outlier.worker} has a {outlier.sentence}" for outlier in slow)
    return run.measure.histogram("latency").quantile(q), others.quantile(q), {"names": names}


# ---- what is counted


def _died(run: Run) -> Signal | None:
    """An aborted run's workers were ended, and say nothing of the generator."""
    dead = run.facts.get("dead_workers") or []
    return Signal(len(dead), {"names": ", ".join(map(str, dead))}) if dead and run.ended != "aborted" else None


def _without_room(run: Run) -> Signal | None:
    count = run.measure.errors.get("local", 0)
    lacking = _lacking(run)
    return Signal(count, {"count": str(count), "why": f" ({lacking})" if lacking else ""}) if count else None


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
    return Signal(behind, {"share": f"{behind:.1%}"})


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
    return Signal(moves, {"late": f"{share:.1%}", "shift": f"{moves:+.0%}"})


# ---- what the workers' cores and loops say


def _shares(run: Run, share: Callable[[int], float]) -> Signal | None:
    """The greatest, and every worker that has one worth a name."""
    shares = {number: share(number) for number in run.workers}
    if not max(shares.values()):
        return None
    names = [f"{number} ({found:.0%} of the time)" for number, found in shares.items() if found > max(shares.values()) / 2]
    return Signal(max(shares.values()), {"names": ", ".join(names)})


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


# ---- what the host says


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
    return None if worst is None else Signal(found[worst], {"core": str(worst), "share": f"{found[worst]:.1%}"})


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
    if again < _FEW:
        return None
    return Signal(
        again / max(1, sent), {"again": str(again), "connects": str(connects), "share": f"{again / max(1, sent):.2%}"}
    )


_FEW = 10


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
    return Signal(used, {"name": name, "share": f"{used:.0%}", "speed": f"{speed / 1e9:g} Gbit/s"})


# ---- images that we serve are part of the generator: a target that waits for them is not the slow one


def _images(run: Run) -> dict[str, Any]:
    images: dict[str, Any] = run.facts.get("images", {})
    return images if images.get("transport") == "url" else {}


def _images_died(run: Run) -> Signal | None:
    images = _images(run)
    return Signal(1, {"said": f": {images['said']}" if images["said"] else ""}) if images and images["died"] else None


def _images_busy(run: Run) -> Signal | None:
    images = _images(run)
    return Signal(images["cpu_ns"] / images["span_ns"]) if images and images["span_ns"] >= SECOND_NS else None


_SHIFTS: dict[str, Callable[[Run, float], Moved | None]] = {
    "lag": _lag, "reading": _reading, "own_limit": _own_limit, "outliers": _outlying,
}  # fmt: skip
_SIGNALS: dict[str, Callable[[Run], Signal | None]] = {
    "died": _died, "without_room": _without_room, "cut_short": _cut_short, "unverified": _unverified, "behind": _behind,
    "paused": _paused, "starved": _starved, "busy": _busy, "client_limited": _client_limited, "loop_lag": _loop_lag,
    "collection": _collection, "stolen": _stolen, "interrupted": _interrupted, "throttled": _throttled,
    "sent_again": _sent_again, "ports": _ports, "descriptors": _descriptors, "link": _link,
    "images_died": _images_died, "images_busy": _images_busy,
}  # fmt: skip
SIGNALS = frozenset({*_SIGNALS, *_SHIFTS})
