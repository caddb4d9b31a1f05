"""What is wrong with an arrival process must show: the union of the workers' shares, and each known way to get it wrong.

One check judges them all. It asks for the count, the law of the gaps (Kolmogorov and Smirnov's distance), their coefficient of
variation, their correlation with the next, and the dispersion of counts on three scales: each of these alone is blind to one
of the mutants at least.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, islice

import numpy as np
import pytest
from numpy.typing import NDArray

from clipload.pacing import BLOCK, Constant, Gamma, Pacer, Poisson, arrivals

Instants = NDArray[np.float64]  # seconds, rising
RATE, SECONDS, WORKERS, SEED = 1000.0, 200, 32, 5
N = int(RATE * SECONDS)
SCALES = {"10 ms": 0.01, "100 ms": 0.1, "1 s": 1.0}
S = 1_000_000_000


# ---- the check


def faults(due: Instants, cv: float) -> set[str]:
    """What is not as a process of `RATE` whose gaps have this coefficient of variation would have it. Poisson when it is 1."""
    due = np.sort(due)
    due = due[due < SECONDS]
    gaps = np.diff(due) * RATE
    found = set()
    if abs(len(due) / N - 1) > max(0.001, 4 * cv / N**0.5):
        found.add("count")
    if abs(gaps.std() - cv) > 0.02 * cv + 1e-3:
        found.add("cv")
    if cv and abs(np.corrcoef(gaps[1:], gaps[:-1])[0, 1]) > 0.02:
        found.add("correlation")
    if cv == 1 and distance(gaps) > 1.95 / len(gaps) ** 0.5:  # exceeded by chance once in a thousand
        found.add("gaps")
    found |= {f"dispersion, {name}" for name, window in SCALES.items() if not dispersed(due, window, cv)}
    return found


def distance(gaps: Instants) -> float:
    """The largest between the distribution of the gaps and the exponential one."""
    ideal = 1 - np.exp(-np.sort(gaps))
    ranks = np.arange(len(gaps) + 1) / len(gaps)
    return float(max((ranks[1:] - ideal).max(), (ideal - ranks[:-1]).max()))


def dispersed(due: Instants, window: float, cv: float) -> bool:
    """Variance / mean of the counts: cv² in long windows. Short ones see less of the law; there it lies between it and 1."""
    counts = np.bincount((due / window).astype(int), minlength=round(SECONDS / window))
    index = counts.var(ddof=1) / counts.mean()
    error = 4 * (2 / len(counts)) ** 0.5  # four standard errors
    if cv == 0:
        return bool(index < 0.05)
    slack = max(0.1, error)
    low, high = (cv**2, cv**2) if window * RATE >= 100 or cv == 1 else (min(1, cv**2), max(1, cv**2))
    return bool(low * (1 - slack) < index < high * (1 + slack))


# ---- what passes


def union(pacer: Pacer, workers: int) -> Instants:
    """All workers' shares, as each makes them for itself."""
    shares = (chain.from_iterable(arrivals(pacer, SEED, k, workers, SECONDS * S)) for k in range(workers))
    return np.array(list(chain.from_iterable(shares)), np.float64) / S


@pytest.mark.parametrize(
    ("pacer", "cv", "workers"),
    [
        (Poisson(RATE), 1.0, 1),
        (Poisson(RATE), 1.0, WORKERS),
        (Constant(RATE), 0.0, WORKERS),
        (Gamma(RATE, 2.0), 2.0, 7),
        (Gamma(RATE, 0.5), 0.5, 7),
    ],
    ids=repr,
)
def test_the_union_of_the_shares_is_the_process(pacer: Pacer, cv: float, workers: int) -> None:
    assert faults(union(pacer, workers), cv) == set()


# ---- what must not


def own(pacer: Pacer, seed: int) -> Instants:
    """A worker's own schedule, of a rate that is its part of the whole."""
    blocks = N // WORKERS // BLOCK + 2
    return np.concatenate(list(islice(pacer.blocks(seed), blocks))) / S


def one_seed() -> Instants:
    """Each worker draws its own gaps, all of them from the same seed."""
    return np.concatenate([own(Poisson(RATE / WORKERS), SEED)] * WORKERS)


def one_seed_in_turns() -> Instants:
    """The next due instant stands in shared memory, and each worker moves it on by a gap of its own draws: the same draws."""
    gaps = np.diff(union(Poisson(RATE), 1))[: N // WORKERS + 1]
    return np.cumsum(np.repeat(gaps, WORKERS))


def no_phase() -> Instants:
    """Constant gaps, every worker beginning at the same instant."""
    return np.concatenate([own(Constant(RATE / WORKERS), SEED)] * WORKERS)


def random_phase() -> Instants:
    """Constant gaps, every worker beginning when it likes."""
    phases = np.random.default_rng(SEED).uniform(0, WORKERS / RATE, WORKERS)
    return np.concatenate([own(Constant(RATE / WORKERS), SEED) + phase for phase in phases])


def own_gamma() -> Instants:
    """Independent bursty gaps in each worker: put together they are hardly burstier than Poisson."""
    return np.concatenate([own(Gamma(RATE / WORKERS, 2.0), seed) for seed in range(WORKERS)])


def relative_sleeps() -> Instants:
    """`await sleep(gap)` per request: each sleep ends 80 µs late, and the lateness adds up."""
    gaps = np.diff(union(Poisson(RATE), 1), prepend=0.0)
    return np.cumsum(gaps + 80e-6)


def rounded_sleeps() -> Instants:
    """Sleeps by a clock of whole milliseconds, rounded to the nearest: short gaps are none at all."""
    gaps = np.diff(union(Poisson(RATE), 1), prepend=0.0)
    return np.cumsum(np.round(gaps * 1000) / 1000)


MUTANTS: list[tuple[Callable[[], Instants], float, set[str]]] = [
    (one_seed, 1.0, {"gaps", "cv", "dispersion, 10 ms", "dispersion, 100 ms", "dispersion, 1 s"}),
    (one_seed_in_turns, 1.0, {"correlation", "dispersion, 10 ms", "dispersion, 100 ms", "dispersion, 1 s"}),
    (no_phase, 0.0, {"cv", "dispersion, 10 ms"}),
    (random_phase, 0.0, {"cv", "dispersion, 10 ms"}),
    (own_gamma, 2.0, {"cv"}),
    (relative_sleeps, 1.0, {"count"}),
    (rounded_sleeps, 1.0, {"gaps"}),
]


@pytest.mark.parametrize(("mutant", "cv", "shown"), MUTANTS, ids=lambda value: getattr(value, "__name__", None))
def test_a_mutant_is_caught(mutant: Callable[[], Instants], cv: float, shown: set[str]) -> None:
    """By these signs at least."""
    assert shown <= faults(mutant(), cv)


def test_the_gaps_alone_would_not_show_a_shared_seed() -> None:
    """Why dispersion and correlation are asked for: the law of such gaps is right, as is their variation."""
    gaps = np.diff(one_seed_in_turns()) * RATE
    assert distance(gaps) < 0.02
    assert gaps.std() == pytest.approx(1, rel=0.05)
