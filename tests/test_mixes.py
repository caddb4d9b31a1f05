"""Mixes as they are written, and that each part has its share."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipload.errors import CliploadError
from clipload.mixes import Mix, parse_lengths, parse_sizes


def test_sizes_and_lengths_as_they_are_written() -> None:
    assert parse_sizes("224x336") == Mix(((224, 336),), (1,))
    assert parse_sizes("224x224:3, 640x480") == Mix(((224, 224), (640, 480)), (3, 1))
    assert parse_lengths("16") == Mix(((16, 16),), (1,))
    assert parse_lengths("5-76:2,8:9") == Mix(((5, 76), (8, 8)), (2, 9))


@pytest.mark.parametrize("text", ["", ",", "1", "1x", "x1", "1x1x1", "-1x1", "1.5x2", "1x1:", "1x1:1.5", "1x1:1000000", " "])
def test_what_is_no_size_names_the_remedy(text: str) -> None:
    with pytest.raises(CliploadError) as caught:
        parse_sizes(text)
    assert "224x224" in caught.value.remedy


def test_no_more_than_a_hundred_parts() -> None:
    assert len(parse_sizes(",".join(f"{n}x1" for n in range(1, 101))).parts) == 100
    with pytest.raises(CliploadError):
        parse_sizes(",".join(f"{n}x1" for n in range(1, 102)))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_each_part_has_its_share(weights: list[int]) -> None:
    mix = Mix(tuple(range(len(weights))), tuple(weights))
    total = sum(weights)
    picks = [mix.pick((k + 0.5) / total) for k in range(total)]
    assert [picks.count(part) for part in mix.parts] == weights
    assert mix.pick(1 - 2**-53) == len(weights) - 1
