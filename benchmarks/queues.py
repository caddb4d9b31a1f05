"""Queues in virtual time, with the capacity that a search ought to find in them. Seconds throughout.

Each law turns arrival instants into response times, all servers being busy until `busy`, and knows its closed-loop throughput.
Capacity is the highest Poisson rate whose p-quantile of response time meets the objective.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]


class Queue(Protocol):
    def responses(self, arrivals: Reals, busy: float, speed: float, draws: np.random.Generator) -> Reals:
        """Response time of each arrival; every service is `speed` times as fast as the law says."""

    def closed(self, slots: int) -> float:
        """Requests/s with so many in flight."""

    def capacity(self, p: float, objective: float) -> float: ...


@dataclass(frozen=True)
class MM1:
    """Poisson arrivals, one server, exponential service of mean `service`."""

    service: float

    def responses(self, arrivals: Reals, busy: float, speed: float, draws: np.random.Generator) -> Reals:
        services = draws.exponential(self.service / speed, len(arrivals))
        done = np.cumsum(services)
        start = np.maximum.accumulate(np.maximum(arrivals - done + services, busy))  # Lindley, unrolled
        responses: Reals = start + done - arrivals
        return responses

    def closed(self, slots: int) -> float:  # noqa: ARG002 - one is enough
        return 1 / self.service

    def capacity(self, p: float, objective: float) -> float:
        """The response time is exponential with rate μ − λ."""
        return 1 / self.service + math.log(1 - p) / objective


@dataclass(frozen=True)
class MDc:
    """Poisson arrivals, `servers` servers, constant service. Customers i, i + c, i + 2c … share a server."""

    service: float
    servers: int

    def responses(self, arrivals: Reals, busy: float, speed: float, draws: np.random.Generator) -> Reals:  # noqa: ARG002
        service, c = self.service / speed, self.servers
        rows = np.full(-(-len(arrivals) // c) * c, np.inf)
        rows[: len(arrivals)] = arrivals
        lanes = rows.reshape(-1, c)
        before = service * np.arange(len(lanes))[:, None]
        start = np.maximum.accumulate(np.maximum(lanes - before, busy), axis=0) + before
        responses: Reals = start.ravel()[: len(arrivals)] + service - arrivals
        return responses

    def closed(self, slots: int) -> float:
        return min(slots, self.servers) / self.service

    def capacity(self, p: float, objective: float) -> float:
        return bisected(
            lambda rate: self.within(rate, objective) >= p, 0.01 * self.closed(self.servers), self.closed(self.servers)
        )

    def within(self, rate: float, response: float) -> float:
        """P(response time ≤ `response`), by Franx (2001): from the queue length at multiples of the service time."""
        waiting = response - self.service
        if waiting < 0:
            return 0.0
        present = np.cumsum(self._present(rate))
        k = math.floor(waiting / self.service) + 1
        mean = rate * (k * self.service - waiting)
        j = np.arange(k * self.servers)
        return float(present[k * self.servers - 1 - j + self.servers] @ _poisson(mean, len(j)))

    def _present(self, rate: float, states: int = 400) -> Reals:
        """Stationary law of the number present, seen every `service` seconds: n → max(n − c, 0) + Poisson."""
        chain = np.zeros((states, states))
        arriving = _poisson(rate * self.service, states)
        for n in range(states):
            left = max(n - self.servers, 0)
            chain[n, left:] = arriving[: states - left]
        chain[:, -1] += 1 - chain.sum(axis=1)
        balance = np.vstack([(chain.T - np.eye(states))[:-1], np.ones(states)])
        present: Reals = np.linalg.solve(balance, np.append(np.zeros(states - 1), 1.0))
        return present


@dataclass(frozen=True)
class Batches:
    """One server that takes all that wait, `most` at most, and works `base` + `each` · n on them."""

    base: float
    each: float
    most: int

    def responses(self, arrivals: Reals, busy: float, speed: float, draws: np.random.Generator) -> Reals:  # noqa: ARG002
        due, first, free = arrivals.tolist(), 0, busy
        done = np.empty(len(due))
        while first < len(due):
            start = max(free, due[first])
            last = bisect_right(due, start, first, min(first + self.most, len(due)))
            free = start + (self.base + self.each * (last - first)) / speed
            done[first:last] = free
            first = last
        return done - arrivals

    def closed(self, slots: int) -> float:
        batch = min(slots, self.most)
        return batch / (self.base + self.each * batch)

    def capacity(self, p: float, objective: float, seed: int = 1, requests: int = 4_000_000) -> float:
        """By simulation, the same gaps at each rate: a run so long that its own error is far below that of a search."""
        draws = np.random.default_rng(seed)
        unit = np.cumsum(draws.exponential(1.0, requests))
        most = self.closed(self.most)

        def meets(rate: float) -> bool:
            return float(np.quantile(self.responses(unit / rate, 0.0, 1.0, draws), p)) <= objective

        return bisected(meets, 0.01 * most, most, 1e-4)


def _poisson(mean: float, count: int) -> Reals:
    """P(N = 0), …, P(N = count − 1)."""
    if mean == 0:
        return np.eye(1, count)[0]
    logs = np.concatenate([[0.0], np.cumsum(np.log(mean) - np.log(np.arange(1, count)))])
    masses: Reals = np.exp(logs - mean)
    return masses


def bisected(meets: Callable[[float], bool], low: float, high: float, precision: float = 1e-6) -> float:
    """The highest rate between `low` and `high` that meets."""
    while high / low > 1 + precision:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if meets(middle) else (low, middle)
    return low
