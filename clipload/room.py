"""Room for connections: how many are opened before a load, and how many there may be."""

from __future__ import annotations

import math
from typing import NamedTuple

from clipload import host
from clipload.errors import HostError
from clipload.pacing import NEVER, share
from clipload.plan import Plan, flag_of

_AHEAD = 256  # most connections to one base URL that a worker opens before the load


class Room(NamedTuple):
    """Connections to each base URL: opened ahead by each worker, at most by all together, and whether this host limits them."""

    ahead: int
    limit: int
    ours: bool


def connections(plan: Plan, latency_ns: int, rate: float) -> Room:
    """Ahead: 1.5 × rate × the probe's latency (Little's law). HostError when a closed loop has no room for its slots."""
    urls = len(plan.base_url)
    descriptors = host.raise_descriptor_limit() // urls
    wanted = share(plan.concurrency, 0, plan.workers) if plan.concurrency is not None else 1
    if wanted > descriptors:
        raise HostError(
            f"a worker needs {wanted} connections, and ulimit -n leaves room for {max(0, descriptors)}",
            flag=flag_of("rate" if plan.open_loop else "concurrency"),
            remedy="raise ulimit -n" + ("" if plan.open_loop else ", or add --workers"),
        )
    if plan.concurrency is not None:
        slots = share(plan.concurrency, plan.workers - 1, plan.workers)
        return Room(min(-(-slots // urls), _AHEAD), plan.concurrency, ours=False)
    wished, possible = plan.max_connections or NEVER, descriptors * plan.workers
    limit = min(wished, possible)
    expected = math.ceil(1.5 * rate * latency_ns / 1e9 / plan.workers / urls) + 1
    return Room(min(expected, share(limit, plan.workers - 1, plan.workers), _AHEAD), limit, ours=possible < wished)
