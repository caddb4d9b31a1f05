"""Judgements of replies: pure, each "" when all is right and else the reason, in the words of a checklist."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from clipload.dialects import Vectors
from clipload.preflight.asking import Reply

Judgement = Callable[[Sequence[Reply]], str]

ALIKE = 1e-3
"""1 − cosine up to which two vectors are one. Measured: bfloat16 and another batch move a vector by 1e-4 at most, another
text or image by 6e-3 at least, a leak by 0.09, a radix cache by 0.24."""


def distance(one: Vectors, other: Vectors) -> float:
    """1 − cosine of two vectors that are not zero."""
    a, b = np.asarray(one, np.float64), np.asarray(other, np.float64)
    return float(1 - a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def sane(replies: Sequence[Reply]) -> str:
    """Finite, not zero, not one number over and over, all of one length."""
    vectors = np.concatenate([row.ravel() for reply in replies for row in reply.vectors])
    rows = [row for reply in replies for row in reply.vectors]
    if not np.isfinite(vectors).all():
        return "a vector is not finite"
    if any(not row.any() for row in rows):
        return "a vector is zero"
    if any(len(row) > 1 and np.ptp(row) == 0 for row in rows):
        return "a vector is one number over and over"
    lengths = sorted({len(row) for row in rows})
    return "" if len(lengths) == 1 else f"vectors of {' and '.join(map(str, lengths))} numbers"


def differ(replies: Sequence[Reply]) -> str:
    """The first vector is none of the others'."""
    first, *others = (reply.vectors[0] for reply in replies)
    nearest = min(distance(first, other) for other in others)
    return "" if nearest > ALIKE else f"what differs has the same vector (cosine {1 - nearest:.4f})"


def agree(replies: Sequence[Reply]) -> str:
    """Two requests for one thing give one vector."""
    one, other = (reply.vectors[0] for reply in replies)
    apart = distance(one, other)
    return "" if apart <= ALIKE else f"cosine {1 - apart:.2f}"


def together(replies: Sequence[Reply]) -> str:
    """Requests of several Items held, in order, what each of those before them held alone."""
    singles = [reply.vectors[0] for reply in replies if len(reply.vectors) == 1]
    batches = [list(reply.vectors) for reply in replies if len(reply.vectors) > 1]
    return next(filter(None, (_beside(singles, batch) for batch in batches)), "")


def _beside(singles: Sequence[Vectors], batch: Sequence[Vectors]) -> str:
    apart = [distance(single, row) for single, row in zip(singles, batch, strict=True)]
    if max(apart) <= ALIKE:
        return ""
    whose = [min(range(len(singles)), key=lambda k: distance(singles[k], row)) for row in batch]
    if whose != list(range(len(batch))) and all(distance(singles[k], row) <= ALIKE for k, row in zip(whose, batch)):
        return f"the vectors come in another order: {', '.join(str(k + 1) for k in whose)}"
    wrong = sum(one > ALIKE for one in apart)
    return f"{wrong} of {len(batch)} vectors are not those of the same alone (cosine {1 - max(apart):.2f} at worst)"


def as_base64(replies: Sequence[Reply]) -> str:
    """Floats are what a server sends that ignores the field."""
    return "" if replies[0].encoding == "base64" else "it sent floats"
