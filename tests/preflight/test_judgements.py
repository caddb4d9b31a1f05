"""Judgements of replies, each against vectors that are right and against each way of being wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipload.preflight.asking import Reply
from clipload.preflight.judgements import ALIKE, agree, as_base64, differ, distance, sane, together

DRAWS = np.random.default_rng(3)
A, B, C = DRAWS.standard_normal((3, 16)).astype(np.float32)


def replies(*groups: list[np.ndarray]) -> list[Reply]:
    return [Reply(np.array(group, np.float32)) for group in groups]


def test_what_is_right_is_silent() -> None:
    assert sane(replies([A], [B, C])) == ""
    assert differ(replies([A], [B], [C])) == ""
    assert agree(replies([A], [A])) == ""
    assert together(replies([A], [B], [A, B])) == ""
    assert as_base64([Reply(A[None], "base64")]) == ""


@pytest.mark.parametrize(
    ("vector", "words"),
    [
        (np.full(16, np.nan), "not finite"),
        (np.where(np.arange(16) == 3, np.inf, A), "not finite"),
        (np.zeros(16), "zero"),
        (np.full(16, 0.25), "one number over and over"),
        (A[:8], "8 and 16 numbers"),
    ],
)
def test_a_vector_that_cannot_be_one_is_named(vector: np.ndarray, words: str) -> None:
    assert words in sane(replies([A], [vector]))


def test_vectors_that_should_differ_and_do_not() -> None:
    assert "1.0000" in differ(replies([A], [A]))
    assert differ(replies([A], [B], [A])), "the last as well"
    assert differ(replies([A], [3 * A])), "the length of a vector says nothing"


def test_vectors_that_should_agree_and_do_not() -> None:
    assert agree(replies([A], [B])).startswith("cosine ")
    assert agree(replies([A], [2 * A])) == ""


def test_another_order_is_told_from_a_leak() -> None:
    assert together(replies([A], [B], [C], [B, C, A])) == "the vectors come in another order: 2, 3, 1"
    assert together(replies([A], [B], [C], [A, B + C, C])).startswith("1 of 3 vectors are not those of the same alone")
    assert together(replies([A], [B], [C], [A, A, A])) == "the vectors come in another order: 1, 1, 1"


def test_each_of_several_batches_is_looked_at() -> None:
    assert together(replies([A], [B], [A, B], [A, A + B])).startswith("1 of 2")


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.1, 10))
def test_a_little_noise_is_no_difference_and_another_thing_is(seed: int, scale: float) -> None:
    """bfloat16 and another batch move a vector by less than `ALIKE`."""
    draws = np.random.default_rng(seed)
    one, other = draws.standard_normal((2, 64))
    noisy = scale * one * (1 + draws.uniform(-0.01, 0.01, 64))
    assert distance(one, noisy) < ALIKE < distance(one, other)


def test_floats_in_the_place_of_base64() -> None:
    assert as_base64([Reply(A[None])]) == "it sent floats"
