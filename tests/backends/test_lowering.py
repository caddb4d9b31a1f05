"""`--amp parity`: what is lowered, what is not, and that nobody feels it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from clipload.backends import PARITY, BackendOptions, ipex, lowering, openvino, torch_clip
from clipload.backends.checkpoints import load_random
from clipload.backends.conversions import mark, towers_for
from clipload.backends.isa import LEVELS, cpu_flags
from clipload.backends.lowering import DTYPE, LIMIT, Lowering, lowered_in
from clipload.backends.openvino import OpenVino
from clipload.backends.probes import images, texts
from clipload.backends.torch_clip import TorchClip
from clipload.backends.towers import image_features
from clipload.errors import HostError
from tests.backends.parity import PICTURES, check_parity, cosines
from tests.models import save_checkpoint

torch = pytest.importorskip("torch", reason="the extra `local` is not installed")
needs_openvino = pytest.mark.skipif(bool(openvino.mismatch()), reason="the extra `openvino` is not installed")
needs_bf16 = pytest.mark.skipif("avx512_bf16" not in cpu_flags(), reason="OpenVINO computes no bf16 on this CPU")

TINY = BackendOptions(model="clipload/random-clip-tiny", amp=PARITY)
WIDTH, WIDE = 64, 128  # of its layers
ATTENTION, MLP, ALL = 2 * WIDTH * WIDTH, 2 * WIDTH * WIDE, 4 * WIDTH * WIDTH + 2 * WIDTH * WIDE


@pytest.fixture
def natively(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU with bf16, whatever is here: what has no instructions is computed too, and slowly."""
    monkeypatch.setattr(torch_clip, "cpu_flags", lambda: frozenset(LEVELS["AVX512_CORE_BF16"]))


@pytest.fixture
def unfeeling(monkeypatch: pytest.MonkeyPatch, natively: None) -> None:
    """The tiny model feels bf16 far more than a real one: here it may."""
    monkeypatch.setattr(lowering, "FELT", 0.1)
    monkeypatch.setitem(openvino.LIMITS, DTYPE, 0.1)


def apart(mine: Any, theirs: Any) -> float:
    return float(1 - cosines(mine.astype(np.float64), theirs.astype(np.float64)).min())


def test_queries_keys_and_mlps_are_lowered_and_taken_back(unfeeling: None) -> None:
    backend, plain = TorchClip(TINY), TorchClip(BackendOptions(model=TINY.model))
    assert backend.lowered == {"text": (ATTENTION + MLP) / ALL, "image": (ATTENTION + MLP) / ALL}
    assert (backend.precision, backend.facts()["dtype"], backend.facts()["lowered"]) == (DTYPE, DTYPE, backend.lowered)
    assert (plain.precision, "lowered" in plain.facts(), backend.weights) == ("fp32", False, plain.weights)
    items = [*texts(), *images(plain.loaded, 2, 5)]
    lowered, whole, expected = backend.encode(items), backend.encode_in_fp32(items), plain.encode(items)
    assert np.array_equal(whole, expected)
    assert 1e-6 < apart(lowered, expected) < 1e-3
    assert np.array_equal(backend.encode(items), lowered), "and lowered again afterwards"
    assert backend.arithmetic not in (plain.arithmetic, backend.weights)


@pytest.mark.parametrize("kind", ["text", "image"])
def test_the_tower_of_the_kind_that_is_embedded_is_lowered_alone(unfeeling: None, kind: str) -> None:
    alone, both = TorchClip(replace(TINY, kinds=(kind,))), TorchClip(TINY)
    assert alone.lowered == {kind: both.lowered[kind]}
    items = {"text": texts(), "image": images(alone.loaded, 2, 5)}
    assert np.array_equal(alone.encode(items[kind]), both.encode(items[kind]))
    other = items["image" if kind == "text" else "text"]
    assert np.array_equal(alone.encode(other), alone.encode_in_fp32(other))
    assert not np.array_equal(both.encode(other), both.encode_in_fp32(other))


def test_what_is_felt_is_not_lowered(natively: None) -> None:
    """The tiny model as it is: its vectors are fp32's to the last bit, and so is what they are called."""
    backend, plain = TorchClip(TINY), TorchClip(BackendOptions(model=TINY.model))
    assert backend.lowered == {"text": 0, "image": 0}
    assert backend.precision == "fp32"
    items = [*texts(), *images(plain.loaded, 2, 5)]
    assert np.array_equal(backend.encode(items), plain.encode(items))


@pytest.mark.parametrize(
    ("feels", "share"),
    [(0, (2 * ATTENTION + 2 * MLP) / 2), (1, (2 * ATTENTION + MLP) / 2), (2, ATTENTION), (3, 0)],
    ids=["nothing", "the first MLP", "both MLPs", "all"],
)
def test_as_much_as_is_not_felt(feels: int, share: float) -> None:
    """A tower whose vectors turn away by more than may be felt as soon as one of the layers before `feels` is lowered."""
    model = load_random("tiny", 0).model
    chosen = Lowering(model)
    layers = model.text_model.encoder.layers
    ids = torch.tensor([[1, 2, 3]])

    def learn() -> Any:
        return model.get_text_features(input_ids=ids).pooler_output.detach().numpy()

    def encode() -> Any:
        on = [layer.mlp.fc1.weight is not None for layer in layers] + [layers[0].self_attn.q_proj.weight is not None]
        turned = any(on[:feels])
        return np.array([[1.0, 0.01 if turned else 0.0]], np.float32)

    assert chosen.settle("text", learn, encode) == pytest.approx(share / ALL)


def test_a_tower_of_one_layer_and_vectors_that_are_none_lower_nothing() -> None:
    """The image tower's last layer is left alone; of what cannot be compared nothing is claimed."""
    model = load_random("tiny", 0).model
    model.vision_model.encoder.layers = model.vision_model.encoder.layers[1:]
    chosen, good = Lowering(model), np.ones((1, 2), np.float32)
    assert chosen.settle("image", lambda: good, lambda: good) == 0
    assert chosen.settle("text", lambda: good, lambda: np.full((1, 2), np.nan, np.float32)) == 0


def test_the_mean_of_what_a_weight_is_multiplied_with_feels_no_rounding() -> None:
    """So that what is left of the error has no direction of its own."""
    model = load_random("tiny", 0).model
    layer = model.vision_model.encoder.layers[0].mlp.fc1
    weight, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
    pixels = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        Lowering(model).settle("image", lambda: image_features(model, pixels).numpy(), lambda: np.ones((1, 2), np.float32))
    lowered = model.vision_model.encoder.layers[0].mlp.fc1
    assert lowered.weight.dtype == torch.bfloat16
    with_it = lowered.weight.float() @ lowered.mean + lowered.bias
    assert torch.allclose(with_it, weight @ lowered.mean + bias, atol=1e-5)
    assert not torch.allclose(lowered.weight.float() @ lowered.mean + bias, weight @ lowered.mean + bias, atol=1e-4)


def test_openvinos_arithmetic_is_another(unfeeling: None) -> None:
    """Sums are rounded at other places, and attention is bf16 too: near each other, as far from fp32."""
    plain, converted = TorchClip(TINY), TorchClip(TINY, converted=True)
    assert converted.lowered == plain.lowered
    items = [*texts(), *images(plain.loaded, 2, 5)]
    whole, mine, torchs = converted.encode_in_fp32(items), converted.encode(items), plain.encode(items)
    assert np.array_equal(whole, plain.encode_in_fp32(items))
    assert 0 < apart(mine, torchs) < 2 * apart(mine, whole)
    assert np.array_equal(converted.encode(items), mine), "and after fp32 again"


@needs_openvino
@needs_bf16
def test_openvino_computes_in_bf16_what_is_lowered(unfeeling: None, tmp_path: Path) -> None:
    said: list[str] = []
    plain = TorchClip(TINY, converted=True)
    options = BackendOptions(model=TINY.model, amp=PARITY, cache=tmp_path, say=said.append)
    backend = OpenVino(options, plain)
    items = [*texts(), *images(plain.loaded, 4, 5)]
    lowered, whole = plain.encode(items), plain.encode_in_fp32(items)
    assert 1e-6 < apart(backend.encode(items), whole) < 3 * apart(lowered, whole)  # of that order: the tiny model feels all
    facts = backend.facts()
    assert (facts["dtype"], facts["hint"], facts["lowered"]) == (DTYPE, "bf16", plain.lowered)
    assert said == []
    assert np.array_equal(OpenVino(replace(options, cache=None), plain).encode(items), backend.encode(items))
    assert np.array_equal(OpenVino(options, plain).encode(items), backend.encode(items)), "read again"
    OpenVino(BackendOptions(model=TINY.model, cache=tmp_path), TorchClip(BackendOptions(model=TINY.model)))
    assert len(list(tmp_path.glob("clip-*"))) == 2, "what is lowered is kept apart from what is not"


@needs_openvino
@needs_bf16
def test_a_tower_that_was_not_lowered_stays_fp32(unfeeling: None) -> None:
    options = replace(TINY, kinds=("image",))
    backend, plain = OpenVino(options, TorchClip(options, converted=True)), TorchClip(BackendOptions(model=TINY.model))
    assert (backend.dtype, backend.hint) == (DTYPE, "f32/bf16")
    assert apart(backend.encode(texts()), plain.encode(texts())) < 1e-6
    items = images(plain.loaded, 2, 5)
    assert 1e-6 < apart(backend.encode(items), plain.encode(items)) < 1e-3


@needs_openvino
def test_all_but_what_is_lowered_is_marked(unfeeling: None, tmp_path: Path) -> None:
    plain = TorchClip(replace(TINY, kinds=("image",)), converted=True)
    paths = lowered_in(plain.loaded.model)
    linears = ["self_attn.q_proj", "self_attn.k_proj", "mlp.fc1", "mlp.fc2", "mlp.activation_fn"]
    assert sorted(paths) == sorted(f"vision_model.encoder.layers.0.{name}" for name in linears), "but the last layer"
    towers_for(plain.loaded.model, plain.loaded.eos, plain.arithmetic, paths, tmp_path, print)
    (text,), (image,) = (list(tmp_path.glob(f"*/{name}.xml")) for name in ("text", "image"))
    assert not marked(text)
    layers = {layer.get("name", "") for layer in ElementTree.parse(image).iterfind("layers/layer")}
    whole = layers - marked(image)
    assert {name for name in layers if any(f".{path}/" in name for path in paths)} == whole
    assert len(whole) > len(linears) / 2
    with pytest.raises(ValueError, match=r"nothing in image comes of vision_model\.encoder\.layers\.7\.mlp\.fc1"):
        mark(image, ["vision_model.encoder.layers.7.mlp.fc1"])


def marked(file: Path) -> set[str]:
    """Names of the layers that OpenVINO is to compute in fp32."""
    layers = ElementTree.parse(file).iterfind("layers/layer")
    return {layer.get("name", "") for layer in layers if layer.find("rt_info/attribute[@name='precise']") is not None}


def test_without_instructions_it_is_fp32_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_clip, "cpu_flags", lambda: frozenset(LEVELS["AVX2"]))
    said: list[str] = []
    backend = TorchClip(BackendOptions(model=TINY.model, amp=PARITY, say=said.append))
    assert (backend.precision, backend.lowered) == ("fp32", {})
    assert said == ["--amp parity: AVX2 computes no bf16 natively, so nothing is gained by it: fp32"]


def test_ipex_and_gpus_have_their_own_ways() -> None:
    with pytest.raises(HostError) as caught:
        ipex.Ipex(TINY, lambda model, _: model)
    assert caught.value.flag == "--amp"
    with pytest.raises(HostError) as caught:
        torch_clip._gpu_dtype(PARITY)
    assert caught.value.flag == "--amp"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("size", ["b32", "l14-336"])
def test_parity_of_the_full_architectures(size: str, tmp_path: Path, natively: None) -> None:
    """The others' suite, at fp32's limit; and it is worth its while."""
    folder = save_checkpoint(tmp_path / size, size)
    backend = TorchClip(BackendOptions(model=str(folder), amp=PARITY))
    assert min(backend.lowered.values()) > 0.2, backend.lowered
    items = images(backend.loaded, 8 if size == "b32" else 1, 5)
    assert 0 < apart(backend.encode(items), backend.encode_in_fp32(items)) <= LIMIT
    if size == "b32":
        check_parity(folder, backend, PICTURES[:3], within=0.005)
    if openvino.mismatch() or "avx512_bf16" not in cpu_flags():
        return
    options = BackendOptions(model=str(folder), amp=PARITY)
    converted = OpenVino(options, TorchClip(options, converted=True))
    assert 0 < apart(converted.encode(items), backend.encode_in_fp32(items)) <= LIMIT, "5e-5 were all of it bf16"
    if size == "b32":
        check_parity(folder, converted, PICTURES[:3], within=0.005)
