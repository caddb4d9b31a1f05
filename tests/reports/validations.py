"""Validations as they might have come: vectors like a trained CLIP's, with a gap between texts and images, pictures, faults."""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from clipload.backends import Vectors
from clipload.sources.listing import Named
from clipload.validation import Parity, Validation
from clipload.validation.pairs import Pairs
from clipload.validation.parity import compare
from clipload.values import Image, ImageRef, Item, Text

DIM = 64


@cache
def encoded(width: int, height: int, seed: int = 0, kind: str = "JPEG", **options: Any) -> bytes:
    """A picture with smooth hills in it."""
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    waves = np.random.default_rng(seed).uniform(2, 9, (3, 2))
    planes = [127 + 120 * np.sin(a * x * 2 + seed) * np.cos(b * y * 2) for a, b in waves]
    file = io.BytesIO()
    Pillow.fromarray(np.stack(planes, axis=2).astype(np.uint8)).save(file, kind, **options)
    return file.getvalue()


def clip_like(kinds: list[str], seed: int = 0) -> Vectors:
    """Directions that fall into a cone for each kind."""
    draws = np.random.default_rng(seed)
    cones = {kind: draws.normal(size=DIM) for kind in ("text", "image")}
    return np.stack([cones[kind] + draws.normal(size=DIM) for kind in kinds]).astype(np.float32)


def faulty(found: Vectors, rows: tuple[int, ...], swapped: tuple[int, int], seed: int = 1) -> Vectors:
    """The same, with some vectors disturbed and two exchanged, at twice the length."""
    noise: NDArray[np.float64] = np.random.default_rng(seed).normal(size=found.shape) * 1e-4
    noise[list(rows)] *= 5e3
    made = 2 * (found + noise)
    made[list(swapped)] = made[list(reversed(swapped))]
    return made.astype(np.float32)


def parity_of(items: list[Named], found: Vectors, reference: Vectors, limit: float = 1e-3) -> Parity:
    compared = compare(found, reference, limit)
    names, kinds = [item.name for item in items], [item.kind for item in items]
    facts = {"backend": "openvino", "dtype": "fp32", "chosen": {"asked": "auto", "why": "1.31 times as fast as torch here"}}
    against = "backend openvino (openvino 2026.4.1) on cpu, fp32"
    return Parity(names, kinds, compared, limit, ("bf16", "fp32"), 2, against, Pairs(items, found, reference), facts)


def items_of(texts: int, images: int, *others: tuple[str, Item]) -> list[Named]:
    found = [Named(f"{i}.jpg#0", i + 1, "text", f"two black dogs run on the grass , picture {i} .") for i in range(texts)]
    sizes = ((500, 375), (333, 500), (640, 96))
    made = [Named(f"{i}.jpg", 0, "image", Image(encoded(*sizes[i % 3], seed=i), "image/jpeg")) for i in range(images)]
    extra = [Named(name, 0, "text" if isinstance(item, Text) else "image", item) for name, item in others]
    return [*found, *made, *extra]


def validation(texts: int = 60, images: int = 40, *others: tuple[str, Item]) -> Validation:
    """Two Items disturbed of each kind, a text and an image exchanged, and the others that are given disturbed too."""
    items = items_of(texts, images, *others)
    reference = clip_like([item.kind for item in items])
    rows = (3, 7, texts + 2, texts + 5, *range(texts + images, len(items)))
    parity = parity_of(items, faulty(reference, rows, (1, texts + 1)), reference)
    return Validation(server="http://127.0.0.1:30000 (openai/clip-vit-base-patch32, bf16)", parity=parity)


REMOTE = ("far.jpg", ImageRef("http://h/far.jpg"))
