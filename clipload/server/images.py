"""Image references as they stand in requests, decoded to RGB pixels, with SGLang's words for what goes wrong.

Accepted are data URIs (the media type is not believed) and bare base64, of anything Pillow opens. Alpha is dropped and EXIF
rotation ignored, as in SGLang. Paths and URLs, which SGLang would open, are refused unless `opening` has opened them.
"""

from __future__ import annotations

from base64 import b64decode
from io import BytesIO

from PIL import Image as Pillow

from clipload.server.engines import BAD_REQUEST, INTERNAL_ERROR, Refusal

ECHO = 100  # characters of the reference that a refusal repeats


def decode_image(reference: str, opened: bytes | None = None) -> Pillow.Image:
    """The picture, RGB; `opened` is what lay behind the reference, when it was opened. Refusal: 400 when it is no picture, 500
    when it is larger than Pillow's limit (as in SGLang)."""
    if opened is None and reference.startswith(("http://", "https://", "file://")):
        raise _refused(reference, "the reference server opens no URLs; send a data URI, or start it with --open-images")
    try:
        return Pillow.open(BytesIO(_payload(reference) if opened is None else opened)).convert("RGB")
    except Pillow.DecompressionBombError as error:
        raise Refusal(INTERNAL_ERROR, f"Internal server error: {error}", "InternalServerError") from None
    except (ValueError, OSError, SyntaxError) as error:  # Pillow's plugins raise all three on damaged files
        closed = "; files are opened only with --open-images" if opened is None and reference.startswith("/") else ""
        raise _refused(reference, f"Could not decode image: {error}{closed}") from None


def _payload(reference: str) -> bytes:
    return b64decode(reference.partition("base64,")[2] if reference.startswith("data:") else reference, validate=True)


def _refused(reference: str, why: str) -> Refusal:
    return Refusal(BAD_REQUEST, cannot_load(reference, why))


def cannot_load(reference: str, why: str) -> str:
    """SGLang's words for an image that it cannot have."""
    return f"An exception occurred while loading IMAGE data at index 0: Error while loading data {shown(reference)}: {why}"


def shown(reference: str) -> str:
    return reference if len(reference) <= ECHO else reference[:ECHO] + "..."
