"""A whole set through the server: whole-set retrieval, and parity with another side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clipload import dumps
from clipload.backends import Vectors
from clipload.dumps import Dump, SideCar
from clipload.embedding.work import View
from clipload.errors import ArchiveError, CliploadError
from clipload.retrieval import bad_rows, sanity
from clipload.validation.options import AUTO, ValidationOptions, is_dump
from clipload.validation.pairs import Pairs
from clipload.validation.parity import LIMITS, Compared, compare, limit_for, worst_of
from clipload.validation.sets import Set
from clipload.validation.sides import FLAG, FromBackend, Side
from clipload.verification import Examined, Verification, ranked

FROM_DUMPS = "--from-dumps"


@dataclass(frozen=True, slots=True)
class Parity:
    """`names`, `compared` and `pairs` are of the Items of `kinds`, in one order. `dtypes`: the server's and the other side's;
    `facts`: what the other side says of itself, its backend and dtype among it."""

    names: list[str]
    kinds: list[str]
    compared: Compared
    limit: float
    dtypes: tuple[str, str]
    repeat: int
    against: str
    pairs: Pairs
    facts: dict[str, Any]

    @property
    def failed(self) -> list[int]:
        return np.flatnonzero(self.compared.failed(self.limit)).tolist()

    def worst(self, count: int) -> list[int]:
        """Rows: those that stray first, then by distance."""
        key = self.compared.distance + 4.0 * self.compared.strays()
        rows: list[int] = np.argsort(-key, kind="stable")[:count].tolist()
        return rows

    @property
    def notes(self) -> list[str]:
        found = [
            f"nothing says the dtype of {whose}; for bf16 or int8 say {remedy}, which allows {LIMITS['bf16']:g}"
            for whose, dtype, remedy in zip(("the server", self.against), self.dtypes, ("--dtype", "--limit"))
            if dtype not in LIMITS
        ]
        if len(self.failed) == len(self.names) > 1:
            found.append("every Item differs: are these the weights of one model, and the same dataset?")
        return found


@dataclass(frozen=True, slots=True)
class Rejected:
    """Items whose vectors are zero or not finite: nothing is ranked or compared."""

    whose: str
    names: list[str]


def held_against(
    options: ValidationOptions, whole: Set, answers: Sequence[Vectors], server: FromBackend, other: Side, view: View
) -> Parity | Rejected:
    """CliploadError when the two sides cannot be of one model."""
    theirs = other.vectors(whole, view)
    if theirs.shape[1] != answers[0].shape[1]:
        what = f"{other.title} has vectors of {theirs.shape[1]} numbers, the server's have {answers[0].shape[1]}"
        wrong = ArchiveError if is_dump(options.against[0]) else CliploadError
        raise wrong(f"{what}: another model", flag=FLAG, remedy="hold it against the model that the server serves")
    if len(bad := bad_rows(theirs)):
        return Rejected(other.title, [whole.items[row].name for row in bad])
    dtype = options.value("dtype")
    dtypes = (server.dtype if dtype == AUTO else dtype, other.dtype)
    limit = options.limit if options.limit is not None else limit_for(*dtypes)
    compared = worst_of([compare(found, theirs, limit) for found in answers])
    return Parity(
        names=[item.name for item in whole.items],
        kinds=[item.kind for item in whole.items],
        compared=compared,
        limit=limit,
        dtypes=dtypes,
        repeat=len(answers),
        against=other.title,
        pairs=Pairs.of(whole.items, answers, compared.answer, theirs),
        facts=other.facts(),
    )


def retrieval(whole: Set, vectors: Vectors) -> Verification:
    """Of all captions and images by their names, those with the same Item under each of its names."""
    return ranked([_examined(whole, kind, vectors) for kind in ("text", "image")], None)


def _examined(whole: Set, kind: str, vectors: Vectors) -> Examined:
    names = whole.names(kind)
    found = vectors[[whole.rows[kind, name] for name in names]]
    side_car = SideCar(
        kind=kind, count=len(names), dim=found.shape[1], normalized=False, checksum="", identity={}, facts={}, names=names
    )
    return Examined(kind, Dump(Path("server"), found, side_car), sanity(found))


def from_dumps(options: ValidationOptions) -> Verification:
    """Retrieval from dumps of `clipload embed`. ArchiveError when they are not of one model, or not texts and images."""
    texts, images = (dumps.read(path.expanduser(), FROM_DUMPS) for path in options.from_dumps)
    for dump, kind in ((texts, "text"), (images, "image")):
        if dump.side_car is not None and dump.side_car.kind != kind:
            remedy = "name the texts', then the images'"
            raise ArchiveError(f"{dump.path} holds {dump.side_car.kind} vectors", flag=FROM_DUMPS, remedy=remedy)
    of = [dump.side_car.identity.get("weights") if dump.side_car else None for dump in (texts, images)]
    dims = [dump.vectors.shape[1] for dump in (texts, images)]
    if dims[0] != dims[1] or (None not in of and of[0] != of[1]):
        what = f"{texts.path} ({dims[0]} numbers each) and {images.path} ({dims[1]}) are of different models"
        raise ArchiveError(what, flag=FROM_DUMPS, remedy="embed both with one model")
    examined = [Examined(kind, dump, sanity(dump.vectors)) for kind, dump in (("text", texts), ("image", images))]
    return ranked(examined, options.captions_per_image)
