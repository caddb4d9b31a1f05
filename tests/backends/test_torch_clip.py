"""The torch backend against transformers' own outputs, and checkpoints that are not what they should be."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from clipload import embedding
from clipload.backends import Backend, BackendOptions, backend_for
from clipload.embedding.options import EmbeddingOptions
from clipload.errors import CliploadError
from clipload.values import ImageRef, Item, Text
from tests.backends.parity import LONG, PICTURES, TEXTS, check_parity, cosines
from tests.models import save_checkpoint, to_hub_layout

torch = pytest.importorskip("torch", reason="the extra `local` is not installed")


def gpu(test: Callable[..., None]) -> Callable[..., None]:
    """Marks it; without a GPU it is skipped, but fails where scripts/test has seen one that torch does not see."""
    blind = not torch.cuda.is_available() and "CLIPLOAD_GPU" not in os.environ
    return pytest.mark.gpu(pytest.mark.skipif(blind, reason="torch sees no GPU")(test))


def make(model: Path | str, **options: Any) -> Backend:
    return backend_for("torch", BackendOptions(model=str(model), **options))


@pytest.fixture(scope="module")
def backend(tiny_checkpoint: Path) -> Backend:
    return make(tiny_checkpoint)


def test_parity_with_transformers(tiny_checkpoint: Path, backend: Backend) -> None:
    check_parity(tiny_checkpoint, backend, PICTURES)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("size", ["b32", "l14-336"])
def test_parity_of_the_full_architectures(size: str, tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / size, size)
    check_parity(folder, make(folder), PICTURES[:3])


def test_a_vector_does_not_depend_on_its_batch(backend: Backend) -> None:
    items: list[Item] = [PICTURES[0], Text("a dog"), Text(LONG), PICTURES[1], Text("d")]
    together = backend.encode(items)
    alone = np.concatenate([backend.encode([item]) for item in items])
    assert cosines(together, alone).min() >= 0.99999
    assert backend.encode(items) == pytest.approx(backend.encode([backend.prepare(item) for item in items]), abs=1e-6)
    assert backend.encode([]).shape == (0, 32)


def test_what_the_context_cuts_off_is_said(backend: Backend) -> None:
    assert backend.prepare(Text("a dog")).cut == 0
    whole, cut = backend.prepare(Text("a " * 75)), backend.prepare(Text("a " * 76))
    assert (whole.cut, cut.cut) == (0, 1)
    assert whole.content == cut.content, "BOS, 75 tokens, EOS"


def test_bf16_is_near_and_says_so(tiny_checkpoint: Path, backend: Backend) -> None:
    lower = make(tiny_checkpoint, amp="bf16")
    items = [*map(Text, TEXTS), *PICTURES]
    found, expected = lower.encode(items), backend.encode(items)
    assert found.dtype == np.float32
    assert (found != expected).any()
    assert cosines(found, expected).min() > 1 - 1e-3
    assert (lower.facts()["dtype"], backend.facts()["dtype"]) == ("bf16", "fp32")


def test_facts(tiny_checkpoint: Path, backend: Backend) -> None:
    facts = backend.facts()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["versions"]["torch"] == torch.__version__
    assert (facts["backend"], facts["device"], facts["model"]) == ("torch", "cpu", str(tiny_checkpoint))
    assert backend_for("clip", BackendOptions(model="clipload/random-clip-tiny", seed=5)).facts()["weights"] == facts["weights"]
    assert backend_for("clip", BackendOptions(model="clipload/random-clip-tiny", seed=6)).facts()["weights"] != facts["weights"]


def test_a_reference_is_for_servers(backend: Backend) -> None:
    with pytest.raises(ValueError, match="only a server"):
        backend.prepare(ImageRef("http://h/x.jpg"))


def test_no_memory_is_told_from_other_failures(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(words: str, kind: type[RuntimeError] = RuntimeError) -> None:
        def text(*_: Any) -> None:
            raise kind(words)

        monkeypatch.setattr(backend, "_text", text)
        backend.encode([Text("a")])

    with pytest.raises(MemoryError):
        fail("[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory")
    with pytest.raises(MemoryError):
        fail("CUDA out of memory. Tried to allocate 20.00 MiB", torch.cuda.OutOfMemoryError)
    with pytest.raises(RuntimeError, match="shapes"):
        fail("shapes do not match")


def test_the_hubs_layout_loads_without_the_network(tiny_checkpoint: Path, tmp_path: Path, backend: Backend) -> None:
    folder = to_hub_layout(Path(shutil.copytree(tiny_checkpoint, tmp_path / "hub")), side=32)
    items = [*map(Text, TEXTS), *PICTURES]
    assert make(folder).encode(items) == pytest.approx(backend.encode(items), abs=1e-5)


def refused(model: str, *words: str) -> None:
    with pytest.raises(CliploadError) as caught:
        make(model)
    assert caught.value.flag == "--model"
    assert caught.value.remedy
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda f: (f / "config.json").unlink(), "config.json"),
        (lambda f: (f / "config.json").write_text("{"), "config.json"),
        (lambda f: (f / "config.json").write_text('{"model_type": "siglip"}'), "'siglip', not 'clip'"),
        (lambda f: (f / "model.safetensors").unlink(), "cannot load"),
        (lambda f: (f / "model.safetensors").write_bytes(b"junk" * 10), "cannot load"),
        (lambda f: (f / "preprocessor_config.json").unlink(), "cannot load"),
        (lambda f: (f / "tokenizer.json").unlink(), "okenizer"),
    ],
)
def test_a_checkpoint_that_is_not_whole(tiny_checkpoint: Path, tmp_path: Path, harm: Any, says: str) -> None:
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "bad"))
    (folder / "processor_config.json").unlink(missing_ok=True)
    harm(folder)
    refused(str(folder), says)


def test_weights_that_lack_a_part_are_not_filled_with_random_numbers(tiny_checkpoint: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "part"))
    weights = load_file(folder / "model.safetensors")
    save_file({k: v for k, v in weights.items() if "text_projection" not in k}, folder / "model.safetensors", {"format": "pt"})
    refused(str(folder), "text_projection")


def test_names_that_cannot_be_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    refused("", "no model is named")
    refused("openai/clip-vit-of-no-kind", "'openai/clip-vit-of-no-kind' is no directory here", "the network")
    refused(str(tmp_path / "nothing"), "is no directory")
    refused("./nothing", "is no directory")
    refused("clipload/random-clip-huge", "'huge'", "tiny")


def test_a_name_comes_from_the_hubs_cache_when_the_hub_is_out_of_reach(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    place = tmp_path / "models--some--clip"
    shutil.copytree(tiny_checkpoint, place / "snapshots" / "abc")
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("abc")
    said: list[str] = []
    backend = make("some/clip", say=said.append)
    assert backend.facts()["model"] == "some/clip"
    assert len(said) == 1
    assert "cache" in said[0]
    backend.close()


def test_there_is_no_such_gpu() -> None:
    with pytest.raises(CliploadError) as caught:
        make("clipload/random-clip-tiny", device="cuda:99")
    assert caught.value.flag == "--device"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_device_auto_is_the_cpu_where_there_is_no_gpu() -> None:
    facts = make("clipload/random-clip-tiny", device="auto").facts()
    assert (facts["device"], bool(facts["isa"])) == ("cpu", True)


@gpu
def test_device_auto_is_a_gpu_where_there_is_one(tiny_checkpoint: Path) -> None:
    assert make(tiny_checkpoint, device="auto").facts()["device"] == "cuda"


@gpu
def test_a_gpu_that_is_full_halves_the_batch_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real refusal: torch may take 48 MiB more than the model does, and 32 pictures at 224² need 55: half of that are
    pixels and the widest layer. Batches begin with 8, and doubling those always pays on a GPU."""
    for number in range(512):
        (tmp_path / f"{number:03}.png").write_bytes(PICTURES[0].data)
    said: list[str] = []
    view = SimpleNamespace(said=said.append, advanced=lambda *_: None)
    backend = make("clipload/random-clip-b32", device="cuda")
    backend.encode([PICTURES[0]] * 8)
    monkeypatch.setattr(embedding, "backend_for", lambda *_: backend)
    options = EmbeddingOptions(data=str(tmp_path), modality="image", device="cuda", dump_img_emb=tmp_path / "i.npy")
    torch.cuda.empty_cache()
    allowed = torch.cuda.memory_reserved() + 48 * 2**20
    torch.cuda.set_per_process_memory_fraction(allowed / torch.cuda.get_device_properties(0).total_memory)
    try:
        part = embedding.embed(options, view).parts[0]
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert part.count == 512
    assert any("no memory for" in sentence and "going on with" in sentence for sentence in said)


@gpu
def test_parity_on_a_gpu(tiny_checkpoint: Path) -> None:
    check_parity(tiny_checkpoint, make(tiny_checkpoint, device="cuda"), PICTURES)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")  # torch's own, of itself
def test_compiled_is_the_same(tiny_checkpoint: Path, backend: Backend) -> None:
    compiled = make(tiny_checkpoint, compiled=True)
    items = [*map(Text, TEXTS), *PICTURES]
    assert cosines(compiled.encode(items), backend.encode(items)).min() >= 0.99999
