"""Probes: a few Items that a model computes before the first that matters, to be held against itself in fp32."""

from __future__ import annotations

import numpy as np

from clipload.backends import Prepared
from clipload.backends.checkpoints import Loaded
from clipload.sources.photographs import photograph
from clipload.values import Text

TEXTS = ("", "a dog", "two black dogs run on the grass .", "a man in a red shirt is riding a wave in the sea " * 12)
CAPTIONS = (
    "a child climbs the stairs of a wooden house",
    "people wait at a crossing while a tram goes by",
    "snow",
    "the view from a hill over a small town with a church , in the evening",
    "three women laugh",
    "a photo of a cup of coffee on a newspaper",
)


def texts() -> list[Text]:
    """From the empty one to one longer than the context."""
    return [Text(text) for text in TEXTS]


def captions() -> list[Text]:
    """Others, of the usual length."""
    return [Text(text) for text in CAPTIONS]


def noise(loaded: Loaded, count: int, seed: int = 0) -> list[Prepared]:
    """Seeded noise in the place of pixels."""
    pixels = np.random.default_rng(seed).normal(size=(count, 3, loaded.side, loaded.side))
    return [Prepared(one) for one in pixels.astype(np.float32)]


def images(loaded: Loaded, count: int, seed: int) -> list[Prepared]:
    """As many synthetic photographs, and as much noise: nearly all that pictures may be lies between them."""
    size = (loaded.side * 4 // 3, loaded.side)
    pictures = [loaded.pixels.of(photograph(seed, number, size)) for number in range(count)]
    fit = [pixels for pixels in pictures if pixels.shape == (3, loaded.side, loaded.side)]  # a processor may be another's
    return [*map(Prepared, fit), *noise(loaded, count, seed)]
