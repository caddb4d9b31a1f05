"""The batch size that pays: doubled while that serves more items a second, and never again as large as memory refused."""

from __future__ import annotations

FIRST, LIMIT = 8, 256
GAIN = 1.05  # less is noise
TRIES = 2  # batches at each size, of which the faster counts: the first pays for what is allocated


class Growth:
    """`size` items make the next batch. Laws: 1 <= size <= limit; a size that was refused is never reached again; once a
    doubling did not pay, the size stays (or shrinks, when refused)."""

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

    def served(self, count: int, seconds: float, room: bool = True) -> None:
        """A batch of `count` was done. Without `room` for twice as much it grows no more."""
        if self._settled or count != self.size or seconds <= 0:
            return
        self._rates[count] = max(self._rates.get(count, 0.0), count / seconds)
        self._tries += 1
        if self._tries < TRIES:
            return
        self._tries = 0
        half = self._rates.get(count // 2, 0.0)
        if self._rates[count] < GAIN * half:
            self.size, self._settled = count // 2, True
        elif not room or count * 2 > self._limit:
            self._settled = True
        else:
            self.size = count * 2

    def refused(self) -> bool:
        """Memory said no to `size`. False when there is no smaller batch."""
        if self.size == 1:
            return False
        self.size, self._settled = max(1, self.size // 2), True
        return True
