"""IPEX: versions are compared before it is imported. Stand-ins for it lie on the path with real metadata."""

from __future__ import annotations

import importlib
import logging
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from clipload.backends import BackendOptions, backend_for
from clipload.backends.ipex import MODULE, PACKAGE, mismatch
from clipload.errors import HostError
from clipload.values import Text
from tests.servers import ROOT

torch = pytest.importorskip("torch", reason="the extra `local` is not installed")

MODEL = "clipload/random-clip-tiny"
# What the real one does under another torch.
REAL = 'import os\nprint("ERROR! needs another torch")\nos.exit(127)\n'
# What the real one does to logging when it is imported, and to a dtype that the CPU has no instructions for.
LOUD = (
    "import logging\nlogging.basicConfig(level=logging.INFO)\nclass Mine(logging.Logger): pass\nlogging.setLoggerClass(Mine)\n"
)
REFUSES = "def optimize(model, dtype=None, inplace=False):\n    assert False, 'needs the cpu support\\nof more'\n"
GOOD = "def optimize(model, dtype=None, inplace=False):\n    model.seen = (str(dtype), inplace)\n    return model\n"


@pytest.fixture
def ipex(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Puts a package of that version and content on the path."""

    def put(number: str, code: str) -> None:
        info = tmp_path / f"{MODULE}-{number}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: {number}\n")
        (tmp_path / f"{MODULE}.py").write_text(code)
        monkeypatch.syspath_prepend(str(tmp_path))
        importlib.invalidate_caches()

    yield put
    sys.modules.pop(MODULE, None)


def test_the_extra_pins_a_pair_that_fits() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    pins = dict(requirement.split("==") for requirement in project["ipex"] if "==" in requirement)
    assert pins == {"torch": "2.8.*", PACKAGE: "2.8.0"}
    assert pins["torch"].removesuffix(".*") == ".".join(pins[PACKAGE].split(".")[:2]), "as mismatch() compares them"


def ask(must: bool, said: list[str]) -> str:
    backend = backend_for("ipex", BackendOptions(model=MODEL, amp="bf16", must_ipex=must, say=said.append))
    assert np.isfinite(backend.encode([Text("a dog")])).all()
    return str(backend.facts()["backend"])


def test_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    if mismatch() == "":
        pytest.skip("IPEX is installed here, and fits")
    said: list[str] = []
    assert ask(False, said) == "torch"
    assert "is not installed; plain torch goes on" in said[0]
    with pytest.raises(HostError, match="is not installed") as caught:
        ask(True, said)
    assert (caught.value.flag, caught.value.exit_code) == ("--use-ipex True", 2)
    assert "'.[ipex]'" in caught.value.remedy


def test_another_torch_is_found_without_importing_it(ipex, capfd: pytest.CaptureFixture[str]) -> None:
    ipex("1.13.0", REAL)
    said: list[str] = []
    assert ask(False, said) == "torch"
    how = "pip install '.[ipex]' into an environment of its own (torch 2.8 and IPEX 2.8.0)"
    wrong = f"IPEX 1.13.0 needs torch 1.13, and torch {version('torch')} is installed"
    assert said[0] == f"{wrong}; plain torch goes on (for IPEX: {how})"
    with pytest.raises(HostError, match="needs torch 1"):
        ask(True, [])
    assert MODULE not in sys.modules
    assert capfd.readouterr().out == ""


def test_the_pair_that_fits_is_used(ipex) -> None:
    ipex(".".join(version("torch").split(".")[:2]) + ".7", GOOD)
    said: list[str] = []
    assert ask(True, said) == "ipex"
    assert said == []


def test_one_that_fits_but_fails_says_why_and_keeps_stdout_clean(ipex, capfd: pytest.CaptureFixture[str]) -> None:
    ipex(".".join(version("torch").split(".")[:2]) + ".8", REAL)
    said: list[str] = []
    assert ask(False, said) == "torch"
    assert "cannot be imported: AttributeError" in said[0]
    with pytest.raises(HostError, match="AttributeError"):
        ask(True, [])
    assert capfd.readouterr().out == ""


def fitting() -> str:
    return ".".join(version("torch").split(".")[:2]) + ".9"


def test_its_import_leaves_logging_as_it_was(ipex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])
    before = logging.root.level, logging.getLoggerClass()
    ipex(fitting(), LOUD + GOOD)
    assert ask(True, []) == "ipex"
    assert (logging.root.level, logging.getLoggerClass()) == before
    assert logging.root.handlers == []


def test_what_it_refuses_is_the_users_to_mend(ipex) -> None:
    ipex(fitting(), REFUSES)
    with pytest.raises(HostError, match=r"does not take this model in bfloat16: needs the cpu support\n") as caught:
        ask(False, [])
    assert (caught.value.flag, caught.value.remedy) == ("--backend ipex", "use --amp off or bf16, or --backend torch")
