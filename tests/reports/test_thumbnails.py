"""Thumbnails: bounded in pixels and bytes whatever the picture, as the model sees it, without what it says of itself."""

from __future__ import annotations

import io
from base64 import b64decode
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from clipload.reports.thumbnails import BYTES, EDGE, thumbnail
from tests.reports.validations import encoded


def opened(data: bytes) -> tuple[Pillow.Image, int]:
    """The thumbnail's picture, and how many bytes it takes."""
    made = thumbnail(data)
    head, _, payload = made.uri.partition(",")
    assert head == "data:image/jpeg;base64"
    content = b64decode(payload, validate=True)
    picture = Pillow.open(io.BytesIO(content))
    assert picture.size == (made.width, made.height)
    return picture, len(content)


@pytest.mark.parametrize(
    ("size", "small"),
    [((1920, 1080), (128, 72)), ((300, 900), (43, 128)), ((128, 128), (128, 128)), ((20, 30), (20, 30)), ((4000, 2), (128, 1))],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_its_size(size: tuple[int, int], small: tuple[int, int], kind: str) -> None:
    picture, count = opened(encoded(*size, kind=kind))
    assert picture.size == small
    assert count <= BYTES
    assert max(picture.size) <= EDGE


@pytest.mark.parametrize("noise", [np.random.default_rng(0).integers(0, 256, (300, 300, 3)), None])
def test_what_cannot_be_compressed_fits_all_the_same(noise: Any) -> None:
    """The hardest there is: each pixel black or white in each colour, at the thumbnail's own size."""
    hard = 255 * np.random.default_rng(0).integers(0, 2, (EDGE, EDGE, 3)) if noise is None else noise
    file = io.BytesIO()
    Pillow.fromarray(hard.astype(np.uint8)).save(file, "PNG")
    assert opened(file.getvalue())[1] <= BYTES


@pytest.mark.parametrize("mode", ["RGBA", "P", "L", "CMYK", "1", "I;16"])
def test_whatever_its_colours_are_written_in(mode: str) -> None:
    picture = (
        Pillow.fromarray(np.full((40, 60), 200, np.uint16))
        if mode == "I;16"
        else Pillow.new("RGB", (60, 40), "red").convert(mode)
    )
    file = io.BytesIO()
    picture.save(file, "TIFF")
    shown, _ = opened(file.getvalue())
    assert (shown.mode, shown.size) == ("RGB", (60, 40))
    if mode in ("RGBA", "P", "CMYK"):
        red, green, _ = shown.getpixel((30, 20))  # type: ignore[misc]
        assert red > 200 > 60 > green


def test_it_shows_what_the_model_sees_and_keeps_nothing_else() -> None:
    """A camera's note that the picture lies on its side is not heeded by the model, and such notes may tell too much."""
    about = Pillow.Exif()
    about[0x0112], about[0x010E] = 6, "a secret"
    file = io.BytesIO()
    Pillow.new("RGB", (300, 150), "blue").save(file, "JPEG", exif=about, comment=b"a secret")
    shown, _ = opened(file.getvalue())
    assert shown.size == (128, 64)
    assert not shown.getexif()
    assert b"secret" not in b64decode(thumbnail(file.getvalue()).uri.partition(",")[2])


def test_the_same_picture_gives_the_same_thumbnail() -> None:
    assert thumbnail(encoded(400, 300)) == thumbnail(encoded(400, 300)) != thumbnail(encoded(400, 300, seed=1))
