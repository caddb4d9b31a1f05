"""Pixels: a picture as an image tower takes it: as transformers' image processor makes it but for rounding, in half the time.

The processor scales the whole picture and then cuts the edges off, and turns values into numbers in steps over whole arrays.
Here only what is left in the end is scaled, by the same filter of the same library, and each of the 256 values has its number
in a table that the processor itself has made.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

Numbers = NDArray[np.float32]  # [3, height, width]

VALUES = 256
LEVELS = 2.1  # of 255, by which a number may be off: what is rounded twice
PROBES = ((97, 61), (98, 61), (61, 97), (61, 98), (40, 40), (293, 41))  # pictures of noise that both are given first


class Pixels:
    """Law: no number is further from the processor's than two levels of 255, and hardly any is another. Where the probes say
    otherwise (it has another filter, or does something else than to scale, crop and compute), the processor is used itself;
    so it is for pictures more than about twice as high as wide, which Pillow scales down first from version 13 on: that decides
    where values are rounded, and by that the fifth digit of a cosine.
    """

    def __init__(self, processor: Any) -> None:
        self.processor = processor
        self._table = self._numbers()
        self._edge, self._crop = _sizes(processor)
        self.own = bool(self._edge) and self._agrees()

    def of(self, picture: Pillow.Image) -> Numbers:
        """float32[3, height, width] of the processor's crop."""
        return self._scaled(picture) if self.own and not self._down_first(picture) else self.processed(picture)

    def processed(self, picture: Pillow.Image, **but: Any) -> Numbers:
        """What the processor itself makes of it."""
        told = {"return_tensors": "np", "input_data_format": "channels_last"} | but
        return np.asarray(self.processor(images=[picture.convert("RGB")], **told)["pixel_values"][0], np.float32)

    def _size(self, picture: Pillow.Image) -> tuple[int, int]:
        """(width, height) of the whole picture once its shorter side is of length `edge`."""
        width, height = picture.size
        long = int(self._edge * max(width, height) / min(width, height))
        return (long, self._edge) if width > height else (self._edge, long)

    def _down_first(self, picture: Pillow.Image) -> bool:
        """Pillow's rule: its height shrinks by more than twice as many pixels as its width."""
        width, height = self._size(picture)
        return picture.height - height > max(0, 2 * (picture.width - width))

    def _scaled(self, picture: Pillow.Image) -> Numbers:
        """The middle of the picture as it would be in that size."""
        pixels = picture if picture.mode == "RGB" else picture.convert("RGB")
        high, wide = self._crop
        (width, height), scaled = pixels.size, self._size(pixels)
        x, y = width / scaled[0], height / scaled[1]  # of the picture, for each pixel of the scaled one
        left, top = (scaled[0] - wide) // 2 * x, (scaled[1] - high) // 2 * y
        across = pixels.resize((wide, height), Pillow.Resampling.BICUBIC, (left, 0, left + wide * x, height))
        down = across.resize((wide, high), Pillow.Resampling.BICUBIC, (0, top, wide, top + high * y))
        values, numbers = np.asarray(down), np.empty((3, high, wide), np.float32)
        for channel in range(3):
            np.take(self._table[channel], values[:, :, channel], out=numbers[channel], mode="clip")  # "clip": checks nothing
        return numbers

    def _numbers(self) -> Numbers:
        """[3, 256]: what becomes of each value, in each channel."""
        grey = np.repeat(np.arange(VALUES, dtype=np.uint8)[None, :, None], 3, axis=2)
        return self.processed(Pillow.fromarray(grey), do_resize=False, do_center_crop=False)[:, 0]

    def _agrees(self) -> bool:
        draws = np.random.default_rng(0)
        level = float(np.abs(np.diff(self._table)).max())
        for width, height in PROBES:
            picture = Pillow.fromarray(draws.integers(0, VALUES, (height, width, 3), np.uint8))
            mine, theirs = self._scaled(picture), self.processed(picture)
            if mine.shape != theirs.shape or not np.abs(mine - theirs).max() <= LEVELS * level:
                return False
        return True


def _sizes(processor: Any) -> tuple[int, tuple[int, int]]:
    """The length of the shorter side, and (height, width) of what is cut out; zeros when it is no such processor."""
    size, crop = (_told(getattr(processor, name, None)) for name in ("size", "crop_size"))
    edge, high, wide = (int(told or 0) for told in (size.get("shortest_edge"), crop.get("height"), crop.get("width")))
    if size.get("longest_edge"):
        return 0, (0, 0)
    return (edge, (high, wide)) if 0 < high <= edge and 0 < wide <= edge else (0, (0, 0))


def _told(size: Any) -> dict[str, Any]:
    """A dict in transformers 4, an object in 5."""
    return size if isinstance(size, dict) else dict(getattr(size, "__dict__", {}))
