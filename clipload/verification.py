"""The verification of dumps: are the vectors sane, and do captions and images find each other.

Names pair captions with images. Dumps without names (an older tool's) are paired by number: so many captions for each image,
in the order of the images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clipload import dumps
from clipload.dumps import Dump
from clipload.embedding.options import DUMPS, EmbeddingOptions
from clipload.errors import EXIT_MISSED, EXIT_OK
from clipload.retrieval import Recall, Rows, Sanity, recall, sanity
from clipload.sources.listing import owner_of


@dataclass(frozen=True, slots=True)
class Examined:
    """One dump and what can be said of it alone."""

    kind: str
    dump: Dump
    sanity: Sanity

    def name(self, row: int) -> str:
        return self.dump.names[row] if self.dump.names else f"row {row}"


@dataclass(frozen=True, slots=True)
class Verification:
    """`recall` is None when `why_not` says why. `notes`: how they were paired, and what was left out."""

    examined: list[Examined]
    recall: Recall | None
    why_not: str
    notes: list[str]

    @property
    def exit_code(self) -> int:
        return EXIT_OK if all(one.sanity.good for one in self.examined) else EXIT_MISSED


def verify(options: EmbeddingOptions) -> Verification:
    """Of the dumps that are named. ArchiveError when one cannot be read."""
    examined = []
    for kind in options.kinds:
        path = options.dump(kind)
        if path is not None:
            dump = dumps.read(path, DUMPS[kind])
            examined.append(Examined(kind, dump, sanity(dump.vectors)))
    return ranked(examined, options.captions_per_image)


def ranked(examined: list[Examined], captions_per_image: int | None) -> Verification:
    """Recall, of dumps of texts and of images, in this order; `captions_per_image` for such as have no names."""
    if len(examined) < 2:
        return Verification(examined, None, "it takes a dump of texts and one of images", [])
    if not all(one.sanity.good for one in examined):
        return Verification(examined, None, "vectors that are zero or not finite cannot be ranked", [])
    texts, images = (one.dump for one in examined)
    if texts.vectors.shape[1] != images.vectors.shape[1]:
        lengths = f"{texts.vectors.shape[1]} and {images.vectors.shape[1]}"
        return Verification(examined, None, f"texts and images have vectors of {lengths} numbers: not one model's", [])
    owner, notes = _owners(texts, images, captions_per_image)
    if not (owner >= 0).any():
        return Verification(examined, None, "no caption belongs to an image, by their names or numbers", notes)
    captions = np.flatnonzero(owner >= 0)
    owned, compact = np.unique(owner[captions], return_inverse=True)
    if len(captions) < len(owner) or len(owned) < len(images.vectors):
        lost = (len(owner) - len(captions), len(images.vectors) - len(owned))
        notes.append(f"left out: {lost[0]} captions without an image, {lost[1]} images without a caption")
    if texts.side_car and images.side_car:
        notes += _differences(texts.side_car.identity, images.side_car.identity)
    found = recall(texts.vectors[captions], images.vectors[owned], np.asarray(compact, np.int64))
    return Verification(examined, found, "", notes)


def _owners(texts: Dump, images: Dump, captions_per_image: int | None) -> tuple[Rows, list[str]]:
    """For each caption the row of its image, -1 when there is none, and how that was found."""
    if texts.names is not None and images.names is not None:
        rows = {name: row for row, name in enumerate(images.names)}
        return np.array([rows.get(owner_of(name), -1) for name in texts.names], np.int64), []
    count, among = len(texts.vectors), len(images.vectors)
    each = captions_per_image or (count // among if count % among == 0 else 0)
    if not each or each * among != count:
        what = f"{count} captions are not {captions_per_image or 'a whole number'} for each of {among} images"
        return np.full(count, -1, np.int64), [f"no names, and {what}"]
    owner = np.arange(count, dtype=np.int64) // each
    return owner, [f"no names: captions {each} by {each} belong to the images in order"]


def _differences(texts: dict[str, object], images: dict[str, object]) -> list[str]:
    """What would make scores meaningless, or slightly other: the two dumps are not of one model, or not of one dtype."""
    names = ("model", "weights", "backend", "dtype")
    return [
        f"the dumps differ in {name}: {texts.get(name)} and {images.get(name)}"
        for name in names
        if texts.get(name) != images.get(name)
    ]
