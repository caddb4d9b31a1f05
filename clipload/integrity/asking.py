"""One target asked for Items alone, one at a time; what it gave before an earlier load is known while it gives the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from time import monotonic_ns

import aiohttp
import numpy as np

from clipload.arena import JSON
from clipload.dialects import Dialect
from clipload.integrity.kept import Alone, Recollection, Vector, digest_of
from clipload.integrity.reading import Unreadable, read
from clipload.likeness import References, compare
from clipload.plan import Plan

MOST_S = 10.0  # for one Item
FAILURES = 3  # in a row, after which nothing more is asked
NO_VECTOR = np.empty(0, np.float32)


class Respondent:
    """`without` maps why an Item had no usable vector to how often, `earlier` and `again` count Items that were known from
    before, and of those the ones that were asked for again and came the same; `changed`: one of them did not."""

    def __init__(self, plan: Plan, dialect: Dialect, session: aiohttp.ClientSession, known: Recollection) -> None:
        self._dialect, self._session, self._known = dialect, session, known
        self._limit = aiohttp.ClientTimeout(total=min(plan.timeout / 1e9, MOST_S))
        self._failed = 0  # in a row
        self.without: Counter[str] = Counter()
        self.asked = self.again = 0
        self.changed = False
        self.oldest_ns: int | None = None  # of what was known and is used

    @property
    def answers(self) -> bool:
        return self._failed < FAILURES

    @property
    def remembers(self) -> bool:
        return len(self._known) > 0

    async def confirm(self, bodies: Iterable[bytes], limit: float) -> None:
        """Asks for two known Items again, those of the shortest and of the longest request: a text and an image where there
        are both. Everything is forgotten unless both came as before, to `limit` (1 − cosine)."""
        shortest = longest = b""
        for body in bodies:
            if self._known.find(digest_of(body)) is not None:
                shortest = min(shortest or body, body, key=len)
                longest = max(body, longest, key=len)  # of the same length the last, so that it is another
        for body in dict.fromkeys(filter(None, (shortest, longest))):
            before, now = self._known.find(digest_of(body)), await self._ask(body)
            if before is None or now is None or not same(before.vector, now, limit):
                self.changed = now is not None
                self.again = 0
                self._known.clear()
                return
            self.again += 1

    def recall(self, body: bytes) -> Vector | None:
        """What came before an earlier load."""
        alone = self._known.find(digest_of(body)) if self.remembers else None
        if alone is None:
            return None
        self.oldest_ns = alone.taken_ns if self.oldest_ns is None else min(self.oldest_ns, alone.taken_ns)
        return alone.vector

    async def vector(self, body: bytes) -> Vector | None:
        """The Item's, asked for now, and kept if it is of use. Of one that is unreadable an empty one, so that what comes under
        load is looked at all the same; None when no reply came."""
        found = await self._ask(body)
        if found is None or not len(found):
            return found
        name = "nan" if not np.isfinite(found).all() else "" if found.any() else "zero"
        if name:
            self.without[name] += 1
        else:
            self._known.keep(digest_of(body), Alone(found, monotonic_ns()))
        return found

    async def _ask(self, body: bytes) -> Vector | None:
        self.asked += 1
        try:
            async with self._session.post(
                self._dialect.path, data=body, headers=dict(JSON), timeout=self._limit, allow_redirects=False
            ) as reply:
                status, answer = reply.status, await reply.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            self._fail("no answer in time" if isinstance(error, TimeoutError) else "the connection broke")
            return None
        if status != 200:
            self._fail(f"HTTP {status}")
            return None
        self._failed = 0
        try:
            vector: Vector = read(self._dialect, answer, 1)[0].astype(np.float32)
        except Unreadable as error:
            self.without[error.name] += 1
            return NO_VECTOR
        return vector

    def _fail(self, why: str) -> None:
        self.without[why] += 1
        self._failed += 1


def same(before: Vector, now: Vector, limit: float) -> bool:
    """As a reply under load would be judged."""
    with np.errstate(invalid="ignore"):
        return not compare(now[None], [0], References(before[None], limit)).wrong
