"""Pacers name the instants at which requests are *due*; nothing here reads a clock or sends anything.

Laws
* One global seeded schedule. Offsets are int ns from its start, each later than the one before, so that a phase which ends just
  after its n-th arrival holds n; and they are the same for any number of workers.
* Worker k of n takes arrivals k, k+n, k+2n, …: the shares are disjoint and their union is the schedule.
* `Shuffle(size)` is a seeded permutation within every block of `size` requests, so that each body (or URL) is used
  equally often and none is tied to one worker, as a plain modulus would.
Randomness comes from `numpy.random.PCG64.random`, whose stream numpy keeps stable, through inverse transforms.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.random import PCG64, Generator, SeedSequence
from numpy.typing import NDArray

from clipload.errors import CliploadError
from clipload.rates import Profile

Offsets = NDArray[np.int64]

BLOCK = 4096  # arrivals per block: part of the definition of a schedule, since rounding happens once per block
NEVER = 2**62  # an instant that does not come (146 years): the sentinel after the last arrival

# Independent random streams of one seed. Sources use numbers from 100 upwards.
ARRIVALS, BODIES, URLS, COMPARED, CANARY = 1, 2, 3, 4, 5


def generator(seed: int, *stream: int) -> Generator:
    """The random numbers of one named stream of `seed`; streams of one seed are independent."""
    return Generator(PCG64(SeedSequence([seed, *stream])))


class Pacer(Protocol):
    """An open loop: due instants that depend on nothing but the seed."""

    def blocks(self, seed: int) -> Iterator[Offsets]:
        """Endless blocks of `BLOCK` due offsets in ns, rising within and across blocks; NEVER where there are no more."""
        ...


def rising(due: Offsets, last: int = -1) -> Offsets:
    """`due` (non-decreasing), each moved on as little as makes it later than the one before and than `last`."""
    index = np.arange(len(due))
    moved: Offsets = np.maximum.accumulate(np.maximum(due - index, last + 1)) + index
    return moved


@dataclass(frozen=True, slots=True)
class Constant:
    """Arrival i is due at (i + ½) / rate: the half keeps arrivals off whole-second boundaries."""

    rate: float

    def blocks(self, seed: int) -> Iterator[Offsets]:  # noqa: ARG002  (nothing is random here)
        index = np.arange(BLOCK, dtype=np.float64) + 0.5
        gap_ns = 1e9 / self.rate
        for first in range(0, NEVER, BLOCK):
            yield np.rint((index + first) * gap_ns).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Poisson:
    """Exponential gaps of mean 1 / rate, drawn once for all workers together."""

    rate: float

    def blocks(self, seed: int) -> Iterator[Offsets]:
        random = generator(seed, ARRIVALS)
        gap_ns, last = 1e9 / self.rate, 0
        while True:
            gaps = -np.log1p(-random.random(BLOCK)) * gap_ns
            block = rising(last + np.rint(np.cumsum(gaps)).astype(np.int64), last)
            last = int(block[-1])
            yield block


@dataclass(frozen=True, slots=True)
class Gamma:
    """Gamma gaps of mean 1 / rate and coefficient of variation `cv`: 1 is Poisson, more is bursty, less is even.

    Drawn by Marsaglia and Tsang's method (ACM TOMS 26, 2000) from `PCG64.random` alone: numpy keeps no other stream stable.
    """

    rate: float
    cv: float

    def blocks(self, seed: int) -> Iterator[Offsets]:
        random = generator(seed, ARRIVALS)
        shape, last = self.cv**-2, 0
        scale_ns = 1e9 / (self.rate * shape)
        while True:
            block = rising(last + np.rint(np.cumsum(_gamma(random, shape)) * scale_ns).astype(np.int64), last)
            last = int(block[-1])
            yield block


def _gamma(random: Generator, shape: float) -> NDArray[np.float64]:
    """BLOCK gamma values of scale 1. Below shape 1 a value of shape + 1 is scaled down by U^(1/shape)."""
    d = (shape if shape >= 1 else shape + 1) - 1 / 3
    c = 1 / np.sqrt(9 * d)
    found: list[NDArray[np.float64]] = []
    while sum(map(len, found)) < BLOCK:
        radius, angle, u = random.random((3, BLOCK))
        normal = np.sqrt(-2 * np.log1p(-radius)) * np.cos(2 * np.pi * angle)  # Box and Muller
        v = (1 + c * normal) ** 3
        with np.errstate(divide="ignore", invalid="ignore"):
            good = (v > 0) & (np.log1p(-u) < 0.5 * normal**2 + d - d * v + d * np.log(v))
        found.append(d * v[good])
    values = np.concatenate(found)[:BLOCK]
    return values if shape >= 1 else values * (1 - random.random(BLOCK)) ** (1 / shape)


@dataclass(frozen=True, slots=True)
class Shaped:
    """A process of rate 1, its time changed so that its rate is `profile`'s at each instant; past its end nothing is due."""

    law: Constant | Poisson | Gamma
    profile: Profile

    def blocks(self, seed: int) -> Iterator[Offsets]:
        last = -1
        for block in self.law.blocks(seed):
            due_ns = np.rint(np.minimum(self.profile.instant(block / 1e9) * 1e9, NEVER)).astype(np.int64)
            due = rising(np.maximum.accumulate(due_ns), last)  # rounding may go back by 1 ns where two pieces meet
            last = int(due[-1])
            yield np.minimum(due, NEVER)


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """Arrivals as they were recorded: `offsets` ns from the start, rising. After the last nothing is due."""

    offsets: Offsets

    def blocks(self, seed: int) -> Iterator[Offsets]:  # noqa: ARG002  (nothing is random here)
        for first in range(0, NEVER, BLOCK):
            block = np.full(BLOCK, NEVER, dtype=np.int64)
            part = self.offsets[first : first + BLOCK]
            block[: len(part)] = part
            yield block


@dataclass(frozen=True, slots=True)
class InFlight:
    """A closed loop: `slots` requests in flight; the next is due when a slot becomes free."""

    slots: int

    def share(self, worker: int, workers: int) -> int:
        """The slots of one worker; the shares differ by at most one and sum to `slots`."""
        return share(self.slots, worker, workers)


def share(total: int, worker: int, workers: int) -> int:
    """How many of the indices 0 … total−1 are ≡ worker (mod workers)."""
    return (total - worker + workers - 1) // workers if total > worker else 0


@dataclass(frozen=True, slots=True)
class Horizon:
    """Where the phases of one schedule lie, in ns from its start, and what is planned in each.

    `bounds` are the starts of warm-up, measure and cool-down and the end of all: a request belongs to phase p when
    bounds[p] ≤ due < bounds[p+1]. `planned[w][p]` counts worker w's arrivals in phase p.
    """

    bounds: tuple[int, int, int, int]
    planned: tuple[tuple[int, int, int], ...]

    def total(self, phase: int) -> int:
        return sum(row[phase] for row in self.planned)


PHASES = ("warmup", "measure", "cooldown")


def bounds_by_time(warmup_ns: int, duration_ns: int, cooldown_ns: int) -> tuple[int, int, int, int]:
    return (0, warmup_ns, warmup_ns + duration_ns, warmup_ns + duration_ns + cooldown_ns)


def bounds_by_count(pacer: Pacer, seed: int, warmup_ns: int, requests: int, cooldown_ns: int) -> tuple[int, int, int, int]:
    """As `bounds_by_time`, the measure phase ending just after its `requests`-th arrival."""
    for block in pacer.blocks(seed):
        measured = block[(block >= warmup_ns) & (block < NEVER)]
        if len(measured) >= requests:
            end = int(measured[requests - 1]) + 1
            return (0, warmup_ns, end, end + cooldown_ns)
        requests -= len(measured)
        if block[-1] == NEVER:
            raise CliploadError(f"the arrivals end {requests} too early", flag="--num-samples", remedy="ask for fewer Samples")
    raise AssertionError("a pacer's blocks never end")


def count_due(pacer: Pacer, seed: int, workers: int, bounds: tuple[int, int, int, int], until_ns: int) -> list[list[int]]:
    """Arrivals due at or before `until_ns`, by [worker][phase]: computed from the schedule alone, without the workers' word."""
    counts = np.zeros((workers, len(PHASES)), dtype=np.int64)
    first = 0
    for block in pacer.blocks(seed):
        due = block[(block <= until_ns) & (block < bounds[3])]
        phase = np.searchsorted(bounds, due, side="right") - 1
        worker = (first + np.arange(len(due))) % workers
        np.add.at(counts, (worker, phase), 1)
        if len(due) < len(block):
            break
        first += len(block)
    return [[int(cell) for cell in row] for row in counts]


def horizon(pacer: Pacer, seed: int, workers: int, bounds: tuple[int, int, int, int]) -> Horizon:
    """The planned counts of an open loop between `bounds`."""
    planned = count_due(pacer, seed, workers, bounds, bounds[3])
    return Horizon(bounds, tuple((row[0], row[1], row[2]) for row in planned))


def arrivals(pacer: Pacer, seed: int, worker: int, workers: int, end_ns: int) -> Iterator[list[int]]:
    """Worker `worker`'s due offsets < `end_ns`, block by block (a block may be empty when workers outnumber it)."""
    first = 0
    for block in pacer.blocks(seed):
        mine = block[(worker - first) % workers :: workers]
        first += len(block)
        yield mine[mine < end_ns].tolist()
        if int(block[-1]) >= end_ns:
            return


class Shuffle:
    """i ↦ one of 0 … size−1: a seeded permutation within each block of `size` consecutive requests.

    Permutations are made a chunk of about `BLOCK` requests at a time; calls with rising i cost one list look-up.
    """

    __slots__ = ("_chunk", "_order", "_per_chunk", "seed", "size", "stream")

    def __init__(self, size: int, seed: int, stream: int) -> None:
        self.size, self.seed, self.stream = size, seed, stream
        self._per_chunk = size * max(1, BLOCK // size)
        self._chunk = -1
        self._order: list[int] = []

    def __call__(self, i: int) -> int:
        chunk, place = divmod(i, self._per_chunk)
        if chunk != self._chunk:
            self._chunk, self._order = chunk, self._permute(chunk)
        return self._order[place]

    def share(self, worker: int, workers: int) -> Iterator[int]:
        """What requests worker, worker + workers, … map to, for ever."""
        first = worker
        for chunk in range(NEVER):
            order = self._permute(chunk)
            yield from order[first::workers]
            first = (first - len(order)) % workers

    def _permute(self, chunk: int) -> list[int]:
        rows = np.tile(np.arange(self.size), (self._per_chunk // self.size, 1))
        order: list[int] = generator(self.seed, self.stream, chunk).permuted(rows, axis=1).ravel().tolist()
        return order
