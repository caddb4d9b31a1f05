"""References that earlier loads of a campaign took, for the next one: whom was asked what, and the vector that came.

Law: a vector is found again by all that it depends on: the target (its address, its headers, who the preflight says it is) and
the whole body of the request for the Item alone, so the Item, the model and the encoding. Whether the target is still the one
that answered is asked by `references`, and whoever saw it die or go away lets all be forgotten. Nothing outlives the process.
An image that goes by a name of the user's own is known by that name, as it is in the Arena.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from clipload.plan import Plan
from clipload.transports import Endpoint

MOST = 4096  # vectors of one target: some 12 MB where they have 768 numbers; the oldest go first

Vector = NDArray[np.float32]


class Alone(NamedTuple):
    """A usable vector, and when it came, in ns of CLOCK_MONOTONIC."""

    vector: Vector
    taken_ns: int


class Whom(NamedTuple):
    """A target as those know it who ask it. `identity`: what the preflight found it to be, as JSON; empty without one."""

    endpoint: Endpoint
    path: str
    headers: tuple[tuple[str, str], ...]
    identity: bytes


class Recollection:
    """One target's."""

    def __init__(self) -> None:
        self._known: dict[bytes, Alone] = {}

    def __len__(self) -> int:
        return len(self._known)

    def find(self, digest: bytes) -> Alone | None:
        return self._known.get(digest)

    def keep(self, digest: bytes, alone: Alone) -> None:
        self._known.pop(digest, None)
        self._known[digest] = alone
        if len(self._known) > MOST:
            del self._known[next(iter(self._known))]

    def clear(self) -> None:
        self._known.clear()


class Kept:
    """Of all targets."""

    def __init__(self) -> None:
        self._targets: dict[Whom, Recollection] = {}

    def of(self, whom: Whom) -> Recollection:
        return self._targets.setdefault(whom, Recollection())

    def forget(self) -> None:
        """After a death or an outage: what comes back may be another."""
        self._targets.clear()


def digest_of(body: bytes) -> bytes:
    """Of a request for one Item."""
    return hashlib.blake2b(body, digest_size=16).digest()


def those_asked(plan: Plan, path: str, endpoints: Sequence[Endpoint], servers: Sequence[dict[str, Any]]) -> list[Whom]:
    """One for each endpoint. `servers`: what the preflight found each to be; empty without one."""
    identities = [msgspec.json.encode(server, order="sorted") for server in servers] or [b""] * len(endpoints)
    return [
        Whom(endpoint, path, tuple(plan.headers), identity) for endpoint, identity in zip(endpoints, identities, strict=True)
    ]
