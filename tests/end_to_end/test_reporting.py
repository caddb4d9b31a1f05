"""A real run, and its report and comparison when the target is long gone."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.runs import run_clipload
from tests.servers import ROOT, command, environment, running_server

pytest.importorskip("altair", reason="the extra `report` is not installed")


def clipload(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, cwd=ROOT, env=environment(), timeout=120, check=False
    )


@pytest.mark.slow
def test_reports_need_no_target(tmp_path: Path) -> None:
    with running_server("null") as server:
        done = [
            run_clipload(
                "--rate",
                "200",
                "--duration",
                "3s",
                "--mode",
                "text",
                "--workers",
                workers,
                *cores,
                out=tmp_path,
                url=server.url,
            )
            for workers, cores in (("1", ()), ("2", ("--share-cores",)))
        ]
    one, two = (str(finished.directory) for finished in done)
    drawn = clipload("report", one, "--html", "--svg", "--md")
    assert drawn.returncode == 0, drawn.stderr
    assert {Path(line).name for line in drawn.stdout.splitlines()} == {
        "report.html", "report.md", "spectrum.svg", "timeline.svg", "heatmap.svg",
    }  # fmt: skip
    assert Path(one, "report.html").stat().st_size < 1.5e6
    told = clipload("compare", one, two)
    assert told.returncode in (0, 1, 4, 5), told.stderr
    assert "the Plans differ: --workers" in told.stdout
