"""Probes: a few Items that a model computes before the first that matters, to be held against itself in fp32."""

from __future__ import annotations

import numpy as np

from clipload.backends import Prepared
from clipload.backends.checkpoints import Loaded
from clipload.values import Text

TEXTS = ("", "a dog", "two black dogs run on the grass .", "a man in a red shirt is riding a wave in the sea " * 12)


def texts() -> list[Text]:
    """From the empty one to one longer than the context."""
    return [Text(text) for text in TEXTS]


def images(loaded: Loaded, count: int) -> list[Prepared]:
    """Seeded noise in the place of pixels."""
    noise = np.random.default_rng(0).normal(size=(count, 3, loaded.side, loaded.side))
    return [Prepared(pixels) for pixels in noise.astype(np.float32)]
