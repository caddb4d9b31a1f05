"""A dataset as named Items in its own order, not as a shuffled stream of Samples: what `clipload embed` embeds.

| source | image | caption |
|---|---|---|
| `flickr8k` | `name.jpg` | `name.jpg#i` |
| `folder` | path below the folder | `path#0` |
| `jsonl` | number of the line | the same |
| any other | number in the stream | the same |

A caption belongs to the image whose name is its own up to a `#i`. Items are read when they are iterated over, or later. Of
`jsonl` no line is kept in memory, however many there are.
"""

from __future__ import annotations

import hashlib
import mimetypes
import re
from base64 import b64decode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from clipload.errors import DatasetError
from clipload.sources import CAPTION_PICKS, SOURCES, Skip, Source, source_for
from clipload.sources.catalogue import Entry
from clipload.sources.flickr8k import Captioned, read_captions
from clipload.sources.jsonl import FLAG, FORM
from clipload.sources.linefile import LineFile
from clipload.values import Image, ImageRef, Item, Text

MODES = {"text": "text", "image": "image", "both": "multimodal"}
NEEDED: dict[str, tuple[str, ...]] = {"text": ("text",), "image": ("image",), "both": ("text", "image")}
CAPTION_STREAM = 4  # of random numbers, beside those of the Sources


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingOptions:
    """What is listed. `modality` is text, image or both. None: all captions, all samples."""

    data_source: str
    modality: str
    seed: int = 0
    data: str | None = None
    flickr_images_dir: Path | None = None
    flickr_captions_file: Path | None = None
    captions_per_image: int | None = None
    caption_pick: str = CAPTION_PICKS[0]
    max_samples: int | None = None


@dataclass(frozen=True, slots=True)
class Named:
    """One Item, perhaps still on the disk: a text's words or the file whose first line holds them, an image's file, URL
    or data URI. `line` is the 1-based line that named it, 0 when none did."""

    name: str
    line: int
    kind: str
    content: str | Path | ImageRef | Item

    def read(self) -> Item:
        """OSError or ValueError when it cannot be read. Pictures are not decoded."""
        content = self.content
        if isinstance(content, Text | Image | ImageRef):
            return content
        if self.kind == "text":
            return Text(content if isinstance(content, str) else _first_line(content))
        if isinstance(content, str):
            head, _, payload = content.partition(",")
            return Image(b64decode(payload, validate=True), head.removeprefix("data:").partition(";")[0])
        return Image(content.read_bytes(), mimetypes.guess_type(content.name)[0] or "image/jpeg", str(content.absolute()))

    def fingerprint(self) -> str:
        """What tells it from another Item of that name, without reading a picture: words, or a file's size."""
        content = self.content
        if isinstance(content, Path):
            return str(content.stat().st_size) if content.is_file() else "none"
        return content if isinstance(content, str) else "" if isinstance(content, Image) else str(content)


class Listed(Protocol):
    """Some Named, as many as it says, that can be gone through again."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Named]: ...


@dataclass(frozen=True, slots=True)
class Listing:
    """Texts and images (empty when the modality has none), and what the dataset names but does not hold."""

    texts: Listed
    images: Listed
    skipped: Sequence[Skip] = ()


def digest(entries: Iterable[Named]) -> str:
    """SHA-256 of names and fingerprints, in order."""
    whole = hashlib.sha256()
    for entry in entries:
        whole.update(f"{entry.name}\0{entry.fingerprint()}\0".encode())
    return whole.hexdigest()


def owner_of(caption: str) -> str:
    """The name of the image that a caption of that name belongs to."""
    return re.sub(r"#\d+$", "", caption)


def listing_for(options: ListingOptions) -> Listing:
    """DatasetError, naming the flag, for a dataset that is missing, malformed or empty."""
    if options.data_source == "jsonl" and options.data:
        return _lines(options, LineFile(Path(options.data).expanduser()))
    given: dict[str, Any] = {"mode": MODES[options.modality], "seed": options.seed}
    given |= {} if options.data is None else {"data": options.data}
    if options.data_source == "flickr8k":
        given |= {"flickr_images_dir": options.flickr_images_dir, "flickr_captions_file": options.flickr_captions_file}
    if options.data_source not in SOURCES:
        given = {"mode": "text", "seed": 0}  # for the complaint alone
    source = source_for(options.data_source, **given)
    if options.data_source == "flickr8k":
        return _flickr8k(options)
    if hasattr(source, "entries"):
        return _catalogue(options, source.entries)
    return _stream(options, source)


def _flickr8k(options: ListingOptions) -> Listing:
    """The first images by name. The captions of an image that is not there go with it, unless only texts are asked for."""
    if options.flickr_captions_file is None:
        raise AssertionError("the source has asked for it")
    captioned = read_captions(options.flickr_captions_file.expanduser())
    draws = np.random.Generator(np.random.PCG64(np.random.SeedSequence([options.seed, CAPTION_STREAM])))
    keys = [draws.random(len(one.captions)) for one in captioned]  # drawn for all, so that none depends on what is missing
    if options.modality == "text":
        texts = [text for one, key in zip(captioned, keys) for text in _captions(options, one, key)]
        return Listing(texts[: options.max_samples], ())
    folder = (options.flickr_images_dir or Path()).expanduser()
    present = {path.name for path in folder.iterdir()}
    pairs = list(islice(((one, key) for one, key in zip(captioned, keys) if one.name in present), options.max_samples))
    texts = [text for one, key in pairs for text in _captions(options, one, key)] if options.modality == "both" else []
    images = [Named(one.name, one.line, "image", folder / one.name) for one, _ in pairs]
    missing = [one for one in captioned if one.name not in present]
    why = "named in the captions but not in the folder"
    return Listing(texts, images, [Skip(str(folder / one.name), one.line, why) for one in missing])


def _captions(options: ListingOptions, image: Captioned, keys: np.ndarray[Any, Any]) -> list[Named]:
    """So many of an image's captions, the first ones or drawn ones, in their own order."""
    count = options.captions_per_image or len(image.captions)
    places = range(len(image.captions)) if options.caption_pick == "first" else np.argsort(keys).tolist()
    return [Named(f"{image.name}#{i}", image.line, "text", image.captions[i]) for i in sorted(places[:count])]


def _catalogue(options: ListingOptions, entries: Sequence[Any]) -> Listing:
    """Of a Source that knows its entries (`name`, `line`, `text`, `image`): those that have what the modality needs."""
    needed = NEEDED[options.modality]
    having = [entry for entry in entries if _has(entry, needed)]
    lacking = [entry for entry in entries if not _has(entry, needed)]
    root = Path(options.data or "").expanduser()
    made: dict[str, list[Named]] = {"text": [], "image": []}
    for entry in having[: options.max_samples]:
        for kind in needed:
            name = Path(entry.name).relative_to(root).as_posix() + ("#0" if kind == "text" else "")
            made[kind].append(Named(name, entry.line, kind, getattr(entry, kind)))
    return Listing(made["text"], made["image"], [_lacks(entry, options.modality) for entry in lacking])


def _has(entry: Entry, needed: Sequence[str]) -> bool:
    return all(getattr(entry, part) is not None for part in needed)


def _lacks(entry: Entry, modality: str) -> Skip:
    return Skip(entry.name, entry.line, f"lacks what --modality {modality} needs")


def _lines(options: ListingOptions, file: LineFile) -> Listing:
    """All lines are looked at once, so that a malformed one is found before anything is embedded."""
    needed = NEEDED[options.modality]
    lines = having = 0
    skipped = []
    for entry in file:
        lines += 1
        having += _has(entry, needed)
        if not _has(entry, needed):
            skipped.append(_lacks(entry, options.modality))
    if not having:
        lack = " and ".join(f'"{part}"' for part in needed)
        what = f"none of the {lines} lines of {file.name} has {lack}" if lines else f"{file.name} has no lines"
        remedy = f"write lines of the form {FORM}" + (", or choose another --modality" if lines else "")
        raise DatasetError(what, flag=FLAG, remedy=remedy)
    count = having if options.max_samples is None else min(having, options.max_samples)
    of_kind = {kind: Lined(file, count, kind, needed) for kind in needed}
    return Listing(of_kind.get("text", ()), of_kind.get("image", ()), skipped)


class Lined:
    """One Item of each of the first lines that have what is needed; read anew each time."""

    def __init__(self, file: LineFile, count: int, kind: str, needed: Sequence[str]) -> None:
        self._file, self._count, self._kind, self._needed = file, count, kind, needed

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Named]:
        having = (entry for entry in self._file if _has(entry, self._needed))
        for entry in islice(having, self._count):
            yield Named(str(entry.line), entry.line, self._kind, getattr(entry, self._kind))


def _stream(options: ListingOptions, source: Source) -> Listing:
    count = source.available if options.max_samples is None else options.max_samples
    if count is None:
        what = f"--data-source {options.data_source} has no end"
        raise DatasetError(what, flag="--max-samples", remedy="say how many, such as --max-samples 128")
    count = count if source.available is None else min(count, source.available)
    texts = Drawn(source, count, 0, "text") if options.modality != "image" else ()
    images = Drawn(source, count, -1, "image") if options.modality != "text" else ()
    return Listing(texts, images)


class Drawn:
    """One Item of each Sample of a stream, by its number; drawn anew each time, so that they are never all in memory."""

    def __init__(self, source: Source, count: int, place: int, kind: str) -> None:
        self._source, self._count, self._place, self._kind = source, count, place, kind

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Named]:
        for number, sample in enumerate(self._source.draw(self._count)):
            yield Named(str(number), 0, self._kind, sample.items[self._place])


def _first_line(file: Path) -> str:
    lines = (line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines())
    found = next((line for line in lines if line), "")
    if not found:
        raise ValueError("an empty caption")
    return found
