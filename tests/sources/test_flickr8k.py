"""The `flickr8k` Source: the file format with its oddities, and every way in which a dataset can be wrong."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import skimage
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from clipload.errors import DatasetError
from clipload.sources import Skip, Source, source_for
from clipload.sources.flickr8k import read_captions
from clipload.values import Image, Text

PHOTOGRAPHS = Path(skimage.__file__).parent / "data"
NEVER_EXISTED = "2258277193_586949ec62.jpg.1"  # named by the real Flickr8k.token.txt

Make = Callable[..., Source]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four photographs as JPEG, `a.jpg` … `d.jpg`, with two captions each; e.g. `b.jpg#1` is "b one ."."""
    images = tmp_path / "Flicker8k_Dataset"
    images.mkdir()
    for name, photograph in zip("abcd", ("chelsea.png", "coffee.png", "rocket.jpg", "camera.png"), strict=True):
        with Pillow.open(PHOTOGRAPHS / photograph) as picture:
            picture.convert("RGB").resize((90, 60)).save(images / f"{name}.jpg", quality=90)
    # Indices come in the wrong order on purpose: they, and not the lines, order the captions.
    lines = [f"{name}.jpg#{i}\t{name} {word} ." for name in "abcd" for i, word in ((1, "one"), (0, "zero"))]
    (tmp_path / "Flickr8k.token.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


def flickr(folder: Path, mode: str = "multimodal", seed: int = 42, **options: object) -> Source:
    captions = folder / "Flickr8k.token.txt"
    return source_for(
        "flickr8k",
        mode=mode,
        seed=seed,
        flickr_images_dir=folder / "Flicker8k_Dataset",
        flickr_captions_file=captions,
        **options,  # type: ignore[arg-type]
    )


def add_line(folder: Path, line: bytes) -> None:
    with (folder / "Flickr8k.token.txt").open("ab") as file:
        file.write(line + b"\n")


def texts(source: Source, count: int = 100) -> list[str]:
    return [item.text for sample in source.draw(count) for item in sample.items if isinstance(item, Text)]


def test_each_image_comes_once_with_its_own_caption(folder: Path) -> None:
    source = flickr(folder, image_format="jpeg")
    samples = list(source.draw(100))
    assert len(samples) == source.available == 4
    for text, image in (s.items for s in samples):
        assert isinstance(text, Text)
        assert isinstance(image, Image)
        assert image.data == (folder / "Flicker8k_Dataset" / f"{text.text[0]}.jpg").read_bytes()
    assert source.skipped == []


def test_first_is_the_lowest_index(folder: Path) -> None:
    assert sorted(texts(flickr(folder))) == ["a zero .", "b zero .", "c zero .", "d zero ."]


def test_random_picks_every_caption_under_some_seed(folder: Path) -> None:
    seen = {text for seed in range(20) for text in texts(flickr(folder, "text", seed, flickr_caption_pick="random"))}
    assert seen == {f"{name} {word} ." for name in "abcd" for word in ("zero", "one")}


def test_the_order_is_the_seeds(folder: Path) -> None:
    orders = {tuple(texts(flickr(folder, "text", seed))) for seed in range(20)}
    assert len(orders) > 5
    assert all(sorted(order) == sorted(next(iter(orders))) for order in orders)


def test_text_image_and_pairs_are_one_stream(folder: Path) -> None:
    pairs = [s.items for s in flickr(folder, flickr_caption_pick="random").draw(4)]
    assert [s.items for s in flickr(folder, "text", flickr_caption_pick="random").draw(4)] == [(t,) for t, _ in pairs]
    assert [s.items for s in flickr(folder, "image").draw(4)] == [(i,) for _, i in pairs]


def test_text_mode_needs_no_images(folder: Path) -> None:
    source = source_for("flickr8k", mode="text", seed=1, flickr_captions_file=folder / "Flickr8k.token.txt")
    assert source.available == len(texts(source)) == 4


def test_png_is_the_jpeg_decoded(folder: Path) -> None:
    for sample in flickr(folder).draw(4):
        text, image = sample.items
        assert isinstance(text, Text)
        assert isinstance(image, Image)
        assert image.media_type == "image/png"
        with Pillow.open(BytesIO(image.data)) as png, Pillow.open(folder / "Flicker8k_Dataset" / f"{text.text[0]}.jpg") as jpeg:
            assert np.array_equal(np.asarray(png), np.asarray(jpeg))


def test_a_png_in_the_folder_becomes_a_jpeg_and_exif_is_not_applied(folder: Path) -> None:
    file = folder / "Flicker8k_Dataset" / "a.jpg"
    exif = Pillow.Exif()
    exif[0x0112] = 6  # orientation: turn by 90 degrees
    Pillow.new("RGBA", (30, 20), (200, 10, 10, 128)).save(file, "PNG", exif=exif)
    images = [s.items[1] for s in flickr(folder, image_format="jpeg").draw(4) if s.items[0] == Text("a zero .")]
    (image,) = images
    assert isinstance(image, Image)
    with Pillow.open(BytesIO(image.data)) as picture:
        assert (picture.format, picture.size, picture.mode) == ("JPEG", (30, 20), "RGB")


def test_only_what_is_drawn_is_opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    read = Path.read_bytes

    def counted(path: Path) -> bytes:
        opened.append(path)
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", counted)
    source = flickr(folder, threads=4)
    assert [p.name for p in opened] == ["Flickr8k.token.txt"]
    list(source.draw(2))
    assert len(opened) == 3


def test_the_image_that_never_existed_is_reported(folder: Path) -> None:
    add_line(folder, f"{NEVER_EXISTED}#0\ta line of the real file .".encode())
    source = flickr(folder)
    assert len(list(source.draw(100))) == source.available == 4
    file = str(folder / "Flicker8k_Dataset" / NEVER_EXISTED)
    assert source.skipped == [Skip(file, 9, "named in the captions but not in the folder")]
    list(source.draw(100))
    assert len(source.skipped) == 1, "a second draw reports nothing twice"
    with pytest.raises(DatasetError, match=r"586949ec62\.jpg\.1 \(named on line 9\)"):
        list(flickr(folder, strict=True).draw(100))


@pytest.mark.parametrize("content", [b"", b"not a picture", b"half"])
@pytest.mark.parametrize("image_format", ["png", "jpeg"])
def test_a_broken_image_is_reported_and_the_draw_goes_on(folder: Path, content: bytes, image_format: str) -> None:
    file = folder / "Flicker8k_Dataset" / "c.jpg"
    file.write_bytes(file.read_bytes()[:1200] if content == b"half" else content)
    source = flickr(folder, image_format=image_format)
    assert sorted(texts(source)) == ["a zero .", "b zero .", "d zero ."]
    (skip,) = source.skipped
    assert (skip.file, skip.line) == (str(file), 5)
    assert "not a readable image" in skip.why
    assert "object at" not in skip.why
    with pytest.raises(DatasetError, match=r"c\.jpg") as caught:
        list(flickr(folder, image_format=image_format, strict=True).draw(100))
    assert caught.value.flag == "--flickr-images-dir"


def test_strict_only_minds_what_is_drawn(folder: Path) -> None:
    add_line(folder, f"{NEVER_EXISTED}#0\tnot met by every short draw .".encode())
    fates = set()
    for seed in range(12):
        lenient, strict = flickr(folder, seed=seed), flickr(folder, seed=seed, strict=True)
        drawn = list(lenient.draw(2))
        fates.add(bool(lenient.skipped))
        if lenient.skipped:
            with pytest.raises(DatasetError, match="named in the captions but not in the folder"):
                list(strict.draw(2))
        else:
            assert list(strict.draw(2)) == drawn
    assert fates == {False, True}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 3000), at=st.integers(0, 3000), value=st.integers(0, 255))
@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's remarks on broken metadata
def test_no_damaged_file_stops_a_draw(folder: Path, cut: int, at: int, value: int) -> None:
    file = folder / "Flicker8k_Dataset" / "a.jpg"
    whole = bytearray(file.read_bytes())
    damaged = bytearray(whole)
    damaged[min(at, len(whole) - 1)] = value
    file.write_bytes(damaged[: len(whole) - cut] if cut else damaged)
    try:
        source = flickr(folder)
        assert len(list(source.draw(100))) + len(source.skipped) == 4
    finally:
        file.write_bytes(whole)


@pytest.mark.parametrize(
    "line",
    [
        b"name,with,commas.jpg,a caption",
        b"a.jpg\ta caption without an index",
        b"a.jpg#x\tan index that is none",
        b"a.jpg#\tan empty index",
        b"#0\tno name",
        b"a.jpg#7",
        b"a.jpg#7\t  ",
        b"a.jpg#1\ta second caption of that index",
        b"a.jpg#7\tcaf\xe9",
    ],
)
def test_a_malformed_line_is_named(folder: Path, line: bytes) -> None:
    add_line(folder, line)
    with pytest.raises(DatasetError, match=r"Flickr8k\.token\.txt, line 9: ") as caught:
        flickr(folder)
    assert caught.value.flag == "--flickr-captions-file"
    assert caught.value.remedy


def test_windows_line_ends_bom_empty_lines_and_hashes_are_read(tmp_path: Path) -> None:
    file = tmp_path / "captions.txt"
    file.write_bytes("\ufeffa#b.jpg#0\tA caf\u00e9 .\r\n\r\na#b.jpg#1\tTabs\tstay # here .".encode())
    (captioned,) = read_captions(file)
    assert (captioned.name, captioned.line) == ("a#b.jpg", 1)
    assert captioned.captions == ("A caf\u00e9 .", "Tabs\tstay # here .")


def test_what_is_missing_names_its_flag(folder: Path, tmp_path: Path) -> None:
    captions, images = folder / "Flickr8k.token.txt", folder / "Flicker8k_Dataset"
    empty, blank = tmp_path / "empty", tmp_path / "blank.txt"
    empty.mkdir()
    blank.write_text("\n\n")
    cases: list[tuple[object, object, str, str]] = [
        (images, tmp_path / "none.txt", "--flickr-captions-file", "No such file"),
        (images, empty, "--flickr-captions-file", "Is a directory"),
        (images, blank, "--flickr-captions-file", "has no captions"),
        (images, "", "--flickr-captions-file", "is needed"),
        (None, captions, "--flickr-images-dir", "is needed"),
        (tmp_path / "none", captions, "--flickr-images-dir", "No such file"),
        (captions, captions, "--flickr-images-dir", "Not a directory"),
        (empty, captions, "--flickr-images-dir", "none of the 4 images"),
    ]
    for where, file, flag, what in cases:
        with pytest.raises(DatasetError, match=what) as caught:
            source_for("flickr8k", mode="multimodal", seed=1, flickr_images_dir=where, flickr_captions_file=file)  # type: ignore[arg-type]
        assert caught.value.flag == flag
        assert caught.value.remedy


def test_a_name_cannot_leave_the_folder(folder: Path) -> None:
    (folder / "outside.jpg").write_bytes((folder / "Flicker8k_Dataset" / "a.jpg").read_bytes())
    add_line(folder, b"../outside.jpg#0\tA picture from elsewhere .")
    source = flickr(folder)
    assert len(list(source.draw(100))) == 4
    assert len(source.skipped) == 1
