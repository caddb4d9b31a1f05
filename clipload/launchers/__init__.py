"""Launchers place workers and bring their Tallies home. `local` is the only one so far.

A launcher is given an `Assignment`, appends what comes home to the `Record` and returns the `Closing` that ends it. It never
touches a number: it adds accounts that only a supervisor can know (planned, not due, lost).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from clipload.arena import ArenaMap
from clipload.credentials import Credentials
from clipload.folding import Folding
from clipload.frames import Part
from clipload.host import Placement
from clipload.pacing import Horizon, Pacer
from clipload.plan import Plan
from clipload.sampler import Sampling
from clipload.traces import TraceMap
from clipload.transports import Endpoint
from clipload.wire import Ready


@dataclass(frozen=True, slots=True)
class Assignment:
    """Everything that workers need to know, and where they run. The credentials go down a pipe and nowhere else."""

    plan: Plan
    arena: ArenaMap
    endpoints: tuple[Endpoint, ...]  # one for each base URL
    credentials: Credentials
    bounds: tuple[int, int, int, int]
    pacer: Pacer | None  # None: a closed loop, whose due instants nobody knows in advance
    horizon: Horizon | None  # of the pacer
    trace: TraceMap | None  # the pacer's arrivals, when they were recorded
    connect_ahead: int  # per worker and base URL
    connection_limit: int  # per base URL, all workers together
    placement: Placement
    directory: Path
    sampling: tuple[Sampling, ...] = ()  # worker's pipe to the checker; empty: nothing is compared
    log: str = "worker"  # what the workers' files are called in the directory


@dataclass(frozen=True, slots=True)
class Observer:
    """What a launcher tells while it works: `opened` writes the Opening and returns the fold; `frame` hears each frame;
    `ending`: the schedule ends early; `slackens`: a counted closed loop's first slot has no work left; `seen`: what was seen
    beside it since it was last asked for."""

    opened: Callable[[list[Ready], int], Folding]
    frame: Callable[[Part], None]
    said: Callable[[str], None]
    ending: Callable[[], None] = lambda: None
    slackens: Callable[[], None] = lambda: None
    seen: Callable[[], Iterable[Part]] = tuple
