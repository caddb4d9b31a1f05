"""Real runs against the real reference server: every loop, mode and length; the ledger closes and the documents agree."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from clipload.pacing import horizon
from clipload.plan import Plan
from tests.end_to_end.runs import USAGE, check_finished, run_clipload
from tests.recording import recording
from tests.servers import Server, running_server

ALONE = pytest.param(1, "0", marks=pytest.mark.slow)


@pytest.fixture(scope="module")
def sim() -> Iterator[Server]:
    """Fast, but with a queue."""
    with running_server("sim", "--law", "constant(1ms)", "--servers", "4", "--dim", "64", "--cores", "1") as server:
        yield server


def planned(plan: Plan) -> tuple[int, ...]:
    """Arrivals of each phase, from the schedule alone."""
    rows = horizon(plan.pacer, plan.seed, plan.workers, plan.bounds()).planned
    return tuple(sum(row[phase] for row in rows) for phase in range(3))


@pytest.mark.parametrize(("workers", "cores"), [ALONE, (2, "0,1")])
def test_an_open_loop_by_duration(sim: Server, tmp_path: Path, workers: int, cores: str) -> None:
    flags = ["--mode", "text", "--rate", "200", "--duration", "1s", "--warmup", "300ms", "--cooldown", "300ms"]
    done = run_clipload(*flags, "--workers", str(workers), url=sim.url, out=tmp_path, cores=cores)
    check_finished(done)
    plan = Plan.from_dict(done.document["plan"])
    assert tuple(done.document["phases"][name]["counts"]["ok"] for name in ("warmup", "measure", "cooldown")) == planned(plan)
    assert done.counts["planned"] > 120
    assert len(done.document["workers"]) == workers
    shares = [account["measure"]["counts"]["ok"] for account in done.document["workers"].values()]
    assert max(shares) - min(shares) <= 1
    assert done.document["measured_ns"] == 1_000_000_000
    # done in the phase against due in it: what was in flight at its two edges may differ
    assert done.document["requests_per_s"] == pytest.approx(done.counts["ok"], abs=25)


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(("--ramp", "50:450"), id="ramp", marks=pytest.mark.slow),
        pytest.param(("--steps", "50,450", "--arrival", "constant"), id="steps", marks=pytest.mark.slow),
        pytest.param(
            ("--rate", "100", "--burst", "800:250ms/1s", "--arrival", "gamma", "--cv", "2"), id="burst", marks=pytest.mark.slow
        ),
    ],
)
@pytest.mark.slow
def test_a_rate_that_changes(sim: Server, tmp_path: Path, shape: tuple[str, ...]) -> None:
    flags = ["--mode", "text", *shape, "--duration", "2s", "--warmup", "300ms", "--workers", "2"]
    done = run_clipload(*flags, url=sim.url, out=tmp_path, cores="0,1")
    check_finished(done)
    plan = Plan.from_dict(done.document["plan"])
    assert tuple(
        done.document["phases"].get(name, {"counts": {"ok": 0}})["counts"]["ok"] for name in ("warmup", "measure", "cooldown")
    ) == planned(plan)
    assert plan.shape is not None
    assert plan.shape.expected(np.array([0.3, 2.3])) == pytest.approx([done_before(shape), done_before(shape) + due(shape)])
    assert done.counts["planned"] == pytest.approx(due(shape), rel=0.3)


def due(shape: tuple[str, ...]) -> float:
    """Arrivals to be expected in the two measured seconds."""
    return {"--ramp": 500.0, "--steps": 500.0, "--rate": 100 * 1.5 + 800 * 0.5}[shape[0]]


def done_before(shape: tuple[str, ...]) -> float:
    return 0.3 * {"--ramp": 50.0, "--steps": 50.0, "--rate": 100.0}[shape[0]]


@pytest.mark.slow
def test_counted_warm_up_is_sent_before_the_load_and_not_counted(tmp_path: Path) -> None:
    flags = ["--mode", "text", "--concurrency", "1", "--num-samples", "5", "--pool", "1", "--warmup-requests", "3"]
    with recording(vectors=1) as (recorded, url):
        done = run_clipload(*flags, url=url, out=tmp_path)
    check_finished(done)
    assert done.counts["planned"] == 5
    assert len(recorded.arrivals) == 1 + 3 + 5  # the probe comes first
    assert all(at < done.document["start_ns"] for at, _ in recorded.arrivals[:4])
    assert all(at > done.document["start_ns"] for at, _ in recorded.arrivals[4:])


@pytest.mark.slow
def test_a_trace_is_replayed(sim: Server, tmp_path: Path) -> None:
    """Three arrivals at once, a pause, and one every 10 ms; twice as fast; to its end, since no length is given."""
    at = [0.0, 0.0, 0.0, *(1.0 + i / 100 for i in range(100))]
    file = tmp_path / "arrivals.txt"
    file.write_text("# seconds\n" + "".join(f"{1_700_000_000 + t:.3f} GET /\n" for t in at))
    flags = ["--mode", "text", "--trace", str(file), "--speedup", "2", "--workers", "2"]
    done = run_clipload(*flags, url=sim.url, out=tmp_path / "o", cores="0,1")
    check_finished(done)
    assert done.counts["ok"] == done.counts["planned"] == 103
    assert done.document["measured_ns"] == pytest.approx(995_000_000, abs=1000)
    assert [account["measure"]["counts"]["ok"] for account in done.document["workers"].values()] == [52, 51]
    again = run_clipload("--config", str(done.directory / "plan.toml"), url=sim.url, out=tmp_path / "p", cores="0,1")
    check_finished(again)
    assert again.counts["ok"] == 103


def test_a_trace_that_cannot_be_read_ends_before_anything_is_asked(tmp_path: Path) -> None:
    file = tmp_path / "arrivals.txt"
    file.write_text("1\n2\nthree\n")
    done = run_clipload("--mode", "text", "--trace", str(file), url="http://127.0.0.1:1", out=tmp_path / "o")
    assert (done.code, done.stdout) == (USAGE, "")
    assert "arrivals.txt, line 3: 'three' is no timestamp" in done.stderr
    file.write_text("1\n2\n")
    long = run_clipload("--trace", str(file), "--warmup", "5s", url="http://127.0.0.1:1", out=tmp_path / "o")
    assert long.code == USAGE
    assert "--warmup: the trace is over after 1s" in long.stderr
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(("workers", "cores"), [ALONE, (2, "0,1")])
@pytest.mark.slow
def test_an_open_loop_by_count(sim: Server, tmp_path: Path, workers: int, cores: str) -> None:
    flags = ["--mode", "text", "--rate", "400", "--arrival", "constant", "--num-samples", "401", "--batch-size", "4"]
    done = run_clipload(*flags, "--workers", str(workers), "--warmup", "300ms", url=sim.url, out=tmp_path, cores=cores)
    check_finished(done)
    assert done.counts["ok"] == done.counts["planned"] == 101
    assert done.counts["samples"] == 404


@pytest.mark.parametrize(("workers", "cores"), [ALONE, (2, "0,1")])
@pytest.mark.slow
def test_a_closed_loop_by_duration(sim: Server, tmp_path: Path, workers: int, cores: str) -> None:
    flags = ["--mode", "text", "--concurrency", "5", "--duration", "1s", "--warmup", "300ms"]
    done = run_clipload(*flags, "--workers", str(workers), url=sim.url, out=tmp_path, cores=cores)
    check_finished(done)
    assert done.document["phases"]["warmup"]["counts"]["ok"] > 20
    assert done.counts["ok"] > 80
    assert done.counts["planned"] == done.counts["scheduled"]
    assert done.document["requests_per_s"] == done.document["steady_requests_per_s"]
    assert done.document["steady_requests_per_s"] <= done.counts["ok"] + 5, "no more within it than were due in it, or before"


@pytest.mark.parametrize(("workers", "cores"), [(1, "0"), (2, "0,1")])
def test_a_closed_loop_by_count(sim: Server, tmp_path: Path, workers: int, cores: str) -> None:
    flags = ["--mode", "text", "--concurrency", "5", "--num-samples", "301", "--workers", str(workers), "--warmup", "100ms"]
    done = run_clipload(*flags, url=sim.url, out=tmp_path, cores=cores)
    check_finished(done)
    assert done.counts["ok"] == done.counts["planned"] == done.counts["samples"] == 301
    assert done.document["steady_requests_per_s"] > 0


def test_exactly_as_many_as_asked_for_even_fewer_than_slots(sim: Server, tmp_path: Path) -> None:
    done = run_clipload("--mode", "text", "--concurrency", "8", "--num-samples", "3", url=sim.url, out=tmp_path)
    check_finished(done)
    assert done.counts["ok"] == 3


@pytest.mark.parametrize(
    ("mode", "encoding"),
    [
        ("text", "base64"),
        ("image", "float"),
        ("multimodal", "base64"),
        pytest.param("text", "float", marks=pytest.mark.slow),
        pytest.param("image", "base64", marks=pytest.mark.slow),
        pytest.param("multimodal", "float", marks=pytest.mark.slow),
    ],
)
def test_modes_batches_and_encodings(sim: Server, tmp_path: Path, mode: str, encoding: str) -> None:
    flags = ["--mode", mode, "--batch-size", "4", "--encoding-format", encoding, "--pool", "6"]
    done = run_clipload(*flags, "--concurrency", "4", "--num-samples", "120", url=sim.url, out=tmp_path)
    check_finished(done)
    assert done.counts["ok"] == 30
    assert done.counts["samples"] == 120
    vectors = 30 * 4 * (2 if mode == "multimodal" else 1)
    assert done.counts["bytes_received"] > vectors * 64 * (4 if encoding == "base64" else 6)
    least = {"text": 30 * 4 * 10, "image": 30 * 4 * 150_000, "multimodal": 30 * 4 * 150_000}[mode]
    assert done.counts["bytes_sent"] > least
    assert done.document["facts"]["target"]["dim"] == 64
    assert "shape=(120, 64)" in done.stderr


@pytest.mark.slow
def test_the_clip_engine_serves_a_multimodal_load(tmp_path: Path) -> None:
    with running_server("clip", "--size", "tiny", "--cores", "1") as server:
        flags = ["--mode", "multimodal", "--concurrency", "2", "--num-samples", "20", "--pool", "4"]
        done = run_clipload(*flags, url=server.url, out=tmp_path)
    check_finished(done)
    assert done.counts["ok"] == 20


@pytest.mark.slow
def test_a_limit_of_connections_changes_no_count(sim: Server, tmp_path: Path) -> None:
    flags = ["--mode", "text", "--rate", "300", "--duration", "1s", "--max-connections", "1"]
    done = run_clipload(*flags, url=sim.url, out=tmp_path)
    check_finished(done)
    assert done.counts["ok"] == planned(Plan.from_dict(done.document["plan"]))[1]
    rows = (done.directory / "intervals.csv").read_text().splitlines()
    assert max(int(row.split(",")[7]) for row in rows[1:]) == 1


@pytest.mark.slow
def test_taskset_pins_as_well(sim: Server, tmp_path: Path) -> None:
    done = run_clipload("--mode", "text", "--rate", "100", "--duration", "500ms", "--use-taskset", url=sim.url, out=tmp_path)
    check_finished(done)
    assert [worker["cores"] for worker in done.document["facts"]["workers"]] == [[0]]


@pytest.mark.slow
def test_a_saved_plan_reproduces_itself(sim: Server, tmp_path: Path) -> None:
    flags = ["--mode", "text", "--rate", "123.5", "--num-samples", "150", "--seed", "7", "--batch-size", "3", "--name", "first"]
    first = run_clipload(*flags, url=sim.url, out=tmp_path)
    check_finished(first)
    again = run_clipload("--config", str(first.directory / "plan.toml"), out=tmp_path / "again", cores=None)
    check_finished(again)
    assert again.document["plan"] == first.document["plan"]
    assert (again.directory / "plan.toml").read_bytes() == (first.directory / "plan.toml").read_bytes()
    assert again.counts["planned"] == first.counts["planned"]
    assert again.counts["bytes_sent"] == first.counts["bytes_sent"]
    faster = run_clipload(
        "--config", str(first.directory / "plan.toml"), "--concurrency", "2", out=tmp_path / "other", cores=None
    )
    check_finished(faster)
    assert "rate" not in faster.document["plan"]
    assert faster.document["plan"]["concurrency"] == 2


def test_json_alone_stands_on_stdout(sim: Server, tmp_path: Path) -> None:
    done = run_clipload("--mode", "text", "--rate", "50", "--duration", "500ms", url=sim.url, out=tmp_path)
    check_finished(done)
    assert done.stdout.count("\n") == 1
    assert math.isfinite(json.loads(done.stdout)["throughput"])
    assert "==== Summary ====" in done.stderr
    assert f"saved       {done.directory}" in done.stderr


# ---- the user's mistakes

FLICKR = ("--data-source", "flickr8k", "--flickr-images-dir")


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--data-source", "flickr8k"], "--flickr-images-dir"),
        ([*FLICKR, "{tmp}/none", "--flickr-captions-file", "{tmp}/ok"], "--flickr-images-dir: cannot list"),
        ([*FLICKR, "{tmp}", "--flickr-captions-file", "{tmp}/none"], "--flickr-captions-file: cannot read"),
        ([*FLICKR, "{tmp}", "--flickr-captions-file", "{tmp}/bad"], "line 2"),
        pytest.param([*FLICKR, "{tmp}", "--flickr-captions-file", "{tmp}/ok"], "none of the 1 images", marks=pytest.mark.slow),
        pytest.param(["--data-source", "flickr"], "flickr8k", marks=pytest.mark.slow),
        pytest.param(["--rate", "10", "--concurrency", "3"], "--rate", marks=pytest.mark.slow),
        pytest.param(["--concurrency", "1", "--workers", "2"], "--workers", marks=pytest.mark.slow),
        (["--cores", "99"], "--cores"),
        pytest.param(["--config", "{tmp}/none.toml"], "--config", marks=pytest.mark.slow),
        pytest.param(["--api-key-file", "{tmp}/none"], "--api-key-file", marks=pytest.mark.slow),
        pytest.param(["--arena-limit", "1KiB"], "--arena-limit", marks=pytest.mark.slow),
        (["--max-conections", "3"], "--max-connections"),
    ],
)  # fmt: skip
def test_a_mistake_names_its_flag_and_the_remedy(sim: Server, tmp_path: Path, flags: list[str], named: str) -> None:
    (tmp_path / "ok").write_text("a.jpg#0\tA dog .\n")
    (tmp_path / "bad").write_text("a.jpg#0\tA dog .\nno tab here\n")
    done = run_clipload(*(flag.format(tmp=tmp_path) for flag in flags), url=sim.url, out=tmp_path / "runs", cores=None)
    assert done.code == USAGE, done.stderr
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())


def test_a_broken_image_is_skipped_and_said_or_with_strict_an_error(sim: Server, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (64, 48), "red").save(tmp_path / "good.jpg")
    (tmp_path / "broken.jpg").write_bytes((tmp_path / "good.jpg").read_bytes()[:100])
    captions = "".join(f"{name}.jpg#{i}\tA red square .\n" for name in ("good", "broken") for i in range(5))
    (tmp_path / "captions").write_text(captions)
    flags = [
        "--data-source",
        "flickr8k",
        "--flickr-images-dir",
        str(tmp_path),
        "--flickr-captions-file",
        str(tmp_path / "captions"),
    ]
    flags += ["--image-format", "jpeg", "--concurrency", "2", "--num-samples", "20"]
    done = run_clipload(*flags, url=sim.url, out=tmp_path / "runs")
    check_finished(done)
    assert done.counts["ok"] == 20
    assert done.document["plan"]["pool"] == 1
    assert len(done.document["facts"]["skipped"]) == 1
    assert "broken.jpg" in done.document["facts"]["skipped"][0]
    assert "broken.jpg" in done.stderr
    strict = run_clipload(*flags, "--strict", url=sim.url, out=tmp_path / "strict")
    assert strict.code == USAGE
    assert "broken.jpg" in strict.stderr
    assert "--strict" in strict.stderr
    assert strict.stdout == ""
