"""`random`: uniform noise and one fixed caption, as the older tool sent them. No file is read.

Image i is a function of (seed, i) alone, so it does not depend on how many are drawn, by whom, or in which mode.
Noise is the worst case for the wire (it does not compress) and costs a vision tower what a photograph costs.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image as Pillow

from clipload.sources import Skip, SourceOptions
from clipload.sources.pictures import PNG_LEVEL_NOISE, draw_in_order, encode_picture
from clipload.values import Image, Sample, Text

CAPTION = Text("a beautiful landscape")  # the older tool's one caption
IMAGE_STREAM = 1  # keeps these random numbers apart from others that one day take the same seed


def noise(seed: int, index: int, side: int) -> Pillow.Image:
    """Image `index`: `side` × `side` RGB pixels, each channel uniform over 0…255."""
    draws = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, IMAGE_STREAM, index])))
    return Pillow.fromarray(draws.integers(0, 256, (side, side, 3), np.uint8))


class Synthetic:
    """Text mode has exactly one distinct Sample, the caption; the other modes have no end (each image is new)."""

    def __init__(self, options: SourceOptions) -> None:
        self.options = options
        self.available: int | None = 1 if options.mode == "text" else None
        self.skipped: list[Skip] = []

    def __repr__(self) -> str:
        return f"Synthetic({self.options.mode}, side {self.options.image_side}, seed {self.options.seed})"

    def draw(self, count: int) -> Iterator[Sample]:
        if self.options.mode == "text":
            return iter([Sample((CAPTION,))][: max(0, count)])
        return draw_in_order(self._sample, range(count), count, threads=self.options.threads)

    def _image(self, index: int) -> Image:
        pixels = noise(self.options.seed, index, self.options.image_side)
        return encode_picture(pixels, self.options.image_format, PNG_LEVEL_NOISE)

    def _sample(self, index: int) -> Sample:
        image = self._image(index)
        return Sample((image,) if self.options.mode == "image" else (CAPTION, image))
