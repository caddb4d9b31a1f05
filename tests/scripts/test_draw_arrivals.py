"""The picture of the arrival laws: drawn by the script, not blank, and each row from the instants that the flags mean."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from clipload.cli import _exit_code
from clipload.plan import LOADS, Arrival, Plan
from clipload.schedule import schedule
from clipload.units import Duration
from tests.servers import ROOT, environment

SCRIPT = ROOT / "scripts" / "draw_arrivals.py"


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    out = tmp_path / "arrivals.png"
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--out", str(out)],
        env=environment(), capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    with Image.open(out) as picture:
        assert picture.format == "PNG"
        dark = (np.asarray(picture.convert("L")) < 200).sum(axis=1)
    assert len(dark) > 600
    rows = np.flatnonzero(np.diff((dark > 0).astype(int)) == 1)
    assert len(rows) >= 8, "one row of drawings for each law"
    assert out.stat().st_size < 200_000


sys.path.insert(0, str(ROOT / "scripts"))
try:
    from draw_arrivals import FLAGS, SECONDS, due_seconds, write_trace
finally:
    sys.path.pop(0)


def drawn_plans() -> dict[str, Plan]:
    """The captions of the picture, and the Plans behind its rows."""
    return {flags: Plan(duration=Duration.seconds(SECONDS), **values) for flags, values in FLAGS.items()}


@pytest.mark.parametrize("flags", drawn_plans())
def test_each_row_is_what_its_flags_mean(
    flags: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_trace(tmp_path / "arrivals.txt")
    assert _exit_code(["run", "--dry-run", *shlex.split(flags), "--duration", "20s"]) == 0
    assert Plan.from_toml(capsys.readouterr().out) == schedule(drawn_plans()[flags]).plan
    assert len(due_seconds(drawn_plans()[flags])) > 300


def test_every_law_has_a_row() -> None:
    """Each way to name an open loop, each --arrival, and --burst."""
    plans = list(drawn_plans().values())
    assert {name for name in LOADS for plan in plans if getattr(plan, name) is not None} == {*LOADS} - {"concurrency"}
    assert {plan.arrival for plan in plans} == {*get_args(Arrival)}
    assert any(plan.burst for plan in plans)


def test_the_page_shows_the_picture() -> None:
    assert "](arrivals.png)" in (ROOT / "docs" / "shaping-load.md").read_text()
    assert (ROOT / "docs" / "arrivals.png").is_file()


@pytest.mark.parametrize("word", ["--ramp", "--steps", "--burst", "--trace", "--cv", "--speedup", "--concurrency", "--rate"])
def test_every_flag_that_shapes_the_load_is_explained(word: str) -> None:
    assert word in (ROOT / "docs" / "shaping-load.md").read_text()
