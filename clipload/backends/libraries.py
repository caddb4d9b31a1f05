"""The libraries of a local model: which are missing, too old or broken here, and the command that mends it.

Versions are read off the metadata, so that nothing is imported to know. The least ones are those of pyproject.toml.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

from clipload.errors import CliploadError

FLAG = "--engine clip, --backend torch"
LEAST = {"torch": (2, 6), "transformers": (4, 57)}
LOCAL = "pip install '.[local]'"
CPU_INDEX = "--index-url https://download.pytorch.org/whl/cpu"
TORCH = f"pip install 'torch>=2.6' {CPU_INDEX} (for a GPU: pip install 'torch>=2.6')"
OTHERS = ("torchvision", "torchaudio")  # of another torch, these break the import of transformers; clipload needs neither


class Lack(NamedTuple):
    """What is wrong, and the remedy."""

    what: str
    remedy: str


def installed(name: str) -> str:
    """Its version, "" when it is not there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def lack() -> Lack | None:
    """The first that is missing or too old; None when both are there."""
    for name, least in LEAST.items():
        found = installed(name)
        if found and tuple(int(part) for part in found.split(".")[:2] if part.isdecimal()) >= least:
            continue
        what = f"{name} {found} is older than {'.'.join(map(str, least))}" if found else f"{name} is not installed"
        return Lack(what, f"{TORCH}, then {LOCAL}" if name == "torch" else LOCAL)
    return None


def transformers_quietly() -> Any:
    """The library, silent. CliploadError with the remedy when it, or torch, is missing, too old or cannot be imported."""
    found = lack()
    try:
        if found is None:
            import torch  # noqa: F401  - transformers would import, but be of no use
            import transformers
            from transformers import CLIPModel  # noqa: F401  - a broken torchvision shows here
    except (ImportError, RuntimeError, OSError, ValueError) as error:  # the last two: CUDA's libraries are not there
        found = broken(error)
    if found is not None:
        what = f"a CLIP model needs torch and transformers: {found.what}"
        raise CliploadError(what, flag=FLAG, remedy=found.remedy) from None
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers


def broken(error: Exception) -> Lack:
    """Of what is installed and cannot be imported."""
    why = (str(error).strip() or type(error).__name__).splitlines()[0]
    versions = {name: found for name in ("torch", "transformers", *OTHERS) if (found := installed(name))}
    what = f"{why} ({', '.join(f'{name} {number}' for name, number in versions.items())})"
    guests = [name for name in OTHERS if name in versions]
    if guests:
        return Lack(what, f"pip uninstall {' '.join(guests)}, which clipload does not need; perhaps they are of another torch")
    number, _, build = versions["torch"].partition("+")
    index = f" {CPU_INDEX}" if build == "cpu" else ""
    again = f"pip install --force-reinstall transformers=={versions['transformers']}"
    return Lack(what, f"pip install --force-reinstall torch=={number}{index}, then {again}")
