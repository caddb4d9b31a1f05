"""One step of a Find, a pure function of what was told.

The closed-loop ceiling first, then a bracket, geometric bisection with pass, fail and inconclusive, fresh probes on both sides
of the answer, and one above it to see that what failed goes on failing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property

from clipload.search.aim import SHORTEST_S, Aim
from clipload.search.ceiling import Ceiling, ceiling, next_rung, rungs
from clipload.search.dialogue import Ask, Purpose, Told, Value
from clipload.search.evidence import VOTES, Evidence, Point

START = 0.3  # of the ceiling
LOWEST = 0.05
STEP = 1.5
LADDER = 1 / 3  # of a budget
BACK_OFF = 0.97
COARSE = 1.05  # a bracket wider than that is bisected before anything is confirmed, whatever the budget
CHECK = 1.1  # times the lowest failing rate
DOUBTFUL = 0.9  # of the ceiling: one overload below it may be a stall of the host, and is asked again at once
MOST_PROBES = 100
LONGEST_REST_S = 60.0
UNCLEAR = ("fail", "undecided")  # what a fresh probe may overturn
TORN_LEAD = 3  # votes by which two rates that contradict each other have to stand
CONFIRMATIONS = 3
SPARED = 0.5  # of the wanted length; a probe that the budget would make shorter is left out


class Step:
    """What to do after a history: the next Ask, or None with the reason and what was left out."""

    def __init__(self, aim: Aim, fixed: Mapping[str, Value], history: tuple[Told, ...]) -> None:
        self._aim, self._fixed, self._history = aim, fixed, history
        self._left = math.inf if aim.budget_s is None else aim.budget_s - sum(one.seconds for one in history)
        self.reason = ""
        self.left_out: list[str] = []
        self.evidence = Evidence.of(history)
        self.ask = self._ask()
        if self.ask is None:
            self.left_out += self._cut_short()

    def _cut_short(self) -> list[str]:
        """What a budget made shorter than it would have been."""
        free = replace(self._aim, budget_s=None)
        said, floor = [], self.evidence.floor
        if floor and floor.fresh:
            wanted, had = free.confirmation(floor.rate, floor.scatter), min(one.ask.seconds or 0.0 for one in floor.fresh)
            if had < SPARED * wanted:
                said.append(f"confirmations of {wanted:.0f} s, which had {had:.0f} s")
        extended = [p for p in self.evidence.points if not p.settled and any(one.fate == "inconclusive" for one in p.trials)]
        if extended and self._aim.budget_s is not None:
            said.append(f"the extension of inconclusive probes at {', '.join(f'{point.rate:g}' for point in extended)}/s")
        return said

    @cached_property
    def top(self) -> Ceiling | None:
        return ceiling(rungs(self._history))

    def _ask(self) -> Ask | None:
        """In order: an end, the ladder, the last probe again, contradictions, the bracket, the bisection, the fresh probes."""
        if self._history and self._history[-1].fate == "died":
            return self._end(f"the target died at {self._history[-1].ask.load}")
        if self._aim.start is None and (slots := self._next_slots()) is not None:
            return self._closed(slots)
        if self._start is None:
            return self._end(self._groundless())
        if len(self._history) >= MOST_PROBES:
            self.left_out.append(f"all after {MOST_PROBES} probes")
            return None
        if (ask := self._more_trials()) is not None:
            return ask
        if self.evidence.floor is None:
            return self._without_floor()
        return self._resolve() if self.evidence.contradiction else self._narrow(self.evidence.floor)

    # the ceiling

    def _next_slots(self) -> int | None:
        """The ladder has a third of the budget."""
        slots = next_rung(rungs(self._history), self._aim.concurrency, self._aim.most_concurrency)
        if slots is not None and self.top is not None and self._left < (1 - LADDER) * (self._aim.budget_s or 0.0):
            self.left_out.append(f"the ceiling beyond {slots // 2} in flight")
            return None
        return slots

    def _groundless(self) -> str:
        """Why there is no rate to begin with."""
        last = self._history[-1]
        if last.fate != "unsound":
            return "no request of a closed loop was answered"
        why = f": {last.sentence}" if last.sentence else ""
        return f"the generator is unsound with {last.ask.values['concurrency']} in flight already{why}"

    def _closed(self, slots: int) -> Ask:
        seconds = min(self._aim.ceiling_s, max(SHORTEST_S, self._aim.unit_s / 4))
        return Ask(
            {**self._fixed, "concurrency": slots}, "ceiling", seconds, min(self._aim.settle_s, seconds) / 2, self._aim.rest_s
        )

    @property
    def _start(self) -> float | None:
        if self._aim.start is not None:
            return self._aim.start
        return None if self.top is None else self._within(START * self.top.rate)

    @property
    def _lowest(self) -> float:
        if self._aim.lowest:
            return self._aim.lowest
        return _rounded(max(LOWEST * self._most, min(START * self._most, self._aim.tellable)))

    @property
    def _most(self) -> float:
        """What the target serves at most: the ceiling, or what the user's start stands for."""
        return self.top.rate if self.top else (self._aim.start or 0.0) / START

    def _within(self, rate: float) -> float:
        return min(max(_rounded(rate), self._lowest), self._aim.highest or math.inf)

    # one probe

    def _probe(self, rate: float, why: Purpose, seconds: float, spared: float = SPARED) -> Ask | None:
        """None, and said so, where the budget holds less than `spared` of it."""
        response_s = self.top.response_s if self.top else 0.0
        settle, rest = self._aim.settle(response_s, seconds), self._rest()
        room = self._left - settle - rest
        if room < max(SHORTEST_S, spared * min(seconds, self._aim.unit(rate))):
            return None
        seconds = math.floor(1000 * min(seconds, room)) / 1000
        values = {**self._fixed, "rate": rate}
        return Ask(values, why, seconds, settle, rest, self._aim.backlog(rate, seconds + settle))

    def _rest(self) -> float:
        """Long enough for what the last probe left behind to be served at the highest rate that was seen."""
        if not self._history or "rate" not in (last := self._history[-1]).ask.values:
            return self._aim.rest_s
        speed = max([last.achieved, *([self.top.rate] if self.top else [])])
        behind = max(0.0, float(last.ask.values["rate"]) - last.achieved) * last.seconds
        if last.ask.backlog is not None:
            behind = min(behind, last.ask.backlog)
        return self._aim.rest_s + (min(LONGEST_REST_S, behind / speed) if speed else LONGEST_REST_S)

    def _more_trials(self) -> Ask | None:
        """The last trial again if it said nothing, twice as long if it did not say enough."""
        if not self._history or (last := self._history[-1]).ask.why in ("ceiling", "confirm", "repeat"):
            return None
        rate = float(last.ask.values["rate"])
        point = self.evidence.at(rate)
        if point is None or point.settled:
            return None
        seconds = self._aim.trial(rate) * 2**point.inconclusive
        if last.fate == "unsound":
            return self._probe(rate, "again", seconds)
        return self._probe(rate, "extend", seconds) if self._left - seconds > self._reserve() else None

    def _reserve(self, bisection: bool = True) -> float:
        """Seconds of a budget to be kept for three confirmations of double length, and the rest of the bisection."""
        if self._aim.budget_s is None:
            return 0.0
        floor, wall = self.evidence.floor, self.evidence.wall
        gap = math.log(wall.rate / floor.rate) if floor and wall else math.log(STEP)
        halvings = max(0, math.ceil(math.log2(gap / math.log1p(self._aim.precision)))) if bisection else 0
        return (halvings + 2 * CONFIRMATIONS) * self._aim.unit(floor.rate if floor else self._start or math.inf)

    # no rate passes yet

    def _without_floor(self) -> Ask | None:
        if not self.evidence.points:
            return self._must(self._start or 0.0, "start")
        if (higher := self._telling()) is not None:
            return higher
        point = self.evidence.at(self._lowest)
        if point is None:
            return self._must(self._lowest, "bracket")
        if point.judged in UNCLEAR and point.confirmed is None and (ask := self._fresh(point, "repeat")) is not None:
            return ask
        said = {
            "fail": "misses the objective",
            "unsound": "is more than the generator can send soundly",
            "undecided": "cannot be told from the objective in the time it had",
        }[point.judged]
        return self._end(f"even the lowest load, {point.rate:g}/s, {said}{point.why}")

    def _telling(self) -> Ask | None:
        """Where nothing failed, and of the highest rate nothing could be told, a higher one tells more in the same time."""
        most = self._aim.highest or (self.top.rate if self.top else 0.0)
        last = self.evidence.points[-1]
        rate = _rounded(last.rate * STEP)
        if rate > most or last.judged != "undecided" or self.evidence.lowest_fail is not None:
            return None
        return self._probe(rate, "bracket", self._aim.trial(rate))

    def _must(self, rate: float, why: Purpose) -> Ask | None:
        ask = self._probe(rate, why, self._aim.trial(rate))
        return ask or self._spent("every rate above the ceiling's" if not self.evidence.points else f"the probe of {rate:g}/s")

    # a rate passes

    def _narrow(self, floor: Point) -> Ask | None:
        wall = self.evidence.wall
        if wall is None:
            return self._upwards(floor)
        if (higher := self._telling()) is not None:
            return higher
        doubtful = wall.lone_overload and wall.rate < DOUBTFUL * self._most
        if doubtful and (ask := self._probe(wall.rate, "again", self._aim.trial(wall.rate))) is not None:
            return ask
        if wall.rate > floor.rate * (1 + self._aim.precision) and _between(floor, wall) not in (floor.rate, wall.rate):
            ask = self._probe(rate := _between(floor, wall), "bisect", self._aim.trial(rate))
            coarse = wall.rate > floor.rate * COARSE
            if ask is not None and (coarse or self._left - (ask.seconds or 0.0) >= self._reserve(bisection=False)):
                return ask
            self.left_out.append(f"the bisection between {floor.rate:g} and {wall.rate:g}/s")
        return self._conclude(floor, wall)

    def _upwards(self, floor: Point) -> Ask | None:
        highest = self._aim.highest or math.inf
        if floor.rate >= highest:
            if floor.confirmed is None:
                return self._fresh(floor, "confirm") or self._spent(f"a confirmation of {floor.rate:g}/s")
            return self._end(f"the range ends at {highest:g}/s")
        rate = min(_rounded(floor.rate * STEP), highest)
        return self._probe(rate, "bracket", self._aim.trial(rate)) or self._spent(f"rates above {floor.rate:g}/s")

    def _conclude(self, floor: Point, wall: Point) -> Ask | None:
        """Fresh probes below and above the answer in turn, then one further up."""
        below = floor.confirmed is None or (floor.torn and not floor.agreed())
        above = wall.judged in UNCLEAR and not wall.agreed()
        if above and (not below or len(wall.fresh) < len(floor.fresh)):
            ask = self._fresh(wall, "repeat")
            if ask is not None:
                return ask
            self.left_out.append(f"a second look at {wall.rate:g}/s")
        if below:
            ask = self._fresh(floor, "confirm")
            if ask is not None:
                return ask
            self.left_out.append(f"{max(1, VOTES - floor.votes[0])} of {VOTES} confirmations of {floor.rate:g}/s")
        elif wall.judged == "fail" and not self._checked(wall):
            ask = self._probe(rate := _rounded(wall.rate * CHECK), "check", self._aim.trial(rate))
            if ask is not None:
                return ask
            self.left_out.append(f"a look above {wall.rate:g}/s")
        return self._end("the generator is the limit above" if wall.judged == "unsound" else "")

    def _checked(self, wall: Point) -> bool:
        """Well above the wall a probe was overloaded or two missed the objective, or none may be there."""
        further = wall.rate * CHECK * 0.99
        told = [one for point in self.evidence.points if point.rate >= further for one in point.told]
        missed = sum(2 if one.fate == "overload" else 1 for one in told if one.leaning is False)
        return missed >= 2 or (self._aim.highest or math.inf) < further or any(one.ask.why == "check" for one in told)

    def _resolve(self) -> Ask | None:
        """A rate fails and a higher one passes: both are asked again, and the answer is torn if both stand."""
        fail, higher = self.evidence.contradiction or (None, None)
        for point in (fail, higher):
            if point is not None and not point.agreed(TORN_LEAD):
                ask = self._fresh(point, "repeat")
                if ask is not None:
                    return ask
                self.left_out.append(f"a second look at {point.rate:g}/s")
        floor = self.evidence.floor
        if floor is None:
            raise AssertionError("without a floor there is nothing to resolve")
        return self._narrow(floor)

    def _fresh(self, point: Point, why: Purpose) -> Ask | None:
        """Confirmations share what is left of a budget."""
        wanted = self._aim.confirmation(point.rate, point.scatter)
        if self._aim.budget_s is not None:
            wanted = min(wanted, max(self._aim.unit(point.rate), self._left / max(1, 4 - len(point.fresh))))
        return self._probe(point.rate, why, wanted)

    # ends

    def _end(self, reason: str) -> Ask | None:
        self.reason = reason
        return None

    def _spent(self, what: str) -> Ask | None:
        self.left_out.append(what)
        return self._end("the budget is spent")


def _between(floor: Point, wall: Point) -> float:
    """The geometric middle; nearer to a rate that its confirmations overturned, because the edge is most likely just below."""
    middle = math.sqrt(floor.rate * wall.rate)
    return _rounded(max(middle, BACK_OFF * wall.rate) if wall.fresh else middle)


def _rounded(rate: float) -> float:
    """Four digits: rates that can be typed again."""
    return float(f"{rate:.4g}")
