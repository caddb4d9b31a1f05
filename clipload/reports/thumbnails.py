"""Thumbnails: pictures small enough to stand inside a page, as data URIs.

Law: at most EDGE pixels on a side and BYTES encoded, whatever the picture; none is enlarged. They are shown as the model sees
them: what turns a picture in its metadata is not heeded, and nothing of those metadata is kept.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from io import BytesIO

from PIL import Image as Pillow

EDGE = 128  # px
BYTES = 12_000
_QUALITIES = (80, 60, 40, 20, 5)  # of JPEG: the first that fits; noise of EDGE² px at the last takes some 5 kB


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """`uri`: data:image/jpeg;base64,…; width and height in pixels."""

    uri: str
    width: int
    height: int


def thumbnail(data: bytes) -> Thumbnail:
    """Of an encoded picture. Raises what Pillow does for one that cannot be decoded."""
    with Pillow.open(BytesIO(data)) as picture:
        picture.draft("RGB", (2 * EDGE, 2 * EDGE))  # a JPEG is decoded no finer than is needed
        small = picture.convert("RGB")
    small.thumbnail((EDGE, EDGE), reducing_gap=2.0)
    small.info.clear()
    encoded = next((made for quality in _QUALITIES if len(made := _jpeg(small, quality)) <= BYTES), None)
    if encoded is None:
        raise AssertionError(f"a picture of {small.size} takes more than {BYTES} B")
    return Thumbnail("data:image/jpeg;base64," + b64encode(encoded).decode(), *small.size)


def _jpeg(picture: Pillow.Image, quality: int) -> bytes:
    made = BytesIO()
    picture.save(made, "JPEG", quality=quality, optimize=True)
    return made.getvalue()
