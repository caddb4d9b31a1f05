"""The answer of a Find: an interval, what binds, whether the target bends or breaks there, and what was left out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

from clipload.search.aim import Aim
from clipload.search.ceiling import Ceiling
from clipload.search.dialogue import Binding, Told
from clipload.search.evidence import Evidence, Point

Outcome = Literal["found", "at least", "inconclusive", "doomed"]
Shape = Literal["cliff", "smooth"]
CLIFF = 0.5  # of the objective: who is below that at the highest rate that passes, and misses it a step further, breaks
NEAR = 2.5  # steps of the precision within which that can be told


@dataclass(frozen=True, slots=True)
class Answer:
    """Rates in requests/s.

    `rate` is the highest that passed, with nothing beneath it that failed; 0 when none did. The capacity lies in [`low`,
    `high`], between a certain pass and a certain fail (∞: nothing was), each let out by half of the precision. *found*: a wall
    was met above. *at least*: the range or the generator ended first. `binding` is what gave at the wall. `confirmed`: fresh
    probes agreed. `monotone`: no rate that fails lies below one that passes; else `high` is at least the highest that passed.
    `died`: the target did, and ended the search. `busy`: what of the target was full at the wall, as far as it was seen.
    """

    outcome: Outcome
    rate: float
    low: float
    high: float
    binding: Binding | None
    shape: Shape | None
    ceiling: Ceiling | None
    confirmed: bool
    monotone: bool
    probes: int
    seconds: float
    because: str = ""
    died: bool = False
    busy: str = ""
    left_out: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        if self.outcome == "doomed":
            return f"doomed, because {self.because}"
        if not self.rate:
            return f"inconclusive, because {self.because}"
        interval = f"{self.low:.4g} … {self.high:.4g}" if math.isfinite(self.high) else f"{self.low:.4g} or more"
        words = {"found": "", "at least": "at least ", "inconclusive": "inconclusive: perhaps "}[self.outcome]
        why = [f"bound by {self.binding}"] if self.binding else []
        why += [f"the target's {self.busy}"] if self.busy else []
        why += [self.shape] if self.shape else []
        why += [] if self.confirmed else ["unconfirmed"]
        why += [] if self.monotone else ["not monotone"]
        return f"{words}{self.rate:.4g}/s ({interval})" + "".join(f", {word}" for word in why)


def answer(
    aim: Aim, history: Sequence[Told], evidence: Evidence, top: Ceiling | None, reason: str, left: tuple[str, ...]
) -> Answer:
    """What the evidence says at the end; `reason` is why the search ended, where that is not plain."""
    floor, wall = evidence.floor, evidence.wall
    torn = evidence.contradiction
    let_out = 1 + aim.precision / 2  # a target's speed scatters from run to run, and two votes see little of that
    low, high = _low(evidence, floor) / let_out, _high(evidence, floor) * let_out
    return Answer(
        outcome=_outcome(evidence, floor, wall, low, history),
        rate=floor.rate if floor else 0.0,
        low=low,
        high=max(high, torn[1].rate) if torn else high,
        binding=_binding(wall, evidence, history),
        shape=_shape(aim, floor, wall),
        ceiling=top,
        confirmed=floor is not None and floor.confirmed == "pass",
        monotone=torn is None,
        probes=len(history),
        seconds=sum(one.seconds for one in history),
        because=reason,
        died=bool(history) and history[-1].fate == "died",
        busy=_busy(wall, evidence),
        left_out=left,
    )


def _low(evidence: Evidence, floor: Point | None) -> float:
    """The highest certain pass up to the floor; an unconfirmed floor does not count, because it was chosen for its luck."""
    if floor is None:
        return 0.0
    return max(
        (
            point.rate
            for point in evidence.points
            if point.certainly(passes=True) and (point.rate < floor.rate or (point is floor and floor.confirmed == "pass"))
        ),
        default=0.0,
    )


def _high(evidence: Evidence, floor: Point | None) -> float:
    above = floor.rate if floor else 0.0
    return min(
        (point.rate for point in evidence.points if point.certainly(passes=False) and point.rate > above), default=math.inf
    )


def _outcome(evidence: Evidence, floor: Point | None, wall: Point | None, low: float, history: Sequence[Told]) -> Outcome:
    if floor is None:
        undecided = wall is not None and wall.judged == "undecided"
        return "inconclusive" if undecided and history[-1].fate != "died" else "doomed"
    if not low and not any(point.certainly(passes=True) for point in evidence.points):
        return "inconclusive"
    return "at least" if wall is None or _unsound(wall) else "found"


def _unsound(wall: Point) -> bool:
    """Of it nothing could be said, be it that the budget was spent before it had been asked often enough."""
    return wall.judged == "unsound" or all(one.fate == "unsound" for one in wall.told)


def _binding(wall: Point | None, evidence: Evidence, history: Sequence[Told]) -> Binding | None:
    if wall is None:
        groundless = not evidence.points and bool(history) and history[-1].fate == "unsound"
        return "generator" if groundless else None
    if _unsound(wall):
        return "generator"
    named = Counter(one.binding for one in _missed(wall, evidence) if one.binding)
    return named.most_common(1)[0][0] if named else None


def _busy(wall: Point | None, evidence: Evidence) -> str:
    """What most of the probes that missed the objective saw."""
    seen = Counter(one.busy for one in _missed(wall, evidence))
    return seen.most_common(1)[0][0] if seen else ""


def _missed(wall: Point | None, evidence: Evidence) -> list[Told]:
    """The probes that missed the objective at the wall; where none can be told there, those of the next rate above at which
    some did: what gives way there bounds the capacity."""
    if wall is None:
        return []
    missed = ([one for one in point.told if one.leaning is False] for point in evidence.points if point.rate >= wall.rate)
    return next(filter(None, missed), [])


def _shape(aim: Aim, floor: Point | None, wall: Point | None) -> Shape | None:
    """None where it cannot be told: no latencies, no failing rate, or one too far away."""
    if floor is None or wall is None or wall.judged != "fail" or aim.objective_s is None:
        return None
    quantiles = [one.quantile.value for one in floor.told if one.quantile is not None]
    if not quantiles or wall.rate > floor.rate * (1 + NEAR * aim.precision):
        return None
    return "cliff" if median(quantiles) < CLIFF * aim.objective_s * 1e9 else "smooth"
