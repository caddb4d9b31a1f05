"""Groups: an image with captions of its own and captions of other images, scored by cosine, in the older tool's format.

Law: a group's captions depend on the captions file, the seed and the group's number alone: not on how many groups there are,
nor on which images are missing here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from clipload.errors import DatasetError
from clipload.pacing import generator
from clipload.sources.flickr8k import Captioned

DISTRACTOR_STREAM = 107  # of random numbers

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Group:
    """`number` is the image's place among the sorted names of the captions file."""

    number: int
    name: str
    own: tuple[str, ...]
    distractors: tuple[str, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        return (*self.own, *self.distractors)


@dataclass(frozen=True, slots=True)
class Scored:
    """A group and its scores, own captions first."""

    group: Group
    scores: Scores

    @property
    def own(self) -> Scores:
        return self.scores[: len(self.group.own)]

    @property
    def distractors(self) -> Scores:
        return self.scores[len(self.group.own) :]

    @property
    def found(self) -> bool:
        """Whether every caption of its own scores higher than every distractor."""
        return not len(self.distractors) or bool(self.own.min() > self.distractors.max())


def first_group(captioned: Sequence[Captioned], start: int, pick: str) -> tuple[int, str]:
    """The number of the first group, and what is to be said of it. DatasetError for a start past the end."""
    names = [one.name for one in captioned]
    if pick in names:
        return names.index(pick), ""
    if start >= len(names):
        remedy = f"ensure a correct group start index: 0 to {len(names) - 1}, a place among the sorted image names"
        raise DatasetError(f"{start} is past the last of {len(names)} images", flag="--start-group", remedy=remedy)
    said = f"--pick-file: no image is called {pick!r}; starting at group {start}, {names[start]}" if pick else ""
    return start, said


def draw_group(captioned: Sequence[Captioned], number: int, size: int, distractors: int, seed: int) -> Group:
    """DatasetError when the other images have too few captions."""
    image = captioned[number]
    own = image.captions[:size]
    others = tuple(islice(_foreign(captioned, number, seed), distractors))
    if len(others) < distractors:
        what = f"{distractors} captions of other images than {image.name} are asked for, and there are {len(others)}"
        raise DatasetError(what, flag="--distractors", remedy="ask for fewer, or name the whole captions file")
    return Group(number, image.name, own, others)


def _foreign(captioned: Sequence[Captioned], number: int, seed: int) -> Iterator[str]:
    """Captions of other images in a seeded order, each text once, none that is the image's own."""
    ends = np.cumsum([len(one.captions) for one in captioned])
    seen = set(captioned[number].captions)
    for place in generator(seed, DISTRACTOR_STREAM, number).permutation(int(ends[-1])).tolist():
        image = int(np.searchsorted(ends, place, side="right"))
        text = captioned[image].captions[place - int(ends[image])]
        if text not in seen:
            seen.add(text)
            yield text


def dump_text(scored: Sequence[Scored]) -> str:
    """A header, `score<TAB>text` for each caption, an empty line; for each group."""
    lines = []
    for one in scored:
        lines.append(f"[GROUP {one.group.number}] image={one.group.name}")
        lines += [f"{score:.6f}\t{text}" for score, text in zip(one.scores.tolist(), one.group.texts)]
        lines.append("")
    return "".join(f"{line}\n" for line in lines)
