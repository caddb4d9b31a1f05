"""The `random` Source: what it sends, and that each image is its own function of the seed and the index."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image as Pillow

from clipload.errors import CliploadError, DatasetError
from clipload.sources import Source, source_for
from clipload.sources.synthetic import noise
from clipload.values import Image, Item, Text


def random(
    mode: str = "image", seed: int = 42, side: int = 32, image_format: str = "png", threads: int | None = None
) -> Source:
    return source_for("random", mode=mode, seed=seed, image_side=side, image_format=image_format, threads=threads)


def pixels(item: Item) -> np.ndarray:
    assert isinstance(item, Image)
    with Pillow.open(BytesIO(item.data)) as picture:
        assert picture.mode == "RGB"
        return np.asarray(picture)


def test_text_mode_is_one_fixed_caption() -> None:
    source = random("text")
    assert source.available == 1
    assert [s.items for s in source.draw(100)] == [(Text("a beautiful landscape"),)]


def test_a_multimodal_sample_is_text_then_image() -> None:
    source = random("multimodal")
    assert source.available is None
    (sample,) = source.draw(1)
    assert sample.items[0] == Text("a beautiful landscape")
    assert isinstance(sample.items[1], Image)
    assert len(sample.items) == 2


def test_modes_share_their_images() -> None:
    alone = [s.items[0] for s in random("image").draw(3)]
    paired = [s.items[1] for s in random("multimodal").draw(3)]
    assert alone == paired


@pytest.mark.parametrize("side", [224, 336])
def test_png_holds_exactly_the_noise(side: int) -> None:
    samples = list(random(side=side, seed=7).draw(2))
    for index, sample in enumerate(samples):
        assert sample.items[0].media_type == "image/png"  # type: ignore[union-attr]
        assert pixels(sample.items[0]).shape == (side, side, 3)
        assert np.array_equal(pixels(sample.items[0]), np.asarray(noise(7, index, (side, side))))


def test_jpeg_is_a_jpeg_of_that_size() -> None:
    (sample,) = random(image_format="jpeg", side=224).draw(1)
    item = sample.items[0]
    assert isinstance(item, Image)
    assert (item.media_type, item.data[:3]) == ("image/jpeg", b"\xff\xd8\xff")
    assert pixels(item).shape == (224, 224, 3)


def test_the_noise_is_uniform() -> None:
    counts = np.bincount(np.asarray(noise(42, 0, (336, 336))).ravel(), minlength=256)
    expected = 336 * 336 * 3 / 256
    chi2 = float(((counts - expected) ** 2 / expected).sum())
    assert 170 < chi2 < 350  # 255 degrees of freedom: both bounds are beyond four standard deviations


def test_seeds_and_indices_give_different_images() -> None:
    images = {sample.items[0].data for seed in (0, 1, 42) for sample in random(seed=seed).draw(5)}  # type: ignore[union-attr]
    assert len(images) == 15


def test_threads_change_nothing() -> None:
    assert list(random(threads=1).draw(9)) == list(random(threads=4).draw(9))


@pytest.mark.parametrize(
    ("flag", "options"),
    [
        ("--mode", {"mode": "video"}),
        ("--image-format", {"image_format": "tiff"}),
        ("--seed", {"seed": -1}),
        ("--clip-variant", {"side": 0}),
    ],
)
def test_what_cannot_be_names_its_flag(flag: str, options: dict[str, object]) -> None:
    with pytest.raises(DatasetError) as caught:
        random(**options)  # type: ignore[arg-type]
    assert caught.value.flag == flag
    assert caught.value.remedy


def test_an_unknown_source_is_answered_with_the_nearest() -> None:
    with pytest.raises(CliploadError, match="did you mean 'flickr8k'") as caught:
        source_for("flickr30k", mode="text", seed=1)
    assert caught.value.flag == "--data-source"
