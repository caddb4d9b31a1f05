"""The `folder` Source: what counts as an image and a caption, and every way in which a folder can be wrong."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from clipload.errors import DatasetError
from clipload.mixes import parse_sizes
from clipload.sources import Skip, Source, source_for
from clipload.values import Image, Sample, Text

FILES = ("a.jpg", "b.JPEG", "c.png", "sub/d.webp", "sub/deeper/e.bmp", "f.gif")
FORMATS = {"a.jpg": "jpeg", "b.JPEG": "jpeg", "c.png": "png", "sub/d.webp": "webp", "sub/deeper/e.bmp": "bmp", "f.gif": "gif"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One image of each ending, 40 × 30 pixels, with a caption each; and what is no image."""
    root = tmp_path / "photos"
    for number, name in enumerate(FILES):
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(np.random.default_rng(number).integers(0, 256, (30, 40, 3), np.uint8)).save(file)
        file.with_suffix(".txt").write_text(f"\n  Caption of {name} . \nA second line .\n")
    (root / "notes.md").write_text("no image")
    for hidden in (root / ".cache" / "g.jpg", root / ".h.jpg"):
        hidden.parent.mkdir(exist_ok=True)
        hidden.write_bytes((root / "a.jpg").read_bytes())
    return root


def source(folder: Path | str, mode: str = "multimodal", **options: object) -> Source:
    return source_for("folder", data=folder, **{"mode": mode, "seed": 42, **options})


def images(samples: list[Sample]) -> list[Image]:
    return [item for sample in samples for item in sample.items if isinstance(item, Image)]


def test_every_image_comes_once_with_its_own_caption(folder: Path) -> None:
    found = source(folder, image_format="original")
    samples = list(found.draw(100))
    assert len(samples) == found.available == 6
    assert found.skipped == []
    for text, image in (sample.items for sample in samples):
        assert isinstance(text, Text)
        assert isinstance(image, Image)
        name = text.text.removeprefix("Caption of ").removesuffix(" .")
        assert image.data == (folder / name).read_bytes()
        assert image.media_type == f"image/{FORMATS[name]}"
        assert image.origin == str(folder / name)


def test_the_order_is_the_seeds_and_not_the_disks(folder: Path) -> None:
    orders = set()
    for seed in range(20):
        drawn = images(list(source(folder, seed=seed, image_format="original").draw(9)))
        orders.add(tuple(image.origin for image in drawn))
    assert len(orders) > 10
    assert {tuple(sorted(order)) for order in orders} == {tuple(sorted(str(folder / name) for name in FILES))}


@pytest.mark.parametrize("image_format", ["png", "jpeg", "webp"])
def test_bytes_are_the_files_own_only_when_it_has_the_format(folder: Path, image_format: str) -> None:
    drawn = images(list(source(folder, "image", image_format=image_format).draw(9)))
    assert {image.media_type for image in drawn} == {f"image/{image_format}"}
    kept = {str(folder / name) for name in FILES if FORMATS[name] == image_format}
    assert {image.origin for image in drawn} - {""} == kept
    for image in drawn:
        if image.origin:
            assert image.data == Path(image.origin).read_bytes()


def test_a_cameras_jpeg_of_several_pictures_is_a_jpeg(tmp_path: Path) -> None:
    first, second = (Pillow.new("RGB", (20, 10), (shade, 0, 0)) for shade in (10, 200))
    first.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[second])
    for image_format in ("original", "jpeg"):
        (image,) = images(list(source(tmp_path, "image", image_format=image_format).draw(1)))
        assert (image.data, image.media_type) == ((tmp_path / "a.jpg").read_bytes(), "image/jpeg")


def test_a_size_or_a_quality_encodes_anew(folder: Path) -> None:
    scaled = images(list(source(folder, "image", image_format="png", image_sizes=parse_sizes("20x20,16x9")).draw(9)))
    sizes = set()
    for image in scaled:
        with Pillow.open(BytesIO(image.data)) as picture:
            sizes.add(picture.size)
    assert sizes == {(20, 20), (16, 9)}
    fine, coarse = (images(list(source(folder, "image", image_format="jpeg", image_quality=q).draw(9))) for q in (95, 5))
    assert {image.origin for image in [*scaled, *fine, *coarse]} == {""}
    assert sum(len(image.data) for image in coarse) < 0.5 * sum(len(image.data) for image in fine)


def test_scaling_keeps_proportions(tmp_path: Path) -> None:
    """A white square in the middle of a wide black picture is a square still."""
    pixels = np.zeros((100, 300, 3), np.uint8)
    pixels[25:75, 125:175] = 255
    Pillow.fromarray(pixels).save(tmp_path / "a.png")
    (image,) = images(list(source(tmp_path, "image", image_sizes=parse_sizes("50x50")).draw(1)))
    with Pillow.open(BytesIO(image.data)) as picture:
        white = np.asarray(picture.convert("L")) > 127
    assert white.any(axis=0).sum() == white.any(axis=1).sum() in (25, 26)


def test_an_image_without_a_caption_is_reported(folder: Path) -> None:
    (folder / "c.txt").unlink()
    (folder / "f.txt").write_text(" \n")
    (folder / "sub/d.txt").write_bytes(b"caf\xe9")
    for mode in ("multimodal", "text"):
        found = source(folder, mode)
        assert len(list(found.draw(100))) == 3
        why = {Path(skip.file).name: skip.why for skip in found.skipped}
        assert why.keys() == {"c.png", "f.txt", "d.txt"}
        assert "no caption" in why["c.png"]
        assert "empty" in why["f.txt"]
        assert "not a readable caption" in why["d.txt"]
        with pytest.raises(DatasetError) as caught:
            list(source(folder, mode, strict=True).draw(100))
        assert caught.value.flag == "--data"
    assert len(list(source(folder, "image", strict=True).draw(100))) == 6


def test_no_captions_at_all_name_the_mode_that_needs_none(folder: Path) -> None:
    for caption in folder.rglob("*.txt"):
        caption.unlink()
    for mode in ("multimodal", "text", "mixed"):
        with pytest.raises(DatasetError) as caught:
            source(folder, mode)
        assert "--mode image" in caught.value.remedy
    assert source(folder, "image").available == source(folder, "mixed", text_share=0.0).available == 6


@pytest.mark.parametrize("content", [b"", b"not a picture", b"half"])
@pytest.mark.parametrize("image_format", ["png", "jpeg", "original"])
def test_a_broken_image_is_reported_and_the_draw_goes_on(folder: Path, content: bytes, image_format: str) -> None:
    file = folder / "a.jpg"
    file.write_bytes(file.read_bytes()[:600] if content == b"half" else content)
    found = source(folder, image_format=image_format)
    assert len(list(found.draw(100))) == 5
    (skip,) = found.skipped
    assert skip.file == str(file)
    assert "not a readable image" in skip.why
    with pytest.raises(DatasetError, match=r"a\.jpg") as caught:
        list(source(folder, image_format=image_format, strict=True).draw(100))
    assert caught.value.flag == "--data"


def test_what_is_no_folder_of_images_names_the_flag(folder: Path, tmp_path: Path) -> None:
    empty, texts = tmp_path / "empty", tmp_path / "texts"
    for place in (empty, texts):
        place.mkdir()
    (texts / "a.txt").write_text("a caption without its image")
    cases: list[tuple[Path | str, str]] = [
        (empty, "is empty"),
        (texts, "no image among the 1 files"),
        (tmp_path / "none", "No such file"),
        (folder / "a.jpg", "Not a directory"),
        ("", "is needed"),
    ]
    for place, what in cases:
        with pytest.raises(DatasetError, match=what) as caught:
            source(place)
        assert caught.value.flag == "--data"
        assert caught.value.remedy


def test_links_to_files_are_followed_and_links_to_folders_are_not(folder: Path) -> None:
    (folder / "z.jpg").symlink_to(folder / "a.jpg")
    (folder / "sub" / "loop").symlink_to(folder)
    assert source(folder, "image").available == 7


def test_only_what_is_drawn_is_opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: opened.append(path) or read(path))  # type: ignore[func-returns-value]
    found = source(folder, "image")
    assert opened == []
    list(found.draw(2))
    assert len(opened) == 2


def test_skips_are_reported_once(folder: Path) -> None:
    (folder / "a.txt").unlink()
    found = source(folder)
    for _ in range(2):
        list(found.draw(100))
    assert found.skipped == [Skip(str(folder / "a.jpg"), 0, "no caption beside it (name.txt)")]
