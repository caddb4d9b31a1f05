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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, cast
from xml.etree import ElementTree

from clipload.backends.lowering import ACTIVATION
from clipload.backends.towers import image_features, padded, text_features
from clipload.errors import HostError

FLAG = "--openvino-cache"
TELEMETRY = "openvino_telemetry"
DIGESTS = "digests.json"
TOWERS = {"text": "text_model.", "image": "vision_model."}  # and where they lie in a CLIPModel
PRECISE = {"name": "precise", "version": "0"}  # an attribute of a layer in a Model's XML; its CPU plugin heeds it for bf16
_FORM = "3"  # of what is kept: another one is converted anew

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


def towers_for(model: Any, eos: int, arithmetic: str, lowered: list[str], cache: Path | None, say: Say) -> Towers:
    """Converted, or from `cache`, where they are kept by the digest of what is computed (`arithmetic`: the weights, and how)
    and of the versions of all that convert. What is `lowered` (modules of `model`) is marked in them."""
    if cache is None and not lowered:
        return convert(model, eos)
    if cache is None:  # a mark can be written into a file alone; what has been read stays mapped when that is gone
        towers = convert(model, eos)
        remedy = "name a folder with room for the converted model, or set TMPDIR"
        with _written("the temporary folder", remedy), tempfile.TemporaryDirectory(prefix="clip-") as folder:
            _save(towers, lowered, Path(folder))
            return _read(Path(folder))
    parts = (_FORM, arithmetic, *(f"{name} {version(name)}" for name in ("openvino", "torch", "transformers")))
    place = cache.expanduser() / f"clip-{hashlib.sha256(' '.join(parts).encode()).hexdigest()[:24]}"
    if place.is_dir():
        if _digests(place) == _told(place):
            return _read(place)
        say(f"{place} is not what was written there: converted anew")
    towers = convert(model, eos)
    with _written(str(cache), "name a folder that can be written, or leave it out"):
        _keep(towers, lowered, place)
    return _read(place) if lowered else towers


@contextmanager
def _written(where: str, remedy: str) -> Iterator[None]:
    """HostError for what a disk says no to; a Model that was written short is one that cannot be parsed."""
    try:
        yield
    except (OSError, ElementTree.ParseError) as error:
        what = f"cannot write to {where}: {getattr(error, 'strerror', None) or error}"
        raise HostError(what, flag=FLAG, remedy=remedy) from error


def mark(file: Path, lowered: list[str]) -> None:
    """Writes into a Model's XML that all but what came of these modules is computed in fp32, whatever it is compiled for:
    OpenVINO's own mark of what is sensitive to precision. ValueError when nothing came of one of them; an activation may have
    become part of something else."""
    tree = ElementTree.parse(file)
    layers = [(layer, layer.get("name", "")) for layer in tree.iterfind("layers/layer")]
    for path in lowered:
        if not path.endswith(f".{ACTIVATION}") and not any(f".{path}/" in name for _, name in layers):
            raise ValueError(f"nothing in {file.stem} comes of {path}")
    for layer, name in layers:
        if not any(f".{path}/" in name for path in lowered):
            marks = layer.find("rt_info")
            if marks is None:
                marks = ElementTree.Element("rt_info")
                layer.insert(0 if layer.find("data") is None else 1, marks)
            marks.append(ElementTree.Element("attribute", PRECISE))
    tree.write(file)


def _save(towers: Towers, lowered: list[str], folder: Path) -> None:
    for tower, model in zip(TOWERS, towers):
        library().save_model(model, folder / f"{tower}.xml", compress_to_fp16=False)
        if own := [path for path in lowered if path.startswith(TOWERS[tower])]:
            mark(folder / f"{tower}.xml", own)


def _read(folder: Path) -> Towers:
    return Towers(*(library().Core().read_model(folder / f"{tower}.xml") for tower in TOWERS))


def _keep(towers: Towers, lowered: list[str], place: Path) -> None:
    """Whole or not at all: written beside its place and renamed. Of two processes the first wins."""
    place.parent.mkdir(parents=True, exist_ok=True)
    begun = Path(tempfile.mkdtemp(prefix="begun-", dir=place.parent))
    try:
        _save(towers, lowered, begun)
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
