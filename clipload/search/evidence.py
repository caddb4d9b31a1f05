"""What the probes of a Find have shown, rate by rate. A pure function of what was told.

A *trial* decides when it is certain, else it is extended, up to three that vote as they lean. A *fresh* probe asks again where
an answer is about to rest: of a rate that had passed only fresh ones count, because it was chosen for its luck; of one that had
failed the trial counts too. Two votes decide.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from clipload.search.dialogue import Told

FRESH = ("confirm", "repeat")
TRIALS, UNSOUND_TRIALS, VOTES, MOST_FRESH = 3, 3, 2, 4

Judgement = Literal["pass", "fail", "unsound", "undecided"]


@dataclass(frozen=True, slots=True)
class Point:
    """All that was told of one rate, in order."""

    rate: float
    told: tuple[Told, ...]

    @property
    def trials(self) -> tuple[Told, ...]:
        return tuple(one for one in self.told if one.ask.why not in FRESH)

    @property
    def fresh(self) -> tuple[Told, ...]:
        return tuple(one for one in self.told if one.ask.why in FRESH)

    @property
    def scatter(self) -> float:
        """(Half of an interval)² · seconds, relative to its quantile: what a probe of n seconds leaves is this over n.

        The lower half, because the upper one is often open; of the longest probe, because short ones hold few busy periods, and
        look steadier than they are. 0 when nothing is known.
        """
        known = [(one.ask.seconds or 0.0, one.quantile) for one in self.told if one.quantile and one.quantile.low > 0]
        seconds, span = max(known, key=lambda pair: pair[0], default=(0.0, None))
        return math.log(span.value / span.low) ** 2 * seconds if span else 0.0

    @property
    def trial(self) -> Judgement:
        """By the last certain trial, else by the majority of those that lean."""
        certain = [one for one in self.trials if one.fate in ("pass", "fail", "overload")]
        if certain:
            return "pass" if certain[-1].leaning else "fail"
        leaning = [one.leaning for one in self.trials if one.leaning is not None]
        if leaning:
            ayes = leaning.count(True)
            return "pass" if 2 * ayes > len(leaning) or (2 * ayes == len(leaning) and leaning[-1]) else "fail"
        return "unsound" if self.unsound >= UNSOUND_TRIALS else "undecided"

    @property
    def unsound(self) -> int:
        """Trials of which nothing can be said."""
        return sum(one.fate == "unsound" for one in self.trials)

    @property
    def lone_overload(self) -> bool:
        """All that is known of it is one probe that was ended early."""
        return [one.fate for one in self.told] == ["overload"]

    @property
    def inconclusive(self) -> int:
        return sum(one.fate == "inconclusive" for one in self.trials)

    @property
    def settled(self) -> bool:
        """The trials need no more."""
        certain = len(self.trials) > self.unsound + self.inconclusive
        return certain or self.inconclusive >= TRIALS or self.unsound >= UNSOUND_TRIALS

    @property
    def votes(self) -> tuple[int, int]:
        """Ayes and noes that a confirmation counts."""
        counted = [one.leaning for one in self.fresh]
        noes = counted.count(False) + (self.trial == "fail" and bool(self.trials))
        return counted.count(True), noes

    @property
    def confirmed(self) -> Judgement | None:
        """Two votes, and more than there are against it; undecided when four fresh probes did not get there."""
        ayes, noes = self.votes
        if max(ayes, noes) >= VOTES and ayes != noes:
            return "pass" if ayes > noes else "fail"
        return "undecided" if len(self.fresh) >= MOST_FRESH else None

    @property
    def torn(self) -> bool:
        """Fresh probes were certain of both: one of them was a fluke, and two of three will not do."""
        fates = {one.fate for one in self.fresh}
        return "pass" in fates and bool(fates & {"fail", "overload"})

    def agreed(self, lead: int = VOTES) -> bool:
        """Confirmed with that many more votes on one side, or asked as often as can be."""
        ayes, noes = self.votes
        return self.confirmed is not None and (abs(ayes - noes) >= lead or len(self.fresh) >= MOST_FRESH)

    @property
    def judged(self) -> Judgement:
        if self.confirmed is not None:
            return self.confirmed
        return self.trial

    @property
    def why(self) -> str:
        """ ": " and the last sentence that was said of it; empty without one."""
        sentence = next((one.sentence for one in reversed(self.told) if one.sentence), "")
        return f": {sentence}" if sentence else ""

    def certainly(self, passes: bool) -> bool:
        """Some probe was certain of it, and none leans the other way."""
        leaning = {one.leaning for one in self.told} - {None}
        return leaning == {passes} and any(one.fate != "inconclusive" for one in self.told if one.leaning is passes)


@dataclass(frozen=True, slots=True)
class Evidence:
    """The points in rising order of rate."""

    points: tuple[Point, ...]

    @classmethod
    def of(cls, history: Sequence[Told]) -> Evidence:
        told: dict[float, list[Told]] = {}
        for one in history:
            if "rate" in one.ask.values:
                told.setdefault(float(one.ask.values["rate"]), []).append(one)
        return cls(tuple(Point(rate, tuple(told[rate])) for rate in sorted(told)))

    def at(self, rate: float) -> Point | None:
        return next((point for point in self.points if point.rate == rate), None)

    def judged(self, *judgements: Judgement) -> list[Point]:
        return [point for point in self.points if point.judged in judgements]

    @property
    def lowest_fail(self) -> Point | None:
        return next(iter(self.judged("fail")), None)

    @property
    def highest_pass(self) -> Point | None:
        return next(iter(reversed(self.judged("pass"))), None)

    @property
    def contradiction(self) -> tuple[Point, Point] | None:
        """A rate that failed and a higher one that passed."""
        fail, highest = self.lowest_fail, self.highest_pass
        return (fail, highest) if fail and highest and fail.rate < highest.rate else None

    @property
    def floor(self) -> Point | None:
        """The highest rate that passes and has no failing one beneath it."""
        fail = self.lowest_fail
        return next((p for p in reversed(self.judged("pass")) if fail is None or p.rate < fail.rate), None)

    @property
    def wall(self) -> Point | None:
        """The lowest rate above the floor that is not shown to pass, whatever the reason."""
        floor = self.floor
        return next((p for p in self.points if p.judged != "pass" and (floor is None or p.rate > floor.rate)), None)
