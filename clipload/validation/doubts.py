"""What images' vectors alone give away: a server that does not look at them, or whose answers depend on what else is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipload.retrieval import unit
from clipload.validation.parity import LIMITS, distances

_ONE = 1e-6  # 1 − cosine of what is the same to rounding
_OTHER = LIMITS["bf16"]  # more than any dtype explains


def doubts(vectors: NDArray[np.floating[Any]], names: Sequence[str]) -> list[str]:
    """Sentences. Row i is an answer to the image names[i], which may be there several times."""
    if not len(vectors):
        return []
    directions = unit(vectors)
    first: dict[str, int] = {}
    for row, name in enumerate(names):
        first.setdefault(name, row)
    found = []
    if len(first) > 1 and distances(directions, np.broadcast_to(directions[0], directions.shape)).max() <= _ONE:
        found.append("different images came back as one and the same vector: does the server look at them?")
    apart = distances(directions, directions[[first[name] for name in names]])
    unsteady = {name for name, far in zip(names, apart) if far > _OTHER}
    if unsteady:
        what = f"{len(unsteady)} of {len(first)} images came back as different vectors when asked again"
        found.append(f"{what} (1 − cosine up to {apart.max():.1e}): answers depend on what else is asked")
    return found
