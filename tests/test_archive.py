"""The run directory: a journal that survives any death, documents that are whole or absent, and other people's readers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from clipload import archive
from clipload.archive import (
    MAGIC,
    Journal,
    create_directory,
    document,
    intervals_csv,
    load,
    read_journal,
    save,
    write_atomically,
)
from clipload.errors import ArchiveError, CliploadError, HostError
from clipload.folding import fold
from clipload.frames import SCHEMA, Closing, Frame, Interval, Opening, Reading
from clipload.histogram import DIGITS, HIGHEST, LOWEST, Histogram
from clipload.hlog import read_hlog
from clipload.plan import Plan
from clipload.run import KILLED, Run
from clipload.signals import health_of
from clipload.tally import HISTOGRAMS, Tally
from clipload.units import Duration
from tests.test_run import MS, S, answers, interval, open_frames, open_plan, opening, run_of


def write(path: Path, frames: list[Frame]) -> list[int]:
    """A journal of `frames`; the file's size after each."""
    journal, sizes = Journal(path), []
    for frame in frames:
        journal.append(frame)
        sizes.append(path.stat().st_size)
    journal.close()
    return sizes


def packed(frames: Iterable[Frame]) -> list[bytes]:
    """Frames in a form that can be compared: a tuple comes back from the journal as a list."""
    return [msgspec.msgpack.encode(frame) for frame in frames]


FRAMES = packed(open_frames())


def as_json(value: Any) -> Any:
    return json.loads(msgspec.json.encode(value))


# ---- the journal


def test_frames_read_back(tmp_path: Path) -> None:
    path = tmp_path / "journal.bin"
    write(path, open_frames())
    assert packed(read_journal(path)) == FRAMES
    assert path.read_bytes().startswith(MAGIC)


def test_each_frame_is_on_disk_before_the_next(tmp_path: Path) -> None:
    path = tmp_path / "journal.bin"
    journal = Journal(path)
    for n, frame in enumerate(open_frames()):
        assert len(list(read_journal(path))) == n
        journal.append(frame)
    journal.close()


def test_a_journal_is_never_written_over(tmp_path: Path) -> None:
    write(tmp_path / "journal.bin", open_frames()[:1])
    with pytest.raises((CliploadError, FileExistsError)):
        Journal(tmp_path / "journal.bin")
    assert len(list(read_journal(tmp_path / "journal.bin"))) == 1


def test_cut_at_any_byte_every_whole_frame_is_read(tmp_path: Path) -> None:
    """Every position of the last two frames, the last of which is the Closing."""
    path = tmp_path / "journal.bin"
    frames = open_frames()
    sizes = write(path, frames)
    data = path.read_bytes()
    by_count: dict[int, Run] = {}
    with path.open("r+b") as file:
        for cut in range(len(data) - 1, sizes[-3] - 1, -1):
            file.truncate(cut)
            whole = sum(size <= cut for size in sizes)
            found = list(read_journal(path))
            assert packed(found) == FRAMES[:whole], f"cut at byte {cut}"
            if whole not in by_count:
                by_count[whole] = fold(found)
    assert sorted(by_count) == [len(frames) - 2, len(frames) - 1]
    for run in by_count.values():
        assert run.ended == KILLED
        run.check_ledger()


def test_cut_before_its_plan_a_journal_is_no_run(tmp_path: Path) -> None:
    path = tmp_path / "journal.bin"
    write(path, open_frames()[:1])
    data = path.read_bytes()
    for cut in range(len(MAGIC), len(data)):
        path.write_bytes(data[:cut])
        with pytest.raises(ArchiveError):
            fold(read_journal(path))


def test_a_flipped_byte_ends_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "journal.bin"
    sizes = write(path, open_frames())
    data = path.read_bytes()
    for at in range(sizes[2], sizes[3]):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])
        assert packed(islice(read_journal(path), 4)) == FRAMES[:3], f"byte {at}"


def test_a_killed_run_can_be_saved_all_the_same(tmp_path: Path) -> None:
    write(tmp_path / "journal.bin", open_frames()[:4])
    run = load(tmp_path)
    assert run.ended == KILLED
    save(run, tmp_path)
    assert json.loads((tmp_path / "run.json").read_text())["phases"]["measure"]["ledger"]["lost"] == 1


@pytest.mark.parametrize("data", [b"", b"clipload-journal", b"clipload-journal-2\n", b"PK\3\4" + bytes(99)])
def test_what_is_no_journal_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "journal.bin").write_bytes(data)
    with pytest.raises(ArchiveError, match="not a journal") as caught:
        load(tmp_path)
    assert caught.value.remedy


def test_a_folder_without_a_journal_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="cannot read") as caught:
        load(tmp_path / "absent")
    assert caught.value.remedy


def test_two_openings_and_newer_schemas_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "journal.bin", [*open_frames()[:2], open_frames()[0]])
    with pytest.raises(ArchiveError, match="two Plans"):
        load(tmp_path)
    (tmp_path / "newer").mkdir()
    write(tmp_path / "newer" / "journal.bin", [opening(open_plan(), schema=SCHEMA + 1)])
    with pytest.raises(ArchiveError, match=f"schema {SCHEMA + 1}"):
        load(tmp_path / "newer")


def test_a_tail_of_zeros_ends_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "journal.bin"
    write(path, open_frames())
    with path.open("ab") as file:
        file.write(bytes(4096))
    assert packed(read_journal(path)) == FRAMES


def test_a_frame_of_an_unknown_kind_is_an_error_of_ours(tmp_path: Path) -> None:
    class Other(msgspec.Struct, tag="other"):
        x: int = 1

    path = tmp_path / "journal.bin"
    journal = Journal(path)
    journal.append(open_frames()[0])
    journal.append(Other())  # type: ignore[arg-type]
    journal.close()
    with pytest.raises(ArchiveError):
        list(read_journal(path))


def test_a_journal_that_cannot_be_made_names_the_flag(tmp_path: Path) -> None:
    with pytest.raises(HostError) as caught:
        Journal(tmp_path / "absent" / "journal.bin")
    assert caught.value.flag == "--out"


FULL_DISK = """
import resource, sys
from pathlib import Path
from clipload.archive import Journal
from clipload.errors import HostError
from tests.test_run import open_frames
frames = open_frames()
journal = Journal(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    for frame in frames:
        journal.append(frame)
except HostError as error:
    print(error.flag, error.remedy, error.what, sep="|")
"""


@pytest.mark.parametrize(("frame", "room"), [(3, 0), (3, 5), (3, -1), (-1, -1)])  # the last: cut, and no write after it
def test_a_full_disk_is_an_error_and_what_was_written_stays_readable(tmp_path: Path, frame: int, room: int) -> None:
    """A limit on the file's size stands for the disk: the write that crosses it is cut short, the next one fails."""
    sizes = write(tmp_path / "whole.bin", open_frames())
    path, limit = tmp_path / "journal.bin", sizes[frame] + room
    command = [sys.executable, "-c", FULL_DISK, str(path), str(limit)]
    root = Path(__file__).parents[1]
    env = os.environ | {"PYTHONPATH": "."}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=root, env=env)
    flag, remedy, what = done.stdout.strip().split("|")
    assert flag == "--out"
    assert remedy
    assert str(path) in what
    assert path.stat().st_size == limit
    kept = list(read_journal(path))
    assert packed(kept) == FRAMES[: sum(size <= limit for size in sizes)]
    fold(kept).check_ledger()


# ---- directories and documents


def test_a_directory_is_new_and_named_after_the_second(tmp_path: Path) -> None:
    paths = [create_directory(tmp_path / "runs", "näme", 1_700_000_000.9) for _ in range(3)]
    stem = "20231114T221320Z-näme"
    assert [path.name for path in paths] == [stem, f"{stem}-2", f"{stem}-3"]
    assert all(path.is_dir() for path in paths)


def test_a_directory_that_cannot_be_made_names_the_flag(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/no/such")):
        with pytest.raises(HostError) as caught:
            create_directory(out, "run", 0)
        assert caught.value.flag == "--out"
        assert caught.value.remedy


def test_documents_are_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    save(fold(open_frames()), tmp_path)
    names = {"plan.toml", "intervals.csv", "latency.hlog", "run.json"}
    assert {path.name for path in tmp_path.iterdir()} == names
    first = {name: (tmp_path / name).read_bytes() for name in names}
    save(fold(open_frames()), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == first
    assert all((tmp_path / name).stat().st_mode & 0o777 == 0o644 for name in names)


def test_a_document_that_cannot_be_written_names_the_flag_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "x").write_text("")
    for path in (tmp_path / "absent" / "run.json", Path("/proc/run.json"), tmp_path / "taken"):
        with pytest.raises(HostError) as caught:
            write_atomically(path, "text")
        assert caught.value.flag == "--out"
        assert "journal.bin" in caught.value.remedy
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_document_on_a_full_disk_leaves_the_old_one(tmp_path: Path) -> None:
    program = (
        "import resource, sys; from pathlib import Path; from clipload.archive import write_atomically\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: write_atomically(Path(sys.argv[1]), 'x' * 100_000)\n"
        "except Exception as error: print(type(error).__name__, error.flag)"
    )
    path = tmp_path / "run.json"
    path.write_text("old")
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["HostError", "--out"]
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_plan_reads_back(tmp_path: Path) -> None:
    run = fold(open_frames())
    save(run, tmp_path)
    assert Plan.from_toml((tmp_path / "plan.toml").read_text()) == run.plan


def test_what_is_rebuilt_from_the_journal_is_what_was_saved(tmp_path: Path) -> None:
    frames = open_frames()
    write(tmp_path / "journal.bin", frames)
    run = fold(frames)
    save(run, tmp_path)
    again = load(tmp_path)
    assert document(again) == document(run)
    assert json.loads((tmp_path / "run.json").read_text()) == as_json(document(run))
    assert intervals_csv(again) == (tmp_path / "intervals.csv").read_text()
    assert "".join(archive.latency_hlog(again)) == (tmp_path / "latency.hlog").read_text()


def test_every_figure_of_the_document_follows_from_the_document() -> None:
    found = as_json(document(fold(open_frames())))
    assert (found["ended"], found["measured_ns"], found["throughput"], found["steady_requests_per_s"]) == (
        "complete", 2 * S, 13.5, None,
    )  # fmt: skip
    assert set(found["phases"]) == {"warmup", "measure"}
    assert found["phases"]["measure"]["ledger"] == {
        "planned": 31, "not_due": 1, "scheduled": 30, "lost": 0, "unsent": 0, "ok": 27, "timeout": 1, "censored": 0,
        "errors": {"http_500": 2},
    }  # fmt: skip
    measure = fold(open_frames()).measure
    for name, said in found["phases"]["measure"]["histograms"].items():
        histogram = Histogram.decode_v2(b64decode(said["v2"]))
        assert histogram.total == said["count"] == measure.histogram(name).total
        for label, q in archive.PERCENTILES.items():
            assert said[label] == measure.histogram(name).quantile(q)
            assert histogram.quantile(q) == pytest.approx(said[label], rel=1e-3, abs=512)
        assert (said["min"], said["max"]) == (measure.histogram(name).min, measure.histogram(name).max)
    assert found["workers"]["1"]["measure"]["ledger"]["errors"] == {"http_500": 2}
    assert found["workers"]["1"]["loop_lag"] is None
    own = fold(open_frames()).own
    for number, worker in found["workers"].items():
        said = {name: {label: one["value"] for label, one in each.items()} for name, each in worker["estimates"].items()}
        known = {name: {label: one.value for label, one in each.items()} for name, each in own.workers[int(number)].items()}
        assert said == known
        assert {"p50", "p99"} <= set(said["latency"])
    assert found["workers"]["0"]["estimates"]["loop_lag"]["p99"]["value"] == 3 * MS
    seen = found["workers"]["0"]["loop_lag"]
    assert Histogram.decode_v2(b64decode(seen["v2"])).total == seen["count"] == 50
    assert found["health"] == {
        "signals": msgspec.to_builtins(health_of(fold(open_frames())), str_keys=True), "outliers": {}, "readings": 2,
    }  # fmt: skip
    assert found["health"]["signals"]["loop_lag"]["value"] == 3 * MS
    assert found["examples"] == {"http_500": "the queue is full", "reset": "the peer closed the connection"}


# ---- the series


def test_hdrhistograms_own_reader_finds_the_same_percentiles(tmp_path: Path) -> None:
    latencies = [[round(2e6 * 1.07**i) + j for i in range(100)] for j in range(3)]
    frames = [interval(0, j, {"measure": answers(values, lag_ns=1000)}) for j, values in enumerate(latencies)]
    run = run_of(open_plan(), frames, 3)
    save(run, tmp_path)
    reader = HistogramLogReader(str(tmp_path / "latency.hlog"), HdrHistogram(LOWEST, HIGHEST, DIGITS))
    total = HdrHistogram(LOWEST, HIGHEST, DIGITS)
    stamps = []
    try:
        while (found := reader.get_next_interval_histogram()) is not None:
            if not found.get_tag():
                total.add(found)
                stamps.append(found.get_start_time_stamp())
    finally:
        reader.close()
    assert reader.get_start_time_sec() == 1.7e9
    assert [round(stamp - 1.7e12) for stamp in stamps] == [0, 1000, 2000]
    ours = run.measure.histogram("latency")
    assert total.get_total_count() == ours.total
    for q in (0.5, 0.9, 0.99):
        assert total.get_value_at_percentile(100 * q) == ours.quantile(q)


def test_the_log_holds_every_histogram_of_every_second() -> None:
    run = fold(open_frames())
    start, rows = read_hlog(archive.latency_hlog(run))
    assert start == run.start_wall_s
    sums: dict[str, Tally] = {}
    for row in rows:
        name = row.tag or "latency"
        part = sums.setdefault(name, Tally())
        part += Tally({}, {name: row.histogram})
    whole = Tally()
    for phase in run.phases.values():
        whole += phase
    for name in HISTOGRAMS:
        if whole.histogram(name).total:
            assert sums[name].histogram(name).total == whole.histogram(name).total
            assert (sums[name].histogram(name).counts == whole.histogram(name).counts).all()
    assert {row.tag for row in rows} == {"", *(name for name in HISTOGRAMS if whole.histogram(name).total)} - {"latency"}
    assert all(row.length_s == 1.0 for row in rows)


def test_frames_are_what_they_say() -> None:
    """The journal's own types: an Interval of a later clipload may bring more fields, and is still read."""
    frame = open_frames()[1]
    assert isinstance(frame, Interval)
    more = msgspec.msgpack.decode(msgspec.msgpack.encode(frame))
    more["something_new"] = 5
    assert packed([msgspec.msgpack.decode(msgspec.msgpack.encode(more), type=Frame)]) == packed([frame])
    assert {type(each) for each in open_frames()} == {Opening, Interval, Reading, Closing}


def test_estimates_are_part_of_the_document_and_follow_from_the_journal(tmp_path: Path) -> None:
    frames = [interval(0, i, {"measure": answers([ms * MS for ms in range(9, 19)] * 10)}) for i in range(1, 13)]
    run = run_of(open_plan(workers=1, duration=Duration.seconds(12)), frames, 13)
    made = as_json(document(run))
    assert (made["schema"], made["estimates"]["level"]) == (archive.SCHEMA, 0.95)
    for name, found in made["phases"]["measure"]["histograms"].items():
        for label, estimate in made["estimates"]["histograms"][name].items():
            assert estimate["value"] == found[label]
    p99, rare = (made["estimates"]["objective"]["latency"][label] for label in ("p99", "p99.9"))
    assert (p99["sufficient"], rare["sufficient"]) == (True, False)
    assert (rare["high"], p99["high"]) == (None, pytest.approx(18 * MS, rel=1e-3)), "null: nothing bounds it"
    assert made["estimates"]["throughput"]["value"] == run.throughput
    assert made["estimates"]["errors"]["value"] == 0
    drift = {"growth": 0, "arrivals": 600, "t": 0, "critical": pytest.approx(3.7469, abs=1e-4), "drifting": False}
    assert made["steadiness"] == {"drift": drift, "warm_up": None, "little": None}
    json.dumps(made, allow_nan=False)


def test_a_run_that_measured_nothing_has_a_document_without_figures() -> None:
    made = document(fold(open_frames()[:1]))
    assert made["steadiness"] == {"drift": None, "warm_up": None, "little": None}
    assert (made["estimates"]["objective"], made["estimates"]["histograms"], made["estimates"]["errors"]) == ({}, {}, None)
    json.dumps(as_json(made), allow_nan=False)
