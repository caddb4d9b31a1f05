"""The signals of a Run by which its generator is judged: each a figure and the words for it, recomputed from the Run alone.

A signal that this Run does not have (no witness, a kernel that does not say, the other kind of loop) is left out. `health`
holds the thresholds.
"""

from __future__ import annotations

from collections.abc import Sequence

from clipload.run import Run
from clipload.signals.host import HOST
from clipload.signals.quantiles import SHIFTS, worst
from clipload.signals.signal import Signal
from clipload.signals.workers import WORKERS

JUDGED = (0.99,)
SIGNALS = frozenset({*WORKERS, *HOST, *SHIFTS})

Health = dict[str, Signal]


def health_of(run: Run, judged: Sequence[float] = JUDGED) -> Health:
    """Every signal of the Run; `judged` are the quantiles of latency that its answer rests on."""
    found = {name: signal(run) for name, signal in (WORKERS | HOST).items()}
    found |= {name: worst(run, judged, moved) for name, moved in SHIFTS.items()}
    return {name: signal for name, signal in found.items() if signal is not None}
