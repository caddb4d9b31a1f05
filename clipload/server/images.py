"""Image references as they stand in requests, decoded to RGB pixels, with SGLang's words for what goes wrong.

Accepted are data URIs (the media type is not believed) and bare base64, of anything Pillow opens. Alpha is dropped and EXIF
rotation ignored, as in SGLang. Paths and URLs, which SGLang would open, are refused.
"""

from __future__ import annotations

from base64 import b64decode
from io import BytesIO

from PIL import Image as Pillow

from clipload.server.engines import BAD_REQUEST, INTERNAL_ERROR, Refusal

ECHO = 100  # characters of the reference that a refusal repeats


def decode_image(reference: str) -> Pillow.Image:
    """The picture, RGB. Refusal: 400 when it is none, 500 when it is larger than Pillow's limit (as in SGLang)."""
    if reference.startswith(("http://", "https://", "file://")):
        raise _refused(reference, "the reference server opens no URLs; send a data URI")
    payload = reference.partition("base64,")[2] if reference.startswith("data:") else reference
    try:
        return Pillow.open(BytesIO(b64decode(payload, validate=True))).convert("RGB")
    except Pillow.DecompressionBombError as error:
        raise Refusal(INTERNAL_ERROR, f"Internal server error: {error}", "InternalServerError") from None
    except (ValueError, OSError, SyntaxError) as error:  # Pillow's plugins raise all three on damaged files
        raise _refused(reference, f"Could not decode image: {error}") from None


def _refused(reference: str, why: str) -> Refusal:
    shown = reference[:ECHO]
    return Refusal(
        BAD_REQUEST, f"An exception occurred while loading IMAGE data at index 0: Error while loading data {shown}: {why}"
    )
