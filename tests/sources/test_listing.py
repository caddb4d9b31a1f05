"""Listings: names, order, what is left out, and what tells one dataset from another."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow

from clipload.errors import DatasetError
from clipload.sources import listing as module
from clipload.sources.listing import Listing, ListingOptions, Named, digest, listing_for, owner_of
from clipload.values import Image, ImageRef, Text


@pytest.fixture
def flickr(tmp_path: Path) -> Path:
    """Three images and one that is named but missing, three captions each."""
    (tmp_path / "images").mkdir()
    for name in ("b", "a", "c#1"):
        Pillow.new("RGB", (8, 8), "red").save(tmp_path / "images" / f"{name}.jpg")
    names = ["b", "a", "gone", "c#1"]
    (tmp_path / "tokens.txt").write_text("".join(f"{n}.jpg#{i}\tCaption {i} of {n} .\n" for n in names for i in range(3)))
    return tmp_path


def listed(flickr: Path, **options: Any) -> Listing:
    files = {"flickr_images_dir": flickr / "images", "flickr_captions_file": flickr / "tokens.txt"}
    return listing_for(ListingOptions(**({"data_source": "flickr8k", "modality": "both"} | files | options)))


def names(entries: Any) -> list[str]:
    return [entry.name for entry in entries]


def test_flickr8k_by_name_with_all_captions(flickr: Path) -> None:
    found = listed(flickr)
    assert names(found.images) == ["a.jpg", "b.jpg", "c#1.jpg"]
    assert names(found.texts) == [f"{n}.jpg#{i}" for n in ("a", "b", "c#1") for i in range(3)]
    assert {owner_of(name) for name in names(found.texts)} == set(names(found.images))
    (skip,) = found.skipped
    assert (skip.line, skip.file.endswith("gone.jpg"), "not in the folder" in skip.why) == (7, True, True)
    first = next(iter(found.images)).read()
    assert isinstance(first, Image)
    assert (first.media_type, first.data) == ("image/jpeg", (flickr / "images" / "a.jpg").read_bytes())
    assert first.origin == str(flickr / "images" / "a.jpg")
    assert next(iter(found.texts)).read() == Text("Caption 0 of a .")


def test_how_many(flickr: Path) -> None:
    some = listed(flickr, max_samples=2, captions_per_image=2)
    assert names(some.images) == ["a.jpg", "b.jpg"]
    assert names(some.texts) == ["a.jpg#0", "a.jpg#1", "b.jpg#0", "b.jpg#1"]
    assert names(listed(flickr, captions_per_image=99).texts) == names(listed(flickr).texts)
    texts = listed(flickr, modality="text", max_samples=4, flickr_images_dir=None)
    assert (names(texts.texts), list(texts.images)) == (["a.jpg#0", "a.jpg#1", "a.jpg#2", "b.jpg#0"], [])
    assert "gone.jpg#0" in names(listed(flickr, modality="text").texts), "no image is looked for"
    assert list(listed(flickr, modality="image").texts) == []


def test_drawn_captions_are_those_of_the_seed_whatever_else_is_asked(flickr: Path) -> None:
    def drawn(**options: Any) -> list[str]:
        return names(listed(flickr, caption_pick="random", captions_per_image=1, **options).texts)

    seeds = {tuple(drawn(seed=seed)) for seed in range(20)}
    assert len(seeds) > 1
    assert drawn(seed=3) == drawn(seed=3)
    assert drawn(seed=3, max_samples=2) == drawn(seed=3)[:2]
    whole = drawn(seed=3, modality="text")
    assert [name for name in whole if not name.startswith("gone")] == drawn(seed=3)


def test_another_word_or_another_picture_is_another_dataset(flickr: Path) -> None:
    texts, images = (digest(part) for part in (listed(flickr).texts, listed(flickr).images))
    assert (digest(listed(flickr).texts), digest(listed(flickr).images)) == (texts, images)
    tokens = flickr / "tokens.txt"
    tokens.write_text(tokens.read_text().replace("Caption 1 of b", "Caption one of b"))
    Pillow.new("RGB", (80, 80), "blue").save(flickr / "images" / "a.jpg")
    assert digest(listed(flickr).texts) != texts
    assert digest(listed(flickr).images) != images
    assert digest(listed(flickr, max_samples=1).images) != digest(listed(flickr, max_samples=2).images)


def test_a_stream_has_numbers(flickr: Path) -> None:
    found = listed(flickr, data_source="random", max_samples=3)
    assert (names(found.texts), names(found.images)) == (["0"], ["0"]) or names(found.images) == ["0", "1", "2"]
    assert [type(entry.read()) for entry in found.images] == [Image] * len(found.images)
    assert list(found.images) == list(found.images), "drawn anew, the same"
    assert len(found.images) == len(list(found.images))
    assert names(listed(flickr, data_source="random", modality="text").texts) == ["0"]
    with pytest.raises(DatasetError, match="no end") as caught:
        listed(flickr, data_source="random", modality="image")
    assert caught.value.flag == "--max-samples"


@pytest.mark.parametrize(
    ("options", "flag", "says"),
    [
        ({"data_source": "flikr8k"}, "--data-source", "did you mean 'flickr8k'"),
        ({"flickr_captions_file": None}, "--flickr-captions-file", "is needed"),
        ({"flickr_images_dir": None}, "--flickr-images-dir", "is needed"),
        ({"flickr_captions_file": Path("/none/there")}, "--flickr-captions-file", "No such file"),
        ({"flickr_images_dir": Path("/none/there")}, "--flickr-images-dir", "No such file"),
        ({"flickr_images_dir": Path("/")}, "--flickr-images-dir", "is it the right folder"),
    ],
)
def test_what_is_not_there(flickr: Path, options: dict[str, Any], flag: str, says: str) -> None:
    with pytest.raises(DatasetError) as caught:
        listed(flickr, **options)
    assert caught.value.flag == flag
    assert says in str(caught.value)


@dataclass
class Entry:
    """What a Source with a catalogue says of one image, one text, or both."""

    name: str
    line: int
    text: str | Path | None
    image: Path | ImageRef | str | None


@dataclass
class Catalogue:
    """A Source that knows its entries."""

    entries: list[Entry]
    available: int = 0


def test_a_source_that_knows_its_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = "folder"
    image, words = tmp_path / "sub" / "x.png", tmp_path / "sub" / "x.txt"
    image.parent.mkdir()
    Pillow.new("RGB", (8, 8)).save(image)
    words.write_text("\n  a line  \nanother\n")
    uri = "data:image/webp;base64," + b64encode(b"bytes").decode()
    entries = [
        Entry(str(image), 4, words, image),
        Entry(str(tmp_path / "y.png"), 5, None, tmp_path / "y.png"),
        Entry(str(tmp_path / "z.png"), 7, "words", uri),
        Entry(str(tmp_path / "u"), 9, "more words", ImageRef("http://h/u.png")),
    ]
    monkeypatch.setitem(module.SOURCES, kind, "elsewhere")
    asked: list[Any] = []
    monkeypatch.setattr(module, "source_for", lambda name, **given: asked.append((name, given)) or Catalogue(entries))
    found = listing_for(ListingOptions(data_source=kind, modality="both", data=str(tmp_path), seed=3))
    assert asked == [(kind, {"mode": "multimodal", "seed": 3, "data": str(tmp_path)})]
    assert names(found.images) == ["sub/x.png", "z.png", "u"]
    assert names(found.texts) == ["sub/x.png#0", "z.png#0", "u#0"]
    assert [entry.read() for entry in found.texts] == [Text("a line"), Text("words"), Text("more words")]
    first, second, third = (entry.read() for entry in found.images)
    assert (first, second) == (Image(image.read_bytes(), "image/png", str(image)), Image(b"bytes", "image/webp"))
    assert third == ImageRef("http://h/u.png")
    assert [(skip.line, "lacks" in skip.why) for skip in found.skipped] == [(5, True)]
    assert digest(found.images) != digest(found.texts)
    one = listing_for(ListingOptions(data_source=kind, modality="image", data=str(tmp_path), max_samples=2))
    assert (len(one.images), len(one.texts)) == (2, 0)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "blank.txt").write_text("\n \n")
    with pytest.raises(ValueError, match="empty caption"):
        Named("a", 1, "text", tmp_path / "blank.txt").read()
    with pytest.raises(OSError, match="No such file"):
        Named("a", 1, "image", tmp_path / "none.jpg").read()
    with pytest.raises(ValueError, match="base64"):
        Named("a", 1, "image", "data:image/png;base64,!").read()


def test_lines_are_named_by_their_number(tmp_path: Path) -> None:
    uri = "data:image/webp;base64," + b64encode(b"bytes").decode()
    (tmp_path / "x.png").write_bytes(b"pixels")
    lines = ['{"text": "a", "image": "x.png"}', "", '{"text": "b"}', json.dumps({"text": "c", "image": uri})]
    file = tmp_path / "lines.jsonl"
    file.write_text("\n".join([*lines, '{"text": "d", "image": "http://h/u.png"}']))

    def listed(modality: str, **options: Any) -> Listing:
        return listing_for(ListingOptions(data_source="jsonl", modality=modality, data=str(file), **options))

    both = listed("both")
    assert names(both.images) == names(both.texts) == ["1", "4", "5"]
    assert len(both.images) == len(both.texts) == 3
    assert [entry.read() for entry in both.texts] == [Text("a"), Text("c"), Text("d")]
    images = [Image(b"pixels", "image/png", str(tmp_path / "x.png")), Image(b"bytes", "image/webp"), ImageRef("http://h/u.png")]
    assert [entry.read() for entry in both.images] == images
    assert [(skip.file, skip.line, skip.why) for skip in both.skipped] == [(str(file), 3, "lacks what --modality both needs")]
    assert digest(both.images) != digest(both.texts) == digest(listed("both").texts)
    texts = listed("text", max_samples=2)
    assert (names(texts.texts), len(texts.texts), len(texts.images), texts.skipped) == (["1", "3"], 2, 0, [])
    file.write_text('{"text": "b"}\n')
    with pytest.raises(DatasetError, match=r'none of the 1 lines of .* has "image"') as caught:
        listed("image")
    assert (caught.value.flag, "--modality" in caught.value.remedy) == ("--data", True)
