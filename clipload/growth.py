"""The batch size that pays: doubled until that serves fewer items a second, then the best of those that were tried.

A doubling need not pay by itself: on two cores ViT-B/32 gains 4 % from 8 to 16 and 4 % from 16 to 32, which is 8 % in all, and
less than a batch's times lie apart. So sizes are tried beyond the best so far, and the fastest try of each counts.
"""

from __future__ import annotations

import math

FIRST, LIMIT = 8, 256
TRIES = 3  # batches at each size, of which the fastest counts: what else runs makes one slower, and the first allocates;
MANY, FEWER = 32, 2  # of so many items fewer do, since a long batch is a mean by itself
WORTH = 0.5  # of what is left: a size whose tries would take more of it is not tried
CLEARLY = 0.98  # of the best rate: what is below is past the best size
BEYOND = 4  # times the best size is far enough beyond it
LONGEST_S = 10.0  # a batch that would take longer is not tried: it is what an attempt that is broken off loses


def tries(size: int) -> int:
    """How many batches of a size are timed."""
    return TRIES if size < MANY else FEWER


class Growth:
    """`size` items make the next batch. Laws: 1 <= size <= limit; a size that was refused is never reached again; once it has
    settled, it is the fastest of the sizes that were tried, the smaller of two alike, and stays (or shrinks, when refused)."""

    def __init__(self, first: int = FIRST, limit: int = LIMIT) -> None:
        self.size = min(first, limit)
        self._limit = limit
        self._rates: dict[int, float] = {}
        self._tries = 0
        self._settled = False

    @classmethod
    def fixed(cls, size: int) -> Growth:
        """One that stays; `refused` says so."""
        growth = cls(size, size)
        growth._settled = True
        return growth

    def served(self, count: int, seconds: float, left: float = math.inf, room: bool = True) -> None:
        """A batch of `count` was done, and so many items are `left`. Without `room` for twice as much it grows no more."""
        if self._settled or count != self.size or seconds <= 0:
            return
        self._rates[count] = max(self._rates.get(count, 0.0), count / seconds)
        self._tries += 1
        if self._tries < tries(count):
            return
        self._tries = 0
        best, twice = self._best(count), 2 * count
        past = self._rates[count] < CLEARLY * self._rates[best] or count >= BEYOND * best
        worth = twice * tries(twice) <= WORTH * left and twice / self._rates[count] <= LONGEST_S
        if past or not worth or not room or twice > self._limit:
            self.size, self._settled = best, True
        else:
            self.size = twice

    def refused(self) -> bool:
        """Memory said no to `size`. False when there is no smaller batch."""
        if self.size == 1:
            return False
        self.size, self._settled = self._best(self.size // 2), True
        return True

    def _best(self, largest: int) -> int:
        """The fastest of the sizes tried up to `largest`, which it is itself where none was."""
        tried = [size for size in sorted(self._rates) if size <= largest]
        return max(tried, key=self._rates.__getitem__, default=largest)
