"""`clipload report` and `clipload compare` on run directories: what is written and printed, and clear words for bad input."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from pathlib import Path

import msgspec
import pytest

from clipload import archive
from clipload.cli import _exit_code
from clipload.cli.compare import parse_limit
from clipload.compare import CompareError
from clipload.errors import EXIT_MISSED, EXIT_OK, EXIT_USAGE
from clipload.frames import SCHEMA
from clipload.reports.batches import check_drawing
from clipload.units import Duration
from tests.reports.saved import frames_of, measured, save, saved_run
from tests.test_run import open_frames

try:
    check_drawing()
    DRAWS = True
except Exception:  # noqa: BLE001  - the reason is the skip's
    DRAWS = False
drawing = pytest.mark.skipif(not DRAWS, reason="the extra `report` is not installed")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return saved_run(tmp_path / "runs" / "20260101T000000Z-run")


@pytest.fixture
def repeats(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders of three runs each; the second is of a slower target."""
    for name, ms in (("before", 20.0), ("after", 24.0)):
        for number in range(3):
            plan, frames = measured(seconds=20, per_s=80, ms=ms, seed=number + int(ms))
            save(tmp_path / name / f"run{number}", frames_of(plan, frames, 20.0))
    return tmp_path / "before", tmp_path / "after"


def clipload(*arguments: object) -> int:
    return _exit_code([str(argument) for argument in arguments])


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@drawing
def test_a_page_is_written_beside_the_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert clipload("report", run) == EXIT_OK
    assert names(run) == {"journal.bin", "report.html"}
    assert capsys.readouterr().out == f"{run}/report.html\n"
    text = (run / "report.html").read_text()
    assert "vegaEmbed" in text
    assert len(text) < 1_500_000


@drawing
def test_pictures_and_texts_go_where_they_are_told(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder"
    assert clipload("report", run, "--svg", "--md", "--csv", "--json", "--out", out) == EXIT_OK
    pictures = {f"{name}.svg" for name in ("spectrum", "timeline", "heatmap")}
    assert names(out) == {"report.md", "report.csv", "report.json", *pictures}
    assert all((out / name).read_text().startswith("<svg") for name in pictures)
    assert json.loads((out / "report.json").read_text()) == as_json(archive.load(run))
    assert names(run) == {"journal.bin"}


@pytest.mark.slow
@drawing
def test_pictures_are_png_on_white(run: Path, tmp_path: Path) -> None:
    from PIL import Image

    assert clipload("report", run, "--png", "--out", tmp_path / "out") == EXIT_OK
    for name in ("spectrum", "timeline", "heatmap"):
        with Image.open(tmp_path / "out" / f"{name}.png") as picture:
            assert picture.width > 1400
            assert picture.convert("RGB").getpixel((2, 2)) == (255, 255, 255)


def as_json(run_: object) -> object:
    return json.loads(json.dumps(archive.document(run_)))  # type: ignore[arg-type]


def test_one_text_alone_goes_to_stdout(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert clipload("report", run, "--json") == EXIT_OK
    assert json.loads(capsys.readouterr().out) == as_json(archive.load(run))
    assert clipload("report", run, run, "--json") == EXIT_OK, "a run that is named twice is one"
    assert isinstance(json.loads(capsys.readouterr().out), dict)
    assert clipload("report", run, "--csv") == EXIT_OK
    assert [row["run"] for row in csv.DictReader(io.StringIO(capsys.readouterr().out))] == [run.name]
    assert clipload("report", run, "--md") == EXIT_OK
    assert capsys.readouterr().out.startswith("### open loop, poisson")
    assert names(run) == {"journal.bin"}


def test_a_folder_stands_for_its_runs(repeats: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    before, after = repeats
    assert clipload("report", before, after / "run0", "--csv") == EXIT_OK
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["run"] for row in rows] == ["run0", "run1", "run2", "run0"]
    assert clipload("report", before, "--json") == EXIT_OK
    assert len(json.loads(capsys.readouterr().out)) == 3


def test_a_run_that_was_cut_off_is_reported_as_far_as_it_went(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal = run / "journal.bin"
    journal.write_bytes(journal.read_bytes()[:-7])
    assert clipload("report", run, "--md") == EXIT_OK
    assert "ended early: killed" in capsys.readouterr().out


def newer(directory: Path) -> Path:
    first, *rest = open_frames()
    return save(directory, [msgspec.structs.replace(first, schema=SCHEMA + 1), *rest])


def with_another_field(directory: Path) -> Path:
    first, *rest = open_frames()
    plan = first.plan | {"warp": 9}  # type: ignore[union-attr]
    return save(directory, [msgspec.structs.replace(first, plan=plan), *rest])


def test_documents_are_written_anew_beside_each_journal(
    repeats: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    documents = {"plan.toml", "intervals.csv", "latency.hlog", "run.json"}
    before, after = repeats
    assert clipload("report", "--rebuild", before) == EXIT_OK
    said = capsys.readouterr()
    assert said.out == ""
    assert [line.partition(":")[2] for line in said.err.splitlines()] == [
        f" {before / f'run{number}'}: documents written anew; the run ended: complete" for number in range(3)
    ]
    assert all(names(before / f"run{number}") == documents | {"journal.bin"} for number in range(3))
    assert not any(names(after / f"run{number}") - {"journal.bin"} for number in range(3))
    assert clipload("report", "--rebuild", before, "--out", tmp_path / "o") == EXIT_USAGE
    assert "beside their journal" in capsys.readouterr().err
    (before / "run0" / "run.json").write_text("{}")
    assert clipload("report", "--rebuild", "--json", before / "run0", "--out", tmp_path / "o") == EXIT_OK
    (found,) = [json.loads(path.read_text()) for path in (tmp_path / "o").iterdir()]
    assert found == json.loads((before / "run0" / "run.json").read_text()) == archive.document(archive.load(before / "run0"))


def test_bad_input_gets_a_clear_word_and_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty, foreign, short = tmp_path / "empty", tmp_path / "foreign", tmp_path / "short"
    for folder in (empty, foreign, short):
        folder.mkdir()
    (foreign / "journal.bin").write_bytes(b"something else altogether")
    (short / "journal.bin").write_bytes(archive.MAGIC)
    cases = {
        tmp_path / "nowhere": ("there is no", "name a run directory"),
        empty: ("holds no run", "name a run directory"),
        tmp_path / "foreign" / "journal.bin": ("is no run directory", "name a run directory"),
        foreign: ("is not a journal of clipload", "name a run directory"),
        short: ("does not begin with its Plan", "run it again"),
        newer(tmp_path / "newer"): (f"has schema {SCHEMA + 1}, this clipload reads up to {SCHEMA}", "update clipload"),
        with_another_field(tmp_path / "field"): ("warp", "update clipload"),
    }
    for place, (what, remedy) in cases.items():
        before = sorted(place.iterdir()) if place.is_dir() else None
        for command in (("report", place), ("report", place, "--md"), ("compare", place, place)):
            assert clipload(*command) == EXIT_USAGE, place
            said = capsys.readouterr()
            assert what in said.err, place
            assert str(place) in said.err, "which one"
            assert remedy in said.err, place
            assert said.out == ""
        assert (sorted(place.iterdir()) if place.is_dir() else None) == before


def test_one_broken_run_among_many_is_named(repeats: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    (repeats[0] / "run1" / "journal.bin").write_bytes(b"no")
    assert clipload("report", repeats[0], "--csv") == EXIT_USAGE
    assert f"{repeats[0]}/run1" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_to(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "locked").mkdir(mode=0o555)
    assert clipload("report", run, "--md", "--csv", "--out", tmp_path / "locked") == EXIT_USAGE
    assert "--out: cannot write to" in capsys.readouterr().err


def test_an_out_that_is_a_file(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        assert clipload("report", run, "--md", "--csv", "--out", out) == EXIT_USAGE
        said = capsys.readouterr().err
        assert f"--out: cannot write to {out}" in said
        assert "remedy: name a folder that can be written to" in said
    assert (tmp_path / "file").read_text() == "mine"


def test_two_texts_need_a_folder_or_go_beside_the_run(run: Path) -> None:
    assert clipload("report", run, "--md", "--csv") == EXIT_OK
    assert names(run) == {"journal.bin", "report.md", "report.csv"}


def test_without_the_libraries_that_draw_tables_still_work(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "altair", None)
    assert clipload("report", run) == EXIT_USAGE
    assert "pip install 'clipload[report]'" in capsys.readouterr().err
    assert names(run) == {"journal.bin"}
    assert clipload("report", run, "--md") == EXIT_OK


def test_compare_is_a_gate(repeats: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    before, after = repeats
    assert clipload("compare", before, after) == EXIT_MISSED
    said = capsys.readouterr().out
    assert "regression: " in said
    assert f"before      {before}" in said
    assert clipload("compare", after, before, "--limit", "1%", "--json") in (EXIT_OK, 4)
    document = json.loads(capsys.readouterr().out)
    assert document["changes"]["p50"]["outcome"] == "better"
    assert document["limit"] == 0.01
    assert clipload("compare", before, after, "--md") == EXIT_MISSED
    assert capsys.readouterr().out.startswith(f"### {before}".replace("_", "\\_"))


def test_compare_says_why_it_cannot(repeats: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan, frames = measured(seconds=3, concurrency=4, duration=Duration.seconds(3))
    closed = save(tmp_path / "closed", frames_of(plan, frames, 3.0))
    assert clipload("compare", repeats[0], closed) == EXIT_USAGE
    assert "their latencies mean different things" in capsys.readouterr().err
    assert clipload("compare", repeats[0], repeats[1], "--limit", "lots") == EXIT_USAGE
    assert "--limit: 'lots' is not a limit\n  remedy: write a percentage, like 5%" in capsys.readouterr().err
    assert clipload("compare", repeats[0], repeats[1], "--md", "--json") == EXIT_USAGE


@pytest.mark.parametrize(("text", "share"), [("5%", 0.05), (" 0.5 % ", 0.005), ("0%", 0.0)])
def test_a_limit_is_a_percentage(text: str, share: float) -> None:
    assert parse_limit(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["5", "", "-1%", "100%", "nan%", "%"])
def test_what_is_no_limit(text: str) -> None:
    with pytest.raises(CompareError):
        parse_limit(text)
