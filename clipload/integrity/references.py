"""References: what Items have alone, at one request in flight, before a load. A few, for a while, and then no more.

Law: which bodies have references depends on the seed alone (how many, also on the target's speed). Each Item is asked for in a
request of its own, once, of the first target: others serve the same model.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from time import monotonic_ns
from typing import Any

import aiohttp
import numpy as np
from numpy.typing import NDArray

from clipload.arena import JSON, ArenaMap, Bodies
from clipload.credentials import Credentials
from clipload.dialects import Dialect, dialect_of
from clipload.integrity.reading import Unreadable, read
from clipload.likeness import NONE
from clipload.pacing import COMPARED, Shuffle
from clipload.plan import Plan
from clipload.target import open_session
from clipload.transports import Endpoint

MOST_ITEMS = 256
MOST_NS = 3 * 10**9  # after which no further Item is asked for
MOST_S = 10.0  # for one of them
_FAILURES = 3  # in a row, after which nothing more is asked

Rows = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Taken:
    """`bodies`: body → the row of each of its Items, NONE where there is none. A row that is not finite came so."""

    bodies: dict[int, list[int]]
    rows: Rows = field(repr=False)
    without: dict[str, int]
    took_ns: int


async def take(plan: Plan, arena: ArenaMap, endpoint: Endpoint, credentials: Credentials) -> Taken:
    """Nothing is raised for what the target does wrong."""
    dialect = dialect_of(plan)
    bodies = Bodies(arena, plan.batch_size, dialect.frame(), b"", room=0)
    async with open_session(plan, endpoint, credentials) as session:
        asking = _Asking(plan, bodies, dialect, session)
        return await asking.course()


class _Asking:
    def __init__(self, plan: Plan, bodies: Bodies, dialect: Dialect, session: aiohttp.ClientSession) -> None:
        self._bodies, self._dialect, self._session = bodies, dialect, session
        self._order = Shuffle(bodies.count, plan.seed, COMPARED)
        self._limit = aiohttp.ClientTimeout(total=min(plan.timeout / 1e9, MOST_S))
        self._rows: list[Rows] = []
        self._row_of: dict[int, int] = {}
        self._without: Counter[str] = Counter()
        self._failed = 0  # in a row

    async def course(self) -> Taken:
        began, chosen = monotonic_ns(), dict[int, list[int]]()
        for place in range(self._bodies.count):
            body = self._order(place)
            items = self._bodies.items(body)
            for item in items:
                if item not in self._row_of and self._more(began):
                    self._row_of[item] = await self._row(item)
            rows = [self._row_of.get(item, NONE) for item in items]
            if any(row != NONE for row in rows):
                chosen[body] = rows
            if not self._more(began):
                break
        dim = max((len(row) for row in self._rows), default=0)
        stacked = np.full((len(self._rows), dim), np.nan, np.float32)
        for place, row in enumerate(self._rows):
            if len(row) == dim:
                stacked[place] = row
            elif len(row):
                self._without["dimension"] += 1
        return Taken(chosen, stacked, dict(self._without), monotonic_ns() - began)

    def _more(self, began: int) -> bool:
        return len(self._rows) < MOST_ITEMS and self._failed < _FAILURES and monotonic_ns() - began < MOST_NS

    async def _row(self, item: int) -> int:
        """The number of the row that holds the Item's vector; of one that is nan or unreadable an empty row, so that what comes
        under load is looked at all the same; NONE when no reply came."""
        try:
            async with self._session.post(
                self._dialect.path,
                data=self._bodies.alone(item),
                headers=dict(JSON),
                timeout=self._limit,
                allow_redirects=False,
            ) as reply:
                status, body = reply.status, await reply.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            return self._none("no answer in time" if isinstance(error, TimeoutError) else "the connection broke")
        if status != 200:
            return self._none(f"HTTP {status}")
        self._failed = 0
        try:
            vector: Any = read(self._dialect, body, 1)[0]
        except Unreadable as error:
            self._without[error.name] += 1
            vector = np.empty(0, np.float32)
        else:
            name = "nan" if not np.isfinite(vector).all() else "" if vector.any() else "zero"
            self._without.update([name] if name else [])
        self._rows.append(vector)
        return len(self._rows) - 1

    def _none(self, why: str) -> int:
        self._without[why] += 1
        self._failed += 1
        return NONE
