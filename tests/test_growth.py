"""The batch size that pays, without a clock: each size is said to take what a curve says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clipload.growth import FIRST, LIMIT, Growth


def settle(growth: Growth, seconds: list[float], limit: int = 40) -> list[int]:
    """Sizes asked for, when a batch of 2^k takes `seconds[k]`."""
    sizes = []
    for _ in range(limit):
        sizes.append(growth.size)
        growth.served(growth.size, seconds[growth.size.bit_length() - 1])
    return sizes


def test_it_grows_while_it_pays() -> None:
    flat_from_32 = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0, 4.0, 8.0, 16.0]
    assert sorted(set(settle(Growth(), flat_from_32))) == [8, 16, 32, 64]
    assert settle(Growth(), flat_from_32)[-1] == 32
    assert settle(Growth(), [1.0] * 10)[-1] == LIMIT
    assert settle(Growth(), [float(2**k) for k in range(10)])[-1] == FIRST, "it never paid"


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
    assert set(settle(growth, [1.0] * 10)) == {5}


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
