"""Transports: how a worker's requests reach the target. `stream` is the default and the only one so far.

A transport is a `Lane` for each base URL: `demand` sends a request now or queues it with its due instant unchanged, and every
request that was demanded comes back exactly once through the Lane's `Sink`.
"""

from __future__ import annotations

from typing import Protocol


class Sink(Protocol):
    """Where a Lane says what became of each request; the arguments are those of `outcomes.Outcomes.add`."""

    def ended(
        self,
        due: int,
        dispatched: int,
        sent: int,
        written: int,
        first: int,
        done: int,
        code: int,
        body: int,
        received: int,
        retries: int,
    ) -> None: ...
