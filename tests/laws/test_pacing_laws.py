"""Laws of every pacer and of the shuffle: shares sum to the schedule, seeds and prefixes hold, counts are a brute force's."""

from __future__ import annotations

from bisect import bisect_right
from itertools import chain, islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipload.pacing import (
    BLOCK,
    PHASES,
    Constant,
    Pacer,
    Poisson,
    Shuffle,
    arrivals,
    bounds_by_count,
    bounds_by_time,
    count_due,
    horizon,
    share,
)

S = 10**9
LAW = settings(max_examples=40, deadline=None)
SEEDS = st.integers(0, 2**63 - 1)
PACERS = st.builds(lambda kind, rate: kind(rate), st.sampled_from([Constant, Poisson]), st.floats(0.5, 5000))
WORKERS = st.sampled_from([1, 2, 7, 32])


def schedule(pacer: Pacer, seed: int, end_ns: int) -> list[int]:
    """Every due offset < `end_ns`, one by one."""
    due: list[int] = []
    for block in pacer.blocks(seed):
        for offset in block.tolist():
            if offset >= end_ns:
                return due
            due.append(offset)
    raise AssertionError("blocks never end")


@pytest.mark.parametrize("kind", [Constant, Poisson])
@pytest.mark.parametrize("workers", [1, 2, 7, 32])
def test_the_shares_of_a_long_schedule_sum_to_it(kind: type[Constant] | type[Poisson], workers: int) -> None:
    pacer, end_ns = kind(5000.0), 5 * S
    whole = schedule(pacer, 42, end_ns)
    assert len(whole) > 5 * BLOCK
    for worker in range(workers):
        mine = list(chain.from_iterable(arrivals(pacer, 42, worker, workers, end_ns)))
        assert mine == whole[worker::workers]


@LAW
@given(PACERS, SEEDS, WORKERS, st.integers(0, 3 * S))
def test_shares_are_disjoint_and_their_union_is_the_schedule(pacer: Pacer, seed: int, workers: int, end_ns: int) -> None:
    whole = schedule(pacer, seed, end_ns)
    shares = [list(chain.from_iterable(arrivals(pacer, seed, worker, workers, end_ns))) for worker in range(workers)]
    placed = {worker + j * workers: due for worker, mine in enumerate(shares) for j, due in enumerate(mine)}
    assert sum(map(len, shares)) == len(placed) == len(whole)
    assert [placed[i] for i in range(len(whole))] == whole


@LAW
@given(PACERS, SEEDS)
def test_a_schedule_is_a_function_of_its_seed_and_never_goes_back(pacer: Pacer, seed: int) -> None:
    one, two = (np.concatenate(list(islice(pacer.blocks(seed), 3))) for _ in range(2))
    assert (one == two).all()
    assert one[0] >= 0
    assert (np.diff(one) >= 0).all()
    assert all(len(block) == BLOCK for block in islice(pacer.blocks(seed), 3))


@LAW
@given(SEEDS, SEEDS.filter(bool))
def test_another_seed_is_another_schedule(seed: int, step: int) -> None:
    pacer = Poisson(100.0)
    assert next(pacer.blocks(seed)).tolist() != next(pacer.blocks(seed ^ step)).tolist()


@LAW
@given(PACERS, SEEDS, st.integers(0, 3 * S), st.integers(0, 3 * S))
def test_a_shorter_run_is_a_prefix_of_a_longer_one(pacer: Pacer, seed: int, a_ns: int, b_ns: int) -> None:
    short, long = (schedule(pacer, seed, end_ns) for end_ns in sorted((a_ns, b_ns)))
    assert long[: len(short)] == short


@LAW
@given(PACERS, SEEDS, WORKERS, st.tuples(*[st.integers(0, S)] * 3), st.integers(-1, 4 * S))
def test_counts_agree_with_a_brute_force(
    pacer: Pacer, seed: int, workers: int, lengths: tuple[int, int, int], until_ns: int
) -> None:
    bounds = bounds_by_time(*lengths)
    expected = [[0] * len(PHASES) for _ in range(workers)]
    planned = [[0] * len(PHASES) for _ in range(workers)]
    for i, due in enumerate(schedule(pacer, seed, bounds[3])):
        phase = bisect_right(bounds, due) - 1
        planned[i % workers][phase] += 1
        expected[i % workers][phase] += due <= until_ns
    assert count_due(pacer, seed, workers, bounds, until_ns) == expected
    assert [list(row) for row in horizon(pacer, seed, workers, bounds).planned] == planned


@LAW
@given(PACERS, SEEDS, st.integers(0, 2 * S), st.integers(1, 9000), st.integers(0, S))
def test_a_counted_phase_holds_its_requests_exactly(pacer: Pacer, seed: int, warmup: int, requests: int, cooldown: int) -> None:
    bounds = bounds_by_count(pacer, seed, warmup, requests, cooldown)
    assert bounds[:2] == (0, warmup)
    assert bounds[3] - bounds[2] == cooldown
    due = schedule(pacer, seed, bounds[2])
    assert len([offset for offset in due if offset >= warmup]) == requests
    assert due[-1] == bounds[2] - 1


@given(st.integers(0, 10**9), st.integers(1, 500))
def test_shares_of_a_number_sum_to_it_and_differ_by_one_at_most(total: int, workers: int) -> None:
    shares = [share(total, worker, workers) for worker in range(workers)]
    assert sum(shares) == total
    assert max(shares) - min(shares) <= 1
    assert shares == sorted(shares, reverse=True)


SIZES = st.one_of(st.integers(1, 40), st.sampled_from([BLOCK - 1, BLOCK, BLOCK + 1, 5000]))


@LAW
@given(SIZES, SEEDS, st.integers(0, 20))
def test_each_block_is_a_permutation(size: int, seed: int, block: int) -> None:
    pick = Shuffle(size, seed, 2)
    assert sorted(pick(size * block + i) for i in range(size)) == list(range(size))


@LAW
@given(st.integers(1, 40), SEEDS, st.data())
def test_random_access_equals_sequential_access(size: int, seed: int, data: st.DataObject) -> None:
    pick = Shuffle(size, seed, 2)
    sequence = [pick(i) for i in range(3 * BLOCK)]
    fresh = Shuffle(size, seed, 2)
    for i in data.draw(st.lists(st.integers(0, 3 * BLOCK - 1), min_size=1, max_size=20)):
        assert fresh(i) == sequence[i]


@LAW
@given(st.integers(1, 300), SEEDS, st.integers(1, 33))
def test_the_stride_changes_nothing_and_each_index_is_used_equally_often(size: int, seed: int, stride: int) -> None:
    n = 2 * size * max(1, 600 // size)
    whole = Shuffle(size, seed, 2)
    expected = [whole(i) for i in range(n)]
    found = [-1] * n
    for worker in range(stride):
        pick = Shuffle(size, seed, 2)
        for i in range(worker, n, stride):
            found[i] = pick(i)
    assert found == expected
    assert np.bincount(found, minlength=size).tolist() == [n // size] * size
