"""The report of an hour and two workers is small, and does not take long."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.report import HOUR_S, report, write
from clipload import archive

pytest.importorskip("altair", reason="the extra `report` is not installed")


@pytest.mark.slow
def test_an_hour_is_drawn_in_ten_seconds_of_cpu_and_three_megabytes(tmp_path: Path) -> None:
    """CPU, not the clock: others may have the machine."""
    write(tmp_path, HOUR_S)
    cost = report(tmp_path)
    assert cost.cpu_s < 10
    assert cost.page < 3e6


@pytest.mark.slow
def test_the_made_up_run_is_a_whole_one(tmp_path: Path) -> None:
    write(tmp_path, 30)
    run = archive.load(tmp_path)
    run.check_ledger()
    assert run.ended == "complete"
    assert run.measure["scheduled"] == run.measure["ok"] + sum(run.measure.errors.values()) == 20 * 100
    assert len(run.seconds) == 30
