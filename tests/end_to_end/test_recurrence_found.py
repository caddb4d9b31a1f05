"""`clipload compare --interleave` of one image with as many as are sent: who remembers is found, who does not is cleared."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.servers import ROOT, command, environment, running_server

pytestmark = [pytest.mark.clock, pytest.mark.slow]

PLAN = """\
mode = "image"
image_size = "32x32"
rate = 100.0
duration = "5s"
cores = "0"
slo = ["p50<1s"]  # judges the median, which a busy machine leaves alone
no_preflight = true
no_lookout = true
no_integrity = true
"""
SERVER = ("--law", "exp(20ms)", "--servers", "12", "--dim", "16", "--cores", "1")


def compared(folder: Path, *lie: str) -> subprocess.CompletedProcess[str]:
    with running_server("sim", *SERVER, *lie) as server:
        plans = []
        for name, sent in (("one", "pool = 1"), ("all", "unique = true")):
            plans.append(folder / f"{name}.toml")
            plans[-1].write_text(f'{PLAN}base_url = "{server.url}"\n{sent}\n')
        flags = ("--interleave", "--pairs", "3", "--limit", "50%", "--out", str(folder / "runs"), "--json")
        return subprocess.run(
            command("compare", *map(str, plans), *flags),
            capture_output=True, text=True, cwd=ROOT, env=environment(), timeout=150, check=False,
        )  # fmt: skip


def test_who_remembers_is_found(tmp_path: Path) -> None:
    done = compared(tmp_path, "--lie", "cache")
    document = json.loads(done.stdout)
    found = document["recurrence"]
    assert found["shown"] == "cache", (found, done.stderr)
    assert "the figures of before are its cache's" in found["sentence"]
    assert found["remedy"] == "measure with --unique, which sends nothing twice"
    assert (found["repeats"], found["samples"][0]) == ("before", 1)
    assert found["times"][1] == 1
    change = found["changes"]["service p50"]
    assert change["repeats"]["value"] < change["other"]["value"] / 2
    assert set(document["differing"]) == {"pool", "unique"}
    folders = [str(Path(document["directory"]) / side) for side in ("before", "after")]
    again = subprocess.run(
        command("compare", *folders, "--paired", "--limit", "50%", "--json"),
        capture_output=True, text=True, cwd=ROOT, env=environment(), timeout=60, check=False,
    )  # fmt: skip
    assert json.loads(again.stdout)["recurrence"] == found, "it can be computed again from what was saved"


def test_who_does_not_shows_none(tmp_path: Path) -> None:
    """14 ms in the median each time: half of it would be seen whatever the machine does."""
    found = json.loads(compared(tmp_path).stdout)["recurrence"]
    assert found["shown"] == "none", found
    assert found["sentence"].startswith("no cache shows: service p50 at most ")
    assert found["remedy"] == ""
