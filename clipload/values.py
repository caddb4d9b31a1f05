"""The values that every floor speaks of: Items and Samples. Nothing here does I/O."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    """One text Item."""

    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """One image Item: the encoded file (PNG, JPEG, ...), never pixels.

    `origin`: the absolute path of a file with the same bytes, if there is one.
    """

    data: bytes
    media_type: str
    origin: str = ""

    def __repr__(self) -> str:
        return f"Image({len(self.data)} B, {self.media_type})"


@dataclass(frozen=True, slots=True)
class ImageRef:
    """One image Item by name: a path on the server's disk or a URL, sent as it stands. The server opens it, or fails to."""

    reference: str


Item = Text | Image | ImageRef


@dataclass(frozen=True, slots=True)
class Sample:
    """What the user counts: one text, one image, or a (text, image) pair. `items` holds 1 or 2 Items, text first."""

    items: tuple[Item, ...]
