"""Libraries that are missing, too old or broken: what is said of them, and the command that mends it."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from types import SimpleNamespace
from typing import Any

import pytest

from clipload.backends import BackendOptions, backend_for, libraries
from clipload.backends import openvino as openvino_backend
from clipload.backends.libraries import CPU_INDEX, LEAST, LOCAL, TORCH
from clipload.backends.torch_clip import _for_a_gpu
from clipload.errors import CliploadError, HostError
from tests.servers import ROOT

MODEL = "clipload/random-clip-tiny"
GOOD = {"torch": "2.13.0+cpu", "transformers": "5.23.0"}


@pytest.fixture
def have(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the metadata say is installed."""
    there = dict(GOOD)

    def found(name: str) -> str:
        if name not in there:
            raise PackageNotFoundError(name)
        return there[name]

    monkeypatch.setattr(libraries, "version", found)
    return there


def refused() -> CliploadError:
    with pytest.raises(CliploadError, match="a CLIP model needs torch and transformers") as caught:
        backend_for("torch", BackendOptions(model=MODEL))
    assert (caught.value.exit_code, "--backend torch" in caught.value.flag) == (2, True)
    return caught.value


def test_the_least_versions_are_those_of_the_project() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert extras["local"] == [f"{name}>={'.'.join(map(str, least))}" for name, least in LEAST.items()]
    assert re.findall(r"torch>=[\d.]+", TORCH) == [extras["local"][0]] * 2


@pytest.mark.parametrize(
    ("name", "installed", "says", "remedy"),
    [
        ("torch", "", "torch is not installed", f"{TORCH}, then {LOCAL}"),
        ("torch", "2.5.1+cu121", "torch 2.5.1+cu121 is older than 2.6", f"{TORCH}, then {LOCAL}"),
        ("transformers", "", "transformers is not installed", LOCAL),
        ("transformers", "4.56.2", "transformers 4.56.2 is older than 4.57", LOCAL),
    ],
)
def test_missing_or_too_old(name: str, installed: str, says: str, remedy: str, have: dict[str, str]) -> None:
    have.pop(name)
    have |= {name: installed} if installed else {}
    error = refused()
    assert error.what.endswith(f": {says}")
    assert error.remedy == remedy


@pytest.mark.parametrize(
    ("also", "remedy"),
    [
        ({"torchvision": "0.28.0"}, "pip uninstall torchvision, which clipload does not need"),
        ({"torchvision": "0.28.0", "torchaudio": "2.11.0"}, "pip uninstall torchvision torchaudio, which"),
        (
            {},
            f"pip install --force-reinstall torch==2.13.0 {CPU_INDEX}, then pip install --force-reinstall transformers==5.23.0",
        ),
        ({"torch": "2.13.0"}, "pip install --force-reinstall torch==2.13.0, then pip install"),
    ],
)
def test_broken(also: dict[str, str], remedy: str, have: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    have |= also
    monkeypatch.setitem(sys.modules, "transformers", None)  # import raises ImportError
    error = refused()
    assert "import of transformers halted" in error.what
    assert f"torch {have['torch']}, transformers 5.23.0" in error.what
    assert error.remedy.startswith(remedy)


def test_openvino_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="the extra `local` is not installed")
    if openvino_backend.mismatch():
        pytest.skip("the extra `openvino` is not installed")

    def missing(*_: Any) -> None:
        raise ImportError("libtbb.so.12: cannot open shared object file\nmore")

    monkeypatch.setattr(openvino_backend, "towers_for", missing)
    with pytest.raises(HostError, match=r"cannot be imported: libtbb\.so\.12: cannot open shared object file\n") as caught:
        backend_for("openvino", BackendOptions(model=MODEL))
    again = f"pip install --force-reinstall openvino=={version('openvino')}, or use --backend torch"
    assert (caught.value.flag, caught.value.remedy) == ("--backend openvino", again)


@pytest.mark.parametrize(
    ("cuda", "count", "visible", "remedy"),
    [
        (None, 0, None, "a torch that is built for CUDA: pip install --force-reinstall torch==2.13.0"),
        ("13.0", 0, "", "unset CUDA_VISIBLE_DEVICES, which is ''"),
        ("13.0", 0, None, "see whether nvidia-smi names one, with a driver for CUDA 13.0"),
        ("13.0", 1, None, "cuda:0"),
        ("13.0", 4, "0,1,2,3", "cuda:0 to cuda:3"),
    ],
)
def test_a_gpu_that_is_not_there(
    cuda: str | None, count: int, visible: str | None, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    torch = SimpleNamespace(__version__="2.13.0+cpu", version=SimpleNamespace(cuda=cuda))
    assert _for_a_gpu(torch, count) == remedy
