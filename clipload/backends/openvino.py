"""`openvino`: the model of `torch`, its towers converted and computed by OpenVINO on the CPU. Tokens and pixels are torch's.

OpenVINO takes bf16 wherever the CPU has it, unless it is told what to take: it is told, and what it says that it took is the
dtype in the facts. Before the first vector a few Items are computed by torch too, in fp32: a model that was converted wrongly
is refused, not used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from clipload.backends import KINDS, BackendOptions, Prepared, Vectors
from clipload.backends.checkpoints import Loaded
from clipload.backends.conversions import TOWERS, library, towers_for
from clipload.backends.lowering import DTYPE, LIMIT, lowered_in
from clipload.backends.probes import noise, texts
from clipload.backends.torch_clip import TorchClip
from clipload.errors import HostError
from clipload.retrieval import bad_rows, unit
from clipload.values import Item

PACKAGE = "openvino"
FLAG = "--backend openvino"
REMEDY = "pip install '.[openvino]', or use --backend torch"
LEAST = (2026, 4)  # the oldest that was tried
HINTS = {"fp32": "f32", "bf16": "bf16"}  # of --amp, what OpenVINO is told; it has its own names
DTYPES = {"f32": "fp32", "bf16": "bf16", "f16": "fp16"}
LIMITS = {"fp32": 1e-5, DTYPE: LIMIT, "bf16": 1e-3}  # of 1 − cosine to torch in fp32
IMAGES = 2  # of the probes


class OpenVino:
    """`plain` prepares, and is what the converted towers are held against. Its weights can be released afterwards."""

    name = "openvino"

    def __init__(self, options: BackendOptions, plain: TorchClip) -> None:
        self.plain = plain
        hint = _hint(plain.dtype)
        model, eos = plain.loaded.model, plain.loaded.eos
        try:
            lowered = lowered_in(model)
            towers = towers_for(model, eos, plain.arithmetic, lowered, options.cache, options.say)
            hints = [HINTS["bf16"] if any(path.startswith(place) for path in lowered) else hint for place in TOWERS.values()]
            compiled = [_compiled(tower, told, options.threads) for tower, told in zip(towers, hints)]
        except HostError:
            raise
        except ImportError as error:
            found = version(PACKAGE)
            remedy = f"pip install --force-reinstall openvino=={found}, or use --backend torch"
            raise HostError(f"OpenVINO {found} cannot be imported: {_line(error)}", flag=FLAG, remedy=remedy) from error
        except Exception as error:
            raise _unfit(f"cannot convert this model: {type(error).__name__}: {_line(error)}") from error
        self._text, self._image = (partial(_run, tower) for tower in compiled)
        took = [_precision(tower) for tower in compiled]
        self.hint, self.dtype = "/".join(dict.fromkeys(hints)), plain.precision
        if took != hints:
            self.dtype = "/".join(dict.fromkeys(DTYPES.get(name, name) for name in took))
            options.say(f"OpenVINO was told {plain.precision} and computes {self.dtype} on this CPU")
        self._threads = int(compiled[0].get_property("INFERENCE_NUM_THREADS"))
        self.cosine = self._agreement()

    @property
    def loaded(self) -> Loaded:
        return self.plain.loaded

    def prepare(self, item: Item) -> Prepared:
        return self.plain.prepare(item)

    def encode(self, items: Sequence[Item | Prepared]) -> Vectors:
        return self.plain.by_towers(items, self._text, self._image)

    def facts(self) -> dict[str, Any]:
        facts = self.plain.facts()
        versions = facts["versions"] | {PACKAGE: version(PACKAGE)}
        took = {"dtype": self.dtype, "hint": self.hint, "threads": self._threads, "cosine_to_torch": self.cosine}
        return facts | {"backend": self.name, "versions": versions} | took

    def close(self) -> None:
        """The model goes with this object."""

    def _agreement(self) -> float:
        """The lowest cosine to torch's fp32 vectors of a few Items. HostError when it is too low for the dtype."""
        items = probes(self.plain.loaded)
        mine, theirs = self.encode(items), self.plain.encode_in_fp32(items)
        good = not len(bad_rows(mine))
        cosine = float((unit(mine).astype(np.float64) * unit(theirs)).sum(axis=1).min()) if good else float("nan")
        limit = LIMITS.get(self.dtype, max(LIMITS.values()))
        if not 1 - cosine <= limit:
            what = f"computes other vectors than torch for this model: cosine {cosine:.6f}, not {1 - limit}"
            raise _unfit(what, "--amp off" if self.dtype == DTYPE else "--backend torch")
        return min(1.0, cosine)


def make(options: BackendOptions) -> OpenVino:
    """HostError when OpenVINO is missing, too old, or computes something else than torch does."""
    if reason := mismatch():
        raise HostError(reason, flag=FLAG, remedy=REMEDY)
    backend = OpenVino(options, TorchClip(options, converted=True))
    backend.plain.release()
    return backend


def mismatch() -> str:
    """Why what is installed cannot be used; empty when it can. Nothing is imported."""
    try:
        found = version(PACKAGE)
    except PackageNotFoundError:
        return "OpenVINO (openvino) is not installed"
    numbers = tuple(int(part) for part in found.split(".")[:2] if part.isdecimal())
    if numbers < LEAST:
        return f"OpenVINO {found} is older than {'.'.join(map(str, LEAST))}"
    return ""


def probes(loaded: Loaded, kinds: Sequence[str] = KINDS) -> list[Item | Prepared]:
    """What both are given."""
    return [*(texts() if "text" in kinds else ()), *(noise(loaded, IMAGES) if "image" in kinds else ())]


def _hint(dtype: str) -> str:
    if dtype not in HINTS:
        raise HostError(f"OpenVINO computes no {dtype} on a CPU", flag="--amp", remedy="use --amp off, bf16 or auto")
    return HINTS[dtype]


def _compiled(tower: Any, hint: str, threads: int | None) -> Any:
    """One stream over all cores; the system places the threads, since whoever wants them pinned pins the process."""
    told = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False}
    return library().Core().compile_model(tower, "CPU", told | ({"INFERENCE_NUM_THREADS": threads} if threads else {}))


def _precision(compiled: Any) -> str:
    """OpenVINO's name of the type in which it computes: what it took, whatever it was told."""
    return str(compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name())


def _run(compiled: Callable[[list[Any]], Any], *inputs: Any) -> Vectors:
    try:
        vectors: Vectors = compiled([value.numpy() for value in inputs])[0]
    except RuntimeError as error:
        if "alloc" in str(error):
            raise MemoryError(str(error)) from error
        raise
    return vectors


def _unfit(what: str, instead: str = "--backend torch") -> HostError:
    return HostError(f"OpenVINO {version(PACKAGE)} {what}", flag=FLAG, remedy=f"use {instead}")


def _line(error: Exception) -> str:
    return (str(error).strip() or "no reason given").splitlines()[0]
