"""`auto`: the fastest sound backend that is installed, found out by a short trial, and why.

On a GPU that is torch. On a CPU it is OpenVINO where it fits, where its vectors are torch's, and where it took less time than
torch for the same few Items; else torch. IPEX is never taken: its project is archived. `remote` computes nothing here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from clipload.backends import Backend, BackendOptions, Prepared, Vectors, openvino
from clipload.backends.checkpoints import Loaded
from clipload.backends.openvino import OpenVino
from clipload.backends.torch_clip import TorchClip, settled
from clipload.errors import HostError
from clipload.values import Item

AUTO = "auto"
CHOICES = ("torch", "openvino")  # what it may become
FEWEST, MOST, BUDGET_S = 2, 5, 2.0  # rounds of a trial; no further one than the fewest once so much time has gone

Encode = Callable[[Sequence[Item | Prepared]], Vectors]


class Trial(NamedTuple):
    """Seconds for the same Items, the better round of each."""

    items: int
    torch_s: float
    openvino_s: float

    @property
    def ratio(self) -> float:
        """How many times as fast as torch OpenVINO was."""
        return self.torch_s / self.openvino_s


class Chosen:
    """A Backend that knows why it was taken."""

    def __init__(self, backend: TorchClip | OpenVino, why: str, trial: Trial | None = None) -> None:
        self.backend, self.why, self.trial = backend, why, trial

    @property
    def loaded(self) -> Loaded:
        return self.backend.loaded

    def prepare(self, item: Item) -> Prepared:
        return self.backend.prepare(item)

    def encode(self, items: Sequence[Item | Prepared]) -> Vectors:
        return self.backend.encode(items)

    def facts(self) -> dict[str, Any]:
        trial = self.trial._asdict() if self.trial else None
        return self.backend.facts() | {"chosen": {"asked": AUTO, "why": self.why, "trial": trial}}

    def close(self) -> None:
        self.backend.close()


def make(options: BackendOptions) -> Backend:
    """Says what it took and why; the facts keep it."""
    chosen = choose(options)
    options.say(f"--backend auto takes {chosen.backend.name}: {chosen.why}")
    return chosen


def choose(options: BackendOptions, clock: Callable[[], float] = time.perf_counter) -> Chosen:
    options = settled(options)
    if options.device != "cpu":
        return Chosen(TorchClip(options), f"the one for {options.device}")
    if reason := openvino.mismatch():
        return Chosen(TorchClip(options), f"{reason} ({openvino.REMEDY.partition(',')[0]})")
    plain = TorchClip(options, converted=True)

    def torch() -> TorchClip:
        """Whom OpenVINO is held against. What it lowers it tries anew: `plain` did so as OpenVINO."""
        if not plain.lowered:
            return plain
        plain.release()
        return TorchClip(options)

    if plain.dtype not in openvino.HINTS:
        return Chosen(torch(), f"OpenVINO computes no {plain.dtype} on a CPU")
    try:
        other = OpenVino(options, plain)
    except HostError as error:
        if error.flag != openvino.FLAG:
            raise
        return Chosen(torch(), error.what)
    rival = torch()
    trial = tried(rival.encode, other.encode, openvino.probes(plain.loaded, options.kinds), clock)
    if trial.ratio <= 1:
        why = f"OpenVINO takes {1 / trial.ratio:.2f} times as long for {trial.items} Items here"
        return Chosen(rival, why, trial)
    plain.release()
    apart = f"1 − cosine to its vectors in fp32 at most {max(0.0, 1 - other.cosine):.1e}"
    return Chosen(other, f"{trial.ratio:.2f} times as fast as torch for {trial.items} Items here, {apart}", trial)


def tried(torch: Encode, openvino: Encode, items: Sequence[Item | Prepared], clock: Callable[[], float]) -> Trial:
    """Round by round, turn about, so that what slows the machine slows both; the first round also warms up."""
    took: dict[str, list[float]] = {"torch": [], "openvino": []}
    began = clock()
    while (done := len(took["torch"])) < FEWEST or (done < MOST and clock() - began < BUDGET_S):
        for name, encode in (("torch", torch), ("openvino", openvino)):
            start = clock()
            encode(items)
            took[name].append(clock() - start)
    return Trial(len(items), min(took["torch"]), min(took["openvino"]))
