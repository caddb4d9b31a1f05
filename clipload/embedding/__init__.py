"""Embedding: a listing through a Backend into dumps, one for each kind of Item; a killed one goes on where it was."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from clipload import dumps
from clipload.backends import backend_for
from clipload.backends.auto import AUTO, CHOICES
from clipload.dumps.partial import begun_identity
from clipload.embedding.options import DUMPS, EmbeddingOptions
from clipload.embedding.work import Part, View, Work
from clipload.errors import DatasetError
from clipload.sources.flickr8k import IMAGES_FLAG
from clipload.sources.listing import Listed, listing_for

__all__ = ["Embedding", "Part", "View", "describe", "embed"]


@dataclass(frozen=True, slots=True)
class Embedding:
    """`missing`: what the dataset names but does not hold."""

    parts: list[Part]
    facts: dict[str, Any]
    missing: list[str]


def embed(options: EmbeddingOptions, view: View, clock: Callable[[], float] = time.monotonic) -> Embedding:
    """Embeds, dumps, and returns what was done. All that can be refused is refused before the model is loaded."""
    listing = listing_for(options.listing())
    missing = [str(skip) for skip in listing.skipped]
    if missing and options.strict:
        raise DatasetError(missing[0], flag=IMAGES_FLAG, remedy="mend it, or go on without it: drop --strict")
    wanted: dict[str, Listed] = {"text": listing.texts, "image": listing.images}
    for kind in options.kinds:
        if not len(wanted[kind]):
            raise DatasetError(f"there is no {kind} to embed", flag="--modality", remedy="use another modality or dataset")
        if (path := options.dump(kind)) is not None:
            dumps.format_of(path, DUMPS[kind])
    name, told = options.for_backend(view.said)
    if name == AUTO and (begun := begun_with(options)):
        view.said(f"--backend auto takes {begun}: an earlier attempt did")
        name = begun
    backend = backend_for(name, told)
    try:
        view.said(describe(backend.facts()))
        parts = [Work(options, backend, view, clock, kind, wanted[kind]).done() for kind in options.kinds]
        return Embedding(parts, backend.facts(), missing)
    finally:
        backend.close()


def begun_with(options: EmbeddingOptions) -> str:
    """Which of the choices of `auto` the dumps that are there, or in the making, were made with: a trial may end otherwise the
    next time, and the vectors of one dump are of one backend. "" when there is none, or when it is to be replaced."""
    for kind, path in ((kind, options.dump(kind)) for kind in options.kinds):
        if path is None or options.overwrite:
            continue
        identity = begun_identity(path.with_name(f"{path.name}.part"))
        if identity is None and path.exists() and (side_car := dumps.read_side_car(path, DUMPS[kind])) is not None:
            identity = side_car.identity
        if identity is not None and identity.get("backend") in CHOICES:
            return str(identity["backend"])
    return ""


def describe(facts: Mapping[str, Any]) -> str:
    """The effective backend, device, dtype and instruction set, in a line."""
    versions = " ".join(f"{name} {version}" for name, version in dict(facts.get("versions", {})).items())
    threads = f", {facts['threads']} threads" if facts.get("threads") else ""
    where = facts.get("device") or facts.get("server")
    words = [f"backend {facts['backend']}", versions and f"({versions})", where and f"on {where}"]
    isa = f", {facts['isa']}" if facts.get("isa") else ""
    return " ".join(filter(None, words)) + f", {facts['dtype']}{isa}{threads}" + (", compiled" if facts.get("compiled") else "")
