"""Recall and sanity against the definitions of CLIP_benchmark, written out plainly; ties, NaN, zero and duplicates."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from clipload import retrieval
from clipload.retrieval import KS, bad_rows, recall, sanity, unit


def plainly(texts: NDArray[np.float64], images: NDArray[np.float64], owner: list[int], k: int) -> tuple[float, float]:
    """Sort everything, look whether what is wanted is among the first k."""
    texts = texts / np.linalg.norm(texts, axis=1, keepdims=True)
    images = images / np.linalg.norm(images, axis=1, keepdims=True)
    scores = texts @ images.T
    by_caption = [owner[j] in np.argsort(-scores[j])[:k] for j in range(len(texts))]
    by_image = [any(owner[j] == i for j in np.argsort(-scores[:, i])[:k]) for i in range(len(images))]
    return float(np.mean(by_caption)), float(np.mean(by_image))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    images=st.integers(1, 30),
    each=st.integers(1, 5),
    noise=st.floats(0.1, 5),
    rows=st.integers(1, 40),
)
def test_it_is_what_the_definition_says(seed: int, images: int, each: int, noise: float, rows: int) -> None:
    draws = np.random.default_rng(seed)
    pictures = draws.normal(size=(images, 6))
    owner = draws.permutation(np.repeat(np.arange(images), each))
    captions = pictures[owner] + noise * draws.normal(size=(len(owner), 6))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrieval, "_ROWS", rows)
        found = recall(captions, pictures, owner)
    for k in KS:
        assert (found.image_retrieval[k], found.text_retrieval[k]) == plainly(captions, pictures, owner.tolist(), k)
    assert (found.texts, found.images) == (len(owner), images)


def test_length_does_not_matter_and_perfect_vectors_find_all() -> None:
    vectors = np.random.default_rng(1).normal(size=(50, 8)).astype(np.float32)
    lengths = np.linspace(0.1, 90, 50)[:, None].astype(np.float32)
    found = recall(vectors * lengths, vectors, np.arange(50))
    assert found.image_retrieval == found.text_retrieval == {1: 1.0, 5: 1.0, 10: 1.0}


def test_vectors_that_are_all_the_same_find_nothing() -> None:
    found = recall(np.ones((30, 4), np.float32), np.ones((30, 4), np.float32), np.arange(30))
    assert found.image_retrieval == found.text_retrieval == {1: 0.0, 5: 0.0, 10: 0.0}


def test_what_has_no_direction_is_not_ranked() -> None:
    good = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    for value in (np.nan, np.inf, -np.inf):
        bad = good.copy()
        bad[2, 1] = value
        assert bad_rows(bad).tolist() == [2]
        for pair in ((bad, good), (good, bad)):
            with pytest.raises(ValueError, match="no direction"):
                recall(*pair, np.arange(4))
    bad = good.copy()
    bad[1] = 0
    assert bad_rows(bad).tolist() == [1]
    with pytest.raises(ValueError, match="no direction"):
        unit(bad)
    assert np.linalg.norm(unit(good), axis=1) == pytest.approx(1, abs=1e-6)
    assert unit(good).dtype == np.float32


def test_sanity() -> None:
    vectors = np.array([[3, 4], [0, 0], [np.nan, 1], [3, 4], [0, 1], [0, 0], [np.inf, 0]], np.float32)
    found = sanity(vectors)
    assert (found.count, found.dim) == (7, 2)
    assert (found.not_finite.tolist(), found.zero.tolist()) == ([2, 6], [1, 5])
    assert (found.norm_min, found.norm_max) == (0, 5)
    assert found.norm_mean == pytest.approx(11 / 5)
    assert found.groups == ((0, 3), (1, 5))
    assert not found.good
    assert not found.unit
    assert sanity(unit(vectors[:1])).unit
    assert sanity(vectors[:1]).good
    assert not sanity(vectors[:0]).good
    assert np.isnan(sanity(vectors[2:3]).norm_mean)
