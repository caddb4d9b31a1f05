"""What a sweep and a find say in the end: every figure is that of its run, and what does not count is not the answer."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from clipload.campaign import Campaign, Point
from clipload.reports.campaigns import answer_text, heading, row, sweep_table
from clipload.reports.percentiles import believed_said
from clipload.search import Aim, Answer, Ask, Grid, Over
from clipload.search.ceiling import Ceiling
from clipload.search.over import Branch
from clipload.trials import told
from clipload.units import format_ns
from clipload.verdict import judge
from tests.reports.saved import run

MS = 1_000_000
ANSWER = Answer(
    "found", 800.0, 790.0, 830.0, "latency", "cliff", Ceiling(1000.0, 8, False, 0.01), confirmed=True, monotone=True, probes=21,
    seconds=612.4,
)  # fmt: skip


def point(rate: float, per_s: int, **more: object) -> Point:
    one = run(per_s=per_s, seconds=12, **({"rate": rate, "ms": 5.0} | more))
    verdict, ask = judge(one), Ask({"rate": rate})
    return Point(told(ask, one, verdict, 13.0), one, verdict, Path("x"))


def sweep(*points: Point) -> Campaign[Grid]:
    rates = [float(one.ask.values["rate"]) for one in points]
    campaign = Campaign("sweep", {}, Grid([{"rate": rate} for rate in rates]), {"axes": {"rate": rates}}, Path("sweeps/1"))
    campaign.points = list(points)
    return campaign


def test_a_row_has_the_figures_of_its_run() -> None:
    one = point(40.0, 40)
    campaign = sweep(one)
    assert one.run is not None
    names, said = heading(campaign).split(), row(campaign, one)
    assert names[:7] == ["rate", "samples/s", "requests/s", "p50", "p50", "interval", "p99"]
    latency = one.run.figures.with_failures["latency"]
    found = [
        f"{one.run.throughput:.2f}",
        f"{one.run.requests_per_s:.2f}",
        *(f"{format_ns(latency[p].value)} {believed_said(latency[p])}" for p in ("p50", "p99")),
    ]
    assert " ".join(said.split()).startswith(" ".join(["40.0", *found]))
    assert said.split()[-2:] == ["0", "sound"]


def test_a_failure_is_infinite_in_a_row() -> None:
    one = point(42.0, 40, failing=2)
    said = row(sweep(one), one)
    assert "∞" in said
    assert said.split()[-2:] == ["24", "sound"]


@pytest.mark.parametrize(
    ("fields", "why"),
    [({"fate": "unsound"}, "no statement"), ({"fate": "fail"}, "missed"), ({"limited": True}, "client-limited")],
)
def test_the_most_is_of_the_points_that_count(fields: dict[str, object], why: str) -> None:
    """More was measured at 60/s, and does not count."""
    lower, higher = point(40.0, 40), point(60.0, 60)
    assert f"\n\nmost        {60:.2f} samples/s at rate 60.0" in sweep_table(sweep(lower, higher))
    flawed = higher._replace(told=replace(higher.told, **fields))
    assert f"\n\nmost        {40:.2f} samples/s at rate 40.0" in sweep_table(sweep(lower, flawed)), why
    assert "most" not in sweep_table(sweep(flawed))


def test_points_that_are_missing_are_told_with_the_way_on() -> None:
    campaign = sweep(point(40.0, 40), point(60.0, 60))
    del campaign.points[0]
    assert "unfinished  1 of 2 left: clipload sweep --resume sweeps/1" in sweep_table(campaign)


FIRST = "ceiling     at least 1000 requests/s, first seen with 8 in flight (closed loop)"


class Found(Over):
    """A search that has ended with these branches."""

    def __init__(self, *found: Branch) -> None:
        super().__init__(Aim(objective_s=0.05), [branch.values for branch in found])
        self._found = found

    @property
    def done(self) -> bool:
        return True

    @property
    def branches(self) -> tuple[Branch, ...]:
        return self._found


def said(*answers: Answer) -> list[str]:
    branches = [Branch({"batch_size": 2 + i}, one, one.rate * (2 + i)) for i, one in enumerate(answers)]
    return answer_text(Campaign("find", {"slo": ["p99<50ms"]}, Found(*branches), {}, Path("finds/1"))).splitlines()


def test_an_answer_is_told_with_its_interval_and_what_binds() -> None:
    assert said(ANSWER) == [
        "capacity    800 requests/s (790 … 830) = 1600 samples/s",
        "            for p99<50ms at batch-size 2",
        "bound by    latency: it breaks there",
        "ceiling     1000 requests/s, first seen with 8 in flight (closed loop)",
        "search      21 probes in 612 s",
    ]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"outcome": "at least", "high": math.inf}, "capacity    at least 800 requests/s (790 or more) = 1600 samples/s"),
        ({"outcome": "inconclusive", "low": 0.0}, "capacity    perhaps 800 requests/s (0 … 830) = 1600 samples/s"),
        ({"outcome": "inconclusive", "rate": 0.0, "because": "it is spent"}, "capacity    unknown: it is spent"),
        ({"outcome": "doomed", "rate": 0.0, "because": "it misses"}, "capacity    none: doomed, because it misses"),
        ({"shape": "smooth"}, "bound by    latency: it bends there"),
        ({"binding": "generator", "shape": None}, "bound by    generator"),
        ({"ceiling": Ceiling(1000.0, 8, True, 0.01)}, FIRST),
        ({"confirmed": False}, "search      21 probes in 612 s; not confirmed by fresh probes"),
        ({"monotone": False}, "search      21 probes in 612 s; a rate below it failed"),
        ({"left_out": ("a look above 830/s",)}, "left out    a look above 830/s"),
    ],
)  # fmt: skip
def test_what_is_less_sure_is_told(changes: dict[str, object], line: str) -> None:
    assert line in said(replace(ANSWER, **changes))
    assert line not in said(ANSWER)


def test_the_best_is_by_samples_and_a_tie_is_told() -> None:
    better = replace(ANSWER, low=600.0, high=900.0)
    assert said(ANSWER, better)[-1] == "best        batch-size 3: 2400.0 samples/s"
    assert said(replace(ANSWER, high=1000.0), better)[-1] == "best        batch-size 3: 2400.0 samples/s; others may do as much"
