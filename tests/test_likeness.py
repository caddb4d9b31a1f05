"""Likeness as a pure function: each class of what can be wrong, and what is right to the rounding of the dtype."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clipload.likeness import LIMITS, NONE, UNKNOWN, Compared, References, compare, first_of, limit_for

Floats = NDArray[np.floating[Any]]
DRAWN = np.random.default_rng(7).standard_normal((6, 64)) * 2  # no unit vectors: SGLang's texts are none
LIMIT = limit_for("float32")
ALONE = References(DRAWN, LIMIT)


def seen(found: Floats, own: tuple[int, ...], references: References = ALONE) -> tuple[str, ...]:
    return compare(found, own, references).classes


def moved(vector: Floats, distance: float) -> Floats:
    """A vector of the same norm, 1 − cosine away."""
    unit = vector / np.linalg.norm(vector)
    aside = DRAWN[5] - (DRAWN[5] @ unit) * unit
    aside /= np.linalg.norm(aside)
    return ((1 - distance) * unit + np.sqrt(1 - (1 - distance) ** 2) * aside) * np.linalg.norm(vector)


def test_what_an_item_had_alone_is_right() -> None:
    found = compare(DRAWN[[2, 0]], (2, 0), ALONE)
    assert found == Compared(("", ""), 2, 0.0, 0.0)
    assert found.wrong == ""


@pytest.mark.parametrize("dtype", [*LIMITS, "nobody knows"])
def test_the_limit_of_each_dtype_decides(dtype: str) -> None:
    limit = limit_for(dtype)
    references = References(DRAWN, limit)
    assert seen(moved(DRAWN[1], 0.9 * limit)[None], (1,), references) == ("",)
    assert seen(moved(DRAWN[1], 1.1 * limit)[None], (1,), references) == ("different",)
    assert limit <= UNKNOWN < 5.8e-3, "below any other text or image"


@pytest.mark.parametrize(("dtype", "rounded"), [("float16", np.float16), ("float32", np.float32)])
def test_rounding_to_the_dtype_is_right(dtype: str, rounded: type[np.floating[Any]]) -> None:
    assert seen(DRAWN.astype(rounded), tuple(range(6)), References(DRAWN, limit_for(dtype))) == ("",) * 6


def test_how_far_is_told_of_the_farthest() -> None:
    found = compare(np.stack([DRAWN[0], moved(DRAWN[1], 0.25)]), (0, 1), ALONE)
    assert found.distance == pytest.approx(0.25)
    assert found.difference == pytest.approx(np.abs(moved(DRAWN[1], 0.25) - DRAWN[1]).max() / np.linalg.norm(DRAWN[1]))
    assert found.wrong == "different"


def test_another_items_vector_is_of_the_same_request_or_of_another() -> None:
    assert seen(DRAWN[[1, 0]], (0, 1)) == ("order", "order")
    assert seen(DRAWN[[0, 4]], (0, 1)) == ("", "swapped")
    assert seen(np.stack([DRAWN[0], moved(DRAWN[4], 0.9 * LIMIT)]), (0, 1)) == ("", "swapped"), "to the rounding"
    assert seen(np.stack([DRAWN[0], moved(DRAWN[4], 1.1 * LIMIT)]), (0, 1)) == ("", "different")


def test_a_leak_is_nobodys_vector() -> None:
    assert seen((DRAWN[0] + DRAWN[1])[None], (0,)) == ("different",)


def test_the_right_direction_of_another_norm() -> None:
    assert seen(3 * DRAWN[:1], (0,)) == ("length",)
    assert seen(1.0001 * DRAWN[:1], (0,)) == ("",)
    assert seen(-DRAWN[:1], (0,)) == ("different",)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_none(number: float) -> None:
    found = DRAWN[:2].copy()
    found[1, 3] = number
    assert seen(found, (0, 1)) == ("", "nan")


def test_nothing_but_zeros() -> None:
    assert seen(np.zeros((1, 64)), (0,)) == ("zero",)


def test_another_dimension_and_another_number_of_vectors() -> None:
    assert seen(DRAWN[:1, :63], (0,)) == ("dimension",)
    assert seen(DRAWN[:1], (0, 1)) == ("count", "count")


@pytest.mark.parametrize("row", [NONE, 1, 2])
def test_without_a_usable_reference_only_the_vector_itself_is_looked_at(row: int) -> None:
    rows = DRAWN.copy()
    rows[1], rows[2] = np.nan, 0
    references = References(rows, LIMIT)
    assert compare(DRAWN[3:4], (row,), references) == Compared(("",), 0, 0.0, 0.0)
    assert seen(np.full((1, 64), np.nan), (row,), references) == ("nan",)


def test_the_worst_class_is_the_replys() -> None:
    assert first_of(("", "different", "nan", "")) == "nan"
    assert first_of(("", "")) == ""
    assert Compared(("different", "order"), 2, 1.0, 1.0).wrong == "order"


def test_items_that_are_one_to_the_server() -> None:
    assert ALONE.alike() == 0
    assert References(np.concatenate([DRAWN, DRAWN[:1], DRAWN[:1] * 2]), LIMIT).alike() == 3
    assert References(DRAWN[:1], LIMIT).alike() == 0
    assert References(np.full((3, 4), np.nan), LIMIT).alike() == 0


def test_no_references_at_all() -> None:
    references = References(np.empty((0, 0)), LIMIT)
    assert (references.dim, len(references)) == (0, 0)
    assert seen(DRAWN[:1], (NONE,), references) == ("",)
