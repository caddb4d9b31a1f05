"""The cache of calibrations: the newest near one is found, files are whole, and what cannot be read or written is said."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from clipload import shapes
from clipload.capacity import Calibration
from clipload.errors import ArchiveError, HostError
from tests.laws.test_shape_laws import shape

BOUNDS = {"light_p50_bounds_ns": (148_000.0, 153_000.0), "light_p99_bounds_ns": (380_000.0, None)}


def calibration(**changes: Any) -> Calibration:
    values: dict[str, Any] = {"taken_s": 1.7e9, "in_flight": 16, "requests_per_s": 20_000.0, "limit": "worker", "busy": 0.97}
    values |= {"starved": 0.01, "cpu_ns": 48_000.0, "light_per_s": 1000.0, "light_requests": 2000}
    return Calibration(**(values | {"light_p50_ns": 150_000, "light_p99_ns": 400_000} | BOUNDS | changes))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "clipload" / "calibrations"


def test_what_is_kept_is_found(cache: Path) -> None:
    assert shapes.find(shape()) is None
    path = shapes.keep(shape(), calibration())
    assert path == cache / f"{shape().key}-80.json"
    assert shapes.find(shape()) == calibration()
    assert list(cache.iterdir()) == [path], "a temporary file was left"


def test_another_shape_is_not_found() -> None:
    shapes.keep(shape(), calibration())
    assert shapes.find(shape(dim=768)) is None


def test_the_newest_of_the_near_ones_is_found() -> None:
    for body_bytes, taken_s in ((100_000, 1.0), (109_000, 3.0), (95_000, 2.0), (200_000, 9.0)):
        shapes.keep(shape(body_bytes=body_bytes), calibration(taken_s=taken_s))
    for body_bytes, taken_s in ((100_000, 3.0), (200_000, 9.0), (90_000, 2.0)):
        found = shapes.find(shape(body_bytes=body_bytes))
        assert found is not None
        assert found.taken_s == taken_s
    assert shapes.find(shape(body_bytes=150_000)) is None


def test_a_later_one_takes_its_place(cache: Path) -> None:
    shapes.keep(shape(), calibration())
    shapes.keep(shape(), calibration(taken_s=1.8e9))
    assert shapes.find(shape()) == calibration(taken_s=1.8e9)
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"shape": {}}'])
def test_a_file_that_is_none_of_ours_is_named(text: bytes) -> None:
    path = shapes.keep(shape(), calibration())
    path.write_bytes(text)
    with pytest.raises(ArchiveError) as caught:
        shapes.find(shape())
    assert str(path) in caught.value.what
    assert caught.value.remedy


def test_a_cache_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    for attempt in (shapes.make_folder, lambda: shapes.keep(shape(), calibration())):
        with pytest.raises(HostError) as caught:
            attempt()
        assert caught.value.flag == "XDG_CACHE_HOME"
    assert shapes.find(shape()) is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_that_cannot_be_written_to_is_named(cache: Path) -> None:
    cache.mkdir(parents=True)
    cache.chmod(0o500)
    with pytest.raises(HostError, match="cannot write"):
        shapes.make_folder()


def test_a_relative_cache_is_not_heeded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the XDG specification says."""
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert shapes.folder() == tmp_path / "home" / ".cache" / "clipload" / "calibrations"


def test_without_a_home_nothing_is_found_and_nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "nowhere")
    assert shapes.find(shape()) is None
    with pytest.raises(HostError):
        shapes.keep(shape(), calibration())
