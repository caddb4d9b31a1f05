"""The frames of a journal, in order: one `Opening`; `Interval`s, one for each worker and second (a final one closes a worker's
account), and between them the supervisor's readings of the host (`Reading`) and of the targets (`Sighting`), what the checker
found (`Checked`), and the frames of a canary (`CanaryPart`); at most one `Closing`.

Instants are ns of CLOCK_MONOTONIC.
"""

from __future__ import annotations

from typing import Any

import msgspec

from clipload.agreement import Checked
from clipload.sightings import Sighting
from clipload.tally import WirePart

SCHEMA = 5  # 2: Reading; late, withheld and lacking of an Interval. 3: Sighting; outages of an Interval. 4: CanaryPart.
# 5: Checked
SECOND_NS = 10**9


class Opening(msgspec.Struct, tag="opening", frozen=True):
    """The first frame. `start_ns` is CLOCK_MONOTONIC, `start_wall_s` the same instant by the wall clock, for people only.

    `bounds` are offsets (`pacing.Horizon`).
    """

    schema: int
    plan: dict[str, Any]
    facts: dict[str, Any]
    bounds: tuple[int, int, int, int]
    start_ns: int
    start_wall_s: float


class Interval(msgspec.Struct, tag="interval", frozen=True):
    """One worker's account of one second by *done* instant, numbered from the start; phases by *due* instant.

    Gauges: `in_flight` requests sent, `waiting` requests without a connection, `connections` open, `rss` bytes. Sums over the
    interval: `cpu_ns` of the process, `starved_ns` on the run queue, `gc_ns`. `outstanding`: phase -> scheduled and not ended.
    """

    worker: int
    index: int
    phases: dict[str, WirePart]
    outstanding: dict[str, int]
    in_flight: int = 0
    waiting: int = 0
    connections: int = 0
    cpu_ns: int = 0
    starved_ns: int = 0
    gc_ns: int = 0
    rss: int = 0
    examples: dict[int, str] = {}
    targets: dict[int, WirePart] = {}  # with several base URLs: the measured phase, by target
    steady_ok: list[int] = []  # so far, by target: ok, done within the measured phase (a counted closed loop: its steady part)
    last_done_ns: int = 0  # so far: when the last measured request ended
    capped: int = 0  # so far: demands that met the limit of connections
    refused_here: int = 0  # so far: connections for which this host had no descriptor, port or memory
    lacking: dict[int, int] = {}  # so far: the same by errno
    late: Any = None  # sparse histograms (see `witness`): how late the loop was, ns,
    withheld: Any = None  # and the part of it in which the worker could not run
    final: bool = False
    stopped_ns: int | None = None  # final only: the instant up to which a shortened schedule was sent
    gone: list[int] = []  # final only: targets that refused every connection in the end
    outages: list[tuple[int, int, int, int]] = []  # that ended since the last one (see `outages.Noted`); final: open ones too


class Reading(msgspec.Struct, tag="reading", frozen=True):
    """What the kernel said of the whole host at one instant. All but `sockets` and `descriptors` only grow: differences count.

    `cores`: core -> ms (of all kinds, stolen by the hypervisor, in soft interrupts), the workers' cores. `throttled`: how often
    and how long (ns) a cgroup's quota held this one back. `tcp`: segments sent, sent again, connects asked for again.
    `sockets`: TCP (in use, in TIME_WAIT). `descriptors`: worker -> open ones. `traffic`: interface -> bytes (sent, received).
    """

    at_ns: int
    cores: dict[int, tuple[int, int, int]] = {}
    throttled: tuple[int, int] = (0, 0)
    tcp: tuple[int, int, int] = (0, 0, 0)
    sockets: tuple[int, int] = (0, 0)
    descriptors: dict[int, int] = {}
    traffic: dict[str, tuple[int, int]] = {}


class Closing(msgspec.Struct, tag="closing", frozen=True):
    """The last frame: how the run ended, and what only the supervisor knows: the planned, not due and lost of each worker."""

    ended: str
    end_ns: int  # when draining was over
    stop_ns: int  # when the schedule stopped: its own end, or earlier
    steady_ns: int | None  # closed loop: the steady window's end (the phase's, or when the first slot ran out of work)
    accounts: dict[int, dict[str, dict[str, int]]]  # worker -> phase -> count name -> n
    facts: dict[str, Any]


class CanaryPart(msgspec.Struct, tag="canary", frozen=True):
    """A frame of the canary's own journal, which is a whole one within the load's: Opening, Intervals, Closing."""

    part: Opening | Interval | Closing


Part = Interval | Reading | Sighting | Checked | CanaryPart
"""What may come between the two."""

Frame = Opening | Part | Closing
