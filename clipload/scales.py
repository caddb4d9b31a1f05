"""The scales: what the first images of a load weigh, in bytes, pixels and as text, before they are put away. Headers only."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from io import BytesIO

import PIL.Image

from clipload.dialects import image_text
from clipload.values import Image, Sample

MOST = 256  # images: that tells the mean, and takes a tenth of a second


class Scales:
    """Weighs Samples as they pass."""

    def __init__(self) -> None:
        self.images = self.bytes = self.text_bytes = 0
        self.sized_bytes = self.pixels = 0  # of those whose size can be read

    def weighed(self, samples: Iterable[Sample]) -> Iterator[Sample]:
        """The same Samples."""
        for sample in samples:
            if self.images < MOST:
                for item in sample.items:
                    if isinstance(item, Image):
                        self._add(item)
            yield sample

    def _add(self, image: Image) -> None:
        self.images += 1
        self.bytes += len(image.data)
        self.text_bytes += len(image_text(image))
        pixels = pixels_of(image.data)
        self.pixels += pixels
        self.sized_bytes += len(image.data) if pixels else 0

    def document(self) -> dict[str, int]:
        """For the facts of a Run."""
        return {
            "images": self.images,
            "bytes": self.bytes,
            "text_bytes": self.text_bytes,
            "sized_bytes": self.sized_bytes,
            "pixels": self.pixels,
        }


def pixels_of(data: bytes) -> int:
    """Width × height as the header says; 0 for what is no image that Pillow knows."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
            with PIL.Image.open(BytesIO(data)) as image:
                return image.width * image.height
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError):
        return 0
