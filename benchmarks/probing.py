"""Probes of a simulated queue: each Ask is answered as a campaign would answer it, from a noisy finite run in virtual time.

The target remembers: what one probe leaves undone is still there when the next begins, unless the rest before it was long.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.queues import Queue
from clipload.estimate import Estimate
from clipload.search.dialogue import Ask, Fate, Search, Told

BATCHES = 20
STUDENT = 2.093  # t of 97.5 % at 19 degrees of freedom
ENOUGH_TAIL = 2.0  # effective requests beyond the quantile, below which an estimate is not leant on
KEPT_UP = 0.98


@dataclass(frozen=True)
class Roughness:
    """What goes wrong besides chance. Shares of the probes; `hysteresis` is the run-to-run scatter of the target's speed."""

    hysteresis: float = 0.01
    hiccups: float = 0.0  # a stall makes the quantile three times as long
    lucky: float = 0.0  # the quantile comes out at a third
    unsound: float = 0.0
    false_fail: tuple[float, float] = (0.0, 0.0)  # band, in capacities, in which the first probe fails for nothing
    false_pass: tuple[float, float] = (0.0, 0.0)


class Probing:
    """A target under a search, with a clock of its own."""

    def __init__(
        self,
        queue: Queue,
        p: float,
        objective: float,
        draws: np.random.Generator,
        rough: Roughness | None = None,
        truth: float = 1.0,
    ) -> None:
        self._queue, self._p, self._objective, self._draws = queue, p, objective, draws
        self._rough, self._truth = rough or Roughness(), truth
        self._left_s = 0.0  # work that the last probe left behind
        self._spent_bands: set[str] = set()

    def run(self, search: Search) -> list[Told]:
        """Until the search is done."""
        history = []
        while (ask := search.ask()) is not None:
            history.append(self.probe(ask))
            search.tell(history[-1])
        return history

    def probe(self, ask: Ask) -> Told:
        self._left_s = max(0.0, self._left_s - ask.rest_s)
        seconds = ask.seconds or 10.0
        if "concurrency" in ask.values:
            rate = self._queue.closed(int(ask.values["concurrency"])) * math.exp(self._draws.normal(0, self._rough.hysteresis))
            return Told(ask, "pass", self._draws.poisson(rate * seconds) / seconds, ask.rest_s + ask.settle_s + seconds)
        return self._open(ask, float(ask.values["rate"]), seconds)

    def _open(self, ask: Ask, rate: float, seconds: float) -> Told:
        end = ask.settle_s + seconds
        gaps = self._draws.exponential(1 / rate, max(1, self._draws.poisson(rate * end)))
        due = np.cumsum(gaps) * (end / (gaps.sum() + self._draws.exponential(1 / rate)))  # Poisson, given their number
        speed = math.exp(self._draws.normal(0, self._rough.hysteresis))
        responses = self._queue.responses(due, self._left_s, speed, self._draws)
        ended = _overloaded(due, responses, ask.backlog)
        if ended is not None:
            end = float(due[ended])
            due, responses = due[: ended + 1], responses[: ended + 1]
        self._left_s = max(0.0, float((due + responses).max()) - end)
        begin = ask.settle_s if end > 2 * ask.settle_s else 0.0
        measured = due >= begin
        done = np.count_nonzero((due + responses >= begin) & (due + responses < end))
        length = end - begin
        quantile = estimate(responses[measured], due[measured], self._p) if measured.any() else None
        return self._judged(
            ask, quantile, done / length, np.count_nonzero(measured) / length, ask.rest_s + end, ended is not None
        )

    def _judged(self, ask: Ask, found: Estimate | None, achieved: float, offered: float, seconds: float, early: bool) -> Told:
        chance, rough = self._draws.random(), self._rough
        if chance < rough.unsound:
            return Told(ask, "unsound", achieved, seconds, binding="generator", sentence="the generator itself was late")
        if early or found is None:
            return Told(ask, "overload", achieved, seconds, binding="latency", meets=False)
        times = 3.0 if chance < rough.unsound + rough.hiccups else 1.0
        times = 1 / 3 if 1 - chance < rough.lucky else times
        times *= self._band("fail", rough.false_fail, ask, 10.0) * self._band("pass", rough.false_pass, ask, 0.1)
        found = scaled(found, times)
        limit = 1e9 * self._objective
        behind = offered - achieved > (1 - KEPT_UP) * offered + 3 * math.sqrt(offered / max(seconds, 1.0))
        fate: Fate = "fail" if behind or found.low > limit else "pass" if found.high <= limit else "inconclusive"
        meets = found.value <= limit if found.effective >= ENOUGH_TAIL or found.value > limit else None
        missed = "latency" if fate != "pass" and not (fate == "inconclusive" and meets) else None
        return Told(ask, fate, achieved, seconds, found, meets, missed)

    def _band(self, name: str, band: tuple[float, float], ask: Ask, times: float) -> float:
        """`times`, for the first probe of a rate in the band."""
        if name in self._spent_bands or not band[0] <= float(ask.values["rate"]) / self._truth <= band[1]:
            return 1.0
        self._spent_bands.add(name)
        return times


def _overloaded(due: NDArray[np.float64], responses: NDArray[np.float64], most: int | None) -> int | None:
    """The arrival at which the backlog passes `most`."""
    if most is None:
        return None
    outstanding = np.arange(1, len(due) + 1) - np.searchsorted(np.sort(due + responses), due)
    beyond = outstanding > most
    return int(np.argmax(beyond)) if beyond.any() else None


def estimate(responses: NDArray[np.float64], due: NDArray[np.float64], p: float) -> Estimate:
    """The p-quantile with an interval that allows for dependence, from responses in seconds.

    The excess over the quantile is counted in `BATCHES` stretches of time; how much more it scatters than independent requests
    would is by how much fewer they are worth.
    """
    n = len(responses)
    ranked = np.sort(responses)
    value = float(ranked[min(n - 1, math.ceil(p * n) - 1)])
    edges = np.linspace(due[0], np.nextafter(due[-1], np.inf), BATCHES + 1)
    counts = np.histogram(due, edges)[0]
    excess = np.histogram(due[responses > value], edges)[0]
    scatter = ((excess - (1 - p) * counts) ** 2).sum() * BATCHES / (BATCHES - 1)
    inflation = max(1.0, scatter / (n * p * (1 - p)))
    half = STUDENT * math.sqrt(p * (1 - p) * inflation * n)
    low, high = math.floor(p * n - half), math.ceil(p * n + half)
    tail = n * (1 - p) / inflation
    bounds = float(ranked[max(0, low - 1)]), float(ranked[high - 1]) if high <= n else math.inf
    return scaled(Estimate("latency", value, *bounds, inflation, tail, tail >= ENOUGH_TAIL), 1e9)


def scaled(found: Estimate, times: float) -> Estimate:
    return replace(found, value=times * found.value, low=times * found.low, high=times * found.high)
