"""Laws of objectives over repeats: what decides, what cannot, and whose exit code stands for all."""

from __future__ import annotations

import itertools
import math
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipload.errors import (
    EXIT_INCONCLUSIVE,
    EXIT_INTERRUPTED,
    EXIT_MISSED,
    EXIT_OK,
    EXIT_TARGET,
    EXIT_UNSOUND,
    worst,
)
from clipload.estimate import FEWEST_RUNS, repeats
from clipload.objectives import judge_over_runs
from clipload.run import Run
from clipload.slo import Objective
from clipload.tally import Tally
from clipload.verdict import counts, judge, judge_repeats
from tests.simulated import plan_of, run_of_path
from tests.test_figures import growing
from tests.test_run import MS, answers, interval, run_of, tally

few = settings(deadline=None, max_examples=40)
SECONDS, PER_S = 4, 50
ORDER = ("missed", "inconclusive", "met")
SLOWNESS = st.lists(st.integers(4, 16), min_size=1, max_size=6)
LIMITS = st.integers(3, 20)


@cache
def run(ms: int = 10, slo: str = "", seed: int = 0, *, failed: int = 0, lag_ms: int = 0, ended: str = "complete") -> Run:
    """Every answer took `ms`; `failed` of each second's requests did not come back ok."""
    bad = tally({"scheduled": failed, "error.http_500": failed}, failed=[MS] * failed) if failed else Tally()
    part = answers([ms * MS] * PER_S, lag_ns=lag_ms * MS) + bad
    plan = plan_of(PER_S, SECONDS, **({"slo": slo} if slo else {}), seed=seed)
    return run_of(plan, [interval(0, i, {"measure": part}) for i in range(SECONDS)], SECONDS, ended=ended)


def judged(times: list[int], slo: str, **fields: Any) -> str:
    (one,) = judge_over_runs([run(ms, slo, **fields) for ms in times], limited=False)
    return one.judgement


@given(SLOWNESS, LIMITS)
@few
def test_the_whole_interval_over_runs_decides(times: list[int], limit: int) -> None:
    slo = f"p50<{limit}ms"
    runs = [run(ms, slo) for ms in times]
    (one,) = judge_over_runs(runs, limited=False)
    over = repeats([made.figures.with_failures["latency"]["p50"] for made in runs]).estimate
    assert one.estimate == over
    assert (one.judgement == "met") is (over.high < Objective.parse(slo).limit and over.sufficient)
    assert (one.judgement == "missed") is (over.low >= Objective.parse(slo).limit)


@given(SLOWNESS, LIMITS, st.randoms(use_true_random=False))
@few
def test_runs_have_no_order(times: list[int], limit: int, random: Any) -> None:
    shuffled = list(times)
    random.shuffle(shuffled)
    assert judged(shuffled, f"p50<{limit}ms") == judged(times, f"p50<{limit}ms")


@given(SLOWNESS, LIMITS, LIMITS)
@few
def test_a_looser_limit_is_no_harder(times: list[int], one: int, other: int) -> None:
    tight, loose = sorted((one, other))
    assert ORDER.index(judged(times, f"p50<{loose}ms")) >= ORDER.index(judged(times, f"p50<{tight}ms"))


@given(SLOWNESS, LIMITS)
@few
def test_fewer_runs_than_it_takes_meet_no_latency(times: list[int], limit: int) -> None:
    if len(times) < FEWEST_RUNS:
        assert judged(times, f"p50<{limit}ms") != "met"


def test_runs_that_differ_decide_less_than_each_alone() -> None:
    """8, 9 and 30 ms: two of three meet 20 ms by themselves, one misses it; over the runs nobody knows."""
    apart = [run(ms, "p50<20ms") for ms in (8, 9, 30)]
    assert [judge(one).objective for one in apart] == ["met", "met", "missed"]
    assert judge_repeats(apart).objective == "inconclusive"
    assert judge_repeats(apart).exit_code == EXIT_INCONCLUSIVE


def test_runs_that_agree_add_nothing_to_what_each_knows() -> None:
    """No error in 200 requests leaves 1.5 % possible, and five such runs leave it too."""
    (one,) = judge_repeats([run(10, "errors<1%", seed) for seed in range(5)]).objectives
    assert one.sentence == (
        "errors<1% is undecided: 0 % over 5 runs (0–1.49 %); the runs agree, so that longer ones are needed, and not more"
    )
    assert judge_repeats([run(10, "errors<1.5%", seed) for seed in range(3)]).objective == "met"


@pytest.mark.parametrize(
    ("times", "slo", "sentence"),
    [
        ((10, 12), "p50<20ms", "p50<20ms is undecided: 11.0 ms over 2 runs (0–23.7 ms), from 2 of the 3 runs that it takes"),
        ((10, 12, 14), "p50<20ms", "p50<20ms is met: 12.0 ms over 3 runs (7.03–17.0 ms)"),
        ((10, 12, 14), "p50<15ms", "p50<15ms is undecided: 12.0 ms over 3 runs (7.03–17.0 ms); about 6 more runs are needed"),
        ((10, 12, 14), "p50<7ms", "p50<7ms is missed: 12.0 ms over 3 runs (7.03–17.0 ms)"),
        ((10,), "p50<20ms", "p50<20ms is undecided: 10.0 ms over 1 run (unknown), from 1 of the 3 runs that it takes"),
    ],
)
def test_what_is_said(times: tuple[int, ...], slo: str, sentence: str) -> None:
    assert [one.sentence for one in judge_repeats([run(ms, slo, seed) for seed, ms in enumerate(times)]).objectives] == [
        sentence
    ]


def test_runs_that_are_too_short_are_told_from_runs_that_are_too_few() -> None:
    (one,) = judge_repeats([run(10 + seed, "p99.9<1s", seed) for seed in range(4)]).objectives
    assert one.sentence.endswith(", but 4 of 4 runs are too short by themselves; repeat longer ones")


def test_a_run_without_a_figure_decides_nothing() -> None:
    empty = run_of(plan_of(PER_S, SECONDS, slo="p50<20ms"), [], 0)
    (one,) = judge_over_runs([run(10, "p50<20ms"), empty], limited=False)
    assert (one.judgement, one.estimate) == ("inconclusive", None)
    assert one.sentence.endswith("nothing was measured in 1 of 2 runs")


def test_a_client_that_was_the_limit_misses_nothing() -> None:
    runs = [run(ms, "p50<5ms") for ms in (10, 11, 12)]
    assert [judge_over_runs(runs, limited=limited)[0].judgement for limited in (False, True)] == ["missed", "inconclusive"]


def test_a_queue_that_grew_in_half_of_the_runs_grew() -> None:
    """100/s to a server that does 90/s, beside runs of a server that keeps up."""
    slo = "p50<60s"
    grown = run_of_path(growing(100, 10), plan_of(100, 10, slo=slo))
    for times in (0, 1, 2, 3):
        (one,) = judge_over_runs([grown] * times + [run(10, slo)] * (4 - times), limited=False)
        assert (f"so far, but the queue grew in {times} of 4 runs" in one.sentence) is (times >= 2)
        assert one.judgement == ("inconclusive" if times else "met")


# what stands for all

KINDS: dict[str, tuple[dict[str, Any], int]] = {
    "good": ({}, EXIT_OK),
    "unsound": ({"lag_ms": 9}, EXIT_UNSOUND),
    "died": ({"ended": "target died"}, EXIT_TARGET),
    "cut": ({"ended": "interrupted"}, EXIT_INTERRUPTED),
}


@pytest.mark.parametrize("kinds", list(itertools.combinations_with_replacement(KINDS, 3)), ids=" ".join)
@pytest.mark.parametrize(("slo", "of_good"), [("", EXIT_OK), ("p50<20ms", EXIT_OK), ("p50<1ms", EXIT_MISSED)])
def test_the_first_code_that_applies_stands_for_all(kinds: tuple[str, ...], slo: str, of_good: int) -> None:
    runs = [run(10, slo, seed, **KINDS[kind][0]) for seed, kind in enumerate(kinds)]
    verdict, good = judge_repeats(runs), kinds.count("good")
    hard = [KINDS[kind][1] for kind in kinds if kind != "good"]
    over_runs = of_good if good == 3 or not slo or of_good == EXIT_MISSED else EXIT_INCONCLUSIVE
    assert verdict.exit_code == worst([*hard, *([over_runs] if good else [])])
    stated = bool(slo) and good > 0 and not {"unsound", "died"} & set(kinds)
    assert bool(verdict.objectives) is stated
    assert (verdict.generator == "unsound") is ("unsound" in kinds)
    assert verdict.target_died is ("died" in kinds)
    assert [counts(one) for one in runs] == [kind in ("good", "died") for kind in kinds]


def test_what_weighs_is_told_with_its_seed() -> None:
    (finding,) = judge_repeats([run(10, "", 7), run(10, "", 8, lag_ms=9)]).findings
    assert (finding.weight, finding.about) == ("fatal", "generator")
    assert finding.sentence.startswith("seed 8: the generator itself was late")


def test_of_no_run_nothing_is_said() -> None:
    verdict = judge_repeats([])
    assert (verdict.exit_code, verdict.objective, verdict.findings) == (EXIT_OK, "none", ())
    assert math.isinf(repeats([run().figures.with_failures["latency"]["p50"]]).estimate.high), "one run bounds nothing"
