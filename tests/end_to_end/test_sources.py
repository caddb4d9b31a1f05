"""Each source under a real load: folder, JSON lines, standard input, mixed Samples, photographs; and one that never repeats."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from tests.end_to_end.runs import OK, USAGE, check_finished, run_clipload
from tests.recording import recording
from tests.scripts.test_make_photos import make_photos
from tests.servers import Server, running_server

LOAD = ("--concurrency", "4", "--num-samples", "40")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photographs of scripts/make_photos.py, a caption beside each."""
    out = tmp_path_factory.mktemp("photos")
    assert make_photos("--out", out).returncode == 0
    folder = out / "Flicker8k_Dataset"
    for line in (out / "Flickr8k.token.txt").read_text().splitlines():
        key, _, caption = line.partition("\t")
        name, _, index = key.rpartition("#")
        if index == "0":
            (folder / name).with_suffix(".txt").write_text(caption)
    return folder


@pytest.fixture(scope="module")
def rows(photos: Path) -> Path:
    """The same as JSON lines: every third without an image."""
    lines = []
    for number, image in enumerate(sorted(photos.glob("*.jpg"))):
        row = {"text": image.with_suffix(".txt").read_text()} | ({"image": str(image)} if number % 3 else {})
        lines.append(json.dumps(row) + "\n")
    file = photos.parent / "rows.jsonl"
    file.write_text("".join(lines))
    return file


@pytest.fixture(scope="module")
def server() -> Server:  # type: ignore[misc]
    with running_server("sim", "--law", "constant(1ms)", "--servers", "4", "--dim", "8") as running:
        yield running


def test_a_folder_as_it_is(photos: Path, server: Server, tmp_path: Path) -> None:
    flags = ("--data-source", "folder", "--data", str(photos), "--image-format", "original", "--batch-size", "3")
    done = run_clipload(*LOAD, *flags, url=server.url, out=tmp_path)
    check_finished(done)
    images = list(photos.glob("*.jpg"))
    assert done.document["plan"]["pool"] == len(images)
    assert done.counts["samples"] == 42
    # Each Item lies there once: the files in base64, and some bytes around each.
    whole = sum(4 * -(-image.stat().st_size // 3) for image in images)
    assert whole < done.document["facts"]["arena"]["bytes"] < whole + 300 * len(images)


@pytest.mark.slow
def test_json_lines_from_standard_input_and_from_a_file_are_one(rows: Path, server: Server, tmp_path: Path) -> None:
    flags = ("--data-source", "jsonl", "--mode", "mixed", "--text-share", "0.4", "--image-format", "webp", *LOAD)
    by_file = run_clipload(*flags, "--data", str(rows), url=server.url, out=tmp_path / "a")
    piped = run_clipload(*flags, "--data", "-", url=server.url, out=tmp_path / "b", stdin=rows)
    for done in (by_file, piped):
        check_finished(done)
    assert tomllib.loads((piped.directory / "plan.toml").read_text())["samples"]["data"] == "-"
    assert by_file.document["facts"]["arena"] == piped.document["facts"]["arena"]
    assert by_file.counts["bytes_sent"] == piped.counts["bytes_sent"]
    assert by_file.counts["samples"] == 40


@pytest.mark.slow
def test_mixed_random_photographs_and_texts(server: Server, tmp_path: Path) -> None:
    flags = ("--mode", "mixed", "--text-tokens", "5-76", "--image-kind", "photo", "--image-size", "64x64:2,96x64")
    done = run_clipload(*LOAD, *flags, "--batch-size", "5", "--pool", "50", url=server.url, out=tmp_path)
    check_finished(done)
    assert done.document["facts"]["arena"]["items"] == 50
    assert 10 < done.document["facts"]["arena"]["texts"] < 40
    assert "5 texts (50 %) and images = 5 vectors a request" in done.stderr


def test_skipped_lines_are_reported(rows: Path, server: Server, tmp_path: Path) -> None:
    flags = ("--data-source", "jsonl", "--data", str(rows), "--mode", "image", "--image-size", "32x32", *LOAD)
    done = run_clipload(*flags, url=server.url, out=tmp_path)
    check_finished(done)
    assert len(done.document["facts"]["skipped"]) == 8
    assert "(named on line" in done.stderr  # fmt: skip
    strict = run_clipload(*flags, "--strict", url=server.url, out=tmp_path / "strict")
    assert (strict.code, (tmp_path / "strict").exists()) == (USAGE, False)
    assert 'no "image"' in strict.stderr


LOADS = {
    "counted closed": ("--concurrency", "6", "--num-samples", "300", "--workers", "2", "--cores", "0,1"),
    "counted open": ("--rate", "300", "--num-samples", "300", "--warmup", "300ms"),
    "open by duration": ("--rate", "200", "--duration", "700ms", "--warmup", "200ms", "--cooldown", "200ms"),
    "ramp": ("--ramp", "50:300", "--duration", "1s"),
}


@pytest.mark.parametrize(
    "load", [pytest.param(name, marks=[] if name == "open by duration" else [pytest.mark.slow]) for name in LOADS]
)
@pytest.mark.slow
def test_a_unique_load_sends_nothing_twice(load: str, tmp_path: Path) -> None:
    flags = ("--unique", "--mode", "multimodal", "--text-tokens", "6", "--image-size", "16x16", "--batch-size", "2")
    with recording(4) as (recorded, url):
        cores = None if "--cores" in LOADS[load] else "0"
        done = run_clipload(*flags, *LOADS[load], url=url, out=tmp_path, cores=cores)
    check_finished(done)
    bodies = [body for _, body in recorded.arrivals]
    assert len(bodies) == len(set(bodies)) == done.document["plan"]["pool"] // 2
    sent = sum(phase["counts"]["scheduled"] for phase in done.document["phases"].values())
    assert len(bodies) == sent + 1, "the load and the probe"


@pytest.mark.slow
def test_without_unique_a_small_pool_comes_again(tmp_path: Path) -> None:
    """The witness of the test above: the recording sees repetition where there is some."""
    with recording(1) as (recorded, url):
        done = run_clipload("--mode", "image", "--image-size", "8x8", "--pool", "7", *LOAD, url=url, out=tmp_path)
    check_finished(done)
    assert len({body for _, body in recorded.arrivals}) == 7


def test_too_few_for_a_unique_load(rows: Path, server: Server, tmp_path: Path) -> None:
    flags = ("--unique", "--data-source", "jsonl", "--data", str(rows), "--mode", "text", *LOAD)
    done = run_clipload(*flags, url=server.url, out=tmp_path / "runs")
    assert (done.code, (tmp_path / "runs").exists()) == (USAGE, False)
    assert "40 requests and the probe take 41 different Samples" in done.stderr
    assert done.code != OK
