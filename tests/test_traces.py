"""Traces: every way to write a timestamp, every mistake with its line, and one memory for all workers."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from clipload.errors import DatasetError
from clipload.traces import holding, map_trace, read_trace

MS = 10**6


def trace(folder: Path, text: str) -> Path:
    file = folder / "arrivals.txt"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    "text",
    [
        "10\n10.25\n10.25\n11.5\n",
        "# heading\n\n 10 \n10.25,GET /\n10.25 x y\n11.5\tz",
        "1e1\n1.025e1\n1.025e1\n1.15e1",
        "2026-11-25T08:00:10Z\n2026-11-25T08:00:10.25Z\n2026-11-25T09:00:10.250+01:00\n2026-11-25T08:00:11.5Z\n",
        "\ufeff1700000000\r\n1700000000.25\r\n1700000000.25\r\n1700000001.5\r\n",
    ],
)
def test_timestamps_in_every_form(tmp_path: Path, text: str) -> None:
    assert read_trace(trace(tmp_path, text)).tolist() == [0, 250 * MS, 250 * MS + 1, 1500 * MS]


def test_speedup_divides_the_distances(tmp_path: Path) -> None:
    file = trace(tmp_path, "0\n1\n3\n")
    assert read_trace(file, 2.0).tolist() == [0, 500 * MS, 1500 * MS]
    assert read_trace(file, 0.5).tolist() == [0, 2000 * MS, 6000 * MS]


@pytest.mark.parametrize(
    ("text", "line"),
    [("1\nsoon\n", 2), ("time,path\n1,/\n", 1), ("1\n\nnan\n", 3), ("inf\n", 1), ("-inf\n1", 1), ("1\n2026-13-01\n", 2)],
)
def test_a_line_that_is_no_timestamp_is_named(tmp_path: Path, text: str, line: int) -> None:
    with pytest.raises(DatasetError, match=f"arrivals.txt, line {line}: ") as caught:
        read_trace(trace(tmp_path, text))
    assert caught.value.flag == "--trace"
    assert caught.value.remedy


def test_time_that_goes_back_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="line 3: earlier") as caught:
        read_trace(trace(tmp_path, "1\n5\n4\n"))
    assert "sort" in caught.value.remedy


@pytest.mark.parametrize("text", ["", "# nothing\n\n"])
def test_nothing_to_replay(tmp_path: Path, text: str) -> None:
    with pytest.raises(DatasetError, match="no timestamp"):
        read_trace(trace(tmp_path, text))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for file in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(DatasetError, match="cannot read"):
            read_trace(file)
    (tmp_path / "bytes").write_bytes(b"1\n\xff\xfe\n")
    with pytest.raises(DatasetError, match="cannot read"):
        read_trace(tmp_path / "bytes")


def test_workers_read_what_the_supervisor_held() -> None:
    """Also after the supervisor has let go of it: a mapping needs no descriptor."""
    offsets = np.arange(10_000, dtype=np.int64) * 7
    with holding(offsets) as where:
        assert where is not None
        mapped = map_trace(where)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(where.fd)
    assert (mapped == offsets).all()
    with pytest.raises(ValueError, match="read-only"):
        mapped[0] = 1


def test_without_a_trace_nothing_is_held() -> None:
    with holding(None) as where:
        assert where is None
