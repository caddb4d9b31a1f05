"""Transports: how a worker's requests reach the target. `stream` is the default and the only one so far.

A transport is a `Lane` for each base URL: `demand` sends a request now or queues it with its due instant unchanged, and every
request that was demanded comes back exactly once through the Lane's `Sink`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from clipload.outcomes import Row

Sink = Callable[[Row], None]  # called once for each request, with what became of it


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
