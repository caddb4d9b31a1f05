"""Transports: how a worker's requests reach the target. `stream` is the default; `aiohttp` knows more ways and costs more.

A transport is a `Lane` for each base URL: `demand` sends a request now or queues it with its due instant unchanged, and every
request that was demanded comes back exactly once through the Lane's `Sink`. `tests/transports/test_every_transport.py` holds
every entry of the table below to that.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Set, Sized
from importlib import import_module
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, cast

import msgspec

from clipload.arena import Bodies
from clipload.credentials import Credentials
from clipload.dialects import Dialect
from clipload.outcomes import Row

Sink = Callable[[Row], None]  # called once for each request, with what became of it
Sampled = Callable[[int, int, int, int, int, list[bytes]], None]
"""Is given an ok reply of a body that is compared: due, body, target, in flight when it was sent, done, the reply's pieces."""


def unsampled(due: int, body: int, target: int, in_flight: int, done: int, reply: list[bytes]) -> None:
    """Nobody compares."""


class Endpoint(msgspec.Struct, frozen=True):
    """Where a Lane connects: one base URL, its Host header, and the socket address that it was resolved to, once for all.

    `server_name`: who must answer in TLS; "" means no TLS. `proxy`: the URL of the proxy whose address it is.
    """

    url: str
    host: str
    family: int
    address: tuple[Any, ...]
    server_name: str = ""
    proxy: str = ""

    @property
    def socket_address(self) -> Any:
        """As sockets want it."""
        return self.address[0] if self.family == socket.AF_UNIX else self.address

    @property
    def root(self) -> str:
        """The base URL as HTTP clients want it."""
        return f"http://{self.host}" if self.family == socket.AF_UNIX else self.url


class Gauges(NamedTuple):
    """How a Lane stands at one instant; `examples` maps a code to what the first reply of its kind said.

    Since the beginning: `capped` demands met the limit of connections, `starved` connections were refused by this host, for
    want of what `lacking` tells (errno -> how often).
    """

    in_flight: int
    waiting: int
    connections: int
    examples: dict[int, str]
    capped: int = 0
    starved: int = 0
    lacking: Mapping[int, int] = MappingProxyType({})


def total(gauges: Iterable[Gauges]) -> Gauges:
    """The Lanes of one worker together; of the examples of one code the first stands."""
    every = list(gauges)
    examples: dict[int, str] = {}
    lacking: Counter[int] = Counter()
    for one in every:
        examples = one.examples | examples
        lacking.update(one.lacking)
    return Gauges(
        in_flight=sum(one.in_flight for one in every),
        waiting=sum(one.waiting for one in every),
        connections=sum(one.connections for one in every),
        examples=examples,
        capped=sum(one.capped for one in every),
        starved=sum(one.starved for one in every),
        lacking=dict(lacking),
    )


class Lane(Protocol):
    """One base URL's connections and FIFO in one worker. `expire`, `cut` and what they end are settled before they return."""

    target: int
    credentials: Credentials
    refusals: int  # failures to connect since the last success
    refused_ns: int  # when the first of them was
    headed: bool  # replies are sampled with HTTP's own head
    compared: Container[int]  # bodies of which a reply may be sampled
    sampled: Sampled

    @property
    def connections(self) -> Sized: ...

    @property
    def opening(self) -> Set[asyncio.Task[None]]:
        """Connections that are being opened ahead or on demand."""

    def demand(self, body: int, due: int, now: int) -> None:
        """Sends request `body`, or lets it wait for a connection."""

    def open(self) -> None:
        """Opens a connection ahead of the load, when the limit allows."""

    def gauges(self) -> Gauges: ...

    def expire(self, before_ns: int) -> None:
        """Times out what was dispatched before `before_ns`."""

    def cut(self) -> None:
        """The end of draining: unanswered requests are censored, those without a connection unsent."""

    async def close(self) -> None:
        """Nothing is told to the Sink any more."""


class MakeLane(Protocol):
    """`vectors`: in each reply; `limit`: of connections; `target`: the base URL's number, which every row repeats."""

    def __call__(
        self,
        sink: Sink,
        bodies: Bodies,
        dialect: Dialect,
        endpoint: Endpoint,
        vectors: int,
        limit: int,
        target: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> Lane: ...


TRANSPORTS = {"stream": "clipload.transports.stream:Lane", "aiohttp": "clipload.transports.session:SessionLane"}
OVER_TLS = {"stream": "clipload.transports.tls:TlsLane", "aiohttp": "clipload.transports.session:SessionLane"}


def lane_for(transport: str, endpoint: Endpoint) -> MakeLane:
    """The class that makes a Lane to `endpoint`."""
    module, _, name = (OVER_TLS if endpoint.server_name else TRANSPORTS)[transport].partition(":")
    return cast(MakeLane, getattr(import_module(module), name))
