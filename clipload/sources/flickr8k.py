"""`flickr8k`: photographs and their captions, in the format of Hodosh, Young and Hockenmaier (2013).

A captions file has one `name.jpg#i<TAB>caption` for each line, i = 0…4. The stream visits the images in a seeded permutation
of their sorted names and gives one Sample for each. The real file names one image that never existed
(`2258277193_586949ec62.jpg.1`): like every missing or broken image it is passed over and reported, or with `strict` an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clipload.errors import DatasetError
from clipload.sources import SourceOptions
from clipload.sources.catalogue import Catalogue, Entry, Words

IMAGES_FLAG, CAPTIONS_FLAG = "--flickr-images-dir", "--flickr-captions-file"
PICK_STREAM = 3  # of random numbers, beside the Catalogue's
MISSING = "named in the captions but not in the folder"


@dataclass(frozen=True, slots=True)
class Captioned:
    """One image name, its captions in the order of their indices with their 1-based lines, and the first of these."""

    name: str
    line: int
    captions: tuple[str, ...]
    lines: tuple[int, ...]


def read_captions(file: Path) -> list[Captioned]:
    """The captions file, grouped by image and sorted by name. `DatasetError` names file and line of what is malformed.

    A `#` may be part of the image's name: the last one before the first tab separates. Empty lines are passed over.
    """
    grouped: dict[str, dict[int, tuple[int, str]]] = {}
    for number, line in enumerate(_lines(file), 1):
        if line.strip():
            name, index, caption = _parse(file, number, line)
            seen = grouped.setdefault(name, {})
            if index in seen:
                raise _malformed(file, number, f"{name}#{index} stands on line {seen[index][0]} already")
            seen[index] = (number, caption)
    if not grouped:
        remedy = "name the file with lines of the form name.jpg#0<TAB>caption"
        raise DatasetError(f"{file} has no captions", flag=CAPTIONS_FLAG, remedy=remedy)
    return [
        Captioned(name, min(lines), captions, lines)
        for name, seen in sorted(grouped.items())
        for lines, captions in [tuple(zip(*(seen[i] for i in sorted(seen))))]
    ]


def _lines(file: Path) -> Iterator[str]:
    """Lines decoded one by one, so that a bad byte can be placed. `_parse` strips the CR of a CRLF with the caption."""
    try:
        raw = file.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        remedy = "name the dataset's Flickr8k.token.txt"
        raise DatasetError(f"cannot read {file}: {error.strerror}", flag=CAPTIONS_FLAG, remedy=remedy) from error
    for number, line in enumerate(raw.split(b"\n"), 1):
        try:
            yield line.decode()
        except UnicodeDecodeError as error:
            raise _malformed(file, number, f"not UTF-8 (byte {error.start + 1}: {line[error.start]:#04x})") from error


def _parse(file: Path, number: int, line: str) -> tuple[str, int, str]:
    """`name.jpg#i<TAB>caption` → (name, i, caption)."""
    key, _, caption = line.partition("\t")
    name, _, index = key.rpartition("#")
    if not name or not re.fullmatch(r"[0-9]{1,9}", index) or not caption.strip():
        raise _malformed(file, number, f"{line[:60]!r} is not of the form name.jpg#0<TAB>caption")
    return name, int(index), caption.strip()


def _malformed(file: Path, number: int, what: str) -> DatasetError:
    remedy = "mend that line, or name the original Flickr8k.token.txt (a captions.txt with commas is another format)"
    return DatasetError(f"{file}, line {number}: {what}", flag=CAPTIONS_FLAG, remedy=remedy)


def _listing(folder: Path) -> frozenset[str]:
    """The names in the images folder: one directory read in place of a look-up for each image."""
    try:
        return frozenset(path.name for path in folder.iterdir())
    except OSError as error:
        remedy = "name the folder that holds Flickr8k's .jpg files (Flicker8k_Dataset)"
        raise DatasetError(f"cannot list {folder}: {error.strerror}", flag=IMAGES_FLAG, remedy=remedy) from error


class Flickr8k(Catalogue):
    """One Entry for each captioned image. In text mode no image is looked for, and the folder need not be given."""

    def __init__(self, options: SourceOptions) -> None:
        """Reads the captions and lists the folder; opens no image. Raises `DatasetError` when the two do not go together."""
        captions_file = _given(options.flickr_captions_file, CAPTIONS_FLAG, "name the dataset's Flickr8k.token.txt")
        images = read_captions(captions_file)
        folder, present = Path(), frozenset[str]()
        if options.mode != "text":
            folder = _given(options.flickr_images_dir, IMAGES_FLAG, "name the folder Flicker8k_Dataset")
            files = _listing(folder)
            present = files & {image.name for image in images}
            if not present:
                raise DatasetError(
                    f"none of the {len(images)} images that {captions_file} names is among the {len(files)} files of {folder}",
                    flag=IMAGES_FLAG,
                    remedy="is it the right folder? Name the one that holds the .jpg files themselves",
                )
        entries = [
            Entry(str(folder / image.name), image.line, text, folder / image.name if image.name in present else None)
            for image, text in zip(images, _picked(images, options), strict=True)
        ]
        super().__init__(options, entries, Words(IMAGES_FLAG, "no caption", MISSING, "name the folder Flicker8k_Dataset"))


def _picked(images: list[Captioned], options: SourceOptions) -> Iterator[str]:
    """One caption for each image; the pick belongs to the image, whatever the mode."""
    draws = np.random.Generator(np.random.PCG64(np.random.SeedSequence([options.seed, PICK_STREAM]))).random(len(images))
    for image, draw in zip(images, draws.tolist(), strict=True):
        yield image.captions[0 if options.flickr_caption_pick == "first" else int(draw * len(image.captions))]


def _given(path: Path | None, flag: str, remedy: str) -> Path:
    if path is None:
        raise DatasetError("is needed with --data-source flickr8k", flag=flag, remedy=remedy)
    return path
