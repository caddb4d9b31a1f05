"""Verification: how captions and images are paired, and what is left out or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipload import dumps
from clipload.dumps import SideCar
from clipload.embedding.options import EmbeddingOptions
from clipload.verification import verify

VECTORS = np.random.default_rng(4).normal(size=(5, 6)).astype(np.float32)


def put(path: Path, kind: str, rows: np.ndarray[Any, Any], names: list[str], **identity: str) -> None:
    given = {"kind": kind, "count": len(rows), "dim": rows.shape[1], "normalized": False, "checksum": "", "facts": {}}
    dumps.write(path, rows, SideCar(identity=dict(identity), names=names, **given))  # type: ignore[arg-type]


def found(folder: Path, **options: Any) -> Any:
    return verify(EmbeddingOptions(verify=True, dump_txt_emb=folder / "t.npy", dump_img_emb=folder / "i.npy", **options))


def test_names_pair_them_whatever_their_order(tmp_path: Path) -> None:
    put(tmp_path / "i.npy", "image", VECTORS, ["a", "b", "c#2", "d", "e"], weights="w", dtype="fp32")
    order = [2, 0, 1, 0]
    names = ["c#2#0", "a#1", "b#0", "a#0", "gone#0"]
    put(tmp_path / "t.npy", "text", VECTORS[[*order, 4]], names, weights="w", dtype="fp32")
    result = found(tmp_path)
    assert (result.recall.texts, result.recall.images, result.exit_code) == (4, 3, 0)
    assert result.recall.image_retrieval[1] == result.recall.text_retrieval[1] == 1.0
    assert result.notes == ["left out: 1 captions without an image, 2 images without a caption"]


def test_dumps_of_two_models_are_ranked_with_a_note(tmp_path: Path) -> None:
    put(tmp_path / "i.npy", "image", VECTORS, list("abcde"), weights="w1", dtype="fp32")
    put(tmp_path / "t.npy", "text", VECTORS, list("abcde"), weights="w2", dtype="fp32")
    assert found(tmp_path).notes == ["the dumps differ in weights: w2 and w1"]  # texts' first


@pytest.mark.parametrize(("texts", "each", "why"), [(11, None, "a whole number"), (10, 3, "are not 3")])
def test_numbers_that_do_not_pair(texts: int, each: int | None, why: str, tmp_path: Path) -> None:
    np.save(tmp_path / "i.npy", VECTORS)
    np.save(tmp_path / "t.npy", np.ones((texts, 6), np.float32))
    result = found(tmp_path, captions_per_image=each)
    assert result.recall is None
    assert why in result.notes[0]
    assert "no caption belongs to an image" in result.why_not


def test_names_that_have_nothing_in_common(tmp_path: Path) -> None:
    put(tmp_path / "i.npy", "image", VECTORS, list("abcde"))
    put(tmp_path / "t.npy", "text", VECTORS, list("vwxyz"))
    assert found(tmp_path).recall is None


def test_what_cannot_be_ranked_is_not(tmp_path: Path) -> None:
    bad = VECTORS.copy()
    bad[2, 0] = np.nan
    np.save(tmp_path / "i.npy", bad)
    np.save(tmp_path / "t.npy", VECTORS)
    result = found(tmp_path)
    assert (result.recall, result.exit_code) == (None, 1)
    assert "cannot be ranked" in result.why_not
