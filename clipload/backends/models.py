"""`--model`: a directory, the name of a model on the hub, or `clipload/random-clip-<size>` for random weights.

Found first and loaded later: a wrong name is refused before torch is imported, which takes seconds.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from clipload.backends import BackendOptions
from clipload.backends.checkpoints import RANDOM, SIZES, Loaded, check_config, load_directory, load_random
from clipload.errors import CliploadError

FLAG = "--model"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_UNUSED = ["*.bin", "*.h5", "*.msgpack", "*.ot", "*.onnx", "*.onnx_data"]  # of other libraries, or the same weights again
_PROBE_S = 10.0


@dataclass(frozen=True, slots=True)
class Found:
    """A directory with CLIP's config.json, or a size of random weights. `name` is what it was asked for as."""

    name: str
    directory: Path | None
    size: str = ""
    seed: int = 0

    def load(self) -> Loaded:
        return load_random(self.size, self.seed) if self.directory is None else load_directory(self.directory, self.name)


def find_model(options: BackendOptions) -> Found:
    """A directory never needs the network; a name is the hub's, or its cache's when the hub is out of reach."""
    model = options.model
    if not model:
        remedy = f"name a directory, a model of the hub, or {RANDOM}tiny for a trial without a checkpoint"
        raise CliploadError("no model is named", flag=FLAG, remedy=remedy)
    if model.startswith(RANDOM):
        size = model.removeprefix(RANDOM)
        if size not in SIZES:
            raise CliploadError(f"there is no size {size!r}", flag=FLAG, remedy=f"use {RANDOM}{'|'.join(SIZES)}")
        return Found(model, None, size, options.seed)
    directory = Path(model).expanduser()
    if directory.is_dir():
        os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before the libraries that read it once
    elif directory.exists() or not _NAME.fullmatch(model):
        raise CliploadError(f"{model} is no directory", flag=FLAG, remedy="name the directory that holds config.json")
    else:
        directory = _from_hub(model, options)
    check_config(directory)
    return Found(model, directory)


def _from_hub(name: str, options: BackendOptions) -> Path:
    """The directory of the hub's copy. The hub is asked once, and not six times as a download would."""
    try:
        from huggingface_hub import HfApi, snapshot_download
    except ImportError as error:
        raise CliploadError(
            f"a model of the hub needs transformers: {error}", flag=FLAG, remedy="pip install '.[local]'"
        ) from None
    try:
        files = HfApi().model_info(name, timeout=_PROBE_S).siblings or []
        whole = any(file.rfilename.endswith(".safetensors") for file in files)
        return Path(snapshot_download(name, ignore_patterns=_UNUSED if whole else _UNUSED[1:]))
    except Exception as error:  # noqa: BLE001  - whatever library the hub's client speaks HTTP with; each version has its own
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
    try:
        directory = Path(snapshot_download(name, local_files_only=True))
    except (OSError, ValueError):
        what = f"{name!r} is no directory here, and the hub does not give it: {why}"
        remedy = "name a directory that holds the model, or mind the spelling and the network"
        raise CliploadError(what, flag=FLAG, remedy=remedy) from None
    options.say(f"the hub does not answer ({why}); {name} comes from its cache")
    return directory
