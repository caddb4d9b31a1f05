"""What cannot be understood of a sweep, a find, or their record gets the flag (or the file), what is wrong, and the remedy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clipload.cli import _exit_code
from clipload.errors import EXIT_USAGE
from clipload.frames import SCHEMA
from tests.reports import campaigns
from tests.reports.saved import save
from tests.test_run import open_frames

NOBODY = ("--base-url", "http://127.0.0.1:9", "--mode", "text")
FLAGS = [
    (("sweep", "--axis", "batch_sze=1,2"), "--axis: a Plan has no field 'batch_sze'", "did you mean 'batch_size'?"),
    (("sweep", "--batch-sze", "1,2"), "--batch-sze", "--help"),
    (("sweep", "--concurrency", "1,x"), "--concurrency: 'x' is not a whole number", "write"),
    (("sweep", "--concurrency", "1,2", "--rest", "soon"), "--rest: 'soon' is not a duration", "write 10s"),
    (("find", "--slo", "p99<200ms", "--over", "warp=1,8"), "--over: a Plan has no field 'warp'", "remedy: "),
    (("find", "--slo", "p99<fast"), "--slo: 'p99<fast' has no duration as its limit", "write 'p99<200ms'"),
    (("find", "--slo", "p99 200ms"), "--slo: 'p99 200ms' is not an objective", "write 'p99<200ms'"),
    (("find", "--slo", "throughput<5/s"), "--slo: 'throughput<5/s' asks for the wrong side", "turn it round"),
    (("find", "--slo", "p99<1s", "--budget", "soon"), "--budget: 'soon' is not a duration", "write 10s"),
    (("find", "--slo", "p99<1s", "--precision", "fine"), "--precision: 'fine' is no share", "write 2%"),
]


@pytest.mark.parametrize(("arguments", "said", "remedy"), FLAGS)
def test_a_flag_that_cannot_be_read(
    arguments: tuple[str, ...], said: str, remedy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _exit_code([*arguments, *NOBODY, "--out", str(tmp_path / "runs")]) == EXIT_USAGE
    err = capsys.readouterr().err
    assert said in err
    assert remedy in err
    assert "Traceback" not in err
    assert not (tmp_path / "runs").exists()


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return campaigns.sweep(tmp_path_factory.mktemp("campaigns") / "sweep")


def copied(sweep: Path, to: Path) -> Path:
    """Its Runs by reference, its record its own."""
    to.mkdir()
    for run in sweep.iterdir():
        if run.is_dir():
            (to / run.name).symlink_to(run)
    (to / "campaign.json").write_bytes((sweep / "campaign.json").read_bytes())
    return to


def broken_run(directory: Path) -> None:
    (directory / "run002").unlink()
    (directory / "run002").mkdir()
    (directory / "run002" / "journal.bin").write_bytes(b"something else altogether")


def newer_run(directory: Path) -> None:
    (directory / "run002").unlink()
    first, *rest = open_frames()
    save(directory / "run002", [msgspec.structs.replace(first, schema=SCHEMA + 1), *rest])


def recorded(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def work(directory: Path) -> None:
        document = json.loads((directory / "campaign.json").read_text())
        change(document)
        (directory / "campaign.json").write_text(json.dumps(document))

    return work


RECORDS: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "a broken run": (broken_run, "run002/journal.bin is not a journal of clipload", "can still be reported"),
    "a newer run": (newer_run, f"has schema {SCHEMA + 1}, this clipload reads up to {SCHEMA}", "update clipload"),
    "a newer campaign": (recorded(lambda d: d.update(schema=99)), "campaign.json has schema 99", "update clipload"),
    "no axes": (
        recorded(lambda d: d["search"].pop("axes")),
        "describes no campaign: KeyError: 'axes'",
        "can still be reported",
    ),
    "an unknown objective": (
        recorded(lambda d: (d.update(kind="find", search={"aim": {}, "over": {}}), d["base"].update(slo=["p90<2parsecs"]))),
        "describes no campaign: 'p90<2parsecs' has no duration",
        "can still be reported",
    ),
    "an unknown aim": (
        recorded(lambda d: d.update(kind="find", search={"aim": {"warp": 9}, "over": {}})),
        "describes no campaign: TypeError",
        "can still be reported",
    ),
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_that_cannot_be_understood(sweep: Path, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    work, said, remedy = RECORDS[name]
    directory = copied(sweep, tmp_path / "sweep")
    work(directory)
    kind = json.loads((directory / "campaign.json").read_text())["kind"]
    for command in (("report", str(directory), "--md"), (kind, "--resume", str(directory))):
        assert _exit_code([*command]) == EXIT_USAGE, command
        err = capsys.readouterr().err
        assert said in err, command
        assert remedy in err, command
        assert str(directory) in err, "which one"
        assert "Traceback" not in err


def test_runs_of_one_seed_are_no_pairs(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_code(["compare", str(sweep), str(sweep), "--paired"]) == EXIT_USAGE
    assert "is a folder of runs of different loads (--batch-size)" in capsys.readouterr().err
