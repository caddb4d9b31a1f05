"""The two images that are sent: small, and unlike each other to any model."""

from __future__ import annotations

import struct
import zlib

from clipload.values import Image

SIDE = 64


def _png(rows: bytes) -> Image:
    """RGB rows of SIDE pixels, each with its filter byte before it."""
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    framed = (struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks)
    return Image(b"\x89PNG\r\n\x1a\n" + b"".join(framed), "image/png")


def _rows(pixel: tuple[bytes, bytes], width: int) -> bytes:
    """Two colours in squares of `width`."""
    lines = (b"".join(pixel[(x // width + y // width) % 2] for x in range(SIDE)) for y in range(SIDE))
    return b"".join(b"\0" + line for line in lines)


RED = _png(_rows((b"\xd0\x18\x18", b"\xd0\x18\x18"), SIDE))
BOARD = _png(_rows((b"\xff\xff\xff", b"\0\0\x30"), 8))
