"""Pixels against the image processor that they stand for, and when that is used itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

pytest.importorskip("torch", reason="the extra `local` is not installed")
from transformers import CLIPImageProcessorPil

from clipload.backends.pixels import Pixels

SIDE = 32
SIZES: dict[str, Any] = {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}}


def made(**but: Any) -> Pixels:
    return Pixels(CLIPImageProcessorPil(**SIZES | but))


def noise(width: int, height: int, seed: int = 0) -> Pillow.Image:
    return Pillow.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


PLAIN = made()


@settings(max_examples=200, deadline=None)
@given(width=st.integers(1, 300), height=st.integers(1, 300), seed=st.integers(0, 9))
def test_hardly_a_number_is_another_and_none_by_more_than_two_levels(width: int, height: int, seed: int) -> None:
    picture = noise(width, height, seed)
    mine, theirs = PLAIN.of(picture), PLAIN.processed(picture)
    assert mine.shape == theirs.shape == (3, SIDE, SIDE)
    assert mine.dtype == theirs.dtype == np.float32
    level = (1 / 255) / np.array([0.26862954, 0.26130258, 0.27577711])[:, None, None]  # CLIP's own deviations
    assert (np.abs(mine - theirs) / level).max() < 2.01
    assert (mine != theirs).mean() < 0.01


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "LA", "I;16"])
def test_pictures_of_other_modes_are_converted_as_for_the_processor(mode: str) -> None:
    picture = noise(50, 40).convert("L").convert(mode) if mode in ("LA", "I;16") else noise(50, 40).convert(mode)
    assert np.abs(PLAIN.of(picture) - PLAIN.processed(picture)).max() < 0.016


def test_it_is_its_own_work_for_all_that_is_not_twice_as_high_as_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the test above would hold two calls of the same processor against each other."""
    pixels = made()
    assert pixels.own
    monkeypatch.setattr(pixels, "processor", None)
    for picture in (noise(50, 40), noise(40, 40), noise(40, 60), noise(375, 500), noise(20, 30), noise(300, 41)):
        assert pixels.of(picture).shape == (3, SIDE, SIDE)
    with pytest.raises(TypeError):
        pixels.of(noise(40, 90))


@pytest.mark.parametrize(
    "but",
    [
        pytest.param({"image_mean": [0.5] * 3, "image_std": [0.25] * 3}, id="other numbers"),
        pytest.param({"do_normalize": False}, id="not normalised"),
        pytest.param({"crop_size": {"height": 20, "width": 24}}, id="less is cut out"),
        pytest.param({"do_rescale": False, "do_normalize": False}, id="bytes"),
    ],
)
def test_a_processor_of_the_same_form_is_followed(but: dict[str, Any]) -> None:
    pixels, picture = made(**but), noise(61, 47)
    assert pixels.own
    mine, theirs = pixels.of(picture), pixels.processed(picture)
    assert mine.shape == theirs.shape
    assert (mine != theirs).mean() < 0.01


@pytest.mark.parametrize(
    "but",
    [
        pytest.param({"resample": Pillow.Resampling.BILINEAR}, id="another filter"),
        pytest.param({"do_resize": False}, id="not scaled"),
        pytest.param({"do_center_crop": False}, id="not cropped"),
        pytest.param({"size": {"shortest_edge": SIDE, "longest_edge": 2 * SIDE}}, id="not all of a panorama"),
        pytest.param({"size": {"height": 40, "width": 50}}, id="scaled to both sides"),
        pytest.param({"crop_size": {"height": 40, "width": 40}}, id="padded"),
    ],
)
def test_any_other_processor_is_used_itself(but: dict[str, Any]) -> None:
    pixels, picture = made(**but), noise(61, 47)
    assert not pixels.own
    assert np.array_equal(pixels.of(picture), pixels.processed(picture))
