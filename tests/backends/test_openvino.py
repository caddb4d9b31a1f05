"""The openvino backend: the parity of the others, the precision that it says, conversions kept, installs that do not do."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipload.backends import Backend, BackendOptions, backend_for, openvino
from clipload.backends.openvino import mismatch
from clipload.errors import HostError
from clipload.values import Item, Text
from tests.backends.parity import LONG, PICTURES, TEXTS, check_parity, cosines
from tests.models import save_checkpoint
from tests.servers import ROOT, environment

pytest.importorskip("torch", reason="the extra `local` is not installed")
needs_openvino = pytest.mark.skipif(bool(mismatch()), reason="the extra `openvino` is not installed")
ITEMS: list[Item] = [*map(Text, ["", *TEXTS, LONG]), *PICTURES]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Conversions take seconds: the tests of this file share them."""
    return tmp_path_factory.mktemp("kept")


def make(model: Path | str, **options: Any) -> Backend:
    return backend_for("openvino", BackendOptions(model=str(model), **options))


@pytest.fixture(scope="module")
def backend(tiny_checkpoint: Path, kept: Path) -> Backend:
    return make(tiny_checkpoint, cache=kept)


@needs_openvino
@pytest.mark.slow
def test_parity_with_transformers(tiny_checkpoint: Path, backend: Backend) -> None:
    check_parity(tiny_checkpoint, backend, PICTURES)
    facts = backend.facts()
    assert (facts["backend"], facts["dtype"], facts["hint"]) == ("openvino", "fp32", "f32")
    assert facts["versions"]["openvino"] == version("openvino")
    assert facts["weights"] == backend_for("torch", BackendOptions(model=str(tiny_checkpoint))).facts()["weights"]
    assert facts["cosine_to_torch"] >= 1 - 1e-6


@needs_openvino
@pytest.mark.slow
def test_a_vector_does_not_depend_on_its_batch(backend: Backend) -> None:
    together = backend.encode(ITEMS)
    alone = np.concatenate([backend.encode([item]) for item in ITEMS])
    assert cosines(together, alone).min() >= 0.99999
    assert backend.encode([]).shape == (0, 32)


@needs_openvino
@pytest.mark.slow
def test_bf16_is_told_and_near(tiny_checkpoint: Path, kept: Path, backend: Backend) -> None:
    lower = make(tiny_checkpoint, amp="bf16", cache=kept)
    check_parity(tiny_checkpoint, lower, PICTURES, least=1 - 1e-3)
    facts = lower.facts()
    assert facts["hint"] == "bf16"
    if "bf16" in facts["isa"].lower():
        assert facts["dtype"] == "bf16"
        assert (lower.encode(ITEMS) != backend.encode(ITEMS)).any()


@needs_openvino
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_parity_of_the_full_architecture(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "b32", "b32")
    kept = tmp_path / "kept"
    check_parity(folder, make(folder, cache=kept), PICTURES[:3])
    check_parity(folder, make(folder, cache=kept, amp="bf16"), PICTURES[:3], least=0.9999)


@needs_openvino
@pytest.mark.slow
def test_a_conversion_is_kept_whole_and_not_believed_when_it_is_harmed(
    tiny_checkpoint: Path, kept: Path, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place,) = kept.glob("clip-*")
    assert list(kept.glob("begun-*")) == []
    said: list[str] = []
    with monkeypatch.context() as without:
        without.setattr("clipload.backends.conversions.convert", lambda *_: pytest.fail("converted, though it was kept"))
        again = make(tiny_checkpoint, cache=kept, say=said.append)
    assert (again.encode(ITEMS) == backend.encode(ITEMS)).all(), "kept in full precision"
    assert said == []
    weights = bytearray((place / "text.bin").read_bytes())
    weights[5000] ^= 1
    (place / "text.bin").write_bytes(weights)
    again = make(tiny_checkpoint, cache=kept, say=said.append)
    assert (again.encode(ITEMS) == backend.encode(ITEMS)).all()
    assert said == [f"{place} is not what was written there: converted anew"]
    assert [file.name for file in kept.iterdir()] == [place.name]


@needs_openvino
@pytest.mark.slow
def test_a_model_that_is_not_torchs_is_refused(
    tiny_checkpoint: Path, kept: Path, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert backend.facts()["cosine_to_torch"] > 0
    honest = openvino._run
    monkeypatch.setattr(openvino, "_run", lambda *given: honest(*given) + np.float32(0.05))
    with pytest.raises(HostError, match="computes other vectors than torch") as caught:
        make(tiny_checkpoint, cache=kept)
    assert (caught.value.flag, caught.value.remedy) == ("--backend openvino", "use --backend torch")
    monkeypatch.setattr(openvino, "_run", lambda *given: honest(*given) * np.float32(np.nan))
    with pytest.raises(HostError, match="computes other vectors than torch"):
        make(tiny_checkpoint, cache=kept)


@needs_openvino
@pytest.mark.slow
def test_a_folder_that_cannot_be_written(tiny_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match="cannot write to") as caught:
        make(tiny_checkpoint, cache=tmp_path / "file")
    assert caught.value.flag == "--openvino-cache"


@pytest.mark.parametrize(
    ("installed", "says"), [(None, "is not installed"), ("2024.6.0", "2024.6.0 is older than 2026.4"), ("2026.3.1", "older")]
)
def test_an_install_that_does_not_do(installed: str | None, says: str, tmp_path: Path) -> None:
    """In a process of its own, where the metadata say so; nothing is loaded first."""
    program = (
        "import importlib.metadata as m, sys; true = m.version\n"
        "def version(name):\n"
        "    if name != 'openvino': return true(name)\n"
        f"    if {installed!r} is None: raise m.PackageNotFoundError(name)\n"
        f"    return {installed!r}\n"
        "m.version = version\n"
        "from clipload.backends import BackendOptions, backend_for\n"
        "from clipload.errors import HostError\n"
        "try: backend_for('openvino', BackendOptions(model='clipload/random-clip-tiny'))\n"
        "except HostError as error: print(error.exit_code, error)\n"
        "print({'torch', 'openvino'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", program]
    env = environment({"PYTHONPATH": str(ROOT)})
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env, timeout=60, check=True)
    first, remedy, loaded = done.stdout.splitlines()
    assert first.startswith("2 --backend openvino: OpenVINO")
    assert says in first
    assert "pip install '.[openvino]'" in remedy
    assert loaded == "set()"


def test_fp16_is_none_of_its_types() -> None:
    with pytest.raises(HostError) as caught:
        openvino._hint("fp16")
    assert caught.value.flag == "--amp"


@needs_openvino
def test_importing_it_reports_to_nobody(tmp_path: Path) -> None:
    """As it comes, `import openvino` writes an identifier into the home directory and sends an event over the network."""
    program = (
        "import sys, socket\n"
        "def asked(*given, **more): print('asked for', given[0]); raise OSError\n"
        "socket.getaddrinfo = asked\n"
        "from clipload.backends.conversions import library\n"
        "library(); print('imported')"
    )
    env = environment({"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}) | {"CI": "false"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env, timeout=60, check=True)
    assert done.stdout == "imported\n"
    assert list(tmp_path.iterdir()) == []
