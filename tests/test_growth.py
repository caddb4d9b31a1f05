"""The batch size that pays, without a clock: each size is said to take what a curve says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipload.growth import FIRST, LIMIT, LONGEST_S, Growth, tries


def settle(growth: Growth, rates: dict[int, float], limit: int = 40) -> list[int]:
    """Sizes asked for, when batches of each serve so many items a second."""
    sizes = []
    for _ in range(limit):
        sizes.append(growth.size)
        growth.served(growth.size, growth.size / rates[growth.size])
    return sizes


@pytest.mark.parametrize(
    ("rates", "tried", "taken"),
    [
        pytest.param([100, 200, 400, 400, 380, 0], [8, 16, 32, 64, 128], 32, id="it pays up to 32"),
        pytest.param([100, 200, 400, 800, 1600, 3200], [8, 16, 32, 64, 128, 256], 256, id="it always pays"),
        pytest.param([100, 100, 100, 0, 0, 0], [8, 16, 32], 8, id="it never pays: the smallest will do"),
        pytest.param([100, 70, 0, 0, 0, 0], [8, 16], 8, id="it is worse"),
        pytest.param([44.3, 46.5, 48.2, 46.5, 0, 0], [8, 16, 32, 64], 32, id="no doubling pays by 5 %, two do by 9 %"),
        pytest.param([100, 99, 103, 99, 0, 0], [8, 16, 32, 64], 32, id="worse by less than noise, then better"),
        pytest.param([100, 99, 100.5, 102, 102, 102], [8, 16, 32, 64, 128, 256], 64, id="of two alike the smaller"),
    ],
)
def test_it_takes_the_fastest_of_what_it_tried(rates: list[float], tried: list[int], taken: int) -> None:
    sizes = settle(Growth(), {FIRST << place: rate for place, rate in enumerate(rates)})
    trials = [size for size in tried for _ in range(tries(size))]
    assert sizes[: len(trials)] == trials
    assert set(sizes[len(trials) :]) == {taken}


def test_the_fastest_try_counts() -> None:
    growth = Growth()
    for seconds in (9.0, 1.0, 9.0, 9.0, 9.0, 1.5):  # 8: 8/s; 16: 10.7/s; then 32
        growth.served(growth.size, seconds)
    assert growth.size == 32
    for seconds in (9.0, 3.1):  # 10.3/s
        growth.served(growth.size, seconds)
    assert growth.size == 16


@pytest.mark.parametrize(
    ("total", "tried"), [(10, [8]), (100, [8]), (120, [8, 16]), (256, [8, 16, 32]), (512, [8, 16, 32, 64])]
)
def test_no_size_is_tried_that_would_take_most_of_what_is_left(total: int, tried: list[int]) -> None:
    growth, done, sizes = Growth(), 0, []
    while done < total:
        size = min(growth.size, total - done)
        sizes.append(size)
        done += size
        growth.served(size, 1.0, total - done)
    assert [size for size in dict.fromkeys(sizes) if size.bit_count() == 1 and size >= FIRST] == tried


def test_no_batch_is_tried_that_would_take_too_long() -> None:
    growth = Growth()
    for _ in range(20):
        growth.served(growth.size, growth.size * LONGEST_S / 20)  # 16 take 8 s
    assert growth.size == 8
    growth = Growth()
    for _ in range(20):
        growth.served(growth.size, LONGEST_S * 0.51)
    assert growth.size == 8, "twice as many would take twice as long for all that is known"


def test_what_is_refused_falls_back_on_the_best_that_was_tried() -> None:
    growth = Growth()
    for rate in (100, 100, 100, 110, 110, 110, 109, 109):  # 8, 16, 32; then 64
        growth.served(growth.size, growth.size / rate)
    assert (growth.size, growth.refused(), growth.size) == (64, True, 16)
    growth = Growth()
    assert (growth.refused(), growth.size) == (True, FIRST // 2)


def test_a_batch_that_is_not_full_says_nothing() -> None:
    growth = Growth()
    for _ in range(20):
        growth.served(3, 0.1)
    assert growth.size == FIRST


def test_without_room_it_stays() -> None:
    growth = Growth()
    for _ in range(20):
        growth.served(growth.size, 1.0, room=False)
    assert growth.size == FIRST


def test_a_fixed_size_stays() -> None:
    growth = Growth.fixed(5)
    assert set(settle(growth, {5: 1.0})) == {5}


@given(st.lists(st.one_of(st.just("refused"), st.floats(0.01, 10)), max_size=60))
def test_what_was_refused_is_never_asked_for_again(story: list[float | str]) -> None:
    growth, refused = Growth(), LIMIT + 1
    for event in story:
        size = growth.size
        assert 1 <= size <= LIMIT
        assert size < refused or size == 1
        if isinstance(event, str):
            assert growth.refused() == (size > 1)
            refused = min(refused, max(size, 2))
        else:
            growth.served(size, event)
