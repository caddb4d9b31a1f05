"""`clipload compare --interleave`: two real targets, or two Plans for one, measured in turn and compared pair by pair."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from clipload import archive
from clipload.cli import _exit_code
from clipload.errors import EXIT_TARGET, EXIT_USAGE
from tests.end_to_end.runs import check_ledger
from tests.servers import ROOT, command, environment, running_server

pytestmark = pytest.mark.clock

PLAN = 'mode = "text"\nrate = 40.0\nduration = "2s"\npool = 4\nno_preflight = true\nno_integrity = true\ncores = "0"\n'


def interleaved(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("compare", "--interleave", *arguments),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment(),
        timeout=100,
        check=False,
    )


@pytest.mark.slow
def test_two_targets_in_turn(tmp_path: Path) -> None:
    """One takes twice as long as the other: so much is seen whatever the machine does."""
    (tmp_path / "plan.toml").write_text(PLAN)
    with (
        running_server("sim", "--law", "constant(40ms)", "--servers", "8", "--dim", "8", "--cores", "1") as quick,
        running_server("sim", "--law", "constant(80ms)", "--servers", "8", "--dim", "8", "--cores", "1") as slow,
    ):
        flags = ("--config", str(tmp_path / "plan.toml"), "--pairs", "3", "--out", str(tmp_path / "runs"), "--json")
        done = interleaved(quick.url, slow.url, *flags)
    document = json.loads(done.stdout)
    change = document["changes"]["p50"]
    assert change["value"] == pytest.approx(1.0, abs=0.4), done.stderr
    assert document["basis"] == ["pairs", "pairs"]
    left_out = [note for note in document["notes"] if "pairs left out" in note]  # a busy machine makes unsound ones
    assert document["runs"] == [3, 3] or left_out == [f"{3 - document['runs'][0]} of 3 pairs left out, unsound or cut off"]
    assert set(document["noise"]) == set(document["changes"])
    assert document["differing"] == ["base_url"]
    directory = Path(document["directory"])
    sides = [archive.load_all([directory / side]) for side in ("before", "after")]
    assert [[run.plan.seed for _, run in side] for side in sides] == [[42, 43, 44]] * 2
    for side in sides:
        for _, run in side:
            check_ledger(archive.document(run))
    starts = sorted((run.start_wall_s, place) for place, side in enumerate(sides) for _, run in side)
    assert [place for _, place in starts] == [0, 1, 1, 0, 0, 1]
    again = subprocess.run(
        command("compare", *(str(directory / side) for side in ("before", "after")), "--paired", "--json"),
        capture_output=True, text=True, cwd=ROOT, env=environment(), timeout=60, check=False,
    )  # fmt: skip
    assert json.loads(again.stdout)["changes"] == document["changes"], "every number can be computed again"
    assert again.returncode == done.returncode


@pytest.mark.slow
def test_nobody_there_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(PLAN)
    flags = ("--config", str(tmp_path / "plan.toml"), "--out", str(tmp_path / "runs"))
    done = interleaved("http://127.0.0.1:9", "http://127.0.0.1:9", *flags)
    assert done.returncode == EXIT_TARGET, done.stderr
    assert not list((tmp_path / "runs").glob("*"))


def test_what_cannot_be_measured_in_turn_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(PLAN)
    url, out = "http://127.0.0.1:9", ("--out", str(tmp_path / "runs"))
    for arguments, flag, remedy in (
        ((url, str(plan)), "--interleave", "name two URLs with --config, or two Plans"),
        ((str(plan), str(plan), "--config", str(plan)), "--config", "leave it out"),
        ((str(plan), str(plan), "--pairs", "0"), "--pairs", "use a whole number"),
        ((str(plan), str(tmp_path / "none.toml")), "--interleave", "name a TOML Plan"),
        ((url, "ftp://else", "--config", str(plan)), "--base-url", "write"),
    ):
        assert _exit_code(["compare", "--interleave", *arguments, *out]) == EXIT_USAGE, arguments
        said = capsys.readouterr().err
        assert f"clipload: {flag}: " in said, arguments
        assert remedy in said, arguments
    assert not (tmp_path / "runs").exists()
