"""Sources: seeded streams of Samples, one file each, interchangeable behind `Source`.

Laws, held by `tests/laws/test_source_laws.py` for every entry of `SOURCES`: the same options give the same bytes; `draw(m)`
is a prefix of `draw(n)` for m <= n; a draw gives at most `available` Samples, and nothing of a dataset twice.
To add a Source: write one file whose class takes `SourceOptions`, and name it in `SOURCES`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from clipload.errors import DatasetError
from clipload.mixes import Mix, Side, Span
from clipload.pacing import generator
from clipload.values import Sample

SOURCES = {
    "random": "clipload.sources.synthetic:Synthetic",
    "flickr8k": "clipload.sources.flickr8k:Flickr8k",
    "folder": "clipload.sources.folder:Folder",
    "jsonl": "clipload.sources.jsonl:Lines",
}
MODES = ("text", "image", "multimodal", "mixed")
IMAGE_FORMATS = ("png", "jpeg", "webp", "original")
IMAGE_KINDS = ("noise", "photo")
CAPTION_PICKS = ("first", "random")
PATHS = ("data", "flickr_images_dir", "flickr_captions_file")
SIZE_STREAM, COIN_STREAM = 105, 106


@dataclass(frozen=True, slots=True)
class Skip:
    """A piece of the dataset that was passed over: the file, the 1-based line that named it (0: none did), and why."""

    file: str
    line: int
    why: str

    def __str__(self) -> str:
        return f"{self.file}{f' (named on line {self.line})' if self.line else ''}: {self.why}"


class Source(Protocol):
    """A seeded stream of Samples that can be drawn again from its start."""

    @property
    def available(self) -> int | None:
        """How many distinct Samples there are: a bound known without opening an image. None: no bound."""
        ...

    @property
    def skipped(self) -> list[Skip]:
        """What the draws so far passed over, each once, in the order of the stream."""
        ...

    def draw(self, count: int) -> Iterator[Sample]:
        """The first `count` Samples of the stream, fewer when the dataset ends before. Raises `DatasetError`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """All that a Source may depend on; what a Source has no use for, it ignores. `threads` changes speed, never bytes.

    `image_side` is that of synthetic images; `image_sizes` stands in its place, and scales those of a dataset too. `most_bytes`
    is how much of a listing is read. `data` "-" is standard input. `threads` None means one for each core that is ours.
    """

    mode: str
    seed: int
    text_share: float = 0.5
    text_lengths: Mix[Span] | None = None
    image_side: int = 224
    image_sizes: Mix[Side] | None = None
    image_format: str = "png"
    image_quality: int | None = None
    image_kind: str = "noise"
    bytes_per_pixel: float | None = None
    data: Path | None = None
    most_bytes: int = 2**30
    flickr_images_dir: Path | None = None
    flickr_captions_file: Path | None = None
    flickr_caption_pick: str = "first"
    strict: bool = False
    threads: int | None = None

    def __post_init__(self) -> None:
        _one_of(self.mode, MODES, "--mode")
        _one_of(self.image_format, IMAGE_FORMATS, "--image-format")
        _one_of(self.image_kind, IMAGE_KINDS, "--image-kind")
        _one_of(self.flickr_caption_pick, CAPTION_PICKS, "--flickr-caption-pick")
        if self.seed < 0:
            raise DatasetError(f"{self.seed} is negative", flag="--seed", remedy="use a whole number >= 0")
        if self.image_side < 1:
            raise DatasetError(f"an image of side {self.image_side} cannot be", flag="--clip-variant", remedy="use 224 or 336")

    def size(self, index: int) -> Side | None:
        """The size that `image_sizes` has for picture `index`; None when it has nothing to say."""
        if self.image_sizes is None or len(self.image_sizes.parts) == 1:
            return self.image_sizes.parts[0] if self.image_sizes else None
        return self.image_sizes.pick(generator(self.seed, SIZE_STREAM, index).random())

    def coins(self, count: int) -> NDArray[np.bool_]:
        """Whether Sample i of a mixed mode is a text, i < `count`."""
        return generator(self.seed, COIN_STREAM).random(count) < self.text_share


def source_for(data_source: str, **options: Any) -> Source:
    """The Source named `data_source`, ready to draw; its module is imported only now.

    `options` are those of `SourceOptions`; a path may be a str, and an empty one counts as not given.
    Raises `DatasetError` naming the flag for an unknown word and for a dataset that is missing or malformed.
    """
    _one_of(data_source, tuple(SOURCES), "--data-source")
    module, _, name = SOURCES[data_source].partition(":")
    make = cast(Callable[[SourceOptions], Source], getattr(import_module(module), name))
    return make(SourceOptions(**options | {name: _path(options[name]) for name in PATHS if name in options}))


def _path(value: str | Path | None) -> Path | None:
    return Path(value).expanduser() if value else None


def _one_of(value: str, allowed: tuple[str, ...], flag: str) -> None:
    if value not in allowed:
        close = difflib.get_close_matches(value, allowed, 1)
        remedy = f"did you mean {close[0]!r}?" if close else f"use {', '.join(allowed)}"
        raise DatasetError(f"{value!r} is not one of {', '.join(allowed)}", flag=flag, remedy=remedy)
