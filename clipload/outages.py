"""Outages: when a target refused every connection, from its last ok reply before to its first one after.

A worker notes its own (`Absences`, out of the rows of requests that it folds); what several noted of one target is laid
together: it was out while none of those who were refused heard from it. Instants are ns of CLOCK_MONOTONIC.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from clipload.outcomes import CODE, CONNECT, DONE, OK, TARGET, Rows
from clipload.run import Run
from clipload.units import format_ns

FEWEST = 3  # requests refused in a row, without an ok one among them, that make an outage
Noted = tuple[int, int, int, int]  # target, last ok, first ok after it (0: none yet), requests refused in between


class Absences:
    """One worker's notes. `took` gives out what ended since it was last asked, `open` what has not."""

    def __init__(self, targets: int) -> None:
        self._last_ok = [0] * targets
        self._refused = [0] * targets
        self._ended: list[Noted] = []

    def start(self, at_ns: int) -> None:
        """Until its first reply a target counts as there from the start."""
        self._last_ok = [at_ns] * len(self._last_ok)

    def fold(self, rows: Rows) -> None:
        """`rows` in the order of *done*. Without a refusal it costs one comparison of a column."""
        codes = rows[:, CODE]
        telling = rows[(codes == OK) | (codes == CONNECT)]
        for target in range(len(self._last_ok)):
            mine = telling[telling[:, TARGET] == target] if len(self._last_ok) > 1 else telling
            if len(mine):
                self._add(target, mine)

    def _add(self, target: int, mine: Rows) -> None:
        for part in np.split(mine, np.flatnonzero(np.diff(mine[:, CODE])) + 1):
            if part[0, CODE] == CONNECT:
                self._refused[target] += len(part)
                continue
            if self._refused[target] >= FEWEST:
                self._ended.append((target, self._last_ok[target], int(part[0, DONE]), self._refused[target]))
            self._refused[target], self._last_ok[target] = 0, int(part[-1, DONE])

    def took(self) -> list[Noted]:
        ended, self._ended = self._ended, []
        return ended

    def open(self) -> list[Noted]:
        counts = enumerate(self._refused)
        return [(target, self._last_ok[target], 0, refused) for target, refused in counts if refused >= FEWEST]


class Outage(NamedTuple):
    """One target's. `end_ns`: None while it is not over; then its length is that until the end of the run."""

    target: int
    begin_ns: int
    end_ns: int | None
    refused: int


def outages(run: Run) -> list[Outage]:
    """By target and time."""
    noted = [note for account in run.workers.values() for note in account.outages]
    targets = sorted({note[0] for note in noted})
    return [one for target in targets for one in together([note for note in noted if note[0] == target], run.end_ns)]


def together(noted: Iterable[Noted], end_ns: int) -> list[Outage]:
    """What workers noted of one target: of times that overlap, those at which as many as ever were out."""
    spans = sorted((begin, end or end_ns + 1, refused, target) for target, begin, end, refused in noted)
    return [one for cluster in _clusters(spans) for one in _deepest(cluster, end_ns)]


_Span = tuple[int, int, int, int]  # begin, end, refused, target


def _clusters(spans: list[_Span]) -> Iterator[list[_Span]]:
    cluster: list[_Span] = []
    for span in spans:
        if cluster and span[0] >= max(end for _, end, _, _ in cluster):
            yield cluster
            cluster = []
        cluster.append(span)
    if cluster:
        yield cluster


def _deepest(cluster: list[_Span], end_ns: int) -> Iterator[Outage]:
    edges = sorted({edge for begin, end, _, _ in cluster for edge in (begin, end)})
    depths = [sum(begin <= edge < end for begin, end, _, _ in cluster) for edge in edges]
    left = list(cluster)
    for i, depth in enumerate(depths):
        if depth < max(depths):
            continue
        mine = [span for span in left if span[0] <= edges[i] < span[1]]
        left = [span for span in left if span not in mine]  # a refusal is counted once
        end = edges[i + 1]
        yield Outage(cluster[0][3], edges[i], None if end > end_ns else end, sum(refused for _, _, refused, _ in mine))


def dead(run: Run) -> list[int]:
    """The targets that refused every connection in the end."""
    if run.ended == "target died":
        return list(range(len(run.plan.base_url)))
    return sorted({target for account in run.workers.values() for target in account.gone})


def deaths(run: Run) -> list[str]:
    """One sentence for each target that is dead: since when, at what load, after how many requests."""
    last = {one.target: one for one in outages(run) if one.end_ns is None}
    numbers, told = dead(run), []
    for number in numbers:
        name = run.plan.base_url[number] if len(run.plan.base_url) > 1 else "the target"
        sentence = f"{name} refused every connection in the end: it died or was stopped"
        told.append(sentence + (f" {_when(run, last[number])}" if number in last else ""))
    return told


def _when(run: Run, outage: Outage) -> str:
    waited = f"; it was waited for {run.plan.outage} (--outage)" if run.plan.outage and run.ended == "target died" else ""
    if not sum(tally["ok"] for tally in run.phases.values()):
        return f"at once, before its first ok reply, {_load(run, outage)}{waited}"
    return f"{format_ns(outage.begin_ns - run.start_ns)} after the start, {_load(run, outage)}, {_after(run, outage)}{waited}"


def _load(run: Run, outage: Outage) -> str:
    """In the last whole second before it; a closed loop has its slots."""
    if not run.plan.open_loop:
        return f"with {run.plan.concurrency} in flight"
    index = (outage.begin_ns - run.start_ns) // 10**9 - 1
    before = next((second for second in run.seconds if second.index == index), None)
    if before is None:
        return f"at {run.plan.peak_rate:g} requests/s"
    return f"at {before.count('scheduled')} requests/s with {before.level} in flight"


def _after(run: Run, outage: Outage) -> str:
    """Of several targets only the measured requests are told apart."""
    if len(run.plan.base_url) > 1:
        return f"after {run.targets[outage.target].tally['ok']} ok replies in the measured phase"
    return f"after {sum(tally['ok'] for tally in run.phases.values())} ok replies"


def returns(run: Run) -> list[str]:
    """One sentence for each target that was away and came back."""
    told = []
    found = [one for one in outages(run) if one.end_ns is not None]
    for number in sorted({one.target for one in found}):
        mine = [one for one in found if one.target == number]
        name = run.plan.base_url[number] if len(run.plan.base_url) > 1 else "the target"
        longest = max(mine, key=lambda one: (one.end_ns or 0) - one.begin_ns)
        length, at = (longest.end_ns or 0) - longest.begin_ns, longest.begin_ns - run.start_ns
        many = f"; {len(mine)} times in all" if len(mine) > 1 else ""
        refused = sum(one.refused for one in mine)
        told.append(
            f"{name} was away for {format_ns(length)}, {format_ns(at)} after the start, and came back{many}: "
            f"{refused} requests were refused"
        )
    return told


def outages_document(run: Run) -> list[dict[str, Any]]:
    """For run.json; instants from the start, ns; null: it was not over."""
    return [
        {
            "target": one.target,
            "begin_ns": one.begin_ns - run.start_ns,
            "end_ns": None if one.end_ns is None else one.end_ns - run.start_ns,
            "refused": one.refused,
        }
        for one in outages(run)
    ]
