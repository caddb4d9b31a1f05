"""The loop of a campaign: what is asked is launched, judged and told; the Search alone says what comes next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clipload.campaign import pursue, told
from clipload.errors import EXIT_INCONCLUSIVE, EXIT_INTERRUPTED, EXIT_MISSED, EXIT_OK, EXIT_TARGET, EXIT_UNSOUND
from clipload.plan import Plan
from clipload.run import Run
from clipload.search import Ask, Grid, Once
from clipload.units import Duration
from clipload.verdict import Verdict, judge
from tests.test_run import MS, answers, interval, run_of

PLAN = Plan(rate=50.0, duration=Duration.seconds(2))
DIRECTORY = Path("somewhere")


def run(plan: Plan = PLAN, **fields: Any) -> Run:
    return run_of(plan, [interval(0, i, {"measure": answers([MS] * 50)}) for i in range(2)], 2, **fields)


def test_each_point_is_launched_with_its_values_and_told() -> None:
    search, launched = Grid([{"rate": 10.0}, {"rate": 20.0, "batch_size": 2}]), []

    def launch(plan: Plan) -> tuple[Run, Path]:
        launched.append(plan)
        return run(plan), DIRECTORY

    points = list(pursue(PLAN, search, launch))
    assert launched == [PLAN.replace(rate=10.0), PLAN.replace(rate=20.0, batch_size=2)]
    assert search.done
    for point, known in zip(points, search.known, strict=True):
        assert (point.ask.values, point.directory) == (known.ask.values, DIRECTORY)
        assert point.verdict == judge(point.run)
        assert (known.fate, known.achieved) == ("pass", point.run.requests_per_s)
        assert known.seconds == pytest.approx(2.005)


def test_an_interrupted_run_is_given_out_and_not_told() -> None:
    search = Grid([{"seed": 1}, {"seed": 2}])
    (point,) = pursue(PLAN, search, lambda plan: (run(plan, ended="interrupted"), DIRECTORY))
    assert point.verdict.exit_code == EXIT_INTERRUPTED
    assert search.known == ()


def test_a_search_that_is_done_launches_nothing() -> None:
    search = Once(Ask({"seed": 1}))
    assert len(list(pursue(PLAN, search, lambda plan: (run(plan), DIRECTORY)))) == 1
    assert list(pursue(PLAN, search, lambda _: pytest.fail("launched"))) == []


@pytest.mark.parametrize(
    ("code", "ended", "fate"),
    [
        (EXIT_OK, "complete", "pass"),
        (EXIT_OK, "overload", "overload"),
        (EXIT_MISSED, "complete", "fail"),
        (EXIT_MISSED, "overload", "fail"),
        (EXIT_INCONCLUSIVE, "complete", "inconclusive"),
        (EXIT_UNSOUND, "overload", "unsound"),
        (EXIT_TARGET, "target died", "died"),
    ],
)
def test_the_fate_follows_the_verdict(code: int, ended: str, fate: str) -> None:
    assert told(Ask({}), run(ended=ended), Verdict((), code)).fate == fate
