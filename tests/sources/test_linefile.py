"""A file of lines gone through again and again: the Entries that the Source has, whatever the file is and however it is cut."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from clipload.errors import DatasetError
from clipload.sources import linefile, source_for
from clipload.sources.linefile import LineFile

LINES = '\ufeff{"text": "caf\u00e9"}\r\n\n  \n{"image": "a.jpg", "text": " b "}\n{"image": "http://h/x"}\n{"text": "end"}'


@pytest.mark.parametrize("block", [1, 2, 7, 30, 2**20])
@pytest.mark.parametrize("end", ["", "\n", "\n\n"])
def test_it_has_the_entries_of_the_source(block: int, end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linefile, "BLOCK", block)
    file = tmp_path / "rows.jsonl"
    file.write_text(LINES + end, encoding="utf-8")
    expected = source_for("jsonl", mode="text", seed=0, data=file).entries  # type: ignore[attr-defined]
    found = LineFile(file)
    assert list(found) == list(found) == expected
    assert [entry.line for entry in found] == [1, 4, 5, 6]
    assert list(zip(found, found, strict=True)) == list(zip(expected, expected, strict=True)), "two at once do not disturb"


def test_standard_input_and_a_pipe_can_be_gone_through_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(LINES.encode())))
    found = LineFile(Path("-"))
    assert [entry.line for entry in found] == [entry.line for entry in found] == [1, 4, 5, 6]
    assert next(iter(found)).name == "stdin"
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=(LINES,))
    writer.start()
    found = LineFile(tmp_path / "pipe")
    writer.join()
    assert [entry.line for entry in found] == [entry.line for entry in found] == [1, 4, 5, 6]
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(DatasetError, match="standard input is closed"):
        LineFile(Path("-"))


def test_what_is_no_file_of_lines_or_does_not_stay_one(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.jsonl"):
        with pytest.raises(DatasetError, match="cannot read") as caught:
            LineFile(path)
        assert (caught.value.flag, "JSON lines" in caught.value.remedy) == ("--data", True)
    file = tmp_path / "rows.jsonl"
    file.write_text('{"text": "a"}\n{"text"\n')
    with pytest.raises(DatasetError, match=r"rows\.jsonl, line 2: not JSON"):
        list(LineFile(file))
    file.write_text('{"text": "a"}\n')
    found = LineFile(file)
    assert len(list(found)) == 1
    with file.open("a") as more:
        more.write('{"text": "b"}\n')
    with pytest.raises(DatasetError, match="changed while it was read"):
        list(found)


def test_it_gives_its_descriptor_back(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"text": "a"}\n')
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        assert len(list(LineFile(file))) == 1
    assert len(list(Path("/proc/self/fd").iterdir())) == before
