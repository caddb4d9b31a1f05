"""The map of a validation's vectors: which Items are on it, where, and what is said of texts and images."""

from __future__ import annotations

import numpy as np
import pytest

from clipload.retrieval import unit
from clipload.validation import mapping
from clipload.validation.mapping import drawn, gap_of, vector_map
from clipload.validation.pairs import Pairs
from tests.reports.validations import clip_like, faulty, items_of

ITEMS = items_of(30, 20)
KINDS = [item.kind for item in ITEMS]


def pairs(rows: tuple[int, ...] = (), swapped: tuple[int, int] = (0, 0)) -> Pairs:
    reference = clip_like(KINDS)
    return Pairs(ITEMS, faulty(reference, rows, swapped), reference)


def test_of_each_kind_a_seeded_few_and_those_that_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapping, "MOST", 12)
    kinds = ["text"] * 1000 + ["image"] * 5
    found = drawn(kinds, 42, [7, 8])
    assert [kinds[row] for row in found].count("image") == 5, "few as they are, all of them"
    assert {7, 8} <= set(found.tolist())
    assert 12 <= [kinds[row] for row in found].count("text") <= 14
    assert found.tolist() == sorted(set(found.tolist())) == drawn(kinds, 42, [7, 8]).tolist()
    assert found.tolist() != drawn(kinds, 43, [7, 8]).tolist()


def test_both_sides_are_laid_down_by_one_projection() -> None:
    """Norms do not count; the points' distances are those of the vectors, seen along the two axes."""
    given = pairs(rows=(3, 35))
    found = vector_map(given, 42)
    both = unit(np.concatenate([given.found, given.reference])).astype(np.float64)
    _, lengths, axes = np.linalg.svd(both - both.mean(axis=0), full_matrices=False)
    points = np.concatenate([found.found, found.reference])
    assert np.abs(points) == pytest.approx(np.abs((both - both.mean(axis=0)) @ axes[:2].T), abs=1e-5)
    assert found.shares == pytest.approx((lengths**2 / (lengths**2).sum())[:2], rel=1e-4)
    assert found.rows.tolist() == list(range(50))


def test_who_is_told_apart() -> None:
    assert not vector_map(pairs(), 42).apart.any()
    found = vector_map(pairs(rows=(3,), swapped=(1, 40)), 42)
    assert np.flatnonzero(found.apart).tolist() == [1, 3, 40]


def test_cosines_between_and_within_the_kinds() -> None:
    draws = np.random.default_rng(2)
    texts, images = unit(draws.normal(size=(7, 5))), unit(draws.normal(size=(4, 5)))
    found = gap_of(texts, images)
    assert found is not None
    for mine, of in ((found.texts, texts), (found.images, images)):
        plainly = [float(of[i] @ of[j]) for i in range(len(of)) for j in range(len(of)) if i != j]
        assert mine == pytest.approx(np.mean(plainly), abs=1e-6)
    assert found.across == pytest.approx((texts @ images.T).mean(), abs=1e-6)
    assert gap_of(texts[:1], images) is gap_of(texts, images[:0]) is None


@pytest.mark.parametrize("seed", range(8))
def test_kinds_that_are_drawn_from_one_cloud_do_not_lie_apart(seed: int) -> None:
    vectors = unit(np.random.default_rng(seed).normal(size=(60, 64)))
    cones = unit(clip_like(KINDS, seed))
    one, two = gap_of(vectors[:40], vectors[40:]), gap_of(cones[:30], cones[30:])
    assert one is not None
    assert two is not None
    assert (one.lies_apart, two.lies_apart) == (False, True)


def test_one_pair_in_figures() -> None:
    answers = [np.array([[2.0, 0], [0, 3]], np.float32), np.array([[0, 5.0], [3, 0]], np.float32)]
    reference = np.array([[1.0, 0], [4, 3]], np.float32)
    made = Pairs.of(ITEMS[:2], answers, np.array([1, 0]), reference)
    assert made.found.tolist() == [[0, 5], [0, 3]], "the answers that counted"
    pair = made.pair(1)
    assert (pair.cosine, pair.apart, pair.norms) == (pytest.approx(0.6), pytest.approx(0.8), (3, 5))
    assert answers[0].tolist() == [[2, 0], [0, 3]], "untouched"
