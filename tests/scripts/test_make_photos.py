"""scripts/make_photos.py: the data set is whole, real, in Flickr8k's format, and the same each time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipload.sources import source_for
from clipload.sources.flickr8k import Captioned, read_captions

SCRIPT = Path(__file__).parents[2] / "scripts" / "make_photos.py"


def make_photos(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("photographs") / "made" / "here"
    done = make_photos("--out", out)
    assert (done.returncode, done.stderr) == (0, "")
    assert str(out / "Flicker8k_Dataset") in done.stdout
    return out


@pytest.fixture(scope="module")
def images(dataset: Path) -> list[Captioned]:
    return read_captions(dataset / "Flickr8k.token.txt")


def test_five_distinct_tokenised_captions_each(images: list[Captioned]) -> None:
    assert 12 <= len(images) <= 24
    assert all(len(image.captions) == 5 for image in images)
    captions = [caption for image in images for caption in image.captions]
    assert len(set(captions)) == len(captions), "a caption that fits two images makes retrieval a coin toss"
    for caption in captions:
        assert caption.endswith(" .")
        assert caption == " ".join(caption.split())
        assert caption[0].isupper()


def test_lines_are_flickr8ks(dataset: Path) -> None:
    lines = (dataset / "Flickr8k.token.txt").read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        key, _, caption = line.partition("\t")
        assert key.endswith(f".jpg#{number % 5}")
        assert caption


def test_images_are_colour_jpegs_of_flickrs_size(dataset: Path, images: list[Captioned]) -> None:
    folder = dataset / "Flicker8k_Dataset"
    assert sorted(file.name for file in folder.iterdir()) == [image.name for image in images]
    for image in images:
        with Image.open(folder / image.name) as picture:
            assert (picture.format, picture.mode) == ("JPEG", "RGB")
            assert 375 <= max(picture.size) <= 500
            assert np.asarray(picture).std() > 5, "a flat picture is no photograph"


def test_our_own_source_reads_all_of_it(dataset: Path, images: list[Captioned]) -> None:
    source = source_for(
        "flickr8k",
        mode="multimodal",
        seed=1,
        image_format="jpeg",
        flickr_images_dir=dataset / "Flicker8k_Dataset",
        flickr_captions_file=dataset / "Flickr8k.token.txt",
        strict=True,
    )
    assert len(set(source.draw(1000))) == len(images)


def test_a_second_run_changes_nothing(dataset: Path) -> None:
    files = sorted(path for path in dataset.rglob("*") if path.is_file())
    before = {path: path.read_bytes() for path in files}
    assert make_photos("--out", dataset).returncode == 0
    assert {path: path.read_bytes() for path in sorted(dataset.rglob("*")) if path.is_file()} == before


def test_without_a_place_it_says_so() -> None:
    done = make_photos()
    assert done.returncode == 2
    assert "--out" in done.stderr
