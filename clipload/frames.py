"""The frames of a journal, in order: one `Opening`; `Interval`s, one for each worker and second (a final one closes a worker's
account); at most one `Closing`. Instants are ns of CLOCK_MONOTONIC."""

from __future__ import annotations

from typing import Any

import msgspec

from clipload.tally import WirePart

SCHEMA = 1
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
    final: bool = False
    stopped_ns: int | None = None  # final only: the instant up to which a shortened schedule was sent
    gone: list[int] = []  # final only: targets that refused every connection in the end


class Closing(msgspec.Struct, tag="closing", frozen=True):
    """The last frame: how the run ended, and what only the supervisor knows: the planned, not due and lost of each worker."""

    ended: str
    end_ns: int  # when draining was over
    stop_ns: int  # when the schedule stopped: its own end, or earlier
    steady_ns: int | None  # closed loop: the steady window's end (the phase's, or when the first slot ran out of work)
    accounts: dict[int, dict[str, dict[str, int]]]  # worker -> phase -> count name -> n
    facts: dict[str, Any]


Frame = Opening | Interval | Closing
