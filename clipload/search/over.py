"""Over: one Find for each value of a dimension, and which of them is best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from clipload.errors import PlanError
from clipload.search.aim import Aim
from clipload.search.answer import Answer
from clipload.search.dialogue import Ask, Told, Value
from clipload.search.find import Find


@dataclass(frozen=True, slots=True)
class Branch:
    """The answer at some values of the dimensions. `worth` is what the branches are compared by: samples/s."""

    values: Mapping[str, Value]
    answer: Answer
    worth: float


class Over:
    """One Find after the other, each with its share of what is left of the budget. `samples` is that of a request whose
    `batch_size` no dimension says. See `dialogue.Search`."""

    def __init__(self, aim: Aim, points: Sequence[Mapping[str, Value]], samples: int = 1) -> None:
        if not points:
            raise PlanError("names no value", flag="--over", remedy="write --over batch_size=1,8,32")
        self._aim, self._points, self._samples = aim, [dict(point) for point in points], samples
        if aim.budget_s is not None and aim.budget_s / len(points) < aim.least_s:
            remedy = f"give at least {aim.least_s * len(points):.0f}s, or fewer values"
            raise PlanError(f"{aim.budget_s:g} s hold no {len(points)} searches", flag="--budget", remedy=remedy)
        self._finds: list[Find] = []
        self._begin()

    def __repr__(self) -> str:
        return f"Over({len(self.branches)} of {len(self._points)} found)"

    @property
    def done(self) -> bool:
        return len(self._finds) == len(self._points) and self._finds[-1].done

    @property
    def doomed(self) -> str:
        """The first reason, when nothing was found at any value."""
        if not self.done or any(not find.doomed for find in self._finds):
            return ""
        return self._finds[0].doomed

    @property
    def branches(self) -> tuple[Branch, ...]:
        """Those that have ended, in the order of the points."""
        return tuple(self._branch(find) for find in self._finds if find.done)

    @property
    def so_far(self) -> tuple[Branch, ...]:
        """Those that have begun, with what is known of them."""
        return tuple(self._branch(find) for find in self._finds)

    @property
    def best(self) -> Branch | None:
        """The one that does the most samples/s; None while none has found a rate."""
        found = [branch for branch in self.branches if branch.answer.outcome in ("found", "at least")]
        return max(found, key=lambda branch: branch.worth, default=None)

    @property
    def tied(self) -> tuple[Branch, ...]:
        """Others whose interval reaches the best one's: the difference is not shown."""
        best = self.best
        if best is None:
            return ()
        return tuple(b for b in self.branches if b.values != best.values and self._reaches(b, best))

    def ask(self) -> Ask | None:
        return self._finds[-1].ask()

    def tell(self, told: Told) -> None:
        """A target that died ends the search of its value alone: the next begins with the target as it then is."""
        self._finds[-1].tell(told)
        while self._finds[-1].done and len(self._finds) < len(self._points):
            self._begin()

    def _begin(self) -> None:
        place, aim = len(self._finds), self._aim
        if aim.budget_s is not None:
            spent = sum(find.answer.seconds for find in self._finds)
            share = (aim.budget_s - spent) / (len(self._points) - place)
            aim = replace(aim, budget_s=max(share, aim.least_s))
        self._finds.append(Find(aim, self._points[place]))

    def _branch(self, find: Find) -> Branch:
        return Branch(find.fixed, find.answer, find.answer.rate * self._batch(find.fixed))

    def _batch(self, values: Mapping[str, Value]) -> float:
        return float(values.get("batch_size", self._samples))

    def _reaches(self, other: Branch, best: Branch) -> bool:
        return other.answer.high * self._batch(other.values) >= best.answer.low * self._batch(best.values)
