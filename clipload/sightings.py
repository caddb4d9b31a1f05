"""Sightings: what was seen of the targets and of their processes once a second, and the arithmetic over them. Pure.

A Sighting is a frame of the journal. Its CPU times and counters only grow: differences count, as in a Reading. Whatever was not
told or not visible is left out, and then nothing is said of it: there is no zero for "unknown".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean
from typing import Any

import msgspec

TOKENIZER, SCHEDULER, DETOKENIZER, SERVER, OTHER = ROLES = ("tokenizer", "scheduler", "detokenizer", "server", "other")
QUEUED, RUNNING, ACTIVE, ITEMS, IDLE, CPU = "queued", "running", "active", "items", "idle_s", "cpu_s."
GROWING = (ITEMS, IDLE, CPU)  # gauges that are counters, by the beginning of their names
_S = 10**9


class Glimpse(msgspec.Struct, frozen=True):
    """One process of a target: what it is there for, its CPU time so far, its resident bytes."""

    role: str
    cpu_ms: int
    rss: int = 0


class TargetSeen(msgspec.Struct, frozen=True):
    """One target. `gauges`: what it told of itself, in our names, counters so far; `took_ns`: how long that took; `missing`:
    why it did not. `processes`: pid -> Glimpse; `cores`: how many they may use, 0 when not known; `cores_ms`: how long these
    were busy so far, all together and with whatever it was."""

    gauges: dict[str, float] = {}
    took_ns: int = 0
    missing: str = ""
    processes: dict[int, Glimpse] = {}
    cores: int = 0
    cores_ms: int = 0


class Gpu(msgspec.Struct, frozen=True):
    """A GPU of this host: the share of the last moment in which a kernel ran, and bytes of its memory."""

    busy: float
    used: int
    total: int


class Sighting(msgspec.Struct, tag="sighting", frozen=True):
    """What was seen at one instant of CLOCK_MONOTONIC: of each target, by its number, and of each GPU of this host."""

    at_ns: int
    targets: dict[int, TargetSeen] = {}
    gpus: dict[int, Gpu] = {}


@dataclass(frozen=True, slots=True)
class Busy:
    """A process: the share of one core that it took while it was seen, on the average and in its busiest second."""

    pid: int
    role: str
    share: float
    peak: float


@dataclass(frozen=True, slots=True)
class Sight:
    """All that was seen of one target over a time. `taken`: the share of its cores that was busy, with it or with others.
    `gauges`: means of gauges, and counters per second."""

    target: int
    seconds: float
    processes: tuple[Busy, ...] = ()
    cores: int = 0
    taken: float | None = None
    gauges: dict[str, float] = field(default_factory=dict)
    gpus: dict[int, float] = field(default_factory=dict)

    @property
    def total(self) -> float:
        """Cores' worth of CPU, all processes together."""
        return sum(process.share for process in self.processes)

    def busiest(self, role: str) -> float | None:
        """The busiest process of that role, as a share of a core; else, when none is visible, what the target told of it."""
        shares = [process.share for process in self.processes if process.role == role]
        return max(shares) if shares else self.gauges.get(CPU + role)

    @property
    def gpu(self) -> float | None:
        """The busiest GPU: which of them is the target's is not known."""
        return max(self.gpus.values(), default=None)

    @property
    def scheduler(self) -> float | None:
        """Its share of a core as far as that means work. SGLang's spins while it waits: then a full core says nothing, unless
        the target tells how long it idled, or that requests waited for it."""
        share, idle = self.busiest(SCHEDULER), self.gauges.get(IDLE)
        if share is None:
            return None
        if idle is not None:
            return min(share, max(0.0, 1.0 - idle)) if share <= 1 else share * max(0.0, 1.0 - idle)
        return share if self.gauges.get(QUEUED, 0.0) >= 1 else None


def between(sightings: Iterable[Sighting], begin_ns: int, end_ns: int) -> list[Sighting]:
    return [one for one in sightings if begin_ns <= one.at_ns <= end_ns]


def sights(sightings: Sequence[Sighting]) -> list[Sight]:
    """One for each target of which anything was seen twice; times without two of them say nothing."""
    if len(sightings) < 2:
        return []
    numbers = sorted({number for one in sightings for number in one.targets})
    gpus = _gpus(sightings)
    found = [_sight(number, sightings, gpus) for number in numbers]
    return [one for one in found if one.processes or one.gauges or one.gpus]


def _sight(number: int, sightings: Sequence[Sighting], gpus: dict[int, float]) -> Sight:
    steps = list(_steps(number, sightings))
    seconds = (sightings[-1].at_ns - sightings[0].at_ns) / _S
    cores = max((one.targets[number].cores for one in sightings if number in one.targets), default=0)
    return Sight(number, seconds, _processes(steps), cores, _taken(steps), _gauges(number, sightings), gpus)


_Step = tuple[float, TargetSeen, TargetSeen]  # seconds, before, after


def _steps(number: int, sightings: Sequence[Sighting]) -> Iterator[_Step]:
    """Neighbours in which the target was seen."""
    for before, after in pairwise([one for one in sightings if number in one.targets]):
        if after.at_ns > before.at_ns:
            yield (after.at_ns - before.at_ns) / _S, before.targets[number], after.targets[number]


def _processes(steps: Sequence[_Step]) -> tuple[Busy, ...]:
    """Each by its own time: one that came or went in between is not thinned by the time when it was not there."""
    spent: dict[int, list[tuple[float, float]]] = {}  # pid -> (s, s of CPU)
    roles: dict[int, str] = {}
    for seconds, before, after in steps:
        for pid, glimpse in after.processes.items():
            if pid in before.processes:
                used = max(0, glimpse.cpu_ms - before.processes[pid].cpu_ms) / 1000
                spent.setdefault(pid, []).append((seconds, used))
                roles[pid] = glimpse.role
    busy = [
        Busy(pid, roles[pid], sum(u for _, u in parts) / sum(s for s, _ in parts), max(u / s for s, u in parts))
        for pid, parts in spent.items()
    ]
    return tuple(sorted(busy, key=lambda process: -process.share))


def _taken(steps: Sequence[_Step]) -> float | None:
    """Over the neighbours in which it might use the same number of cores."""
    known = [(s * a.cores, a.cores_ms - b.cores_ms) for s, b, a in steps if a.cores == b.cores and b.cores_ms <= a.cores_ms]
    whole = sum(room for room, _ in known)
    return sum(busy for _, busy in known) / 1000 / whole if whole else None


def _gauges(number: int, sightings: Sequence[Sighting]) -> dict[str, float]:
    seen = [(one.at_ns, one.targets[number].gauges) for one in sightings if number in one.targets]
    found: dict[str, float] = {}
    value: float | None
    for name in sorted({name for _, gauges in seen for name in gauges}):
        points = [(at_ns, gauges[name]) for at_ns, gauges in seen if name in gauges]
        if name.startswith(GROWING):
            value = _growth(points, stepped=name.startswith(CPU))
        else:  # the first was told before that
            value = fmean(v for _, v in points[1:] or points)
        if value is not None:
            found[name] = value
    return found


def _growth(points: Sequence[tuple[int, float]], *, stepped: bool) -> float | None:
    """A counter's growth per second since its last restart. `stepped`: one that grows every few seconds only, as SGLang's CPU
    times do, is known from one step to another."""
    restart = max((i for i in range(1, len(points)) if points[i][1] < points[i - 1][1]), default=0)
    points = points[restart:]
    if stepped:
        points = [after for before, after in pairwise(points) if after[1] > before[1]]
    if len(points) < 2:
        return None
    (begin_ns, before), (end_ns, after) = points[0], points[-1]
    return (after - before) * _S / (end_ns - begin_ns)


def _gpus(sightings: Sequence[Sighting]) -> dict[int, float]:
    """The first says what was before it."""
    seen = sightings[1:]
    numbers = sorted({number for one in seen for number in one.gpus})
    return {number: fmean(one.gpus[number].busy for one in seen if number in one.gpus) for number in numbers}


def sight_document(sight: Sight) -> dict[str, Any]:
    return {
        "target": sight.target,
        "seconds": sight.seconds,
        "cores": sight.cores,
        "cores_taken": sight.taken,
        "processes": [
            {"pid": one.pid, "role": one.role, "share_of_a_core": one.share, "busiest_second": one.peak}
            for one in sight.processes
        ],
        "gauges": sight.gauges,
        "gpus": {str(number): busy for number, busy in sight.gpus.items()},
    }


def timeline(sightings: Sequence[Sighting], start_ns: int) -> list[dict[str, Any]]:
    """Each Sighting against the one before it, `at_s` from the start: shares of a core by role, gauges, GPUs."""
    rows = []
    for before, after in pairwise(sightings):
        row: dict[str, Any] = {"at_s": round((after.at_ns - start_ns) / _S, 3), "targets": {}, "gpus": {}}
        row["gpus"] = {str(number): gpu.busy for number, gpu in after.gpus.items()}
        row["targets"] = {str(one.target): _row(one, after.targets[one.target]) for one in sights([before, after])}
        rows.append(row)
    return rows


def _row(sight: Sight, seen: TargetSeen) -> dict[str, Any]:
    """Counters by what they grew, gauges as they stood."""
    gauges = sight.gauges | {name: value for name, value in seen.gauges.items() if not name.startswith(GROWING)}
    roles = {role: sum(one.share for one in sight.processes if one.role == role) for role in ROLES}
    return {
        "cores": {role: round(share, 4) for role, share in roles.items() if any(one.role == role for one in sight.processes)},
        **{name: round(value, 4) for name, value in gauges.items()},
    }
