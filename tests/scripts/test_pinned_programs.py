"""The launcher with another program: pinned, single-threaded, logged; exit codes told; none outlives Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from clipload.cli.predecessor.pinned import Programs, launch
from clipload.host import THREAD_LIMITS, allowed_cores
from tests.scripts.names import command_of, typed
from tests.servers import environment

PROGRAM = """
import json, os, sys, time
print(json.dumps({
    "argv": sys.argv[1:], "cores": sorted(os.sched_getaffinity(0)), "group": os.getpgid(0) == os.getpid(),
    "threads": {name: os.environ[name] for name in os.environ if name.endswith("_NUM_THREADS")},
    "key": os.environ.get("CLIPLOAD_API_KEY"), "began": time.monotonic(),
}), flush=True)
print("oh", file=sys.stderr)
if "--sleep" in sys.argv:
    time.sleep(60)
sys.exit(int(sys.argv[-1]))
"""
CORES = allowed_cores()


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


def said(logs: Path, worker: int) -> dict[str, object]:
    document: dict[str, object] = json.loads((logs / f"worker_{worker}.out").read_text())
    return document


@pytest.mark.parametrize("taskset", ["", "--use-taskset"])
def test_each_is_pinned_and_logged(program: Path, tmp_path: Path, taskset: str) -> None:
    line = f"python benchmark_clip_sglang_launcher.py --workers 2 --script {program} --logs_dir logs {taskset} -- --x=1 a 0"
    done = typed(line, tmp_path)
    assert (done.code, done.out) == (0, ""), done.err
    for worker in range(2):
        found = said(tmp_path / "logs", worker)
        assert found["argv"] == ["--x=1", "a", "0"]
        assert found["threads"] == THREAD_LIMITS
        assert found["group"] is True
        if taskset:  # otherwise it is pinned while it starts, and may have looked before
            assert found["cores"] == [CORES[worker % len(CORES)]]
        assert (tmp_path / "logs" / f"worker_{worker}.err").read_text() == "oh\n"
        assert f"worker {worker}: exit 0" in done.err


def test_exit_codes_are_told(program: Path, tmp_path: Path) -> None:
    done = typed(f"python benchmark_clip_sglang_launcher.py --workers 2 --script {program} -- 7", tmp_path)
    assert done.code == 7
    assert "worker 1: exit 7" in done.err
    assert said(tmp_path / "logs_pinned", 1)["argv"] == ["7"]


def test_a_dry_run_starts_none(program: Path, tmp_path: Path) -> None:
    line = f"python benchmark_clip_sglang_launcher.py --workers 2 --dry-run --script {program} -- --api_key sesame 0"
    done = typed(line, tmp_path)
    assert done.code == 0
    assert [line.rpartition(": ")[2] for line in done.out.splitlines()] == [
        f"{sys.executable} {program} --api_key '***' 0" for _ in range(2)
    ]
    assert "sesame" not in done.out + done.err
    assert not (tmp_path / "logs_pinned").exists()


def test_they_start_one_after_another_and_a_key_is_in_the_environment_alone(program: Path, tmp_path: Path) -> None:
    programs = Programs(
        command=[sys.executable, str(program), "0"], cores=[CORES[:1]] * 2, logs=tmp_path / "logs", stagger_s=0.3,
        use_taskset=False, key="sesame",
    )  # fmt: skip
    assert "sesame" not in repr(programs) + programs.rehearsal()
    assert launch(programs) == 0
    first, second = (said(tmp_path / "logs", worker) for worker in range(2))
    assert first["key"] == second["key"] == "sesame"
    assert float(str(second["began"])) - float(str(first["began"])) > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_them_all(program: Path, tmp_path: Path, number: signal.Signals) -> None:
    line = f"python benchmark_clip_sglang_launcher.py --workers 2 --script {program} -- --sleep 0"
    process = subprocess.Popen(
        command_of(line), cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        outs = [tmp_path / "logs_pinned" / f"worker_{worker}.out" for worker in range(2)]
        deadline = time.monotonic() + 30
        while not all(out.exists() and out.read_text().endswith("\n") for out in outs):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.02)
        children = psutil.Process(process.pid).children()
        assert len(children) == 2
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
        assert process.returncode == 130, err
        assert "ending all workers" in err
        assert psutil.wait_procs(children, 10)[1] == []
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def test_logs_that_cannot_be_written_are_the_users_to_mend(program: Path, tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file")
    done = typed(f"python benchmark_clip_sglang_launcher.py --workers 1 --script {program} --logs_dir logs -- 0", tmp_path)
    assert done.code == 2
    assert "--logs_dir" in done.err
    assert (tmp_path / "logs").read_text() == "a file"
