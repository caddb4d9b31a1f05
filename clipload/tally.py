"""The Tally: a mergeable sum of Outcomes, and the Ledger that must close over it.

Laws
* Merging is addition: associative, commutative, `Tally()` is the identity. Percentiles are read off merged histograms.
* The ledger closes exactly:  planned = scheduled + not_due;  scheduled = attempted + unsent + lost;
  attempted = ok + Σ errors + timeout + censored.

Counts: `planned`, `scheduled`, `not_due`, `lost`, then one for each fate (`ok`, `timeout`, `censored`, `unsent`,
`error.<class>`), and `samples`, `bytes_sent`, `bytes_received`, `retried`. Histograms (ns): see `HISTOGRAMS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from clipload.errors import CliploadError
from clipload.histogram import Histogram

HISTOGRAMS = {
    "latency": "done − due of ok requests",
    "service": "done − sent of ok requests",
    "first_byte": "first byte − sent of ok requests",
    "upload": "body written − sent of ok requests",
    "unlagged": "latency without the generator's own lag: done − dispatched of ok requests",
    "server_queue": "waiting in the target's queue, as it told of ok requests",
    "server_time": "received to done in the target, as it told of ok requests",
    "delay": "sent − due of every request that was sent",
    "lag": "dispatched − due of every request that was sent: the generator's fault",
    "wait": "sent − dispatched of every request that was sent: waiting for a connection",
    "failed": "done − due of errors and time-outs",
    "bound": "least possible latency of requests without an answer (censored, unsent)",
}
ERROR = "error."


class LedgerError(CliploadError):
    """The ledger does not close: a defect of ours, never of the target."""

    exit_code = 70


class WirePart(msgspec.Struct, array_like=True, frozen=True):
    """A Tally as it travels: counts, and each non-empty histogram in sparse form."""

    counts: dict[str, int]
    histograms: dict[str, Any]


class Tally:
    """Counters and histograms of many Outcomes. `tally += other` adds in place."""

    __slots__ = ("counts", "histograms")

    def __init__(self, counts: Mapping[str, int] | None = None, histograms: Mapping[str, Histogram] | None = None) -> None:
        self.counts: dict[str, int] = {name: n for name, n in (counts or {}).items() if n}
        self.histograms: dict[str, Histogram] = dict(histograms or {})

    def __getitem__(self, name: str) -> int:
        return self.counts.get(name, 0)

    def add(self, name: str, n: int) -> None:
        if n:
            self.counts[name] = self.counts.get(name, 0) + n

    def histogram(self, name: str) -> Histogram:
        """The named histogram; an empty one when nothing was recorded."""
        if name not in HISTOGRAMS:
            raise KeyError(name)
        return self.histograms.get(name) or Histogram()

    def __iadd__(self, other: Tally) -> Tally:
        for name, n in other.counts.items():
            self.add(name, n)
        for name, histogram in other.histograms.items():
            mine = self.histograms.get(name)
            if mine is None:
                self.histograms[name] = histogram.copy()
            else:
                mine += histogram
        return self

    def add_wire(self, part: WirePart) -> None:
        """As `+= from_wire(part)`, touching only the buckets that it names: an hour of seconds is added up in this way."""
        for name, n in part.counts.items():
            self.add(name, n)
        for name, sparse in part.histograms.items():
            self.histograms.setdefault(name, Histogram()).add_sparse(sparse)

    def __add__(self, other: Tally) -> Tally:
        total = Tally()
        total += self
        total += other
        return total

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tally):
            return NotImplemented
        return self.counts == other.counts and self._filled() == other._filled()

    __hash__ = None  # type: ignore[assignment]  # it changes

    def _filled(self) -> dict[str, Histogram]:
        return {name: histogram for name, histogram in self.histograms.items() if histogram.total}

    def __repr__(self) -> str:
        return f"Tally({self['ok']} ok of {self['scheduled']} scheduled, latency {self.histogram('latency')!r})"

    @property
    def errors(self) -> dict[str, int]:
        """Error class → count, most frequent first (time-outs and censored requests are not errors but fates of their own)."""
        found = {name.removeprefix(ERROR): n for name, n in self.counts.items() if name.startswith(ERROR)}
        return dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))

    @property
    def not_ok(self) -> int:
        """Requests that were due and did not end well: each has infinite latency for an objective."""
        return self["scheduled"] - self["ok"]

    @property
    def ended(self) -> int:
        """Requests whose fate is counted here."""
        ledger = self.ledger()
        return ledger.attempted + ledger.unsent

    def to_wire(self) -> WirePart:
        return WirePart(self.counts, {name: h.to_sparse() for name, h in self._filled().items()})

    @classmethod
    def from_wire(cls, part: WirePart) -> Tally:
        return cls(part.counts, {name: Histogram.from_sparse(sparse) for name, sparse in part.histograms.items()})

    def ledger(self) -> Ledger:
        return Ledger(
            planned=self["planned"],
            not_due=self["not_due"],
            scheduled=self["scheduled"],
            lost=self["lost"],
            unsent=self["unsent"],
            ok=self["ok"],
            timeout=self["timeout"],
            censored=self["censored"],
            errors=self.errors,
        )


@dataclass(frozen=True, slots=True)
class Ledger:
    """Where every planned request went. `scheduled` was counted when requests became due, the fates when they ended."""

    planned: int
    not_due: int
    scheduled: int
    lost: int
    unsent: int
    ok: int
    timeout: int
    censored: int
    errors: dict[str, int]

    @property
    def attempted(self) -> int:
        return self.ok + sum(self.errors.values()) + self.timeout + self.censored

    def check(self, where: str) -> None:
        """Raises `LedgerError` unless both sums close and no count is negative."""
        counts = (self.planned, self.not_due, self.scheduled, self.lost, self.unsent, self.ok, self.timeout, self.censored)
        if min(*counts, *self.errors.values()) < 0:
            raise LedgerError(f"{where}: a count is negative: {self}")
        if self.planned != self.scheduled + self.not_due:
            raise LedgerError(f"{where}: planned {self.planned} ≠ scheduled {self.scheduled} + not due {self.not_due}")
        if self.scheduled != self.attempted + self.unsent + self.lost:
            raise LedgerError(
                f"{where}: scheduled {self.scheduled} ≠ attempted {self.attempted} + unsent {self.unsent} + lost {self.lost}"
            )
