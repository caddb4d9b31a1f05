"""A dataset as a list of Entries: what `flickr8k`, `folder` and `jsonl` have in common.

The stream visits the Entries in a seeded permutation. Texts, images and pairs are one stream: the mode decides which parts of
an Entry are sent. In mixed mode a seeded coin decides for each Sample whether it is the next text or the next image; the
stream ends when the kind that is called for has run out. What cannot be read, and an Entry that lacks what the mode needs, is
passed over and reported, or with `strict` an error.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import UnidentifiedImageError

from clipload.errors import DatasetError
from clipload.mixes import Side
from clipload.sources import Skip, SourceOptions
from clipload.sources.pictures import BROKEN, draw_in_order, read_picture
from clipload.values import Image, ImageRef, Item, Sample, Text

ORDER_STREAM = 2  # of random numbers, beside those of the Sources
PARTS = {"text": ("text",), "image": ("image",), "multimodal": ("text", "image")}


@dataclass(frozen=True, slots=True)
class Entry:
    """One image, one text, or both. `text` is the words or the file that holds them on its first line; `image` is a file, a
    URL, or a data URI (a str). `name` and `line` are for the report of what was passed over."""

    name: str
    line: int
    text: str | Path | None
    image: Path | ImageRef | str | None


@dataclass(frozen=True, slots=True)
class Words:
    """How a dataset speaks of itself: the flag that named it, and what to say of an Entry, or of all, that lack a part."""

    flag: str
    no_text: str
    no_image: str
    remedy: str

    def lack(self, part: str) -> str:
        return self.no_text if part == "text" else self.no_image


class Catalogue:
    """A Source over Entries. Raises `DatasetError` when none has what the mode needs."""

    def __init__(self, options: SourceOptions, entries: Sequence[Entry], words: Words) -> None:
        self.options, self.words = options, words
        self.entries = entries
        self._skips: dict[Skip, None] = {}  # a dict keeps each once and in order: a second draw meets the same ones again
        self._having = {part: [getattr(entry, part) is not None for entry in entries] for part in ("text", "image")}
        self._mixed = self._blend() if options.mode == "mixed" else None
        self._count = self._available()
        lacking = [part for part in self._needed() if not any(self._having[part])]
        if lacking or not self._count:
            which = words.lack(lacking[0]) if lacking else "none has both a text and an image"
            what = f"--mode {options.mode} finds nothing to send among {len(entries)} entries: {which}"
            raise DatasetError(what, flag=words.flag, remedy=words.remedy)

    def __repr__(self) -> str:
        name, options = type(self).__name__, self.options
        return f"{name}({options.mode}, {self.available} of {len(self.entries)} entries, seed {options.seed})"

    @property
    def available(self) -> int | None:
        """Samples that are there by name; one that turns out broken when drawn is one fewer."""
        return self._count

    @property
    def skipped(self) -> list[Skip]:
        return list(self._skips)

    def draw(self, count: int) -> Iterator[Sample]:
        threads = 0 if self.options.mode == "text" else self.options.threads
        return draw_in_order(self._sample, self._inputs(), count, threads=threads, on_skip=self._skip)

    def _needed(self) -> tuple[str, ...]:
        share = self.options.text_share
        mixed = ("image",) if share == 0 else ("text",) if share == 1 else ("text", "image")
        return PARTS.get(self.options.mode, mixed)

    def _available(self) -> int:
        if self._mixed is not None:
            return len(self._mixed)
        return sum(map(all, zip(*(self._having[part] for part in self._needed()))))

    def _order(self) -> list[int]:
        draws = np.random.Generator(np.random.PCG64(np.random.SeedSequence([self.options.seed, ORDER_STREAM])))
        order: list[int] = draws.permutation(len(self.entries)).tolist()
        return order

    def _blend(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Whether Sample i is a text, up to the one whose kind has run out."""
        texts, images = sum(self._having["text"]), sum(self._having["image"])
        coins = self.options.coins(texts + images + 1)
        short = (np.cumsum(coins) > texts) | (np.cumsum(~coins) > images)
        return coins[: int(np.argmax(short))]

    def _inputs(self) -> Iterator[tuple[int, tuple[str, ...]]]:
        """(number of the Entry, the parts of it that are sent) in the order of the stream."""
        order = self._order()
        if self._mixed is None:
            yield from ((number, PARTS[self.options.mode]) for number in order)
            return
        texts = (number for number in order if self._having["text"][number])
        images = (number for number in order if self._having["image"][number])
        for is_text in self._mixed.tolist():
            yield (next(texts), ("text",)) if is_text else (next(images), ("image",))

    def _sample(self, wanted: tuple[int, tuple[str, ...]]) -> Sample | Skip:
        number, parts = wanted
        entry = self.entries[number]
        for part in parts:
            if not self._having[part][number]:
                return Skip(entry.name, entry.line, self.words.lack(part))
        items: list[Item] = []
        for part in parts:
            item = _text(entry) if part == "text" else self._image(entry, self.options.size(number))
            if isinstance(item, Skip):
                return item
            items.append(item)
        return Sample(tuple(items))

    def _image(self, entry: Entry, size: Side | None) -> Image | ImageRef | Skip:
        if isinstance(entry.image, ImageRef):
            self._as_it_stands(entry)
            return entry.image
        try:
            return _read(entry, self.options, size)
        except UnidentifiedImageError:
            return Skip(entry.name, entry.line, "not a readable image: its format is not known")
        except BROKEN as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else error
            return Skip(entry.name, entry.line, f"not a readable image: {why}")

    def _as_it_stands(self, entry: Entry) -> None:
        """A URL is opened by the server alone: nothing can be asked of its picture."""
        for flag, asked in (("--image-size", self.options.image_sizes), ("--image-quality", self.options.image_quality)):
            if asked is not None:
                what = f"cannot be had of a URL ({entry.name}, line {entry.line}), which is sent as it stands"
                raise DatasetError(what, flag=flag, remedy="leave the flag out, or name files")

    def _skip(self, skip: Skip) -> None:
        if self.options.strict:
            raise DatasetError(str(skip), flag=self.words.flag, remedy="mend or remove it, or go on without it: drop --strict")
        self._skips[skip] = None


def _read(entry: Entry, options: SourceOptions, size: Side | None) -> Image:
    if isinstance(entry.image, Path):
        return read_picture(entry.image.read_bytes(), options, size, str(entry.image.absolute()))
    return read_picture(b64decode(str(entry.image).partition(",")[2], validate=True), options, size)


def _text(entry: Entry) -> Text | Skip:
    """The Entry's words; of a file, the first line that is not blank."""
    if isinstance(entry.text, str):
        return Text(entry.text)
    file = entry.text
    if file is None:
        raise AssertionError("the caller looks whether there is a text")
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        return Skip(str(file), 0, f"not a readable caption: {error}")
    return next((Text(line.strip()) for line in lines if line.strip()), Skip(str(file), 0, "an empty caption"))
