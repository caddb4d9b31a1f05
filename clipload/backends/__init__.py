"""Backends: Items to vectors, one file each, interchangeable behind `encode`.

| backend | vectors |
|---|---|
| `torch` (also `clip`) | a CLIP model's, computed here by transformers |
| `ipex` | the same under Intel's extension, where its version fits torch's; else plain torch, and it says so |
| `openvino` | the torch backend's model, converted for OpenVINO: about twice as fast on a CPU |
| `auto` | of `torch` and `openvino` the faster sound one here |
| `remote` | a server's, asked as a load asks it |

A class with `encode` is a Backend; the rest has defaults. To add one write a file here and a line in `BACKENDS`, or install a
package with an entry point of the group `clipload.backends`: `name = module:Class`. The class is called with `BackendOptions`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from clipload.credentials import Credentials
from clipload.errors import CliploadError
from clipload.plan import Plan
from clipload.values import Image, Item

Vectors = NDArray[np.float32]
Say = Callable[[str], None]

GROUP = "clipload.backends"
PARITY = "parity"  # of --amp: bf16 in as much as leaves the vectors those of fp32
KINDS = ("text", "image")  # of Items, and of the towers that encode them
DEVICE = re.compile(r"cpu|auto|cuda(:\d{1,3})?")
BACKENDS = {
    "torch": "clipload.backends.torch_clip:make",
    "clip": "clipload.backends.torch_clip:make",
    "ipex": "clipload.backends.ipex:make",
    "openvino": "clipload.backends.openvino:make",
    "auto": "clipload.backends.auto:make",
    "remote": "clipload.backends.remote:make",
}


def _silence(sentence: str) -> None:
    """Nobody listens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendOptions:
    """All that a Backend may depend on; what it has no use for, it ignores. `say` is told what differs from what was asked.

    `model` is a directory or a name. `threads` None: as many as the library likes. `must_ipex`: IPEX or an error. `target`: the
    server of a Backend that asks one, and how it is asked; None: what a Plan says by default. `cache`: where OpenVINO's
    conversions are kept. `kinds`: of Items that it will be given, as far as that is known; `--amp parity` tries those alone.
    """

    model: str = ""
    device: str = "cpu"
    amp: str = "off"
    amx: str = "auto"
    must_ipex: bool = False
    compiled: bool = False
    kinds: tuple[str, ...] = KINDS
    threads: int | None = None
    seed: int = 0
    force: bool = False
    cache: Path | None = None
    target: Plan | None = None
    credentials: Credentials = field(default=Credentials(), compare=False)
    say: Say = field(default=_silence, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Prepared:
    """An Item made ready for `encode`: ids, pixels, or the Item itself. `cut`: tokens beyond the model's context, lost."""

    content: Any
    cut: int = 0


class Backend(Protocol):
    """Items to vectors. Law: a vector depends on its Item alone, not on the batch (to the rounding of the dtype)."""

    def encode(self, items: Sequence[Item | Prepared]) -> Vectors:
        """Float32 [n, dim], row i for item i, not normalised. MemoryError when the batch is too large for the device."""
        ...

    def prepare(self, item: Item) -> Prepared:
        """What can be done ahead, in any thread. ValueError or OSError for an image that cannot be read."""
        ...

    def facts(self) -> dict[str, Any]:
        """What decides the vectors (backend, model, weights, device, dtype, isa) and what else ran (versions, threads)."""
        ...

    def close(self) -> None:
        """Gives back what it holds."""
        ...


class Bare:
    """A Backend around an object that may have nothing but `encode`; a picture is decoded once, so that a bad one is found."""

    def __init__(self, name: str, encoder: Any) -> None:
        self._name, self._encoder = name, encoder

    def encode(self, items: Sequence[Item | Prepared]) -> Vectors:
        given = [item.content if isinstance(item, Prepared) else item for item in items]
        return checked(self._encoder.encode(given), len(given), self._name)

    def prepare(self, item: Item) -> Prepared:
        if hasattr(self._encoder, "prepare"):
            return cast(Prepared, self._encoder.prepare(item))
        if isinstance(item, Image):
            with Pillow.open(BytesIO(item.data)) as picture:
                picture.load()
        return Prepared(item)

    def facts(self) -> dict[str, Any]:
        facts = self._encoder.facts() if hasattr(self._encoder, "facts") else {}
        return {"backend": self._name, "dtype": "fp32"} | dict(facts)

    def close(self) -> None:
        if hasattr(self._encoder, "close"):
            self._encoder.close()


def checked(vectors: Any, count: int, name: str) -> Vectors:
    """The vectors, if they are float32 [count, dim]; CliploadError says what they are instead."""
    shape, dtype = getattr(vectors, "shape", None), getattr(vectors, "dtype", type(vectors).__name__)
    if not isinstance(vectors, np.ndarray) or vectors.ndim != 2 or len(vectors) != count or vectors.dtype != np.float32:
        what = f"{name} gave {dtype} of shape {shape} for {count} Items, not float32 [{count}, dim]"
        raise CliploadError(what, flag="--backend", remedy="mend its encode, or use --backend torch")
    return vectors


def backend_for(name: str, options: BackendOptions) -> Backend:
    """The Backend of that name, ready to encode; imported only now. Ours win over entry points of the same name."""
    if name in BACKENDS:
        module, _, made = BACKENDS[name].partition(":")
        return cast(Callable[[BackendOptions], Backend], getattr(import_module(module), made))(options)
    found = {point.name: point for point in entry_points(group=GROUP)}
    if name not in found:
        known = [*BACKENDS, *(other for other in found if other not in BACKENDS)]
        close = difflib.get_close_matches(name, known, 1)
        remedy = f"did you mean {close[0]!r}?" if close else f"use {', '.join(known)}, or install a package that has it"
        raise CliploadError(f"there is no backend {name!r}", flag="--backend", remedy=remedy)
    encoder = _loaded(found[name])(options)
    if not callable(getattr(encoder, "encode", None)):
        raise CliploadError(f"{found[name].value} has no method encode", flag="--backend", remedy="mend that package")
    return Bare(name, encoder)


def _loaded(point: EntryPoint) -> Callable[[BackendOptions], Any]:
    try:
        return cast(Callable[[BackendOptions], Any], point.load())
    except (ImportError, AttributeError) as error:
        what = f"{point.value}, which an installed package offers as {point.name!r}, cannot be imported: {error}"
        raise CliploadError(what, flag="--backend", remedy="mend or remove that package") from error
