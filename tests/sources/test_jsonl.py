"""The `jsonl` Source: texts, images, or both on each line, of a file or standard input; and every way to be wrong."""

from __future__ import annotations

import io
import json
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow

from clipload.errors import DatasetError
from clipload.mixes import parse_sizes
from clipload.sources import Source, source_for
from clipload.values import Image, ImageRef, Text

URL = "https://images.example/cat.jpg"


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """A file of five lines: a pair by relative path, one by absolute path, one by data URI, one by URL, and one text alone."""
    for name in ("a.jpg", "b.jpg"):
        Pillow.new("RGB", (30, 20), (10, 200, ord(name[0]))).save(tmp_path / name)
    inline = "data:image/jpeg;base64," + b64encode((tmp_path / "b.jpg").read_bytes()).decode()
    rows = [("one", "a.jpg"), ("two", str(tmp_path / "b.jpg")), ("three", inline), ("four", URL), ("five", None)]
    return write(tmp_path, *({"text": text, "image": image, "id": 7} for text, image in rows))


def write(folder: Path, *rows: object) -> Path:
    file = folder / "rows.jsonl"
    file.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return file


def source(file: Path | str, mode: str = "multimodal", **options: object) -> Source:
    return source_for("jsonl", data=file, **{"mode": mode, "seed": 42, "image_format": "jpeg", **options})


def pairs(found: Source) -> dict[str, Any]:
    return {sample.items[0].text: sample.items[1] for sample in found.draw(100)}  # type: ignore[union-attr]


def test_an_image_is_a_path_a_data_uri_or_a_url(lines: Path, tmp_path: Path) -> None:
    found = pairs(source(lines))
    a, b = ((tmp_path / name).read_bytes() for name in ("a.jpg", "b.jpg"))
    assert found == {
        "one": Image(a, "image/jpeg", str(tmp_path / "a.jpg")),
        "two": Image(b, "image/jpeg", str(tmp_path / "b.jpg")),
        "three": Image(b, "image/jpeg"),
        "four": ImageRef(URL),
    }


def test_a_line_without_what_the_mode_needs_is_reported_or_with_strict_an_error(lines: Path) -> None:
    for mode, there in (("multimodal", 4), ("image", 4), ("text", 5)):
        found = source(lines, mode)
        assert len(list(found.draw(100))) == found.available == there
        assert [(skip.line, skip.why) for skip in found.skipped] == ([] if mode == "text" else [(5, 'no "image"')])
    with pytest.raises(DatasetError, match=r"rows\.jsonl \(named on line 5\)") as caught:
        list(source(lines, strict=True).draw(100))
    assert caught.value.flag == "--data"


def test_mixed_mode_draws_texts_and_images_apart(lines: Path) -> None:
    kinds = set()
    for seed in range(10):
        drawn = [sample.items for sample in source(lines, "mixed", seed=seed).draw(100)]
        assert {len(items) for items in drawn} == {1}
        kinds |= {type(items[0]) for items in drawn}
        assert len({items[0] for items in drawn}) == len(drawn)
    assert kinds == {Text, Image, ImageRef}


def test_a_relative_path_is_the_files_not_ours(lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert "one" in pairs(source(lines))
    monkeypatch.chdir(tmp_path)
    assert pairs(source("rows.jsonl"))["one"].origin == str(tmp_path / "a.jpg")


def stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_standard_input_is_read_once_and_its_paths_are_ours(
    lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin(monkeypatch, lines.read_bytes())
    monkeypatch.chdir(tmp_path)
    found = source("-")
    assert pairs(found) == pairs(found) == pairs(source(lines))


def test_standard_input_that_is_wrong_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(monkeypatch, b'{"text": "a"}\n{"text": ')
    with pytest.raises(DatasetError, match="stdin, line 2: not JSON"):
        source("-", "text")
    stdin(monkeypatch, b"")
    with pytest.raises(DatasetError, match="stdin has no lines"):
        source("-", "text")
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(DatasetError, match="closed"):
        source("-", "text")


def test_more_than_the_arena_could_hold_is_refused(lines: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = lines.stat().st_size
    assert source(lines, most_bytes=size).available == 4
    stdin(monkeypatch, lines.read_bytes())
    for file in (lines, "-"):
        with pytest.raises(DatasetError, match="--arena-limit"):
            source(file, most_bytes=size - 1)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("{", "not JSON"),
        ("one word", "not JSON"),
        ('{"text": "\\ud800"}', "not JSON"),
        ("[1]", "no object"),
        ('"text"', "no object"),
        ('{"text": 5}', "'text' is not a string"),
        ('{"text": ["a"]}', "'text' is not a string"),
        ('{"text": "a", "image": {"url": "x"}}', "'image' is not a string"),
    ],
)
def test_a_malformed_line_is_always_an_error(tmp_path: Path, row: str, why: str) -> None:
    file = write(tmp_path, {"text": "good"}, "", row)
    with pytest.raises(DatasetError, match=r"rows\.jsonl, line 3: ") as caught:
        source(file, "text")
    assert why in caught.value.what
    assert caught.value.flag == "--data"
    assert caught.value.remedy


def test_a_byte_that_is_no_utf8_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(b'{"text": "good"}\n{"text": "caf\xe9"}\n')
    with pytest.raises(DatasetError, match="line 2: not JSON"):
        source(tmp_path / "rows.jsonl", "text")


def test_windows_line_ends_a_bom_and_blank_lines_are_read(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes('\ufeff{"text": "café"}\r\n\r\n{"text": "b"}'.encode())
    assert {sample.items[0] for sample in source(tmp_path / "rows.jsonl", "text").draw(9)} == {Text("café"), Text("b")}


@pytest.mark.parametrize(
    "image", ["absent.jpg", "data:image/png;base64,AAAA", "data:image/png;base64,!", "data:", "rows.jsonl", "x" * 5000, "a\0b", "file:///x"]
)  # fmt: skip
def test_an_image_that_cannot_be_read_is_reported(tmp_path: Path, image: str) -> None:
    Pillow.new("RGB", (3, 2)).save(tmp_path / "a.jpg")
    file = write(tmp_path, {"image": "a.jpg"}, {"image": image})
    found = source(file, "image")
    assert len(list(found.draw(9))) == 1
    (skip,) = found.skipped
    assert skip.line == 2
    assert "not a readable image" in skip.why
    with pytest.raises(DatasetError, match="line 2"):
        list(source(file, "image", strict=True).draw(9))


def test_nothing_that_the_mode_needs_names_what_is_missing(tmp_path: Path) -> None:
    texts = write(tmp_path, {"text": "a", "caption": "b"}, {"text": "c", "image": ""})
    for mode in ("image", "multimodal", "mixed"):
        with pytest.raises(DatasetError, match='no "image"') as caught:
            source(texts, mode)
        assert "--mode" in caught.value.remedy
    apart = write(tmp_path, {"text": "a"}, {"image": URL}, {"text": " "})
    with pytest.raises(DatasetError, match="none has both"):
        source(apart)
    assert source(apart, "mixed").available in (1, 2)


@pytest.mark.parametrize(
    ("flag", "options"), [("--image-size", {"image_sizes": parse_sizes("9x9")}), ("--image-quality", {"image_quality": 9})]
)
def test_nothing_can_be_asked_of_a_url(lines: Path, flag: str, options: dict[str, Any]) -> None:
    with pytest.raises(DatasetError, match="line 4") as caught:
        list(source(lines, **options).draw(100))
    assert caught.value.flag == flag


def test_what_is_no_file_names_the_flag(tmp_path: Path) -> None:
    for file, what in ((tmp_path, "Is a directory"), (tmp_path / "none", "No such file"), ("", "is needed")):
        with pytest.raises(DatasetError, match=what) as caught:
            source(file)
        assert caught.value.flag == "--data"
        assert caught.value.remedy
