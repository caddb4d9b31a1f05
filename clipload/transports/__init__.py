"""Transports: how a worker's requests reach the target. `stream` is the default and the only one so far.

A transport is a `Lane` for each base URL: `demand` sends a request now or queues it with its due instant unchanged, and every
request that was demanded comes back exactly once through the Lane's `Sink`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec

from clipload.outcomes import Row

Sink = Callable[[Row], None]  # called once for each request, with what became of it


class Endpoint(msgspec.Struct, frozen=True):
    """Where a Lane connects: one base URL, its Host header, and the socket address that it was resolved to, once for all."""

    url: str
    host: str
    family: int
    address: tuple[Any, ...]


class Gauges(NamedTuple):
    """How a Lane stands at one instant; `examples` maps a code to what the first reply of its kind said.

    Since the beginning: `capped` demands met the limit of connections, `starved` connections were refused by this host.
    """

    in_flight: int
    waiting: int
    connections: int
    examples: dict[int, str]
    capped: int = 0
    starved: int = 0


def total(gauges: Iterable[Gauges]) -> Gauges:
    """The Lanes of one worker together; of the examples of one code the first stands."""
    every = list(gauges)
    examples: dict[int, str] = {}
    for one in every:
        examples = one.examples | examples
    return Gauges(
        in_flight=sum(one.in_flight for one in every),
        waiting=sum(one.waiting for one in every),
        connections=sum(one.connections for one in every),
        examples=examples,
        capped=sum(one.capped for one in every),
        starved=sum(one.starved for one in every),
    )
