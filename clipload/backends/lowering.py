"""Lowering: bf16 in as many of a model's multiplications as leave its vectors those of fp32. `--amp parity`, on a CPU.

Measured on ViT-B/32 (1 − cosine to fp32, synthetic photographs): with bf16 everywhere 6e-5, with bf16 in the multiplications
alone 3e-5: what is added up, normalised or attended to stays fp32 here. Of a layer, the projections to queries and keys are
hardly felt (2e-7 for all of them) and the MLP is two thirds of the work; the projections to values and out of the attention are
felt as much as the MLP for a quarter of its work, and stay. The first layers are felt most, since all others carry their error
on. So queries and keys are lowered everywhere, and the MLPs from that layer on from which the probes do not feel it.

The rounding of a weight is the same for all Items. What it does to the mean of what it is multiplied with is known, and
taken back in the bias, which is fp32: a quarter of the error.

OpenVINO rounds at other places, and computes every attention in bf16 once anything is (2e-6 by itself). So for it the probes
are tried by its arithmetic (`converted`), which torch can follow in fp32, as slowly, and nearly: 1 − cosine of 24 photographs
at most 6.8e-6 and 7.0e-6 for OpenVINO's 6.9e-6 and 7.4e-6 (two seeds), of six captions 6.0e-6 and 4.5e-6 for 6.0e-6 and 6.7e-6.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any, Literal

import numpy as np

from clipload.backends import Vectors
from clipload.retrieval import bad_rows, unit

DTYPE = "fp32+bf16"  # of a model that is lowered
LIMIT = 1e-5  # of 1 − cosine to fp32: what is promised
FELT = 0.6 * LIMIT  # and what the probes may feel: real photographs, in OpenVINO, were measured to feel up to a quarter more
ATTENTION, MLP, ACTIVATION = ("q_proj", "k_proj"), ("fc1", "fc2"), "activation_fn"

Tower = Literal["text", "image"]


class Lowering:
    """The multiplications of a model's two towers that can be lowered, and taken back. Changes `model` in place. `converted`:
    the arithmetic is OpenVINO's, slowly, for what will be felt there.

    Law: nothing is lowered but what `settle` found not to be felt; within `whole()` nothing is.
    """

    def __init__(self, model: Any, *, converted: bool = False) -> None:
        text, image = model.text_model.encoder.layers, model.vision_model.encoder.layers
        whole = [*image[:-1], getattr(image[-1], "layer", image[-1])]
        self._towers: dict[Tower, _Layers] = {
            "text": _Layers(text, text if converted else []),
            "image": _Layers(image[:-1], whole if converted else []),  # its last is but a token's work
        }
        self._lowered: dict[Tower, list[Any]] = {"text": [], "image": []}

    def settle(self, tower: Tower, learn: Callable[[], Vectors], encode: Callable[[], Vectors]) -> float:
        """Lowers as much of `tower` as the vectors that `encode` computes do not feel; what share of the multiplications of its
        layers that is (of images: of all but the last). `learn` computes others, for the means of what is multiplied."""
        layers, expected = self._towers[tower], encode()
        if not len(layers) or len(bad_rows(expected)):  # the latter is for whoever uses the vectors to say
            return 0.0
        _learnt(layers.since(0), learn)

        def felt(parts: list[Any]) -> bool:
            with _switched(parts, on=True):
                found = encode()
            return len(bad_rows(found)) > 0 or _apart(found, expected) > FELT

        first, last = 0, len(layers) + 1
        while first < last:
            middle = (first + last) // 2
            first, last = (middle + 1, last) if felt(layers.since(middle)) else (first, middle)
        self._lowered[tower] = lowered = layers.since(first)
        _switch(lowered, on=True)
        return float(sum(part.multiplications for part in lowered) / layers.multiplications)

    @contextmanager
    def whole(self) -> Iterator[None]:
        """fp32 everywhere."""
        with _switched([part for parts in self._lowered.values() for part in parts], on=False):
            yield

    def __str__(self) -> str:
        """How much is lowered, for whoever keeps what is made of the model."""
        return " ".join(f"{tower}: {len(parts)}" for tower, parts in self._lowered.items())


def lowered_in(model: Any) -> list[str]:
    """The paths of the modules of `model` that are computed in bf16, activations between two such among them."""
    parts = [path for path, module in model.named_modules() if getattr(module, "switch", None) and module.weight is not None]
    return [*parts, *(f"{path.removesuffix(MLP[1])}{ACTIVATION}" for path in parts if path.endswith(f".{MLP[1]}"))]


class _Layers:
    """The layers of one tower; `multiplications`: of a token, in all of them. `attending`: those whose attention is lowered as
    soon as anything is, for OpenVINO leaves none in fp32 then; there are none where torch computes."""

    def __init__(self, layers: Any, attending: Any) -> None:
        self.multiplications = sum(map(_weights, layers))
        self.attention = [_Attention(layer.self_attn) for layer in attending]
        converted = bool(self.attention)
        self._projections = [part for layer in layers for part in _opened(layer.self_attn, ATTENTION, converted)]
        self._mlps = [_opened(layer.mlp, MLP, converted) for layer in layers]

    def __len__(self) -> int:
        return len(self._mlps)

    def since(self, first: int) -> list[Any]:
        """The attention of all, and the MLPs from layer `first` on; beyond the number of layers nothing at all."""
        return [*self.attention, *self._projections, *chain(*self._mlps[first:])] if first <= len(self) else []


class _Attention:
    """What surrounds an attention in bf16: what goes in and the sums that come out are rounded. What lies between, in fp32 but
    for the weights of the sums, is left as it is."""

    multiplications = 0

    def __init__(self, attention: Any) -> None:
        self._attention = attention
        self._hooks: list[Any] = []

    def switch(self, *, on: bool) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        if on:
            given = [getattr(self._attention, name) for name in ("q_proj", "k_proj", "v_proj")]
            self._hooks = [part.register_forward_hook(lambda _, __, found: _rounded(found)) for part in given]
            sums = self._attention.out_proj
            self._hooks.append(sums.register_forward_pre_hook(lambda _, found: (_rounded(found[0]),)))


def _rounded(values: Any) -> Any:
    """To bf16 and back; as they are for whoever traces, who rounds by himself."""
    import torch

    return values if torch.jit.is_tracing() else values.to(torch.bfloat16).float()


def _apart(found: Vectors, expected: Vectors) -> float:
    """The largest 1 − cosine."""
    return 1 - float((unit(found).astype(np.float64) * unit(expected)).sum(axis=1).min())


@contextmanager
def _switched(parts: list[Any], *, on: bool) -> Iterator[None]:
    _switch(parts, on=on)
    try:
        yield
    finally:
        _switch(parts, on=not on)


def _switch(parts: list[Any], *, on: bool) -> None:
    for part in parts:
        part.switch(on=on)


def _learnt(parts: list[Any], learn: Callable[[], Vectors]) -> None:
    """The mean of what each is given while `learn` computes."""
    parts = [part for part in parts if part.multiplications]
    for part in parts:
        part.heard = []
    learn()
    for part in parts:
        part.mean, part.heard = sum(total for total, _ in part.heard) / sum(count for _, count in part.heard), None


def _weights(layer: Any) -> int:
    """Numbers that a token is multiplied with."""
    linears = [getattr(layer.self_attn, name) for name in (*ATTENTION, "v_proj", "out_proj")]
    return sum(linear.weight.numel() for linear in [*linears, *(getattr(layer.mlp, name) for name in MLP)])


def _opened(block: Any, names: tuple[str, ...], converted: bool) -> list[Any]:
    """Puts modules that can be switched in the place of the linear ones of these names."""
    parts = []
    for name in names:
        parts.append(_lowerable(getattr(block, name), converted, activated=name == MLP[0]))
        setattr(block, name, parts[-1])
    return parts


def _lowerable(linear: Any, converted: bool, *, activated: bool) -> Any:
    import torch

    class Lowerable(torch.nn.Module):  # type: ignore[misc]  # to mypy torch is Any
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.multiplications = linear, linear.weight.numel()
            self.converted = converted
            self.heard: list[Any] | None = None  # sums over tokens, and how many, while it listens
            self.mean: Any = None
            self.weight: Any = None
            self.bias: Any = None

        def switch(self, *, on: bool) -> None:
            self.weight = linear.weight.detach().to(torch.bfloat16) if on else None
            self.bias = linear.bias.detach() + (linear.weight - self.weight.float()).detach() @ self.mean if on else None

        def forward(self, given: Any) -> Any:
            """[..., in] → [..., out] in fp32, from a product of bf16, whose sums are rounded to bf16 again: by OpenVINO once
            the bias was added, and not where an activation follows."""
            if self.weight is None:
                if self.heard is not None:
                    self.heard.append((given.flatten(0, -2).sum(0), given[..., 0].numel()))
                return self.linear(given)
            if torch.jit.is_tracing():  # OpenVINO is told where bf16 is meant (`lowered_in`), and rounds by itself
                return torch.nn.functional.linear(given, self.weight.float(), self.bias)
            if self.converted:
                found = torch.nn.functional.linear(_rounded(given), self.weight.float(), self.bias)
                return found if activated else _rounded(found)
            return torch.nn.functional.linear(given.to(torch.bfloat16), self.weight).float() + self.bias

    return Lowerable()
