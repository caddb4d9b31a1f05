"""The closed-loop ceiling: requests in flight are doubled until the throughput no longer grows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clipload.search.dialogue import Told
from clipload.search.evidence import UNSOUND_TRIALS

GAIN = 0.05  # a doubling that brings less is none
FLAT = 2  # doublings in a row without a gain


@dataclass(frozen=True, slots=True)
class Ceiling:
    """λ_max in requests/s and where it was first seen; `at_least` when the ladder ended before a plateau.

    `response_s` is the mean response time of the first rung, by Little's law.
    """

    rate: float
    concurrency: int
    at_least: bool
    response_s: float


def rungs(history: Sequence[Told]) -> list[Told]:
    return [one for one in history if "concurrency" in one.ask.values]


def next_rung(told: Sequence[Told], first: int, most: int) -> int | None:
    """The next number in flight; None when the ladder has ended. A rung of which nothing can be said is asked again."""
    if not told:
        return first
    last = told[-1]
    if last.fate == "unsound" and len([one for one in told if _slots(one) == _slots(last)]) < UNSOUND_TRIALS:
        return _slots(last)
    if last.fate in ("unsound", "died") or last.limited or _flat(told) >= FLAT:
        return None
    doubled = 2 * _slots(last)
    return doubled if doubled <= most else None


def ceiling(told: Sequence[Told]) -> Ceiling | None:
    """None while no rung brought a reply."""
    sound = [one for one in told if one.fate not in ("unsound", "died") and one.achieved > 0]
    if not sound:
        return None
    best = max(one.achieved for one in sound)
    reached = next(one for one in sound if one.achieved >= best * (1 - GAIN))
    at_least = _flat(sound) < FLAT or any(one.limited for one in told) or told[-1].fate == "unsound"
    return Ceiling(best, _slots(reached), at_least, _slots(sound[0]) / sound[0].achieved)


def _flat(told: Sequence[Told]) -> int:
    """Sound rungs in a row, up to the last, that brought no more than the best before."""
    best, flat = 0.0, 0
    for one in told:
        if one.fate == "unsound":
            continue
        flat = flat + 1 if one.achieved < best * (1 + GAIN) else 0
        best = max(best, one.achieved)
    return flat


def _slots(told: Told) -> int:
    return int(told.ask.values["concurrency"])
