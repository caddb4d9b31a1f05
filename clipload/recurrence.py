"""Does the target remember what it has seen? A load that sends few Samples over and over, beside one that is the same but for
how often its Samples recur. Pure.

Compared are service p50 (done − sent, so that no lateness of ours is in it) and, of closed loops, throughput: from the load
that repeats less to the one that repeats more.

Laws: nothing is said of loads that differ in anything else that the target is asked for; a cache *shows* only when the whole
interval of a change lies beyond the limit, *none* does only when no interval lets the load that repeats be quicker by more.
What the client could have gained by itself is never called the target's: bodies that stay in its CPU's cache are sent in less
time, so a gain must exceed all the time that sending took; nor is a gain by smaller requests, or of a worker at its ceiling.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median_low
from typing import Literal, NamedTuple

from clipload.changes import LIMIT, Change, percent
from clipload.estimate import Estimate
from clipload.figures import steady
from clipload.payload import payload
from clipload.run import Run
from clipload.units import format_bytes, format_ns
from clipload.verdict import judge

FOLD = 4  # times as many Samples in the other load: of a pair with one seed, it may meet the first ones in the target's memory
AGAIN = 4.0  # times that each Sample of the load that repeats is sent in a run, at least: the first of them is new to a cache
_FREE = {
    *("pool", "unique", "duration", "num_samples", "until", "cooldown", "grace", "max_backlog"),
    *("no_preflight", "allow_unfit", "no_lookout", "no_integrity", "outage", "server_pid"),
}  # fields in which the loads may differ: none of them changes what a request is, or beside what it is served
_SIDES = ("before", "after")
SERVICE, THROUGHPUT = "service p50", "throughput"

Shown = Literal["cache", "none", "unknown"]
Judge = Callable[[str, Sequence[Estimate], Sequence[Estimate]], Change]
"""The change of a figure from some runs' to others', as the comparison judges it."""


class Repetition(NamedTuple):
    """Different Samples in a run, and how often each was sent in it."""

    samples: int
    times: float

    @property
    def said(self) -> str:
        often = "once" if self.times < 1.05 else f"{self.times:.1f} times" if self.times < 10 else f"{self.times:.0f} times"
        return f"1 Sample was sent {often}" if self.samples == 1 else f"{self.samples} Samples were sent {often} each"


@dataclass(frozen=True, slots=True)
class Recurrence:
    """`often`: which side repeats more, 0 or 1; `repetitions` are in the order of the sides. `changes`: to that side."""

    often: int
    repetitions: tuple[Repetition, Repetition]
    changes: tuple[Change, ...]
    shown: Shown
    sentence: str
    remedy: str = ""


def recurrence(
    before: Sequence[Run], after: Sequence[Run], differing: Iterable[str], changed: Judge, limit: float
) -> Recurrence | None:
    """None when the sides differ in anything but how often Samples recur (`differing`: the Plans' fields), or not in that."""
    sides = (before, after)
    if set(differing) - _FREE or not all(steady(side[0].plan) for side in sides):
        return None
    told = (repetition(before), repetition(after))
    often = 0 if told[0].samples < told[1].samples else 1
    if told[often].times < AGAIN or told[1 - often].samples < FOLD * told[often].samples:
        return None
    many, few = sides[1 - often], sides[often]
    changes = [changed(name, a, b) for name, a, b in _figures(many, few)]
    if not changes:
        return None
    pair = (told[1 - often], told[often])
    gained = any(change.outcome == "better" for change in changes)
    doubt = _doubt(many, few, changes, limit, gained=gained)
    if doubt is not None:
        return Recurrence(often, told, tuple(changes), "unknown", *doubt)
    if gained:
        return Recurrence(often, told, tuple(changes), "cache", *_cache(changes, pair, _SIDES[often], sides))
    if all(_most(change) <= limit for change in changes):
        return Recurrence(often, told, tuple(changes), "none", *_none(changes, pair, many))
    sentence = f"whether the target remembers what it has seen is not known: {_compared(changes, pair)}"
    return Recurrence(often, told, tuple(changes), "unknown", sentence, "longer runs, or more of them")


def repetition(runs: Sequence[Run]) -> Repetition:
    """Of a side: in a run of it, warm-up and all."""
    sent = [sum(part["scheduled"] for part in run.phases.values()) * run.plan.batch_size for run in runs]
    samples = [min(_distinct(run), count) for run, count in zip(runs, sent, strict=True)]
    return Repetition(median_low(samples), fmean(count / max(1, each) for count, each in zip(sent, samples, strict=True)))


def _distinct(run: Run) -> int:
    """Different Samples in the pool: random texts without --text-tokens are one, and a dataset may hold one twice."""
    arena, mode = run.facts.get("arena", {}), run.plan.mode
    if mode == "multimodal" or not {"items", "texts"} <= arena.keys():
        return run.plan.pool
    items = {"text": arena["texts"], "image": arena["items"] - arena["texts"], "mixed": arena["items"]}
    return min(run.plan.pool, int(items[mode]))


def _figures(many: Sequence[Run], few: Sequence[Run]) -> list[tuple[str, list[Estimate], list[Estimate]]]:
    """(name, estimates of the one side's runs, of the other's); none where a run had no reply."""
    if not all(run.measure["ok"] for run in (*many, *few)):
        return []
    found = [(SERVICE, _each(many, _service), _each(few, _service))]
    if not many[0].plan.open_loop:
        found.append((THROUGHPUT, _each(many, _throughput), _each(few, _throughput)))
    return found


def _each(runs: Sequence[Run], figure: Callable[[Run], Estimate]) -> list[Estimate]:
    return [figure(run) for run in runs]


def _service(run: Run) -> Estimate:
    return run.figures.with_failures["service"]["p50"]


def _throughput(run: Run) -> Estimate:
    return run.figures.throughput


# what would not be the target's


def _doubt(
    many: Sequence[Run], few: Sequence[Run], changes: Sequence[Change], limit: float, *, gained: bool
) -> tuple[str, str] | None:
    """Why nothing can be told, and the remedy."""
    head = "whether the target remembers what it has seen cannot be told"
    failed = max(0.0 if run.figures.errors is None else run.figures.errors.value for run in (*many, *few))
    if failed > LIMIT:
        return f"{head}: {100 * failed:.2g} % of the requests of a run were not ok", "a load that the target can bear"
    for name, one, other in _sizes(many, few):
        if abs(math.log(one / other)) > math.log1p(limit):
            return f"{head}: {name} of {format_bytes(other)} where Samples recur, of {format_bytes(one)} else", (
                "use Samples of one size, or a pool whose mean is that of all"
            )
    limited = [any(judge(run).limited for run in side) for side in (many, few)]
    if limited[0] or (limited[1] and not gained):
        return f"{head}: a worker was at its ceiling, and its own time is in the target's", "more --workers"
    if gained and not _beyond_sending(many, few, changes, limit):
        took = max(run.measure.histogram("upload").quantile(0.5) for run in many)
        return f"{head}: where Samples recur the gain is no more than what sending them may have gained ({format_ns(took)})", (
            "compare Samples that take the target longer"
        )
    return None


def _sizes(many: Sequence[Run], few: Sequence[Run]) -> list[tuple[str, float, float]]:
    """(of what, its mean size in the one load, in the other), bytes."""
    paid = [[found for run in side if (found := payload(run)) is not None] for side in (many, few)]
    up = [fmean(one.up.bytes_per_request for one in side) for side in paid if side]
    files = [[one.image_bytes for one in side if one.image_bytes is not None] for side in paid]
    images = [fmean(side) for side in files if side]
    told = (("requests", up), ("images", images))
    return [(name, sizes[0], sizes[1]) for name, sizes in told if len(sizes) == 2 and all(sizes)]


def _beyond_sending(many: Sequence[Run], few: Sequence[Run], changes: Sequence[Change], limit: float) -> bool:
    """Whether a change that is sure is more than the client's sending took. Throughput's must be found in service again."""
    (service, *_), gains = changes, {change.figure for change in changes if change.outcome == "better"}
    sends = [run.measure.histogram("upload") for run in many]
    if SERVICE in gains and service.before.value - service.after.value > max(upload.quantile(0.5) for upload in sends):
        return True
    means = [fmean(run.measure.histogram("service").mean for run in side) for side in (many, few)]
    saved = means[0] - means[1]
    return THROUGHPUT in gains and means[1] * (1 + limit) < means[0] and saved > max(upload.mean for upload in sends)


# what is said


def _most(change: Change) -> float:
    """By how much the load that repeats may be the quicker, at most."""
    return max(0.0, change.high if change.figure == THROUGHPUT else -change.low)


def _cache(
    changes: Sequence[Change], pair: tuple[Repetition, Repetition], side: str, sides: tuple[Sequence[Run], Sequence[Run]]
) -> tuple[str, str]:
    sentence = f"the target remembers what it has seen: {_compared(changes, pair)}; the figures of {side} are its cache's"
    sure = "" if all(len(runs) > 1 for runs in sides) else "; to be sure that it is not chance, use compare --interleave"
    return sentence, f"measure with --unique, which sends nothing twice{sure}"


def _none(changes: Sequence[Change], pair: tuple[Repetition, Repetition], many: Sequence[Run]) -> tuple[str, str]:
    """With the bound, and what a cache would have to be like not to show."""
    words = {SERVICE: "lower", THROUGHPUT: "higher"}
    bounds = " and ".join(f"{change.figure} at most {100 * _most(change):.2g} % {words[change.figure]}" for change in changes)
    sentence = f"no cache shows: {bounds} where {pair[1].said} than where {pair[0].said}"
    if not many[0].plan.unique and pair[0].times >= AGAIN:
        return f"{sentence}; one that holds all {pair[0].samples} would not show", "measure with --unique"
    if many[0].plan.data_source != "random" and len(many) > 1:
        remedy = "start the target anew before each run, or use --data-source random"
        return f"{sentence}; one that outlives a run would not show, for each run sends the same dataset", remedy
    return sentence, ""


def _compared(changes: Sequence[Change], pair: tuple[Repetition, Repetition]) -> str:
    """Both figures of each, what recurred how often, and the change with its interval."""
    many, few = pair
    first, *others = changes
    said = f"{first.figure} is {first.after.said} where {few.said}, {first.before.said} where {many.said} ({_interval(first)})"
    return said + "".join(
        f"; {one.figure} {one.after.value:.4g} and {one.before.value:.4g} samples/s ({_interval(one)})" for one in others
    )


def _interval(change: Change) -> str:
    return f"{percent(change.value)}, 95 %: {percent(change.low)} … {percent(change.high)}"
