"""The rows of sweep and find: each percentile with as much of its interval as is believed, aligned below the heads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clipload.campaign import Campaign, Point
from clipload.reports.campaigns import heading, row, sweep_table
from clipload.run import Run
from clipload.search import Ask, Grid, Told
from clipload.units import format_ns
from clipload.verdict import judge
from tests.reports.saved import nothing, run

RATES = [20.0, 50.0]


def point(made: Run | None, rate: float) -> Point:
    told = Told(Ask({"rate": rate}), "pass" if made else "died", rate, 40.0, sentence="" if made else "gone")
    return Point(told, made, judge(made) if made else None, Path("x") if made else None)


def campaign(*points: Point) -> Campaign[Any]:
    made = Campaign("sweep", {}, Grid([{"rate": rate} for rate in RATES]), {"axes": {"rate": RATES}}, Path("x"))
    made.recall(list(points))
    return made


def columns(head: str, line: str) -> dict[str, str]:
    """What stands below each name of the head, of which each ends where its column does."""
    found, start = {}, 0
    for name in ("rate", "samples/s", "requests/s", "p50", "p50 interval", "p99", "p99 interval", "not ok", "generator"):
        end = head.index(name, start) + len(name)
        found[name] = line[start:end].strip()
        start = end
    return found


@pytest.mark.parametrize(("rate", "enough"), [(20.0, False), (50.0, True)])
def test_each_percentile_has_its_interval(rate: float, enough: bool) -> None:
    """40 s at 20/s hold eight requests beyond p99, at 50/s twenty."""
    made = run(seconds=40, per_s=int(rate))
    one = campaign()
    cells = columns(heading(one), row(one, point(made, rate)))
    p50, p99 = (made.figures.with_failures["latency"][label] for label in ("p50", "p99"))
    assert (cells["p50"], cells["p50 interval"]) == (p50.said, p50.span)
    assert cells["p99"] == p99.said
    assert p99.sufficient is enough
    assert cells["p99 interval"] == (p99.span if enough else f"few: ≥ {format_ns(p99.low)}")
    assert cells["generator"] == "sound"


def test_where_there_is_no_figure_there_is_a_dash() -> None:
    one = campaign()
    for there in (None, nothing()):
        cells = columns(heading(one), row(one, point(there, 20.0)))
        assert {cells[name] for name in ("p50", "p50 interval", "p99", "p99 interval")} <= {"-", "∞", "too few"}
    assert row(one, point(None, 20.0)).endswith("target died: gone")


def test_the_table_of_a_sweep_has_them_too() -> None:
    made = run(seconds=40, per_s=20)
    lines = sweep_table(campaign(point(made, 20.0))).splitlines()
    assert made.figures.with_failures["latency"]["p50"].span in lines[1]
    assert "1 of 2 left" in lines[2]
