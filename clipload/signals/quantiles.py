"""What moves a judged quantile of latency, and by how much."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable, Sequence

from clipload.lateness import least, once_more, shift
from clipload.outliers import outliers, without
from clipload.run import Run
from clipload.signals.signal import Signal
from clipload.units import format_ns

WORTH = 0.05  # the shift by another dose of lateness, up to which it is no suspect

Moved = tuple[int, int, dict[str, str]]
_NAMES = {
    errno.EADDRNOTAVAIL: "no local port was free",
    errno.EMFILE: "ulimit -n: no descriptor was free",
    errno.ENFILE: "no descriptor was free on the whole host",
}


def worst(run: Run, judged: Sequence[float], moved: Callable[[Run, float], Moved | None]) -> Signal | None:
    """The judged quantile that moves most."""
    found = [(q, figures) for q in judged if (figures := moved(run, q)) is not None]
    signals = [_shift(q, *figures) for q, figures in found]
    return max(signals, key=lambda signal: signal.value, default=None)


def _shift(q: float, with_it: int, rest: int, words: dict[str, str]) -> Signal:
    moves = shift(with_it, rest)
    said = {"p": f"p{100 * q:g}", "with": format_ns(with_it), "without": format_ns(rest), "shift": f"{100 * moves:+.0f} %"}
    return Signal(moves, said | words)


def _lag(run: Run, q: float) -> Moved | None:
    """The time between due and dispatched."""
    latency, unlagged = run.measure.histogram("latency"), run.measure.histogram("unlagged")
    return (latency.quantile(q), unlagged.quantile(q), {}) if latency.total else None


def _reading(run: Run, q: float) -> Moved | None:
    """Replies that lay there while a worker could not run: judged by the most that it can have done, together with the lag.

    Nobody knows which replies they were. A lateness of which another dose would hardly move the quantile is no suspect, and is
    shown by what that would do. Save one that is as long as half of the quantile itself for more of the time than lies beyond
    that: it may be the whole tail, and then another dose, no longer than the first, adds nothing.
    """
    latency, unlagged, late = run.measure.histogram("latency"), run.measure.histogram("unlagged"), run.withheld
    if not unlagged.total or not late.max:
        return None
    words = {"late": f"{100 * late.count_above(0) / late.total:.1f} %"}
    now, more = unlagged.quantile(q), once_more(unlagged, late, q)
    may_be_it = late.count_above(now // 2) > (1 - q) * late.total
    if not may_be_it and shift(more, now) <= WORTH:
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
    said = lacking(run)
    return waited.quantile(q), service.quantile(q), {"why": f"{why} ({said})" if refused and said else why}


def lacking(run: Run) -> str:
    """What this host had not enough of."""
    total: Counter[int] = Counter()
    for account in run.workers.values():
        total.update(account.lacking)
    return ", ".join(_NAMES.get(number, os.strerror(number)) for number, _ in total.most_common() if number)


def _outlying(run: Run, q: float) -> Moved | None:
    """A worker with a slow way of its own owns the tail of all."""
    slow = [outlier for outlier in outliers(run) if outlier.slow]
    others = without(run, {outlier.worker for outlier in slow})
    if not slow or not others.total:
        return None
    names = "; ".join(f"worker {outlier.worker} has a {outlier.sentence}" for outlier in slow)
    return run.measure.histogram("latency").quantile(q), others.quantile(q), {"names": names}


SHIFTS: dict[str, Callable[[Run, float], Moved | None]] = {
    "lag": _lag,
    "reading": _reading,
    "own_limit": _own_limit,
    "outliers": _outlying,
}
