"""Synthetic photographs: fields whose amplitude falls as f^-1.25, near what is known of natural scenes (1 to 1.3).

One luminance and two weaker colour fields, each white noise that is filtered by its spectrum. The one parameter is `roughness`:
the standard deviation, in levels of 255, of white noise whose spectrum is then divided by f^1.25, f in cycles per pixel. It
decides how well a picture compresses, whatever its size. The roughness that meets a number of bytes per pixel is found by
bisection on a few pictures that are the same for all seeds, so it depends on nothing but format, quality and size (and on the
libraries that encode, as every encoded byte does). Arithmetic is kept to what all hosts compute
alike, but for the last bits of a Fourier transform, which rounding to whole levels hides.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from clipload.errors import DatasetError
from clipload.mixes import Side
from clipload.pacing import generator
from clipload.sources.pictures import encode_picture

PHOTO_STREAM, SAMPLE_STREAM = 103, 104
# Measured on the 24 photographs of scripts/make_photos.py at 224²: medians of 0.45 bytes per pixel as JPEG of quality 95, 0.20
# at 75, 0.17 as WebP of 80, 1.4 as PNG. This roughness gives 0.47, 0.17, 0.16 and 1.8: the lossy formats, which carry
# photographs, are met.
ROUGHNESS = 1.4
SMOOTHEST, ROUGHEST = 0.01, 8.0
TOLERANCE = 0.1  # of the bytes per pixel that were asked for, for each picture
# Fields are periodic: a larger picture repeats one of so many pixels downwards, without a seam.
# Across, PNG would find the repetition.
TILE, SAMPLE = 2**20, 2**17
_SAMPLES, _HALVINGS = 2, 10
_COLOURS = ((1.0, 0.3, 0.2), (1.0, -0.2, 0.1), (1.0, -0.1, -0.4))  # red, green, blue ← luminance and two colours

Field = NDArray[np.float64]


@lru_cache(maxsize=8)
def _filter(size: Side) -> Field:
    """f^-1.25 over the half spectrum of an image of that size; level below one cycle a shorter side, lest strips be all light
    or dark; 0 at f = 0."""
    down, across = np.fft.fftfreq(size[1])[:, None], np.fft.rfftfreq(size[0])[None, :]
    frequency = np.maximum(np.sqrt(down * down + across * across), 1.0 / min(size))
    amplitude: Field = 1.0 / (frequency * np.sqrt(np.sqrt(frequency)))
    amplitude[0, 0] = 0.0
    return amplitude


def _fields(draws: np.random.Generator, size: Side) -> Field:
    """Shape [height, width, 3] of at most TILE pixels, of roughness 1, without a mean."""
    size = _part(size, TILE)
    white = (draws.random((3, size[1], size[0])) - 0.5) * np.sqrt(12.0)
    fields = np.fft.irfft2(np.fft.rfft2(white) * _filter(size), (size[1], size[0]))
    pixels: Field = np.empty((size[1], size[0], 3))
    for colour, (light, red, blue) in enumerate(_COLOURS):  # by hand: a BLAS rounds as the host's instructions have it
        pixels[..., colour] = light * fields[0] + red * fields[1] + blue * fields[2]
    return pixels


def _picture(fields: Field, size: Side, roughness: float) -> Pillow.Image:
    pixels = np.clip(np.rint(128.0 + roughness * fields), 0, 255).astype(np.uint8)
    return Pillow.fromarray(pixels if len(pixels) == size[1] else pixels[np.arange(size[1]) % len(pixels)])


def _part(size: Side, pixels: int) -> Side:
    """As many whole rows of a picture as make `pixels`, at most all."""
    return size[0], min(size[1], max(1, pixels // size[0]))


def photograph(seed: int, index: int, size: Side, roughness: float = ROUGHNESS) -> Pillow.Image:
    """Picture `index`, RGB of `size`."""
    return _picture(_fields(generator(seed, PHOTO_STREAM, index), size), size, roughness)


@lru_cache(maxsize=256)
def roughness_for(bytes_per_pixel: float, size: Side, image_format: str, quality: int | None) -> float:
    """The roughness at which pictures of `size` are so large when encoded. DatasetError when none is."""
    part = _part(size, SAMPLE)
    samples = [_fields(generator(0, SAMPLE_STREAM, index), part) for index in range(_SAMPLES)]

    def weight(roughness: float) -> float:
        pictures = (_picture(fields, part, roughness) for fields in samples)
        sizes = [len(encode_picture(picture, image_format, quality=quality).data) for picture in pictures]
        return sum(sizes) / len(sizes) / (part[0] * part[1])

    low, high = SMOOTHEST, ROUGHEST
    least, most = weight(low), weight(high)
    if not least <= bytes_per_pixel <= most:
        raise DatasetError(
            f"{bytes_per_pixel:g} cannot be had of a {size[0]}x{size[1]} {image_format}",
            flag="--bytes-per-pixel",
            remedy=f"use {least:.3g} to {most:.3g}, or another --image-format, --image-quality or --image-size",
        )
    for _ in range(_HALVINGS):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if weight(middle) < bytes_per_pixel else (low, middle)
    return high
