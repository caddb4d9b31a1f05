"""The ipex backend with the real IPEX: parity of the others, and `clipload embed` on real photographs. `scripts/test-ipex`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipload import dumps
from clipload.backends import Backend, BackendOptions, backend_for
from clipload.backends.ipex import PACKAGE, mismatch
from clipload.errors import HostError
from clipload.values import Item, Text
from tests.backends.parity import LONG, PICTURES, TEXTS, check_parity, cosines
from tests.models import save_checkpoint
from tests.servers import ROOT, command, environment

BF16 = 0.9999  # the least cosine
ITEMS: list[Item] = [*map(Text, ["", *TEXTS, LONG]), *PICTURES]
pytestmark = [
    pytest.mark.ipex,
    pytest.mark.timeout(1200),
    # There they fail: a skip would hide that it proves nothing.
    pytest.mark.skipif(
        bool(mismatch()) and "CLIPLOAD_IPEX" not in os.environ, reason="scripts/test-ipex makes their environment"
    ),
]


def make(model: Path | str, **options: Any) -> Backend:
    """With no plain torch in its place, and nothing to say."""
    said: list[str] = []
    backend = backend_for("ipex", BackendOptions(model=str(model), must_ipex=True, say=said.append, **options))
    assert said == []
    return backend


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("b32"), "b32")


def kinds_of(backend: Any) -> set[str]:
    return {type(module).__name__ for module in backend._model.modules()}


def test_parity_with_transformers(tiny_checkpoint: Path) -> None:
    backend = make(tiny_checkpoint)
    check_parity(tiny_checkpoint, backend, PICTURES)
    facts = backend.facts()
    assert (facts["backend"], facts["dtype"], facts["versions"][PACKAGE]) == ("ipex", "fp32", version(PACKAGE))
    assert facts["weights"] == backend_for("torch", BackendOptions(model=str(tiny_checkpoint))).facts()["weights"]
    assert "_IPEXLinear" in kinds_of(backend), "it is IPEX that computes"


def test_bf16_is_near_and_another(tiny_checkpoint: Path) -> None:
    lower = make(tiny_checkpoint, amp="bf16")
    check_parity(tiny_checkpoint, lower, PICTURES, least=1 - 1e-3)
    assert lower.facts()["dtype"] == "bf16"
    assert (lower.encode(ITEMS) != make(tiny_checkpoint).encode(ITEMS)).any()


def test_parity_of_the_full_architecture(full: Path) -> None:
    check_parity(full, make(full), PICTURES[:3])
    check_parity(full, make(full, amp="bf16"), PICTURES[:3], least=BF16)


def test_a_vector_does_not_depend_on_its_batch(tiny_checkpoint: Path) -> None:
    backend = make(tiny_checkpoint)
    together = backend.encode(ITEMS)
    alone = np.concatenate([backend.encode([item]) for item in ITEMS])
    assert cosines(together, alone).min() >= 0.99999
    assert backend.encode([]).shape == (0, 32)


def test_its_import_leaves_logging_alone_and_stdout_clean(tmp_path: Path) -> None:
    program = (
        "import logging; before = logging.getLoggerClass(), logging.root.level\n"
        "from clipload.backends.ipex import accelerator\n"
        "assert not isinstance(accelerator(), str), accelerator()\n"
        "assert (logging.getLoggerClass(), logging.root.level) == before, logging.getLoggerClass()\n"
        "assert logging.root.handlers == [], logging.root.handlers"
    )
    env = environment({"PYTHONPATH": str(ROOT)})
    whole = [sys.executable, "-c", program]
    done = subprocess.run(whole, capture_output=True, text=True, cwd=tmp_path, env=env, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_fp16_that_this_cpu_has_no_instructions_for(tiny_checkpoint: Path) -> None:
    flags = Path("/proc/cpuinfo").read_text()
    if "avx512_fp16" in flags or "avx_ne_convert" in flags:
        pytest.skip("this CPU has them")
    with pytest.raises(HostError, match="does not take this model in float16") as caught:
        make(tiny_checkpoint, amp="fp16", force=True)
    assert "--amp off or bf16" in caught.value.remedy


def embed(folder: Path, model: Path, name: str, *flags: str) -> dict[str, Any]:
    """`clipload embed` as a user runs it, into dumps `<name>-t.npy` and `<name>-i.npy`; the backend's facts."""
    data = ["--flickr-images-dir", "Flicker8k_Dataset", "--flickr-captions-file", "Flickr8k.token.txt"]
    out = ["--dump-txt-emb", f"{name}-t.npy", "--dump-img-emb", f"{name}-i.npy", "--json"]
    env = environment({"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"})
    whole = command("embed", "--model", str(model), *data, *out, *flags)
    done = subprocess.run(whole, capture_output=True, text=True, cwd=folder, env=env, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    facts: dict[str, Any] = json.loads(done.stdout)["backend"]
    return facts


@pytest.fixture(scope="module")
def photographs(full: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 real ones with captions, and their vectors by torch in fp32."""
    folder = tmp_path_factory.mktemp("photographs")
    making = [sys.executable, str(ROOT / "scripts" / "make_photos.py"), "--out", str(folder)]
    subprocess.run(making, check=True, capture_output=True, timeout=100)
    assert embed(folder, full, "torch", "--backend", "torch")["backend"] == "torch"
    return folder


@pytest.mark.parametrize(("amp", "least"), [("off", 0.99999), ("bf16", BF16)])
def test_photographs_and_captions_have_the_vectors_of_torch(full: Path, photographs: Path, amp: str, least: float) -> None:
    facts = embed(photographs, full, amp, "--backend", "ipex", "--use-ipex", "True", "--amp", amp)
    assert (facts["backend"], facts["dtype"]) == ("ipex", {"off": "fp32"}.get(amp, amp))
    for kind, count in (("t", 120), ("i", 24)):
        mine, theirs = (dumps.read(photographs / f"{name}-{kind}.npy") for name in (amp, "torch"))
        assert mine.names == theirs.names
        assert len(mine.vectors) == count
        assert cosines(mine.vectors, theirs.vectors).min() >= least
