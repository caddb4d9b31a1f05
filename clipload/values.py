"""The values that every floor speaks of: Items and Samples. Nothing here does I/O."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    """One text Item."""

    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """One image Item: the encoded file (PNG, JPEG, ...), never pixels."""

    data: bytes
    media_type: str

    def __repr__(self) -> str:
        return f"Image({len(self.data)} B, {self.media_type})"


Item = Text | Image


@dataclass(frozen=True, slots=True)
class Sample:
    """What the user counts: one text, one image, or a (text, image) pair. `items` holds 1 or 2 Items, text first."""

    items: tuple[Item, ...]
