"""Sample paths of an M/M/1 queue and what a Run would keep of them. Seeded; the true quantiles have closed forms."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipload.histogram import Histogram
from clipload.pacing import generator
from clipload.series import Series

Reals = NDArray[np.float64]
ARRIVALS, SERVICES = 1, 2


@dataclass(frozen=True)
class Path:
    """Arrival instants and sojourn times of consecutive requests, in seconds."""

    arrivals: Reals
    sojourns: Reals

    @property
    def seconds(self) -> int:
        """Whole seconds until the last arrival."""
        return int(self.arrivals[-1])

    def level(self) -> Reals:
        """Requests in the queue or in service at the end of each second."""
        ends = np.arange(1, self.seconds + 1)
        departures = np.sort(self.arrivals + self.sojourns)
        return (np.searchsorted(self.arrivals, ends) - np.searchsorted(departures, ends)).astype(float)

    def arrived(self, seconds: int) -> int:
        """How many arrive in the last `seconds` whole ones."""
        inside = (self.arrivals > self.seconds - seconds) & (self.arrivals <= self.seconds)
        return int(inside.sum())

    def histograms(self) -> list[Histogram]:
        """The sojourn times by second of departure (in this queue: in order)."""
        done = self.arrivals + self.sojourns
        seconds = np.arange(1, math.ceil(done[-1]))
        parts = np.split(np.rint(self.sojourns * 1e9).astype(np.int64), np.searchsorted(done, seconds))
        found = [Histogram() for _ in parts]
        for histogram, part in zip(found, parts):
            histogram.record(part)
        return found

    def series(self) -> Series:
        histograms = self.histograms()
        return Series.of(histograms, [0] * len(histograms))


def exponential(seed: int, stream: int, n: int, mean: float) -> Reals:
    return -np.log1p(-generator(seed, stream).random(n)) * mean


def mm1(seed: int, n: int, load: float, service: float = 0.001) -> Path:
    """Lindley's recursion, unrolled: the n-th departs at Σ S + max over k ≤ n of (arrival_k − Σ_{j < k} S_j)."""
    arrivals = np.cumsum(exponential(seed, ARRIVALS, n, service / load))
    services = exponential(seed, SERVICES, n, service)
    work = np.cumsum(services)
    return Path(arrivals, work + np.maximum.accumulate(arrivals - (work - services)) - arrivals)


def independent(seed: int, n: int, rate: float = 700.0, mean: float = 0.001) -> Path:
    """Poisson arrivals with independent exponential sojourn times, in order of arrival."""
    arrivals = np.cumsum(exponential(seed, ARRIVALS, n, 1 / rate))
    return Path(arrivals, exponential(seed, SERVICES, n, mean))


def true_quantile_ns(q: float, load: float, service: float = 0.001) -> float:
    """Sojourn times of M/M/1 are exponential with mean S / (1 − ρ)."""
    return -math.log(1 - q) * service / (1 - load) * 1e9


def normal(seed: int, n: int) -> Reals:
    """By Box and Muller, from a stream that stays as it is."""
    draws = generator(seed, 5)
    found: Reals = np.sqrt(-2 * np.log1p(-draws.random(n))) * np.cos(2 * np.pi * draws.random(n))
    return found


def recorded(seconds: Reals) -> Histogram:
    histogram = Histogram()
    histogram.record(np.rint(seconds * 1e9).astype(np.int64))
    return histogram
