"""Laws of every pacer and of the shuffle: shares sum to the schedule, seeds and prefixes hold, counts are a brute force's."""

from __future__ import annotations

from bisect import bisect_right
from functools import cache
from itertools import chain, islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipload.errors import CliploadError
from clipload.pacing import (
    BLOCK,
    NEVER,
    PHASES,
    Constant,
    Gamma,
    Pacer,
    Poisson,
    Shaped,
    Shuffle,
    Trace,
    arrivals,
    bounds_by_count,
    bounds_by_time,
    count_due,
    horizon,
    share,
)
from clipload.rates import Profile, bursts, parse_burst, ramp, steps

S = 10**9
LAW = settings(max_examples=40, deadline=None)
SEEDS = st.integers(0, 2**63 - 1)
LAWS = st.one_of(
    st.builds(lambda kind, rate: kind(rate), st.sampled_from([Constant, Poisson]), st.floats(0.5, 5000)),
    st.builds(Gamma, st.floats(0.5, 5000), st.floats(0.1, 5)),
)
ONES = st.sampled_from([Constant(1.0), Poisson(1.0), Gamma(1.0, 0.3), Gamma(1.0, 3.0)])
PROFILES = st.one_of(
    st.builds(ramp, st.floats(0.5, 5000), st.floats(0.5, 5000), st.floats(0, 2), st.floats(0.1, 3)),
    st.builds(steps, st.lists(st.floats(0.5, 5000), min_size=2, max_size=5).map(tuple), st.floats(0, 2), st.floats(0.1, 3)),
    st.builds(bursts, st.floats(0.5, 500), st.just(parse_burst("3000:100ms/700ms")), st.floats(0, 1), st.floats(1, 3)),
)
ENDLESS = st.one_of(LAWS, st.builds(Shaped, ONES, PROFILES))
TRACES = st.builds(
    lambda gaps: Trace(np.cumsum(np.array(gaps, dtype=np.int64))), st.lists(st.integers(1, S // 10), min_size=1, max_size=99)
)
PACERS = st.one_of(ENDLESS, TRACES)
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
    assert (np.diff(one[one < NEVER]) > 0).all(), "two arrivals at one instant would make a counted phase too long"
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
@given(ENDLESS, SEEDS, st.integers(0, 2 * S), st.integers(1, 9000), st.integers(0, S))
def test_a_counted_phase_holds_its_requests_exactly(pacer: Pacer, seed: int, warmup: int, requests: int, cooldown: int) -> None:
    bounds = bounds_by_count(pacer, seed, warmup, requests, cooldown)
    assert bounds[:2] == (0, warmup)
    assert bounds[3] - bounds[2] == cooldown
    due = schedule(pacer, seed, bounds[2])
    assert len([offset for offset in due if offset >= warmup]) == requests
    assert due[-1] == bounds[2] - 1


@LAW
@given(TRACES, st.integers(0, S), st.integers(1, 150))
def test_a_phase_longer_than_the_trace_is_a_mistake(trace: Trace, warmup: int, requests: int) -> None:
    there = int((trace.offsets >= warmup).sum())
    if requests <= there:
        assert bounds_by_count(trace, 0, warmup, requests, 0)[2] == trace.offsets[len(trace.offsets) - there + requests - 1] + 1
    else:
        with pytest.raises(CliploadError, match=f"{requests - there} too early"):
            bounds_by_count(trace, 0, warmup, requests, 0)


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


# ---- the laws of each arrival process: its rate, its dispersion on three scales, and that one gap says nothing of the next

EACH_LAW = pytest.mark.parametrize(
    ("law", "cv"),
    [(Constant(1.0), 0.0), (Poisson(1.0), 1.0), (Gamma(1.0, 0.5), 0.5), (Gamma(1.0, 1.0), 1.0), (Gamma(1.0, 2.0), 2.0)],
)
RATE, SECONDS = 1000.0, 200
EACH_SHAPE = pytest.mark.parametrize(
    "profile",
    [
        ramp(RATE, RATE, 0.0, SECONDS),
        ramp(RATE / 2, 3 * RATE / 2, 0.0, SECONDS),
        steps((RATE / 2, RATE, 3 * RATE / 2), 0.0, SECONDS),
        bursts(RATE / 2, parse_burst("3000:2s/10s"), 0.0, SECONDS),
    ],
    ids=["flat", "ramp", "steps", "bursts"],
)
SEEDS_OF_A_LAW = range(4)


@cache
def arrivals_of(law: Constant | Poisson | Gamma, profile: Profile, seed: int) -> np.ndarray:
    """The arrivals of 200 s and some more. They are drawn once for all that is asked of them, and not to be changed."""
    return np.concatenate(list(islice(Shaped(law, profile).blocks(seed), 50)))


def unshaped(law: Constant | Poisson | Gamma, profile: Profile, seed: int) -> np.ndarray:
    """Those of 200 s on the clock of their own rate, Λ(t): there every process must be the law that it is made of."""
    due = arrivals_of(law, profile, seed)
    return profile.expected(due[due < SECONDS * S] / 1e9)


@EACH_LAW
@EACH_SHAPE
def test_the_rate_is_the_profiles(law: Constant | Poisson | Gamma, cv: float, profile: Profile) -> None:
    """Within five standard errors, cv · √n, over the whole and over each tenth of the time."""
    counts = np.zeros(10)
    for seed in SEEDS_OF_A_LAW:
        due = arrivals_of(law, profile, seed)
        counts += np.histogram(due / 1e9, bins=10, range=(0, SECONDS))[0]
    expected = len(SEEDS_OF_A_LAW) * np.diff(profile.expected(np.linspace(0, SECONDS, 11)))
    assert (np.abs(counts - expected) <= 5 * cv * np.sqrt(expected) + len(SEEDS_OF_A_LAW)).all()
    assert abs(counts.sum() - expected.sum()) <= 5 * cv * np.sqrt(expected.sum()) + len(SEEDS_OF_A_LAW)


@EACH_LAW
@EACH_SHAPE
def test_the_gaps_vary_as_the_law_says_and_are_independent(
    law: Constant | Poisson | Gamma, cv: float, profile: Profile
) -> None:
    for seed in SEEDS_OF_A_LAW:
        gaps = np.diff(unshaped(law, profile, seed))
        assert gaps.mean() == pytest.approx(1, rel=0.03)
        assert gaps.std() == pytest.approx(cv, rel=0.03, abs=1e-3)
        if cv:
            assert abs(np.corrcoef(gaps[1:], gaps[:-1])[0, 1]) < 0.02


@EACH_LAW
@EACH_SHAPE
@pytest.mark.parametrize("window", [10.0, 100.0, 1000.0])
def test_the_dispersion_of_counts_is_the_laws(
    law: Constant | Poisson | Gamma, cv: float, profile: Profile, window: float
) -> None:
    """Variance / mean of the counts in windows of 10 ms, 100 ms and 1 s of Λ. Long windows: cv²; short ones of bursty gaps hold
    more of whole clusters than of gaps, and stay below it."""
    found = []
    for seed in SEEDS_OF_A_LAW:
        counts = np.bincount((unshaped(law, profile, seed) // window).astype(int))[:-1]
        found.append(counts.var(ddof=1) / counts.mean())
    index, error = np.mean(found), 5 * (2 / (len(SEEDS_OF_A_LAW) * 200_000 / window)) ** 0.5
    if cv == 1:
        assert index == pytest.approx(1, rel=error)
    elif cv == 0:
        assert index < 0.03
    elif window >= 100:
        assert index == pytest.approx(cv**2, rel=error + 0.15)
    else:
        assert min(1, cv**2) * 0.9 < index < max(1, cv**2) * 1.15


def test_a_known_gamma_schedule_stays_as_it_is() -> None:
    due = next(Gamma(1000.0, 2.0).blocks(42)).tolist()
    assert due[:4] == pytest.approx([814912, 2501107, 8731657, 9102823], abs=2)
