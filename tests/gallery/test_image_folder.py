"""Images as files: their own where there is one, a folder that is nobody's rubbish otherwise."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from clipload.errors import HostError
from clipload.gallery import folder
from clipload.gallery import gallery_for as opened
from clipload.host import Placement
from clipload.plan import Plan
from clipload.values import Image, ImageRef, Item, Sample

PLACEMENT = Placement((0,), (0,))
PLAN = Plan(image_transport="path")
ONE, TWO = Image(b"one", "image/png"), Image(b"two", "image/jpeg")


@pytest.fixture(autouse=True)
def default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(folder, "DEFAULT", tmp_path / "default")
    return tmp_path / "default"


def place(plan: Plan, *items: Item) -> list[str]:
    with opened(plan, PLACEMENT) as gallery:
        sample = next(iter(gallery.hang([Sample(items)])))
        return [item.reference for item in sample.items if isinstance(item, ImageRef)]


def test_an_image_that_is_a_file_is_named_by_it(default: Path) -> None:
    own = Image(b"three", "image/png", origin="/photos/3.png")
    with opened(PLAN, PLACEMENT) as gallery:
        items = next(iter(gallery.hang([Sample((own, ONE))]))).items
        assert items[0] == ImageRef("/photos/3.png")
        assert [path.read_bytes() for path in default.iterdir()] == [b"one"]
        assert gallery.end()["images"] == {
            "transport": "path", "folder": str(default), "own": 1, "written": 1, "foreign": 0,
        }  # fmt: skip


def test_a_name_that_json_cannot_carry_is_written_anew(default: Path) -> None:
    strange = Image(b"four", "image/png", origin=os.fsdecode(b"/photos/\xff.png"))
    with opened(PLAN, PLACEMENT) as gallery:
        reference = gallery.place(strange)
        assert isinstance(reference, ImageRef)
        assert Path(reference.reference).read_bytes() == b"four"


def test_files_are_whole_and_for_everyone_to_read(default: Path) -> None:
    old = os.umask(0o077)
    try:
        with opened(PLAN, PLACEMENT) as gallery:
            gallery.place(ONE)
            gallery.place(TWO)
            files = sorted(default.iterdir())
            assert sorted(path.suffix for path in files) == [".jpg", ".png"]
            assert {path.stat().st_mode & 0o777 for path in files} == {0o644}
            assert default.stat().st_mode & 0o777 == 0o755
    finally:
        os.umask(old)


def test_the_default_folder_is_left_as_it_was_found(default: Path) -> None:
    with opened(PLAN, PLACEMENT):
        pass
    assert not default.exists()
    default.mkdir()
    (default / "of a run that was killed.png").write_bytes(b"x")
    with pytest.raises(KeyboardInterrupt), opened(PLAN, PLACEMENT):
        raise KeyboardInterrupt
    assert not default.exists()


def test_a_folder_that_was_named_keeps_its_files(tmp_path: Path) -> None:
    plan = PLAN.replace(images_dir=str(tmp_path / "a" / "b"))
    [reference] = place(plan, ONE)
    assert Path(reference).read_bytes() == b"one"
    assert Path(reference).parent == tmp_path / "a" / "b"
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == [Path(reference).name], "no temporary file is left"


def _another_run(pipe: Connection, where: Path) -> None:
    folder.DEFAULT = where
    with opened(PLAN, PLACEMENT) as gallery:
        gallery.place(TWO)
        pipe.send("inside")
        pipe.recv()
    pipe.send("outside")


@pytest.fixture
def another_run(default: Path) -> Iterator[Connection]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_another_run, args=(theirs, default), daemon=True)
    process.start()
    yield ours
    process.join(10)
    assert process.exitcode == 0


def test_the_last_run_to_leave_removes_the_default_folder(default: Path, another_run: Connection) -> None:
    assert another_run.recv() == "inside"
    [reference] = place(PLAN, ONE)
    assert Path(reference).exists(), "another run is inside"
    assert len(list(default.iterdir())) == 2
    another_run.send("leave")
    assert another_run.recv() == "outside"
    assert not default.exists()


def test_a_folder_that_cannot_be_had_names_its_flag(default: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    for plan in (PLAN.replace(images_dir=str(tmp_path / "file")), PLAN.replace(images_dir=str(tmp_path / "file" / "b"))):
        with pytest.raises(HostError) as caught:
            place(plan, ONE)
        assert (caught.value.flag, bool(caught.value.remedy)) == ("--images-dir", True)
    default.symlink_to(tmp_path)  # somebody would have us empty it
    with pytest.raises(HostError) as caught:
        place(PLAN, ONE)
    assert caught.value.flag == "--images-dir"
    default.unlink()
    monkeypatch.setattr(os, "getuid", lambda: -1)
    with pytest.raises(HostError, match="another user's"):
        place(PLAN, ONE)


def test_a_full_disk_leaves_no_half_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(HostError, match="No space left"):
        place(PLAN.replace(images_dir=str(tmp_path / "x")), ONE)
    assert list((tmp_path / "x").iterdir()) == []
