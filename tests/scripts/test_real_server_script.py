"""`scripts/test-sglang` where there is no server, or one that does not start: said, and told by its exit status."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.gallery.places import free_address
from tests.servers import ROOT, environment

FAKE = """#!/usr/bin/env bash
echo "$1 $MODE radix=$RADIX_FLAG port=$PORT" >>"$SGLANG_CPU_HOME/asked"
[ "$1" = stop ] || { echo "it fell over"; exit 1; }
"""


def script(*arguments: str, server: Path, home: Path) -> subprocess.CompletedProcess[str]:
    port = free_address().rpartition(":")[2]
    given = {"CLIPLOAD_SGLANG_SERVER": server, "SGLANG_CPU_HOME": home, "CLIPLOAD_SGLANG_PORT": port, "TMPDIR": home}
    env = environment({name: str(value) for name, value in given.items()})
    return subprocess.run(
        ["bash", "scripts/test-sglang", "--no-install", *arguments],
        capture_output=True, text=True, cwd=ROOT, env=env, timeout=100, check=False,
    )  # fmt: skip


def test_a_wrong_use(tmp_path: Path) -> None:
    fake = tmp_path / "server"
    named = script(server=fake, home=tmp_path)
    assert (named.returncode, "there is no such file" in named.stderr) == (2, True), named
    fake.write_text(FAKE)
    mode = script("healthy", server=fake, home=tmp_path)
    assert (mode.returncode, "no mode 'healthy'" in mode.stderr) == (2, True), mode


@pytest.mark.slow
def test_a_server_that_does_not_start_is_a_failure_of_its_mode_alone(tmp_path: Path) -> None:
    fake = tmp_path / "server"
    fake.write_text(FAKE)
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / "complete").touch()
    done = script("stock", "radix", server=fake, home=tmp_path)
    assert done.returncode == 1, done
    assert "FAILED: stock (not started) radix (not started)" in done.stdout
    asked = [line.rpartition(" ")[0] for line in (tmp_path / "asked").read_text().splitlines()]
    started = [line for line in asked if line.startswith("start")]
    assert started == ["start stock radix=--disable-radix-cache"] * 2 + ["start image radix="] * 2, "each is tried twice"
    assert sum(line.startswith("stop") for line in asked) >= 4, "and what may be left of it is stopped"
