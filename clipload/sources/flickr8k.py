"""`flickr8k`: photographs and their captions, in the format of Hodosh, Young and Hockenmaier (2013).

A captions file has one `name.jpg#i<TAB>caption` for each line, i = 0…4. The stream visits the images in a seeded permutation
of their sorted names and gives one Sample for each. The real file names one image that never existed
(`2258277193_586949ec62.jpg.1`): like every missing or broken image it is passed over and reported, or with `strict` an error.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import UnidentifiedImageError

from clipload.errors import DatasetError
from clipload.sources import Skip, SourceOptions
from clipload.sources.pictures import MEDIA_TYPES, draw_in_order, encode_picture
from clipload.values import Image, Item, Sample, Text

IMAGES_FLAG, CAPTIONS_FLAG = "--flickr-images-dir", "--flickr-captions-file"
ORDER_STREAM, PICK_STREAM = 2, 3  # two independent streams of random numbers from one seed
# What Pillow raises for a file that is not the picture it says it is; anything else is our own mistake and must be seen.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, Pillow.DecompressionBombError)


@dataclass(frozen=True, slots=True)
class Captioned:
    """One image name, its captions in the order of their indices, and the 1-based line of the first one."""

    name: str
    line: int
    captions: tuple[str, ...]


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
        Captioned(name, min(n for n, _ in seen.values()), tuple(seen[i][1] for i in sorted(seen)))
        for name, seen in sorted(grouped.items())
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


class Flickr8k:
    """One Sample for each captioned image. In text mode no image is looked for, and the folder need not be given."""

    def __init__(self, options: SourceOptions) -> None:
        """Reads the captions and lists the folder; opens no image. Raises `DatasetError` when the two do not go together."""
        self.options = options
        self._skips: dict[Skip, None] = {}  # a dict keeps each once and in order: a second draw meets the same ones again
        self._captions_file = _given(options.flickr_captions_file, CAPTIONS_FLAG, "name the dataset's Flickr8k.token.txt")
        self._images = read_captions(self._captions_file)
        self._folder = Path()
        self._present = frozenset(image.name for image in self._images)
        if options.mode != "text":
            self._folder = _given(options.flickr_images_dir, IMAGES_FLAG, "name the folder Flicker8k_Dataset")
            files = _listing(self._folder)
            self._present &= files
            if not self._present:
                raise DatasetError(
                    f"none of the {len(self._images)} images that {self._captions_file} names is among the "
                    f"{len(files)} files of {self._folder}",
                    flag=IMAGES_FLAG,
                    remedy="is it the right folder? Name the one that holds the .jpg files themselves",
                )

    def __repr__(self) -> str:
        return f"Flickr8k({self.options.mode}, {self.available} of {len(self._images)} images, seed {self.options.seed})"

    @property
    def available(self) -> int | None:
        """Images that are both captioned and present; one that turns out broken when drawn is one fewer."""
        return len(self._present)

    @property
    def skipped(self) -> list[Skip]:
        return list(self._skips)

    def draw(self, count: int) -> Iterator[Sample]:
        order = self._random(ORDER_STREAM).permutation(len(self._images))
        texts = self._texts(order)
        if self.options.mode == "text":
            return (Sample((text,)) for text in islice(texts, max(0, count)))
        inputs = zip((self._images[i] for i in order), texts, strict=True)
        return draw_in_order(lambda pair: self._sample(*pair), inputs, count, threads=self.options.threads, on_skip=self._skip)

    def _random(self, stream: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence([self.options.seed, stream])))

    def _texts(self, order: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Iterator[Text]:
        """One caption for each image, in stream order; the pick belongs to the image, whatever the mode."""
        picks = self._random(PICK_STREAM).random(len(self._images))
        for i in order:
            captions = self._images[i].captions
            yield Text(captions[0 if self.options.flickr_caption_pick == "first" else int(picks[i] * len(captions))])

    def _sample(self, captioned: Captioned, text: Text) -> Sample | Skip:
        file = self._folder / captioned.name
        if captioned.name not in self._present:
            return Skip(str(file), captioned.line, "named in the captions but not in the folder")
        try:
            image = _read_image(file, self.options.image_format)
        except UnidentifiedImageError:
            return Skip(str(file), captioned.line, "not a readable image: its format is not known")
        except _BROKEN as error:
            return Skip(str(file), captioned.line, f"not a readable image: {error}")
        items: tuple[Item, ...] = (image,) if self.options.mode == "image" else (text, image)
        return Sample(items)

    def _skip(self, skip: Skip) -> None:
        if self.options.strict:
            raise DatasetError(
                f"{skip} (captions: {self._captions_file})",
                flag=IMAGES_FLAG,
                remedy="mend or remove it, or go on without it: drop --strict",
            )
        self._skips[skip] = None


def _given(path: Path | None, flag: str, remedy: str) -> Path:
    if path is None:
        raise DatasetError("is needed with --data-source flickr8k", flag=flag, remedy=remedy)
    return path


def _read_image(file: Path, image_format: str) -> Image:
    """The file as an Item of `image_format`: a JPEG's own bytes when JPEG is asked for, else decoded (EXIF rotation is not
    applied: the pixels are sent as they lie in the file) and encoded again.
    Either way the whole picture has been decoded once: a file that is cut short is found here."""
    data = file.read_bytes()
    with Pillow.open(BytesIO(data)) as picture:
        if image_format == "jpeg" and picture.format == "JPEG":
            picture.load()
            return Image(data, MEDIA_TYPES["jpeg"])
        return encode_picture(picture.convert("RGB"), image_format)
