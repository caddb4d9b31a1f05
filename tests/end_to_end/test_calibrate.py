"""`clipload calibrate` and the runs that cite it: real engines, real workers; what is kept, found, and left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.end_to_end.runs import INTERRUPTED, OK, USAGE, check_finished, run_clipload
from tests.gallery.places import free_address
from tests.servers import ROOT, Server, command, environment, running_server

pytestmark = pytest.mark.clock

TEXT = ("--mode", "text", "--cores", "0")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def calibrate(cache: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("calibrate", *flags), capture_output=True, text=True, timeout=90, check=False, cwd=ROOT, env=env(cache)
    )


def env(cache: Path) -> dict[str, str]:
    return environment({"XDG_CACHE_HOME": str(cache)})


@pytest.fixture(scope="module")
def calibrated(cache: Path) -> dict[str, Any]:
    """The document of a calibration of single texts; nothing runs any more."""
    done = calibrate(cache, *TEXT, "--json", "--rate", "3", "--seed", "7", "--base-url", "http://no.such.host:1")
    assert done.returncode == OK, done.stderr
    assert engines(cache) == []
    assert "ceiling" in done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def engines(cache: Path) -> list[psutil.Process]:
    """Null engines that a calibration with this cache has left behind."""
    found = [p for p in psutil.process_iter(["cmdline"]) if "clipload.server.attached" in " ".join(p.info["cmdline"] or [])]
    return [p for p in found if p.environ().get("XDG_CACHE_HOME") == str(cache)]


@pytest.fixture(scope="module")
def null() -> Iterator[Server]:
    with running_server("null", "--cores", "1") as server:
        yield server


@pytest.mark.slow
def test_a_calibration_measures_the_client(calibrated: dict[str, Any]) -> None:
    """A bare client does ten times as much on any machine that this was seen on, and none needs a second for a request."""
    found = calibrated["calibration"]
    assert found["requests_per_s"] > 500
    assert found["in_flight"] == 16
    assert 1_000 < found["cpu_ns"] < 2_000_000
    assert found["cpu_ns"] * found["requests_per_s"] < 1.1e9, "one core has a second of CPU a second"
    assert found["cpu_ns"] * found["requests_per_s"] == pytest.approx((found["busy"] - found["starved"]) * 1e9, rel=0.01)
    assert 0 < found["light_p50_ns"] <= found["light_p99_ns"]
    for low, high, at in ((*found[f"light_{p}_bounds_ns"], found[f"light_{p}_ns"]) for p in ("p50", "p99")):
        assert 0 <= low <= at <= (high or at)
    assert found["light_per_s"] == pytest.approx(max(1.0, min(1000.0, 0.05 * found["requests_per_s"])))
    assert found["at_least"] == (found["limit"] != "worker")
    assert abs(found["taken_s"] - time.time()) < 600


@pytest.mark.slow
def test_it_is_kept_where_it_says(calibrated: dict[str, Any], cache: Path) -> None:
    path = Path(calibrated["path"])
    assert path.parent == cache / "clipload" / "calibrations"
    kept = json.loads(path.read_text())
    assert kept["shape"] == calibrated["shape"]
    assert kept["calibration"].items() <= calibrated["calibration"].items()
    assert [one.name for one in path.parent.iterdir()] == [path.name]


@pytest.mark.slow
def test_a_run_of_that_payload_cites_it(calibrated: dict[str, Any], cache: Path, null: Server, tmp_path: Path) -> None:
    flags = ("--mode", "text", "--rate", "100", "--arrival", "constant", "--duration", "1s")
    done = run_clipload(*flags, url=null.url, out=tmp_path, env={"XDG_CACHE_HOME": str(cache)})
    check_finished(done)
    found, known = done.document["capacity"], calibrated["calibration"]
    assert (found["basis"], found["at_least"]) == ("calibration", known["at_least"])
    assert found["requests_per_s"] == known["requests_per_s"]
    assert found["used"] * known["requests_per_s"] == pytest.approx(100, abs=5)
    assert done.document["facts"]["shape"]["body_bytes"] == calibrated["shape"]["body_bytes"]
    assert f"can do {'at least ' if known['at_least'] else ''}{known['requests_per_s']:.0f} requests/s" in done.stderr


@pytest.mark.slow
def test_a_cache_that_cannot_be_read_is_told_before_the_load(calibrated: dict[str, Any], null: Server, tmp_path: Path) -> None:
    """Named with its remedy, and without a run directory."""
    copy = tmp_path / "clipload" / "calibrations" / Path(calibrated["path"]).name
    copy.parent.mkdir(parents=True)
    copy.write_text("{")
    done = run_clipload("--mode", "text", url=null.url, out=tmp_path / "runs", env={"XDG_CACHE_HOME": str(tmp_path)})
    assert done.code == USAGE
    assert f"{copy} cannot be read" in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_run_of_another_payload_says_how_to_get_one(
    calibrated: dict[str, Any], cache: Path, null: Server, tmp_path: Path
) -> None:
    flags = ("--mode", "text", "--rate", "100", "--duration", "1s", "--batch-size", "2")
    done = run_clipload(*flags, url=null.url, out=tmp_path, env={"XDG_CACHE_HOME": str(cache)})
    check_finished(done)
    assert done.document["facts"]["calibration"] is None
    assert done.document["capacity"]["basis"] == "own cpu"
    assert f"clipload calibrate --config {done.directory}/plan.toml" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "way", "workers"),
    [
        (("--mode", "text", "--base-url", "https://h:1", "--insecure"), "tls", 1),
        (("--mode", "text", "--base-url", "unix:/s", "--api", "openai", "--transport", "aiohttp"), "unix", 1),
        (("--mode", "image", "--api", "native", "--unique", "--num-samples", "5"), "tcp", 1),
        (("--mode", "mixed", "--workers", "2", "--concurrency", "2", "--encoding-format", "base64"), "tcp", 2),
        (("--image-transport", "url", "--serve-images-on", free_address(), "--batch-size", "4", "--dim", "64"), "tcp", 1),
    ],
    ids=["tls", "unix", "image", "workers", "url"],
)
def test_each_way_and_payload(flags: tuple[str, ...], way: str, workers: int, cache: Path) -> None:
    done = calibrate(cache, *flags, "--json")
    assert done.returncode == OK, done.stderr
    found = json.loads(done.stdout)
    assert (found["shape"]["way"], found["shape"]["workers"]) == (way, workers)
    assert found["calibration"]["requests_per_s"] > 20
    assert engines(cache) == []


@pytest.mark.slow
def test_a_signal_ends_it_and_leaves_nothing(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command("calibrate", *TEXT), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=env(tmp_path)
    )
    try:
        assert process.stderr is not None
        assert "closed loop with 16 requests in flight" in process.stderr.readline()
        deadline = time.monotonic() + 30
        while not any("clipload.worker" in " ".join(p.cmdline()) for p in psutil.Process(process.pid).children()):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(1.5)  # the load of three seconds is on
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, out) == (INTERRUPTED, "")
    assert engines(tmp_path) == []
    assert list((tmp_path / "clipload" / "calibrations").iterdir()) == []


@pytest.mark.slow
def test_an_engine_does_not_outlive_a_calibration_that_was_killed(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command("calibrate", *TEXT), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=env(tmp_path)
    )
    assert process.stderr is not None
    assert "closed loop" in process.stderr.readline()
    children = psutil.Process(process.pid).children(recursive=True)
    assert any("clipload.server.attached" in " ".join(child.cmdline()) for child in children)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    assert psutil.wait_procs(children, 20)[1] == []
