"""`--model`: a directory, the name of a model on the hub, or `clipload/random-clip-<size>` for random weights."""

from __future__ import annotations

import re
from pathlib import Path

from clipload.backends import BackendOptions
from clipload.backends.checkpoints import RANDOM, SIZES, Loaded, load_directory, load_random, transformers_quietly
from clipload.errors import CliploadError

FLAG = "--model"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_UNUSED = ["*.bin", "*.h5", "*.msgpack", "*.ot", "*.onnx", "*.onnx_data"]  # of other libraries, or the same weights again
_PROBE_S = 10.0


def load_model(options: BackendOptions) -> Loaded:
    """A directory is loaded without the network; a name from the hub, or from its cache when the hub is out of reach."""
    model = options.model
    if not model:
        remedy = f"name a directory, a model of the hub, or {RANDOM}tiny for a trial without a checkpoint"
        raise CliploadError("no model is named", flag=FLAG, remedy=remedy)
    if model.startswith(RANDOM):
        size = model.removeprefix(RANDOM)
        if size not in SIZES:
            raise CliploadError(f"there is no size {size!r}", flag=FLAG, remedy=f"use {RANDOM}{'|'.join(SIZES)}")
        return load_random(size, options.seed)
    directory = Path(model).expanduser()
    if directory.is_dir():
        return load_directory(directory)
    if directory.exists() or not _NAME.fullmatch(model):
        raise CliploadError(f"{model} is no directory", flag=FLAG, remedy="name the directory that holds config.json")
    return load_directory(_from_hub(model, options), model)


def _from_hub(name: str, options: BackendOptions) -> Path:
    """The directory of the hub's copy. The hub is asked once, and not six times as a download would."""
    transformers_quietly()
    from huggingface_hub import HfApi, snapshot_download

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
