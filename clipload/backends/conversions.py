"""CLIP's towers converted for OpenVINO, directly from transformers' model, and conversions kept on the disk.

A mere `import openvino` reports to its maker over the network and writes into the home directory, unless its package for that
cannot be imported: so here it cannot. `save_model` would halve the weights' precision unless told not to.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, cast

from clipload.backends.towers import image_features, padded, text_features
from clipload.errors import HostError

FLAG = "--openvino-cache"
TELEMETRY = "openvino_telemetry"
DIGESTS = "digests.json"
TOWERS = ("text", "image")
_FORM = "2"  # of what is kept: another one is converted anew

Say = Callable[[str], None]


class Towers(NamedTuple):
    """Two of openvino's Models: (ids, mask) → [n, dim] and (pixels) → [n, dim], whatever n and the length of the texts."""

    text: Any
    image: Any


def library() -> Any:
    """openvino, which reports nothing to anybody."""
    cast(dict[str, Any], sys.modules).setdefault(TELEMETRY, None)  # an ImportError, to which openvino has an answer
    return import_module("openvino")


def convert(model: Any, eos: int) -> Towers:
    """Traced with a batch of two texts, one of them padded, and of two images; the sizes of both stay open."""
    import torch

    class Tower(torch.nn.Module):  # type: ignore[misc]  # to mypy torch is Any
        def __init__(self) -> None:
            super().__init__()
            self.model = model

    class Texts(Tower):
        def forward(self, ids: Any, mask: Any) -> Any:
            return text_features(self.model, ids, mask)

    class Images(Tower):
        def forward(self, pixels: Any) -> Any:
            return image_features(self.model, pixels)

    openvino = library()
    side = model.config.vision_config.image_size
    with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer's, of branches on shapes: the check against torch sees to those
        text = openvino.convert_model(Texts(), example_input=padded([[1, 2, 3, 4, eos], [1, 2, eos]], eos))
        image = openvino.convert_model(Images(), example_input=(torch.zeros(2, 3, side, side),))
    return Towers(text, image)


def towers_for(model: Any, eos: int, arithmetic: str, cache: Path | None, say: Say) -> Towers:
    """Converted, or from `cache`, where they are kept by the digest of what is computed (`arithmetic`: the weights, and how)
    and of the versions of all that convert."""
    if cache is None:
        return convert(model, eos)
    parts = (_FORM, arithmetic, *(f"{name} {version(name)}" for name in ("openvino", "torch", "transformers")))
    place = cache.expanduser() / f"clip-{hashlib.sha256(' '.join(parts).encode()).hexdigest()[:24]}"
    if place.is_dir():
        if _digests(place) == _told(place):
            return Towers(*(library().Core().read_model(place / f"{tower}.xml") for tower in TOWERS))
        say(f"{place} is not what was written there: converted anew")
    towers = convert(model, eos)
    try:
        _keep(towers, place)
    except OSError as error:
        what = f"cannot write to {cache}: {error.strerror or error}"
        raise HostError(what, flag=FLAG, remedy="name a folder that can be written, or leave it out") from error
    return towers


def _keep(towers: Towers, place: Path) -> None:
    """Whole or not at all: written beside its place and renamed. Of two processes the first wins."""
    place.parent.mkdir(parents=True, exist_ok=True)
    begun = Path(tempfile.mkdtemp(prefix="begun-", dir=place.parent))
    try:
        for tower, model in zip(TOWERS, towers):
            library().save_model(model, begun / f"{tower}.xml", compress_to_fp16=False)
        (begun / DIGESTS).write_text(json.dumps(_digests(begun)), encoding="utf-8")
        if place.is_dir() and _digests(place) != _told(place):
            shutil.rmtree(place)
        if not place.is_dir():
            begun.rename(place)
    finally:
        shutil.rmtree(begun, ignore_errors=True)


def _digests(place: Path) -> dict[str, str]:
    """File → SHA-256."""
    found = {}
    for file in sorted(place.glob("*.xml")) + sorted(place.glob("*.bin")):
        with file.open("rb") as content:
            found[file.name] = hashlib.file_digest(content, "sha256").hexdigest()
    return found


def _told(place: Path) -> Any:
    try:
        return json.loads((place / DIGESTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
