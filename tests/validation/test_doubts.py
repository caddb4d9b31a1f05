"""What images' vectors give away."""

from __future__ import annotations

import numpy as np

from clipload.validation.doubts import doubts

VECTORS = np.random.default_rng(5).normal(size=(6, 12)).astype(np.float32)
NAMES = ["a", "b", "c"] * 2


def test_nothing_to_say() -> None:
    again = np.concatenate([VECTORS[:3], 2.5 * VECTORS[:3] + 1e-3])
    assert doubts(again, NAMES) == []
    assert doubts(VECTORS[:0], []) == []
    assert doubts(VECTORS[:1], ["a"]) == []


def test_images_that_are_not_looked_at() -> None:
    said = doubts(np.outer([1, 2, 3, 1, 2, 3], VECTORS[0]), NAMES)
    assert said == ["different images came back as one and the same vector: does the server look at them?"]
    assert doubts(np.stack([VECTORS[0]] * 2), ["a", "a"]) == [], "of one image nothing else is expected"


def test_answers_that_depend_on_others() -> None:
    again = np.concatenate([VECTORS[:3], VECTORS[:3]])
    again[4] = VECTORS[5]
    (said,) = doubts(again, NAMES)
    assert said.startswith("1 of 3 images came back as different vectors when asked again (1 − cosine up to ")
