"""Agreement: what a Run knows of its vectors under load, a sample of them held against what the same Items had alone.

Law: the ledger is not touched. A reply that came back whole is *ok* there, and known to be wrong only later, from a sample; so
what is wrong is a share *of those sampled*, with its interval, and counts against the objectives by that share.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from clipload.distributions import beta_quantile
from clipload.estimate import LEVEL, Estimate, share
from clipload.likeness import CLASSES

FACT = "integrity"  # where it stands in a Run's facts
MERGED = 5  # different Items with one vector: more than captions that differ in case
ONE_BY_ONE = 4  # levels up to which each has a row of its own; beyond them each row reaches twice as far


class Level(msgspec.Struct):
    """Sampled replies to requests that were sent when so many were in flight, themselves among them."""

    in_flight: int
    sampled: int = 0
    wrong: int = 0
    vectors: int = 0
    wrong_vectors: int = 0
    classes: dict[str, int] = {}  # of replies


class Apart(msgspec.Struct):
    """The target at `url` beside the first: Items of which `both` gave a vector alone, those of which they `differ`, and the
    farthest (1 − cosine)."""

    url: str
    both: int
    differ: int
    distance: float


class Agreement(msgspec.Struct, kw_only=True):
    """`items` references stand behind the replies to `bodies`; `without` maps why a reference failed to how often, `alike` says
    how many different Items had one and the same vector alone. Not sampled: `dropped` (the checker was behind), `spared`
    (for what it would have cost). `skipped`, `error`: why nothing was compared, or not all.

    Each of `targets` has references of its own. `earlier` of the Items were asked before an earlier load of the campaign, the
    first of them `age_ns` before this one's references were complete (`took_ns`: what was asked now); `again` vectors of them
    were asked for once more and were the same; the targets `changed` gave others, and nothing from before was held on to."""

    items: int = 0
    bodies: int = 0
    took_ns: int = 0
    dtype: str = ""
    limit: float = 0.0
    without: dict[str, int] = {}
    alike: int = 0
    levels: list[Level] = []
    seconds: list[tuple[int, int]] = []  # (sampled, wrong) of each in which any was sampled, in order
    compared: int = 0  # vectors that had a usable reference
    distance: float = 0.0  # the farthest: 1 − cosine,
    difference: float = 0.0  # and of a component, relative to the norm
    dropped: int = 0
    spared: int = 0
    spent_ns: int = 0  # of the workers' time
    unheard: int = 0  # workers that died, or whose checker was stuck: what they dropped and spared is not known
    examples: dict[str, str] = {}
    targets: int = 1
    earlier: int = 0
    age_ns: int = 0
    again: int = 0
    changed: list[str] = []
    apart: list[Apart] = []
    skipped: str = ""
    error: str = ""

    @property
    def sampled(self) -> int:
        return sum(level.sampled for level in self.levels)

    @property
    def wrong(self) -> int:
        return sum(level.wrong for level in self.levels)

    @property
    def classes(self) -> dict[str, int]:
        """Class → wrong replies, in the order of `CLASSES`."""
        return {name: n for name in CLASSES if (n := sum(level.classes.get(name, 0) for level in self.levels))}

    @property
    def share(self) -> Estimate | None:
        """Of the sampled replies, those that were wrong; None when none was sampled."""
        if not self.sampled:
            return None
        found = share([wrong for _, wrong in self.seconds], [sampled for sampled, _ in self.seconds])
        return found if found.sufficient else proportion(self.wrong, self.sampled)

    def rows(self) -> list[tuple[str, Level]]:
        """Levels as a table has them: each low one, then ranges; a label and their sum."""
        return [(label, total(inside)) for label, inside in _ranges(self.levels)]

    @property
    def merged(self) -> int:
        """How many different Items had one and the same vector alone, beyond what two spellings of one caption explain."""
        few = self.alike < min(self.items, MERGED)
        return 0 if few else self.alike


class Checked(msgspec.Struct, tag="checked"):
    """What a checker has found since it last said so, or the sum of that; a frame of the journal. Names as in Agreement.

    `seconds`: the second of CLOCK_MONOTONIC → (sampled, wrong); `heard`: workers whose last word is in it."""

    levels: dict[int, Level] = {}
    seconds: dict[int, tuple[int, int]] = {}
    compared: int = 0
    distance: float = 0.0
    difference: float = 0.0
    dropped: int = 0
    spared: int = 0
    spent_ns: int = 0
    heard: int = 0
    examples: dict[str, str] = {}

    @property
    def sampled(self) -> int:
        return sum(level.sampled for level in self.levels.values())

    @property
    def wrong(self) -> int:
        return sum(level.wrong for level in self.levels.values())

    def add(self, other: Checked) -> None:
        for name in ("compared", "dropped", "spared", "spent_ns", "heard"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.distance, self.difference = max(self.distance, other.distance), max(self.difference, other.difference)
        for number, level in other.levels.items():
            self.levels[number] = total([self.levels.get(number, Level(number, classes={})), level])
        for second, (sampled, wrong) in other.seconds.items():
            before = self.seconds.get(second, (0, 0))
            self.seconds[second] = before[0] + sampled, before[1] + wrong
        self.examples = other.examples | self.examples

    def agreement(self, before: Agreement, workers: int, error: str = "") -> Agreement:
        """`before`: what was known before the load."""
        return msgspec.structs.replace(
            before,
            levels=[self.levels[number] for number in sorted(self.levels)],
            seconds=[self.seconds[second] for second in sorted(self.seconds)],
            compared=self.compared,
            distance=self.distance,
            difference=self.difference,
            dropped=self.dropped,
            spared=self.spared,
            spent_ns=self.spent_ns,
            unheard=workers - self.heard,
            examples=self.examples,
            error=error,
        )


def agreement_in(facts: dict[str, Any]) -> Agreement | None:
    """None: a Run of which nobody asked."""
    found = facts.get(FACT)
    return None if found is None else msgspec.convert(found, Agreement)


def total(levels: Sequence[Level]) -> Level:
    """The sum; its `in_flight` is the last's."""
    found = Level(levels[-1].in_flight, classes={})
    for level in levels:
        found.sampled += level.sampled
        found.wrong += level.wrong
        found.vectors += level.vectors
        found.wrong_vectors += level.wrong_vectors
        for name, n in level.classes.items():
            found.classes[name] = found.classes.get(name, 0) + n
    return found


def _ranges(levels: Iterable[Level]) -> list[tuple[str, list[Level]]]:
    inside: dict[tuple[int, int], list[Level]] = {}
    for level in sorted(levels, key=lambda level: level.in_flight):
        n = level.in_flight
        last = n if n <= ONE_BY_ONE else 1 << (n - 1).bit_length()
        inside.setdefault((n if n <= ONE_BY_ONE else last // 2 + 1, last), []).append(level)
    return [(f"{first}" if first == last else f"{first}–{last}", found) for (first, last), found in inside.items()]


def proportion(events: int, trials: int, level: float = LEVEL) -> Estimate:
    """A share with Clopper and Pearson's interval, as if the trials were independent; one-sided where none or all are events.
    ValueError without a trial."""
    if events in (0, trials):
        return share([events], [trials], level)
    side = (1 - level) / 2
    low = beta_quantile(side, events, trials - events + 1)
    high = 1 - beta_quantile(side, trials - events, events + 1)
    return Estimate("share", events / trials, low, high, 1.0, trials, True)


def not_right(errors: Estimate, wrong: Estimate) -> Estimate:
    """The share of requests that were not ok, or were and had a wrong vector; the bounds are those of both at once."""
    value, low, high = (
        a + (1 - a) * b for a, b in zip((errors.value, errors.low, errors.high), (wrong.value, wrong.low, wrong.high))
    )
    return replace(errors, value=value, low=low, high=high)


def rightly(rate: Estimate, wrong: Estimate) -> Estimate:
    """The rate of what came back right."""
    high = rate.high if math.isinf(rate.high) else rate.high * (1 - wrong.low)
    return replace(rate, value=rate.value * (1 - wrong.value), low=rate.low * (1 - wrong.high), high=high)
