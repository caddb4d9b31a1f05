"""`torch`: a CLIP model computed here, on the CPU or a GPU. Its own tokenizer and image processor; texts padded to the longest
of their batch; weights stay fp32, lower precision is autocast (half the error of lower weights at the same speed)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image as Pillow

from clipload.backends import PARITY, BackendOptions, Prepared, Vectors
from clipload.backends.isa import Isa, capped, cpu_flags, dtype_for
from clipload.backends.libraries import transformers_quietly
from clipload.backends.lowering import DTYPE, Lowering
from clipload.backends.models import find_model
from clipload.backends.probes import captions, images, texts
from clipload.backends.towers import grouped, image_features, padded, text_features, with_class_token_alone
from clipload.errors import HostError
from clipload.values import Image, Item, Text

IMAGES = 3  # of each kind among the probes
Accelerate = Callable[[Any, Any], Any]  # (model, torch's dtype) → model


def make(options: BackendOptions) -> TorchClip:
    return TorchClip(options)


Tower = Callable[..., Vectors]  # (ids, mask) or (pixels), torch's tensors → [n, dim]


class TorchClip:
    """The model is in `loaded` as transformers made it, but for what is left out of it or lowered; `accelerate` may put another
    in its place. `converted`: OpenVINO will compute it, so it is lowered as far as is not felt there."""

    name = "torch"

    def __init__(self, options: BackendOptions, accelerate: Accelerate | None = None, *, converted: bool = False) -> None:
        if accelerate is not None and options.amp == PARITY:
            remedy = "use --amp off or bf16, or --backend torch or openvino"
            raise HostError("IPEX lowers the weights itself", flag="--amp", remedy=remedy)
        isa = capped(options, cpu_flags())  # before torch is imported
        self._options = options = settled(options)
        on_cpu = options.device == "cpu"
        dtype = dtype_for(options, isa) if on_cpu else ""  # likewise: a refusal should not wait for it
        found = find_model(options)
        transformers_quietly()
        import torch

        if options.threads:
            torch.set_num_threads(options.threads)
        self._device = device_for(options)
        self.loaded = found.load()
        self.dtype = dtype or _gpu_dtype(options.amp)
        if not on_cpu:
            torch.backends.cudnn.allow_tf32 = False  # else convolutions in fp32 are computed with ten bits
        self.weights = self.loaded.weights_digest()
        self._isa = isa.name if on_cpu else ""
        self._model = with_class_token_alone(self.loaded.model).to(self._device)
        if accelerate is not None:
            self._model = accelerate(self._model, _torch_dtype(self.dtype))
        self._text, self._image = text_features, image_features
        self.lowered: dict[str, float] = {}  # tower → the share of its multiplications
        self._lowering = self._settled(isa, converted=converted) if options.amp == PARITY else None
        if options.compiled:
            self._text, self._image = (torch.compile(features, dynamic=True) for features in (text_features, image_features))

    def _settled(self, isa: Isa, *, converted: bool) -> Lowering | None:
        if "bf16" not in isa.natively:
            return None
        self._options.say("--amp parity: trying how much of the model feels no bf16")
        lowering = Lowering(self._model, converted=converted)
        if "text" in self._options.kinds:
            self.lowered["text"] = lowering.settle("text", partial(self.encode, captions()), partial(self.encode, texts()))
        if "image" in self._options.kinds:
            known, others = images(self.loaded, IMAGES, 1), images(self.loaded, IMAGES, 2)
            self.lowered["image"] = lowering.settle("image", partial(self.encode, known), partial(self.encode, others))
        return lowering

    @property
    def precision(self) -> str:
        """What the facts call it: the dtype, or how it was lowered."""
        return DTYPE if any(self.lowered.values()) else self.dtype

    @property
    def arithmetic(self) -> str:
        """The weights, and all that decides how they are computed with."""
        return f"{self.weights} {self._lowering}" if self._lowering else self.weights

    def prepare(self, item: Item) -> Prepared:
        if isinstance(item, Text):
            ids = self.loaded.tokenizer.encode(item.text).ids
            cut = max(0, len(ids) - self.loaded.context)
            return Prepared(tuple(ids if not cut else [*ids[: self.loaded.context - 1], ids[-1]]), cut)
        if not isinstance(item, Image):
            raise ValueError(f"{item.reference[:80]!r} is a reference, which only a server opens")  # noqa: TRY004
        with Pillow.open(BytesIO(item.data)) as picture:
            return Prepared(self.loaded.pixels.of(picture))

    def encode(self, items: Sequence[Item | Prepared]) -> Vectors:
        return self.by_towers(items, partial(self._run, self._text), partial(self._run, self._image))

    def encode_in_fp32(self, items: Sequence[Item | Prepared]) -> Vectors:
        """What the others are held against: the same model, not autocast."""
        whole = {"dtype": "fp32"}
        with self._lowering.whole() if self._lowering else nullcontext():
            return self.by_towers(items, partial(self._run, self._text, **whole), partial(self._run, self._image, **whole))

    def by_towers(self, items: Sequence[Item | Prepared], text: Tower, image: Tower) -> Vectors:
        """Each Item's vector in its place: texts grouped by length and padded, then images, each through its tower."""
        contents = [(item if isinstance(item, Prepared) else self.prepare(item)).content for item in items]
        vectors = np.empty((len(contents), self.loaded.dim), np.float32)
        texts = [place for place, content in enumerate(contents) if isinstance(content, tuple)]
        images = [place for place, content in enumerate(contents) if not isinstance(content, tuple)]
        for group in self._groups([len(contents[place]) for place in texts]):
            places = [texts[number] for number in group]
            vectors[places] = text(*padded([contents[place] for place in places], self.loaded.eos))
        if images:
            vectors[images] = image(_tensor(np.stack([contents[place] for place in images])))
        return vectors

    def facts(self) -> dict[str, Any]:
        import torch
        import transformers

        deciding = {
            "backend": self.name,
            "model": self.loaded.name,
            "weights": self.weights,
            "device": str(self._device),
            "dtype": self.precision,
            "isa": self._isa,
        }
        versions = {"torch": str(torch.__version__), "transformers": transformers.__version__}
        threads = torch.get_num_threads() if self._isa else None
        lowered = {"lowered": self.lowered} if self.lowered else {}
        return deciding | lowered | {"threads": threads, "compiled": self._options.compiled, "versions": versions}

    def close(self) -> None:
        """The model goes with this object."""

    def release(self) -> None:
        """Gives the weights back, for one that only prepares for another."""
        self._model, self._lowering, self.loaded = None, None, replace(self.loaded, model=None)

    def _groups(self, lengths: list[int]) -> list[list[int]]:
        """A GPU would rather pad than be asked more often."""
        return grouped(lengths) if self._isa or not lengths else [list(range(len(lengths)))]

    def _run(self, features: Callable[..., Any], *inputs: Any, dtype: str = "") -> Vectors:
        import torch

        kind = _torch_dtype(dtype or self.dtype)
        try:
            with torch.inference_mode(), torch.autocast(self._device.type, kind, enabled=kind is not torch.float32):
                found = features(self._model, *map(self._there, inputs))
            vectors: Vectors = found.float().cpu().numpy()
        except RuntimeError as error:
            raise self._told(error) from error
        return vectors

    def _there(self, value: Any) -> Any:
        """On the device; to a GPU from pinned memory, from which the copy needs not wait for the CPU."""
        if self._isa:
            return value
        return value.pin_memory().to(self._device, non_blocking=True)

    def _told(self, error: RuntimeError) -> Exception:
        """Of torch's RuntimeErrors, those that have a remedy."""
        import torch

        if isinstance(error, torch.cuda.OutOfMemoryError) or "allocate memory" in str(error):
            return MemoryError(str(error))
        if self._options.compiled and type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            why = str(error).strip().splitlines()[0]
            return HostError(f"torch.compile failed: {why}", flag="--compile", remedy="leave it out, or install a C++ compiler")
        return error


def settled(options: BackendOptions) -> BackendOptions:
    """`--device auto` is the first GPU that torch sees (CUDA_VISIBLE_DEVICES decides which that is), else the CPU."""
    if options.device != "auto":
        return options
    capped(options, cpu_flags())
    transformers_quietly()
    import torch

    return replace(options, device="cuda" if torch.cuda.is_available() else "cpu")


def device_for(options: BackendOptions) -> Any:
    """torch's device. HostError when there is no such GPU."""
    import torch

    device = torch.device(options.device)
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    if (device.index or 0) >= count:
        what = f"{options.device}: torch {torch.__version__} sees {count} CUDA devices here"
        raise HostError(what, flag="--device", remedy=f"use --device cpu, or {_for_a_gpu(torch, count)}")
    return device


def _for_a_gpu(torch: Any, count: int) -> str:
    """What makes torch see the GPU that was asked for."""
    if count:
        return f"cuda:0 to cuda:{count - 1}" if count > 1 else "cuda:0"
    if torch.version.cuda is None:
        return (
            f"a torch that is built for CUDA: pip install --force-reinstall torch=={str(torch.__version__).partition('+')[0]}"
        )
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return f"unset CUDA_VISIBLE_DEVICES, which is {visible!r}"
    return f"see whether nvidia-smi names one, with a driver for CUDA {torch.version.cuda}"


def _torch_dtype(name: str) -> Any:
    import torch

    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[name]


def _gpu_dtype(amp: str) -> str:
    import torch

    if amp == PARITY:
        raise HostError("--amp parity is for a CPU", flag="--amp", remedy="use --amp off, bf16 or auto; or --device cpu")

    if amp == "auto":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    return "fp32" if amp == "off" else amp


def _tensor(array: Any) -> Any:
    import torch

    return torch.from_numpy(array)
