"""Synthetic photographs: their spectrum falls as photographs' does, and their encoded size is what was asked for."""

from __future__ import annotations

from io import BytesIO
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image as Pillow

from clipload.errors import DatasetError
from clipload.mixes import parse_sizes
from clipload.sources import source_for
from clipload.sources.photographs import TILE, TOLERANCE, photograph
from clipload.values import Image


def densities(count: int = 6, **options: object) -> list[float]:
    """Encoded bytes per pixel of the first pictures."""
    found = []
    for sample in source_for("random", mode="image", seed=11, image_kind="photo", **options).draw(count):
        (item,) = sample.items
        assert isinstance(item, Image)
        with Pillow.open(BytesIO(item.data)) as picture:
            picture.load()
            found.append(len(item.data) / (picture.size[0] * picture.size[1]))
    return found


@pytest.mark.parametrize("size", [(224, 224), (500, 375)])
def test_the_amplitude_falls_as_a_power_of_the_frequency(size: tuple[int, int]) -> None:
    """The slope of log amplitude over log frequency, of luminance, between 3 cycles a picture and 0.4 a pixel."""
    powers = []
    for index in range(8):
        grey = np.asarray(photograph(5, index, size).convert("L"), dtype=float)
        powers.append(np.abs(np.fft.fft2(grey - grey.mean())) ** 2)
    power = np.mean(powers, axis=0)
    frequency = np.hypot(np.fft.fftfreq(size[1])[:, None], np.fft.fftfreq(size[0])[None, :])
    edges = np.geomspace(3 / min(size), 0.4, 13)
    rings = [(frequency >= a) & (frequency < b) for a, b in pairwise(edges)]
    slope = np.polyfit(
        np.log([frequency[ring].mean() for ring in rings]), np.log([np.sqrt(power[ring].mean()) for ring in rings]), 1
    )[0]
    assert -1.3 < slope < -1.15


def test_colours_differ_less_than_light_does() -> None:
    pixels = np.asarray(photograph(5, 0, (224, 224)), dtype=float)
    assert pixels.std(axis=(0, 1)).min() > 10
    assert pixels.std(axis=2).mean() < 0.7 * pixels.mean(axis=2).std()


@pytest.mark.parametrize(
    ("image_format", "quality", "wanted"),
    [("png", None, 1.4), ("png", None, 2.0), ("jpeg", None, 0.6), ("jpeg", 75, 0.2), ("webp", None, 0.17)],
)
def test_bytes_per_pixel_are_met(image_format: str, quality: int | None, wanted: float) -> None:
    for found in densities(image_format=image_format, image_quality=quality, bytes_per_pixel=wanted):
        assert found == pytest.approx(wanted, rel=TOLERANCE)


def test_they_are_met_by_every_size_of_a_mix() -> None:
    sizes = parse_sizes("96x96,640x480,1100x30")
    found = densities(9, image_format="jpeg", image_sizes=sizes, bytes_per_pixel=0.5)
    assert found == pytest.approx([0.5] * 9, rel=TOLERANCE)


def test_a_wide_png_is_not_made_smaller_by_repetition() -> None:
    assert densities(2, image_sizes=parse_sizes("2100x40"), bytes_per_pixel=1.4) == pytest.approx([1.4] * 2, rel=TOLERANCE)


def test_without_a_target_they_are_as_large_as_photographs() -> None:
    """Between the first and third quartile of the photographs of scripts/make_photos.py at 224², as JPEG and as WebP."""
    assert all(0.33 < found < 0.52 for found in densities(image_format="jpeg"))
    assert all(0.10 < found < 0.20 for found in densities(image_format="webp"))


def test_what_cannot_be_had_names_the_range() -> None:
    for wanted in (0.001, 4.0):
        with pytest.raises(DatasetError) as caught:
            densities(bytes_per_pixel=wanted)
        assert caught.value.flag == "--bytes-per-pixel"
        assert "use 0.0" in caught.value.remedy


def test_a_large_one_repeats_its_tile_without_a_seam() -> None:
    pixels = np.asarray(photograph(1, 0, (1500, 1000)), dtype=float)
    period = TILE // 1500
    assert np.array_equal(pixels[: 1000 - period], pixels[period:])
    steps = np.abs(np.diff(pixels, axis=0)).mean(axis=(1, 2))
    assert steps[period - 1] < 1.5 * np.median(steps)
