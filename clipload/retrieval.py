"""What can be said of vectors alone: norms, duplicates, and Recall@K both ways. Pure numpy.

Recall as in CLIP_benchmark: scores are cosines; a caption is found when its image is among the first K images for it, an image
when any of its captions is among the first K captions for it. A tie counts against the one that is looked for: vectors that
are all the same find nothing. Nothing is ranked unless every vector is finite and none is zero: NaN would come first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

KS = (1, 5, 10)
_ROWS = 1024  # of a block of scores: 1024 × 8000 float32 are 32 MB

Rows = NDArray[np.int64]
Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Sanity:
    """Of one set of vectors, rows by number. `groups`: the rows of each vector that occurs more than once."""

    count: int
    dim: int
    not_finite: Rows
    zero: Rows
    norm_min: float
    norm_mean: float
    norm_max: float
    groups: tuple[tuple[int, ...], ...]

    @property
    def good(self) -> bool:
        return not len(self.not_finite) and not len(self.zero) and self.count > 0

    @property
    def unit(self) -> bool:
        return self.good and abs(self.norm_min - 1) < 1e-3 and abs(self.norm_max - 1) < 1e-3


@dataclass(frozen=True, slots=True)
class Recall:
    """Shares of `texts` captions and `images` images, K → share."""

    texts: int
    images: int
    image_retrieval: dict[int, float]  # per caption
    text_retrieval: dict[int, float]  # per image


def norms(vectors: Floats) -> NDArray[np.float64]:
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)))


def bad_rows(vectors: Floats) -> Rows:
    """Rows that cannot be ranked or normalised: not finite, or zero."""
    lengths = norms(vectors)
    return np.flatnonzero(~np.isfinite(vectors).all(axis=1) | ~(lengths > 0))


def unit(vectors: Floats) -> NDArray[np.float32]:
    """Each row divided by its norm. ValueError when one has none."""
    if len(bad_rows(vectors)):
        raise ValueError("a vector that is zero or not finite has no direction")
    return np.asarray(vectors / norms(vectors)[:, None], np.float32)


def sanity(vectors: Floats) -> Sanity:
    """`vectors` [n, dim]. Norms are those of the finite rows (NaN when there is none)."""
    finite = np.isfinite(vectors).all(axis=1)
    lengths = norms(vectors[finite])
    lowest, mean, highest = (lengths.min(), lengths.mean(), lengths.max()) if len(lengths) else (np.nan,) * 3
    return Sanity(
        count=len(vectors),
        dim=vectors.shape[1],
        not_finite=np.flatnonzero(~finite),
        zero=np.flatnonzero(finite)[lengths == 0],
        norm_min=float(lowest),
        norm_mean=float(mean),
        norm_max=float(highest),
        groups=_groups(vectors),
    )


def _groups(vectors: Floats) -> tuple[tuple[int, ...], ...]:
    """Rows that are the same to the bit, in order of their first."""
    rows: dict[bytes, list[int]] = {}
    for number, vector in enumerate(vectors):
        rows.setdefault(vector.tobytes(), []).append(number)
    return tuple(tuple(group) for group in rows.values() if len(group) > 1)


def recall(texts: Floats, images: Floats, owner: Rows, ks: tuple[int, ...] = KS) -> Recall:
    """`owner[j]` is the row in `images` of text j's image; every image has a text. ValueError for vectors without direction."""
    texts, images = unit(texts), unit(images)
    above = np.empty(len(texts), np.int64)  # other images that are no worse than the caption's own
    best = np.full(len(images), -np.inf, np.float32)  # each image's best own caption
    for start, scores in _blocks(texts, images):
        mine = owner[start : start + len(scores)]
        own = scores[np.arange(len(scores)), mine]
        above[start : start + len(scores)] = (scores >= own[:, None]).sum(axis=1) - 1
        np.maximum.at(best, mine, own)
    foreign = np.zeros(len(images), np.int64)  # captions of other images that are no worse than the image's best own
    for start, scores in _blocks(texts, images):
        mine = owner[start : start + len(scores)]
        no_worse = scores >= best
        no_worse[np.arange(len(scores)), mine] = False
        foreign += no_worse.sum(axis=0)
    return Recall(
        texts=len(texts),
        images=len(images),
        image_retrieval={k: float((above < k).mean()) for k in ks},
        text_retrieval={k: float((foreign < k).mean()) for k in ks},
    )


def _blocks(texts: Floats, images: Floats) -> Any:
    """(first row, scores [rows, images])."""
    for start in range(0, len(texts), _ROWS):
        yield start, texts[start : start + _ROWS] @ images.T
