"""`random`: noise or synthetic photographs; one fixed caption (the older tool's) or texts of a given length. No file is read.

Item i is a function of (seed, i) alone, so it does not depend on how many are drawn, by whom, or in which mode.
Noise is the worst case for the wire (it does not compress) and costs a vision tower what a photograph costs.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat

import numpy as np
from PIL import Image as Pillow

from clipload.mixes import Side
from clipload.sources import Skip, SourceOptions
from clipload.sources.photographs import ROUGHNESS, photograph, roughness_for
from clipload.sources.pictures import draw_in_order, encode_picture
from clipload.sources.texts import distinct_texts, text_of
from clipload.values import Image, Item, Sample, Text

CAPTION = Text("a beautiful landscape")  # the older tool's one caption
IMAGE_STREAM = 1  # keeps these random numbers apart from others that one day take the same seed


def noise(seed: int, index: int, size: Side) -> Pillow.Image:
    """Image `index`: RGB pixels of `size`, each channel uniform over 0…255."""
    draws = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, IMAGE_STREAM, index])))
    return Pillow.fromarray(draws.integers(0, 256, (size[1], size[0], 3), np.uint8))


class Synthetic:
    """In text mode there are as many distinct Samples as there are texts: one caption, unless lengths are given. The other
    modes have no end (each image is new)."""

    def __init__(self, options: SourceOptions) -> None:
        self.options = options
        self._square = (options.image_side, options.image_side)
        texts = 1 if options.text_lengths is None else distinct_texts(options.text_lengths)
        self.available: int | None = texts if options.mode == "text" else None
        self.skipped: list[Skip] = []
        self._roughness = {size: self._rough(size) for size in self._sizes()}

    def __repr__(self) -> str:
        sizes = ", ".join(f"{width}x{height}" for width, height in self._sizes())
        return f"Synthetic({self.options.mode}, {self.options.image_kind} of {sizes}, seed {self.options.seed})"

    def draw(self, count: int) -> Iterator[Sample]:
        if self.options.mode == "text":
            bound = min(count, self.available or 0)
            return (Sample((self._text(index),)) for index in range(bound))
        return draw_in_order(self._sample, enumerate(self._parts(count)), count, threads=self.options.threads)

    def _parts(self, count: int) -> Iterator[tuple[str, ...]]:
        """What each Sample is made of."""
        if self.options.mode == "mixed":
            yield from (("text",) if is_text else ("image",) for is_text in self.options.coins(max(0, count)).tolist())
        else:
            yield from repeat(("image",) if self.options.mode == "image" else ("text", "image"), max(0, count))

    def _sizes(self) -> tuple[Side, ...]:
        return (self._square,) if self.options.image_sizes is None else self.options.image_sizes.parts

    def _rough(self, size: Side) -> float:
        wanted, options = self.options.bytes_per_pixel, self.options
        if options.image_kind != "photo" or wanted is None:
            return ROUGHNESS
        return roughness_for(wanted, size, options.image_format, options.image_quality)

    def _text(self, index: int) -> Text:
        lengths = self.options.text_lengths
        return CAPTION if lengths is None else Text(text_of(self.options.seed, index, lengths))

    def _image(self, index: int) -> Image:
        options = self.options
        size = options.size(index) or self._square
        if options.image_kind == "photo":
            pixels = photograph(options.seed, index, size, self._roughness[size])
            return encode_picture(pixels, options.image_format, quality=options.image_quality)
        pixels = noise(options.seed, index, size)
        return encode_picture(pixels, options.image_format, quality=options.image_quality, noise=True)

    def _sample(self, wanted: tuple[int, tuple[str, ...]]) -> Sample:
        index, parts = wanted
        items: list[Item] = [self._text(index) if part == "text" else self._image(index) for part in parts]
        return Sample(tuple(items))
