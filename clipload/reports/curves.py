"""What was seen of the targets as curves over the time of a Run: a value for each stretch between two looks. Pure.

Laws: the mean of a process's curve over its stretches is its share in `sights`; nothing stands where nothing was seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple
from urllib.parse import urlsplit

from clipload.reports.slices import MOST
from clipload.run import Run
from clipload.sightings import ACTIVE, CPU, GROWING, IDLE, ITEMS, QUEUED, ROLES, RUNNING, Sighting

CORES, REQUESTS, DONE, BUSY = PANELS = ("cores", "requests", "items/s", "busy (%)")
GPU = "GPU"
LEAST = 0.005  # of a core, below which a process does next to nothing
GAP_S = 7.0  # between two looks that say anything of what lies between: SGLang tells its CPU every five seconds
_S = 10**9
_TOLD = {
    ACTIVE: (REQUESTS, "active"),
    RUNNING: (REQUESTS, "running"),
    QUEUED: (REQUESTS, "queued"),
    ITEMS: (DONE, "items done"),
    IDLE: (BUSY, "scheduler at work, as it tells"),
}


class Stretch(NamedTuple):
    """Seconds from the start of the Run."""

    begin_s: float
    end_s: float
    value: float

    @property
    def middle_s(self) -> float:
        return (self.begin_s + self.end_s) / 2


@dataclass(frozen=True, slots=True)
class Curve:
    """`panel`: one of PANELS, and its unit."""

    panel: str
    name: str
    stretches: tuple[Stretch, ...]

    @property
    def peak(self) -> Stretch:
        return max(self.stretches, key=lambda one: one.value)

    @property
    def mean(self) -> float:
        seconds = sum(one.end_s - one.begin_s for one in self.stretches)
        return sum(one.value * (one.end_s - one.begin_s) for one in self.stretches) / seconds

    def thinned(self, width_s: float) -> list[Curve]:
        """Parts without gaps, each with one stretch for `width_s` (0: as it is): the mean of those whose middle is in it."""
        parts: list[list[Stretch]] = []
        for one in self.stretches:
            if not parts or one.begin_s > parts[-1][-1].end_s:
                parts.append([])
            parts[-1].append(one)
        return [Curve(self.panel, self.name, tuple(_pieces(part, width_s))) for part in parts]


def _pieces(part: Sequence[Stretch], width_s: float) -> Iterator[Stretch]:
    if not width_s:
        yield from part
        return
    inside: dict[int, list[Stretch]] = {}
    for one in part:
        inside.setdefault(int(one.middle_s // width_s), []).append(one)
    for found in inside.values():
        yield Stretch(found[0].begin_s, found[-1].end_s, Curve("", "", tuple(found)).mean)


def width_of(curves: Sequence[Curve]) -> float:
    """So long, in seconds, that no curve has more than MOST pieces; 0 when they need not be thinned."""
    if max((len(curve.stretches) for curve in curves), default=0) <= MOST:
        return 0.0
    return float(-(-max(curve.stretches[-1].end_s for curve in curves) // MOST))


def curves_of(run: Run) -> list[Curve]:
    """All that can be drawn, panel by panel, the busiest process first. What happened before the start is not part of it."""
    seen = [one for one in run.sightings if one.at_ns >= run.start_ns]
    whose = _owners(run)
    found: list[Curve] = []
    for number in sorted({number for one in seen for number in one.targets}):
        own = [one for one in seen if number in one.targets]
        found += _processes(own, number, run.start_ns, whose[number])
        found += _gauges(own, number, run.start_ns, whose[number])
        found += _cores(own, number, run.start_ns, whose[number])
    found += _gpus(seen, run.start_ns)
    return sorted(found, key=lambda curve: (PANELS.index(curve.panel), -curve.mean if curve.panel == CORES else 0.0))


def _owners(run: Run) -> list[str]:
    """What is written behind a series of each target, where there are several."""
    urls = run.plan.base_url
    if len(urls) == 1:
        return [""]
    places = [urlsplit(url).netloc or url for url in urls]
    return [f", {place if places.count(place) == 1 else url}" for place, url in zip(places, urls)]


def _stretch(begin_ns: int, end_ns: int, start_ns: int, value: float) -> Stretch:
    return Stretch((begin_ns - start_ns) / _S, (end_ns - start_ns) / _S, value)


def _processes(own: Sequence[Sighting], number: int, start_ns: int, whose: str) -> list[Curve]:
    """One for each process: role, and its number where several have that role."""
    spent: dict[int, list[Stretch]] = {}
    roles: dict[int, str] = {}
    for before, after in pairwise(own):
        seconds = (after.at_ns - before.at_ns) / _S
        for pid, glimpse in after.targets[number].processes.items():
            was = before.targets[number].processes.get(pid)
            if was is not None and seconds > 0:
                share = max(0, glimpse.cpu_ms - was.cpu_ms) / 1000 / seconds
                spent.setdefault(pid, []).append(_stretch(before.at_ns, after.at_ns, start_ns, share))
                roles[pid] = glimpse.role
    names = {pid: f"{role} {pid}" if [*roles.values()].count(role) > 1 else role for pid, role in roles.items()}
    return [Curve(CORES, f"{names[pid]}{whose}", tuple(parts)) for pid, parts in spent.items()]


def _gauges(own: Sequence[Sighting], number: int, start_ns: int, whose: str) -> list[Curve]:
    """What it told. Of CPU only that of processes which cannot be seen."""
    visible = {glimpse.role for one in own for glimpse in one.targets[number].processes.values()}
    found = []
    for name in (*_TOLD, *(CPU + role for role in ROLES if role not in visible)):
        points = [(one.at_ns, one.targets[number].gauges[name]) for one in own if name in one.targets[number].gauges]
        steps = tuple(_stretch(a_ns, b_ns, start_ns, value) for a_ns, b_ns, value in _steps(name, points))
        if steps:
            panel, said = _TOLD.get(name, (CORES, f"{name.removeprefix(CPU)}, as it tells"))
            found.append(Curve(panel, f"{said}{whose}", steps))
    return found


def _steps(name: str, points: Sequence[tuple[int, float]]) -> Iterator[tuple[int, int, float]]:
    """(begin_ns, end_ns, value): a gauge as it stood at the end, a counter by what it grew, unless it began again."""
    if name.startswith(CPU):  # told every few seconds, and the same again in between
        points = [after for before, after in pairwise(points) if after[1] > before[1]]
    for (begin_ns, before), (end_ns, value) in pairwise(points):
        if not 0 < end_ns - begin_ns <= GAP_S * _S or (name.startswith(GROWING) and value < before):
            continue
        rate = (value - before) * _S / (end_ns - begin_ns) if name.startswith(GROWING) else value
        yield begin_ns, end_ns, 100 * max(0.0, 1 - rate) if name == IDLE else rate


def _cores(own: Sequence[Sighting], number: int, start_ns: int, whose: str) -> list[Curve]:
    """The cores that the target may use, as in `sights`."""
    stretches = []
    for before, after in pairwise(own):
        was, now = before.targets[number], after.targets[number]
        room = (after.at_ns - before.at_ns) / 1e6 * now.cores  # ms
        if room > 0 and was.cores == now.cores and was.cores_ms <= now.cores_ms:
            share = 100 * (now.cores_ms - was.cores_ms) / room
            stretches.append(_stretch(before.at_ns, after.at_ns, start_ns, share))
    return [Curve(BUSY, f"its cores, whoever uses them{whose}", tuple(stretches))] if stretches else []


def _gpus(seen: Sequence[Sighting], start_ns: int) -> list[Curve]:
    found = []
    for number in sorted({number for one in seen[1:] for number in one.gpus}):
        steps = [
            _stretch(before.at_ns, after.at_ns, start_ns, 100 * after.gpus[number].busy)
            for before, after in pairwise(seen)
            if number in after.gpus
        ]
        found.append(Curve(BUSY, f"{GPU} {number}", tuple(steps)))
    return found
