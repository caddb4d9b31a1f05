"""References: what Items have alone, at one request in flight, before a load. A few, for a while, and then no more.

Law: which bodies have references depends on the seed alone (how many, also on the targets' speed and, after an earlier load
of the campaign, on the length of the one to come). Each Item is asked for in a request of its own, once, of each target in
turn, so never of two at once: several base URLs may lead to one server. What a target gave before an earlier load of the
campaign is not asked for again, if it still is the target that it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from time import monotonic_ns

import numpy as np
from numpy.typing import NDArray

from clipload.arena import ArenaMap, Bodies
from clipload.credentials import Credentials
from clipload.dialects import dialect_of
from clipload.integrity.asking import NO_VECTOR, Respondent
from clipload.integrity.kept import Recollection, Vector
from clipload.likeness import NONE
from clipload.pacing import COMPARED, Shuffle
from clipload.plan import Plan
from clipload.target import open_session
from clipload.transports import Endpoint

MOST_ITEMS = 256
MOST_NS = 3 * 10**9  # after which no further Item is asked for
LATER_SHARE = 0.05  # of its length before a later load: a search has many, and each its own Items where the pool is random


@dataclass(frozen=True, slots=True)
class Taken:
    """`bodies`: body → the row of each of its Items, NONE where there is none. `rows`: float32[targets, rows, dim]; one that is
    not finite came so, or not at all.

    `asked`: requests that were sent now. `earlier`: rows known from before an earlier load, of which the oldest vector is of
    `age_ns` ago; `again`: of known ones asked for once more, those that came the same; `changed`: targets of which one did not.
    """

    bodies: dict[int, list[int]]
    rows: NDArray[np.float32] = field(repr=False)
    without: dict[str, int]
    took_ns: int
    asked: int
    earlier: int
    again: int
    age_ns: int
    changed: tuple[int, ...]


async def take(
    plan: Plan,
    arena: ArenaMap,
    endpoints: Sequence[Endpoint],
    credentials: Credentials,
    known: Sequence[Recollection],
    limit: float,
) -> Taken:
    """Nothing is raised for what a target does wrong. `known`: of each target; `limit`: of 1 − cosine, up to which what is
    asked for again is the same."""
    dialect = dialect_of(plan)
    bodies = Bodies(arena, plan.batch_size, dialect.frame(), b"", room=0)
    async with AsyncExitStack() as stack:
        targets = [
            Respondent(plan, dialect, await stack.enter_async_context(open_session(plan, endpoint, credentials)), one)
            for endpoint, one in zip(endpoints, known, strict=True)
        ]
        return await _Course(plan, bodies, targets, _most_ns(plan, known)).taken(limit)


def _most_ns(plan: Plan, known: Sequence[Recollection]) -> int:
    """What the asking may take."""
    later = any(map(len, known))
    return min(MOST_NS, round(LATER_SHARE * plan.duration)) if later and plan.duration else MOST_NS


class _Course:
    def __init__(self, plan: Plan, bodies: Bodies, targets: Sequence[Respondent], most_ns: int) -> None:
        self._bodies, self._targets, self._most_ns = bodies, targets, most_ns
        self._order = Shuffle(bodies.count, plan.seed, COMPARED)
        self._rows: list[list[Vector]] = []
        self._row_of: dict[int, int] = {}
        self._earlier = 0
        self._until = 0  # the instant after which nothing more is asked for, but for a first Item
        self._tried = False

    async def taken(self, limit: float) -> Taken:
        began, chosen = monotonic_ns(), dict[int, list[int]]()
        await self._confirm(limit)
        self._until = monotonic_ns() + self._most_ns
        for place in range(self._bodies.count):
            body = self._order(place)
            rows = [await self._row_for(item) for item in self._bodies.items(body)]
            if any(row != NONE for row in rows):
                chosen[body] = rows
            if not self._more:
                break
        return self._summed(chosen, began)

    @property
    def _late(self) -> bool:
        return self._tried and monotonic_ns() >= self._until

    @property
    def _more(self) -> bool:
        """When it is late there may still be what is known: among the first Items of the order, if anywhere."""
        if len(self._rows) >= MOST_ITEMS or not any(target.answers for target in self._targets):
            return False
        knows = any(target.remembers for target in self._targets) and len(self._row_of) < MOST_ITEMS
        return knows or not self._late

    async def _row_for(self, item: int) -> int:
        if item not in self._row_of and self._more:
            self._row_of[item] = await self._row(self._bodies.alone(item))
        return self._row_of.get(item, NONE)

    async def _confirm(self, limit: float) -> None:
        if not any(target.remembers for target in self._targets):
            return
        items: dict[int, None] = {}
        for place in range(self._bodies.count):
            items.update(dict.fromkeys(self._bodies.items(self._order(place))))
            if len(items) >= MOST_ITEMS:
                break
        for target in self._targets:
            await target.confirm((self._bodies.alone(item) for item in list(items)[:MOST_ITEMS]), limit)

    async def _row(self, body: bytes) -> int:
        """The number of the row that holds each target's vector of an Item; NONE when none gave a reply, or it is late."""
        recalled, found = [target.recall(body) for target in self._targets], list[Vector | None]()
        for target, one in zip(self._targets, recalled, strict=True):
            if one is None and target.answers and not self._late:
                self._tried = True
                one = await target.vector(body)
            found.append(one)
        if all(one is None for one in found):
            return NONE
        self._earlier += any(one is not None for one in recalled)
        self._rows.append([NO_VECTOR if one is None else one for one in found])
        return len(self._rows) - 1

    def _summed(self, chosen: dict[int, list[int]], began: int) -> Taken:
        without = sum((target.without for target in self._targets), Counter[str]())
        dim = max((len(vector) for row in self._rows for vector in row), default=0)
        stacked = np.full((len(self._targets), len(self._rows), dim), np.nan, np.float32)
        for place, row in enumerate(self._rows):
            for number, vector in enumerate(row):
                if len(vector) == dim:
                    stacked[number, place] = vector
                elif len(vector):
                    without["dimension"] += 1
        now, oldest = monotonic_ns(), [target.oldest_ns for target in self._targets if target.oldest_ns is not None]
        return Taken(
            chosen,
            stacked,
            dict(without),
            took_ns=now - began,
            asked=sum(target.asked for target in self._targets),
            earlier=self._earlier,
            again=sum(target.again for target in self._targets),
            age_ns=now - min(oldest) if oldest else 0,
            changed=tuple(number for number, target in enumerate(self._targets) if target.changed),
        )
