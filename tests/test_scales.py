"""What the first images of a load weigh."""

from __future__ import annotations

from base64 import b64encode
from io import BytesIO

import PIL.Image
import pytest

from clipload import scales
from clipload.scales import Scales, pixels_of
from clipload.values import Image, ImageRef, Sample, Text


def encoded(width: int, height: int, kind: str) -> bytes:
    file = BytesIO()
    PIL.Image.new("RGB", (width, height)).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_pixels_as_the_header_says(kind: str) -> None:
    data = encoded(31, 7, kind)
    assert pixels_of(data) == 217


@pytest.mark.parametrize("data", [b"", b"junk", b"\x89PNG\r\n\x1a\n" + b"\0" * 20])
def test_what_is_no_image_has_none(data: bytes) -> None:
    assert pixels_of(data) == 0


def test_every_sample_passes_and_images_are_weighed() -> None:
    data = encoded(10, 10, "PNG")
    samples = [
        Sample((Text("a"), Image(data, "image/png"))),
        Sample((Image(b"junk", "image/jpeg"),)),
        Sample((ImageRef("/x.png"),)),
        Sample((Text("b"),)),
    ]
    one = Scales()
    assert list(one.weighed(samples)) == samples
    text = len(f"data:image/png;base64,{b64encode(data).decode()}") + len("data:image/jpeg;base64,anVuaw==")
    found = {"images": 2, "bytes": len(data) + 4, "text_bytes": text, "sized_bytes": len(data), "pixels": 100}
    assert one.document() == found


def test_only_the_first_are_weighed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scales, "MOST", 3)
    one = Scales()
    assert len(list(one.weighed(Sample((Image(b"junk", "image/png"),)) for _ in range(9)))) == 9
    assert one.images == 3
