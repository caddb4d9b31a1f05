"""What every local backend is held to: transformers' own outputs, one by one, for texts and pictures of all kinds."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow

from clipload.backends import Backend
from clipload.values import Image, Text

TEXTS = ["a dog", "two black dogs run on the grass .", "ünïcödé 漢字", "d", "a man in a red shirt is riding a wave in the sea"]
LONG = "a long dog " * 60


def picture(seed: int, size: tuple[int, int] = (60, 40), mode: str = "RGB", kind: str = "PNG") -> Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    file = io.BytesIO()
    Pillow.fromarray(pixels).convert(mode).save(file, kind)
    return Image(file.getvalue(), f"image/{kind.lower()}")


PICTURES = [
    picture(1),
    picture(2, (31, 500), kind="JPEG"),
    picture(3, (32, 32), "L"),
    picture(4, mode="RGBA"),
    picture(5, mode="P"),
    picture(6, mode="CMYK", kind="TIFF"),
    picture(7, (1, 1)),
]


def reference(folder: Path, texts: list[str], images: list[Image]) -> tuple[NDArray[Any], NDArray[Any]]:
    """What transformers says, one by one: its own tokenizer, processor and model, no padding, truncation to the context."""
    import torch
    from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

    model = CLIPModel.from_pretrained(folder, local_files_only=True).eval()
    tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    processor = CLIPImageProcessorPil.from_pretrained(folder, local_files_only=True)
    rows: list[list[Any]] = [[], []]
    with torch.inference_mode():
        for text in texts:
            given = tokenizer(text, truncation=True, max_length=77, return_tensors="pt")
            rows[0].append(model.get_text_features(**given).pooler_output[0].numpy())
        for image in images:
            given = processor(images=Pillow.open(io.BytesIO(image.data)).convert("RGB"), return_tensors="pt")
            rows[1].append(model.get_image_features(**given).pooler_output[0].numpy())
    return np.array(rows[0]), np.array(rows[1])


def cosines(left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
    return np.asarray((left * right).sum(1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1))


FP32 = 0.99999  # the least cosine of a backend that computes in fp32


def check_parity(folder: Path, backend: Backend, pictures: list[Image], least: float = FP32, within: float = 1e-4) -> None:
    """Direction, length (to `within` of it), and whose vector it is, of every Item in one batch."""
    texts, images = reference(folder, [*TEXTS, LONG], pictures)
    found = backend.encode([*map(Text, TEXTS), Text(LONG), *pictures])
    assert found.dtype == np.float32
    expected = np.concatenate([texts, images])
    assert found.shape == expected.shape
    assert cosines(found, expected).min() >= least
    within = within if least >= FP32 else 0.02  # bf16 was measured to be off by 1e-3 (b32), 7e-3 (tiny)
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.linalg.norm(expected, axis=1), rel=within)
    nearest = (found @ expected.T / np.linalg.norm(expected, axis=1)).argmax(axis=1)
    assert (nearest == np.arange(len(found))).all()
