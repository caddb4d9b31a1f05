"""Cases of `clipload.pacing`: the numbers of each pacer, by fixed seeds, and the sums of small schedules."""

from __future__ import annotations

from fractions import Fraction
from itertools import chain, islice

import numpy as np
import pytest

from clipload.pacing import (
    ARRIVALS,
    BLOCK,
    BODIES,
    Constant,
    Horizon,
    InFlight,
    Offsets,
    Pacer,
    Poisson,
    Shuffle,
    arrivals,
    bounds_by_count,
    bounds_by_time,
    count_due,
    generator,
    horizon,
    share,
)

S = 10**9
SEEDS = range(10)


def first(pacer: Pacer, seed: int, n: int) -> Offsets:
    """The first `n` due offsets."""
    blocks = islice(pacer.blocks(seed), -(-n // BLOCK))
    return np.concatenate(list(blocks))[:n]


@pytest.fixture(scope="module")
def poisson() -> list[Offsets]:
    """200 s of Poisson arrivals at 1000/s, for each of ten seeds."""
    schedules = [first(Poisson(1000.0), seed, 210_000) for seed in SEEDS]
    return [schedule[schedule < 200 * S] for schedule in schedules]


@pytest.mark.parametrize("rate", [1.0, 3.0, 7.7, 1000.0, 1e6 / 3, 1e7])
def test_constant_is_exact_to_a_nanosecond(rate: float) -> None:
    for number, block in islice(enumerate(Constant(rate).blocks(0)), 0, 300, 60):
        for i in (0, 1, BLOCK // 3, BLOCK - 1):
            exact = Fraction(2 * (number * BLOCK + i) + 1, 2) * S / Fraction(rate)
            assert abs(int(block[i]) - exact) <= 1


def test_constant_does_not_depend_on_the_seed() -> None:
    assert first(Constant(4.0), 1, 5).tolist() == first(Constant(4.0), 2, 5).tolist()
    assert first(Constant(4.0), 1, 3).tolist() == [125_000_000, 375_000_000, 625_000_000]


def test_poisson_has_its_rate(poisson: list[Offsets]) -> None:
    for schedule in poisson:
        assert len(schedule) == pytest.approx(200_000, abs=4 * 200_000**0.5)
    assert sum(map(len, poisson)) == pytest.approx(2_000_000, abs=4 * 2_000_000**0.5)


def test_poisson_gaps_are_exponential(poisson: list[Offsets]) -> None:
    for schedule in poisson:
        gaps = np.diff(schedule, prepend=0)
        assert gaps.min() >= 0
        assert gaps.std() / gaps.mean() == pytest.approx(1, abs=0.015)
        assert np.mean(gaps > gaps.mean()) == pytest.approx(np.exp(-1), abs=0.005)
        assert np.median(gaps) / gaps.mean() == pytest.approx(np.log(2), abs=0.01)


def test_poisson_gaps_are_not_correlated(poisson: list[Offsets]) -> None:
    for schedule in poisson:
        gaps = np.diff(schedule)
        assert abs(np.corrcoef(gaps[1:], gaps[:-1])[0, 1]) < 0.02
        at_the_seams = np.corrcoef(gaps[BLOCK - 1 :: BLOCK], gaps[BLOCK - 2 :: BLOCK][: len(gaps[BLOCK - 1 :: BLOCK])])
        assert abs(at_the_seams[0, 1]) < 0.6  # some 48 pairs: a block that began anew would be seen


@pytest.mark.parametrize("window_ns", [S // 100, S // 10, S])
def test_poisson_is_as_dispersed_as_it_should_be(poisson: list[Offsets], window_ns: int) -> None:
    """Index of dispersion (variance / mean of the counts): 1; its standard error is √(2 / windows), 0.03 for all seeds."""
    counts = [np.bincount(schedule // window_ns, minlength=200 * S // window_ns) for schedule in poisson]
    indices = [float(count.var(ddof=1) / count.mean()) for count in counts]
    assert 0.9 < np.mean(indices) < 1.1
    windows = 200 * S // window_ns
    assert all(abs(index - 1) < max(0.03, 4 * (2 / windows) ** 0.5) for index in indices)


def test_known_poisson_schedules_stay_as_they_are() -> None:
    """A Plan of last year gives the same due instants; a logarithm may differ in its last bit from one CPU to another."""
    due = first(Poisson(1000.0), 42, BLOCK + 1).tolist()
    assert due[:4] == pytest.approx([1577468, 1859776, 2378006, 3379733], abs=1)
    assert due[BLOCK] == pytest.approx(4_031_843_392, abs=20)


def test_streams_of_one_seed_are_independent() -> None:
    draws = [generator(1, stream).random(2000) for stream in (ARRIVALS, BODIES, 3)]
    assert len({ARRIVALS, BODIES, 3}) == 3
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert abs(np.corrcoef(draws[a], draws[b])[0, 1]) < 0.08


@pytest.mark.parametrize(("total", "workers", "shares"), [(8, 1, [8]), (8, 3, [3, 3, 2]), (2, 3, [1, 1, 0]), (0, 2, [0, 0])])
def test_slots_are_split_evenly(total: int, workers: int, shares: list[int]) -> None:
    assert [share(total, worker, workers) for worker in range(workers)] == shares
    assert [InFlight(total).share(worker, workers) for worker in range(workers)] == shares


def test_arrivals_end_before_the_end() -> None:
    two = Constant(2.0)  # due at 0.25, 0.75, 1.25, …
    assert list(chain.from_iterable(arrivals(two, 0, 0, 1, 1_250_000_000))) == [250_000_000, 750_000_000]
    assert list(chain.from_iterable(arrivals(two, 0, 1, 2, 1_250_000_001))) == [750_000_000]
    assert list(chain.from_iterable(arrivals(two, 0, 0, 1, 0))) == []


def test_counts_of_a_schedule_made_by_hand() -> None:
    ten = Constant(10.0)  # due at 0.05, 0.15, …
    bounds = bounds_by_time(S // 2, S, S // 5)
    assert bounds == (0, S // 2, 3 * S // 2, 17 * S // 10)
    assert horizon(ten, 0, 1, bounds) == Horizon(bounds, ((5, 10, 2),))
    assert horizon(ten, 0, 2, bounds).planned == ((3, 5, 1), (2, 5, 1))
    assert [horizon(ten, 0, 2, bounds).total(phase) for phase in range(3)] == [5, 10, 2]
    assert count_due(ten, 0, 1, bounds, 50_000_000) == [[1, 0, 0]]  # at the instant counts
    assert count_due(ten, 0, 1, bounds, 49_999_999) == [[0, 0, 0]]
    assert count_due(ten, 0, 1, bounds, -1) == [[0, 0, 0]]
    assert bounds_by_count(ten, 0, 0, 3, 7) == (0, 0, 250_000_001, 250_000_008)


def test_an_arrival_on_a_bound_belongs_to_the_later_phase() -> None:
    ten = Constant(10.0)
    assert count_due(ten, 0, 1, (0, 150_000_000, 250_000_000, 350_000_000), 10 * S) == [[1, 1, 1]]


def test_more_workers_than_arrivals_in_a_block() -> None:
    workers = BLOCK + 3  # worker 0 has arrivals 0 and 4099 of 5000
    counts = [sum(map(len, arrivals(Constant(1000.0), 0, k, workers, 5 * S))) for k in (0, 900, 901, BLOCK + 2)]
    assert counts == [2, 2, 1, 1]


def test_a_shuffle_ties_no_body_to_a_worker() -> None:
    """Two bodies, two workers: a plain modulus would give each worker one of them for ever."""
    pick = Shuffle(2, 42, BODIES)
    for worker in range(2):
        assert {pick(i) for i in range(worker, 200, 2)} == {0, 1}


def test_shuffles_of_other_seeds_streams_and_blocks_differ() -> None:
    def order(seed: int, stream: int, block: int = 0) -> list[int]:
        pick = Shuffle(50, seed, stream)
        return [pick(50 * block + i) for i in range(50)]

    orders = [order(1, BODIES), order(2, BODIES), order(1, 3), order(1, BODIES, 1), order(1, BODIES, BLOCK // 50)]
    assert len({tuple(o) for o in orders}) == 5
    assert all(sorted(o) == list(range(50)) for o in orders)
