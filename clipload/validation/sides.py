"""Sides: whose vectors are compared. The server under validation, a model here, another server, or dumps of vectors."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from clipload import dumps
from clipload.backends import Backend, BackendOptions, Vectors, backend_for
from clipload.backends.remote import UNKNOWN, Remote
from clipload.dumps import Dump
from clipload.embedding import describe
from clipload.embedding.work import View
from clipload.errors import ArchiveError, CliploadError
from clipload.pacing import generator
from clipload.plan.schema import DEFAULT_MODEL
from clipload.sources.listing import Named
from clipload.sources.pictures import draw_in_order
from clipload.validation.options import ValidationOptions, is_dump, is_url
from clipload.validation.sets import Set, as_reference

ORDER_STREAM = 108  # of random numbers
FLAG = "--against"
_ASKED, _HERE = 256, 32  # Items at a time


class Side(Protocol):
    """`dtype` is one of ours or `unknown`, `title` says whose vectors they are."""

    @property
    def title(self) -> str: ...

    @property
    def dtype(self) -> str: ...

    def facts(self) -> dict[str, Any]:
        """What it says of itself; nothing, when that is nothing."""
        ...

    def has(self, whole: Set) -> list[int]:
        """The rows of the Items that it has vectors of."""
        ...

    def vectors(self, whole: Set, view: View) -> Vectors:
        """[Items, dim], as they come: not normalised, perhaps not finite."""
        ...

    def close(self) -> None: ...


class FromBackend:
    """A Backend's vectors."""

    def __init__(self, backend: Backend, word: str, batch: int, item: Callable[[Named], Named] = lambda entry: entry) -> None:
        self._backend, self._word, self._batch, self._item = backend, word, batch, item

    @property
    def title(self) -> str:
        facts = self._backend.facts()
        return f"{facts['server']} ({facts['model']}, {facts['dtype']})" if facts.get("server") else describe(facts)

    @property
    def dtype(self) -> str:
        return str(self._backend.facts().get("dtype", UNKNOWN))

    def facts(self) -> dict[str, Any]:
        return self._backend.facts()

    def has(self, whole: Set) -> list[int]:
        return list(range(len(whole.items)))

    def vectors(self, whole: Set, view: View) -> Vectors:
        return self.in_order(whole.items, range(len(whole.items)), view)

    def repeated(self, whole: Set, times: int, seed: int, view: View) -> list[Vectors]:
        """The answers to each of `times` rounds, which are asked in a seeded order, all rounds and kinds mixed."""
        count = len(whole.items)
        order = generator(seed, ORDER_STREAM).permutation(times * count)
        answers = self.in_order(whole.items, (order % count).tolist(), view)
        placed = np.empty_like(answers)
        placed[order] = answers
        return list(placed.reshape(times, count, -1))

    def in_order(self, items: Sequence[Named], order: Sequence[int], view: View) -> Vectors:
        prepared = draw_in_order(
            lambda row: self._backend.prepare(self._item(items[row]).read()), order, len(order), ahead=lambda: self._batch
        )
        began, found, done = time.monotonic(), [], 0
        while chunk := list(islice(prepared, self._batch)):
            found.append(self._backend.encode(chunk))
            done += len(chunk)
            view.advanced(self._word, done, len(order), done / max(1e-9, time.monotonic() - began))
        return np.concatenate(found)

    def close(self) -> None:
        self._backend.close()


class FromDumps:
    """Dumps of texts and of images, by the names in their side-cars; one without names has a row for each name of the set."""

    dtype: str

    def __init__(self, paths: Sequence[Path]) -> None:
        self._dumps = [dumps.read(path, FLAG) for path in paths]
        identities = self._identities = [dump.side_car.identity if dump.side_car else {} for dump in self._dumps]
        self.dtype = next((str(one["dtype"]) for one in identities if one.get("dtype")), UNKNOWN)
        models = dict.fromkeys(str(one.get("model") or "") for one in identities)
        self.title = f"{', '.join(map(str, paths))} ({self.dtype}, model {', '.join(models) or UNKNOWN})"
        kinds = [dump.side_car.kind for dump in self._dumps if dump.side_car]
        if len({dump.vectors.shape[1] for dump in self._dumps}) > 1 or len(set(kinds)) < len(kinds):
            what = f"{paths[0]} and {paths[1]} are not the texts and the images of one model"
            raise ArchiveError(what, flag=FLAG, remedy="name one dump of each kind, made together")

    def facts(self) -> dict[str, Any]:
        """Of the first one's making."""
        return next((dict(identity) for identity in self._identities if identity), {})

    def has(self, whole: Set) -> list[int]:
        return sorted({whole.rows[key] for key in self._found(whole)})

    def vectors(self, whole: Set, view: View) -> Vectors:  # noqa: ARG002
        found = self._found(whole)
        rows: dict[int, Any] = {}
        for key, vector in found.items():
            rows.setdefault(whole.rows[key], vector)
        return np.stack([rows[row] for row in range(len(whole.items))])

    def close(self) -> None:
        """Nothing is held."""

    def _found(self, whole: Set) -> dict[tuple[str, str], Any]:
        found = {}
        for dump in self._dumps:
            kind, names = _named(dump, whole)
            found.update({(kind, name): dump.vectors[row] for row, name in enumerate(names) if (kind, name) in whole.rows})
        if not found:
            what = f"{', '.join(str(dump.path) for dump in self._dumps)}: no name there is one of this dataset's"
            raise ArchiveError(what, flag=FLAG, remedy="name dumps of the same dataset")
        return found


def _named(dump: Dump, whole: Set) -> tuple[str, list[str]]:
    if dump.side_car is not None:
        return dump.side_car.kind, dump.side_car.names
    fits = [kind for kind in ("text", "image") if len(whole.names(kind)) == len(dump.vectors)]
    if len(fits) != 1:
        counts = " and ".join(f"{len(whole.names(kind))} {kind}s" for kind in ("text", "image"))
        what = f"{dump.path} has no names, and {len(dump.vectors)} vectors for {counts}"
        raise ArchiveError(what, flag=FLAG, remedy="name a dump with its side-car, or the dataset that it was made of")
    return fits[0], whole.names(fits[0])


def subject(options: ValidationOptions, view: View) -> FromBackend:
    """The server under validation. TargetError when it cannot be reached."""
    told = BackendOptions(target=options.plan, credentials=options.credentials, say=view.said)
    return FromBackend(Remote(told), "answer", _ASKED, as_reference if options.as_paths else lambda entry: entry)


def reference(options: ValidationOptions, view: View) -> Side:
    """What it is held against."""
    other, said = options.against[0], options.value("against_model")
    model = said or ("" if options.plan.model == DEFAULT_MODEL else options.plan.model)
    if is_dump(other):
        return FromDumps([Path(path).expanduser() for path in options.against])
    if is_url(other):
        plan = options.plan.replace(base_url=(other.rstrip("/"),), model=model or DEFAULT_MODEL)
        told = BackendOptions(target=plan, credentials=options.credentials, say=view.said)
        return FromBackend(Remote(told), "other answer", _ASKED, as_reference if options.as_paths else lambda entry: entry)
    given = {name: options.value(name) for name in ("device", "amp")}
    told = BackendOptions(model=model, kinds=options.kinds, cache=options.openvino_cache, say=view.said, **given)
    try:
        return FromBackend(backend_for(options.value("backend"), told), "local vector", _HERE)
    except CliploadError as error:
        if error.flag != "--model" or not (said or options.plan.api == "native"):
            raise
        raise type(error)(error.what, flag="--against-model", remedy=error.remedy) from error
