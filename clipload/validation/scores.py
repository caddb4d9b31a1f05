"""Groups through the server: one request for each (text, image) pair, as the older tool asked, but many at a time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from clipload.backends import Vectors
from clipload.backends.inquiry import Inquiry
from clipload.embedding.work import BROKEN, View
from clipload.errors import DatasetError
from clipload.retrieval import bad_rows, unit
from clipload.sources.flickr8k import IMAGES_FLAG, Captioned
from clipload.sources.listing import Named
from clipload.validation.doubts import doubts
from clipload.validation.groups import Group, Scored, draw_group, first_group
from clipload.validation.options import ValidationOptions
from clipload.validation.sets import as_reference
from clipload.values import Image, Item, Sample, Text

PAIR = "pair"


@dataclass(frozen=True, slots=True)
class Pictured:
    """A group and its image as it is sent."""

    group: Group
    image: Item


@dataclass(frozen=True, slots=True)
class Drawn:
    """`broken`: images that were to be in a group and cannot be read."""

    pictured: list[Pictured]
    broken: list[str]
    notes: list[str]


def draw(options: ValidationOptions, captioned: Sequence[Captioned], present: set[str], folder: Path) -> Drawn:
    """The groups from the first on, without those whose image is missing or broken. DatasetError when none is left."""
    start, said = first_group(captioned, options.value("start_group"), options.value("pick_file"))
    wanted = options.value("samples")
    drawn = Drawn([], [], [said] if said else [])
    for number in range(start, len(captioned)):
        one = captioned[number]
        if len(drawn.pictured) == wanted:
            break
        if one.name not in present:
            continue
        entry = Named(one.name, one.line, "image", folder / one.name)
        image = _read(entry, as_paths=options.as_paths)
        if isinstance(image, str):
            drawn.broken.append(f"{one.name} (line {one.line}): {image}")
            continue
        group = draw_group(captioned, number, options.value("group_size"), options.value("distractors"), options.seed)
        drawn.pictured.append(Pictured(group, image))
    if not drawn.pictured:
        what = f"no image from group {start} on can be read"
        raise DatasetError(what, flag=IMAGES_FLAG, remedy="confirm that folder and captions file go together")
    if len(drawn.pictured) < wanted:
        drawn.notes.append(f"{len(drawn.pictured)} of {wanted} groups: the dataset ends")
    return drawn


def _read(entry: Named, *, as_paths: bool) -> Item | str:
    """The image, decoded once; or why it cannot be."""
    try:
        item = entry.read()
        if isinstance(item, Image):
            with Pillow.open(BytesIO(item.data)) as picture:
                picture.load()
    except BROKEN as error:
        return f"cannot be read: {getattr(error, 'strerror', None) or error}"
    return as_reference(entry).read() if as_paths else item


def score(inquiry: Inquiry, pictured: Sequence[Pictured], view: View) -> tuple[list[Scored], list[str], list[str]]:
    """The groups with their cosines; or, when a vector is zero or not finite, no group and the pairs of such. And what the
    images' vectors give away."""
    pairs = [(one, text) for one in pictured for text in one.group.texts]
    samples = [Sample((Text(text), one.image)) for one, text in pairs]
    began = time.monotonic()

    def answered(count: int) -> None:
        view.advanced(PAIR, count, len(samples), count / max(1e-9, time.monotonic() - began))

    vectors = inquiry.ask(samples, answered)
    flat = vectors.reshape(-1, vectors.shape[2])
    if len(bad := bad_rows(flat)):
        places = sorted({int(row) // 2 for row in bad})
        return [], [f"{pairs[place][0].group.name} with {pairs[place][1]!r}" for place in places], []
    cosines = _cosines(vectors)
    ends = np.cumsum([len(one.group.texts) for one in pictured])
    scored = [Scored(one.group, part) for one, part in zip(pictured, np.split(cosines, ends[:-1]))]
    return scored, [], doubts(vectors[:, 1], [one.group.name for one, _ in pairs])


def _cosines(vectors: Vectors) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    texts, images = (unit(vectors[:, place]).astype(np.float64) for place in (0, 1))
    return np.asarray(np.einsum("ij,ij->i", texts, images))
