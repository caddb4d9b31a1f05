"""Random texts: so many words as tokens were asked for, all different, each its own function of seed and index."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipload.mixes import Mix, parse_lengths
from clipload.sources import source_for
from clipload.sources.texts import ENDS, WORDS, distinct_texts, text_of


def test_the_words_are_short_plain_and_different() -> None:
    assert len(WORDS) == len(set(WORDS)) == 512
    assert all(word.isascii() and word.isalpha() and word.islower() and len(word) < 9 for word in WORDS)


@given(st.integers(0, 2**63 - 1), st.integers(0, 10**12), st.integers(3, 76), st.integers(3, 76))
def test_a_text_has_as_many_tokens_as_were_asked_for(seed: int, index: int, one: int, other: int) -> None:
    least, most = sorted((one, other))
    words = text_of(seed, index, Mix(((least, most),), (1,))).split()
    assert least <= len(words) + ENDS <= most
    assert set(words) <= set(WORDS)


@pytest.mark.parametrize(("lengths", "there"), [("3", 512), ("3-76", 512), ("4", 512**2), ("8:3,32:1", 512**4)])
def test_texts_are_distinct_as_far_as_is_claimed(lengths: str, there: int) -> None:
    mix = parse_lengths(lengths)
    assert distinct_texts(mix) == there
    count = min(there, 3000)
    firsts = [text_of(7, index, mix) for index in range(count)]
    lasts = [text_of(7, index, mix) for index in range(there - count, there)]
    assert len(set(firsts)) == len(set(lasts)) == count
    assert source_for("random", mode="text", seed=7, text_lengths=mix).available == there


def test_a_mix_of_lengths_has_its_shares_and_a_range_all_its_lengths() -> None:
    counts = [len(text_of(1, index, parse_lengths("8:3,32:1")).split()) + ENDS for index in range(2000)]
    assert 430 < counts.count(32) < 570
    assert counts.count(8) + counts.count(32) == 2000
    assert {len(text_of(1, index, parse_lengths("5-9")).split()) + ENDS for index in range(200)} == {5, 6, 7, 8, 9}


def test_neighbours_and_seeds_share_little() -> None:
    mix = parse_lengths("20")
    one, two, other = (text_of(seed, index, mix).split() for seed, index in ((1, 0), (1, 1), (2, 0)))
    assert sum(a == b for a, b in zip(one, two)) <= 6
    assert sum(a == b for a, b in zip(one, other)) <= 6
