"""Loads in turn: the order, the seeds, the ends; and what pairs say that sides by themselves do not."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from clipload.cli.compare import SIDES
from clipload.compare import CompareError, compare
from clipload.errors import EXIT_INCONCLUSIVE, EXIT_MISSED, EXIT_OK, PlanError, TargetError
from clipload.interleaving import MOST, check, interleave, order
from clipload.paired import paired
from clipload.plan import Plan
from clipload.reports.comparison import comparison_markdown, comparison_text
from clipload.run import Run
from tests.reports.saved import run
from tests.test_agreement import agreement, run_with

DRIFT = (1.0, 1.5, 0.8, 1.25)  # how slow the target is at each pair, for both sides alike


def sides(factor: float, drift: tuple[float, ...] = DRIFT) -> tuple[list[Run], list[Run]]:
    """Pairs of runs; the second of each is slower by `factor`."""
    made = [
        [run(seconds=20, per_s=80, ms=20.0 * slow * by, seed=pair + 100 * (by != 1)) for pair, slow in enumerate(drift)]
        for by in (1.0, factor)
    ]
    for runs in made:
        for pair, one in enumerate(runs):
            one.plan = one.plan.replace(seed=pair)
    return made[0], made[1]


def test_the_order_is_abba() -> None:
    assert [side for side, _ in order(4)] == [0, 1, 1, 0, 0, 1, 1, 0]
    assert [pair for _, pair in order(4)] == [0, 0, 1, 1, 2, 2, 3, 3]
    for side in (0, 1):  # a drift that is linear in time is the same for both
        assert sum(place for place, (found, _) in enumerate(order(4)) if found == side) == 14


def test_both_runs_of_a_pair_have_one_seed_and_each_pair_another() -> None:
    plans = Plan(rate=10.0, seed=7), Plan(rate=10.0, seed=99, batch_size=2)
    seen: list[tuple[int, int, int]] = []
    rests: list[float] = []

    def launch(side: int, plan: Plan) -> Run:
        seen.append((side, plan.seed, plan.batch_size))
        return run(seconds=3)

    found = interleave(plans, 2, launch, 1.5, rests.append)
    assert seen == [(0, 7, 1), (1, 7, 2), (1, 8, 2), (0, 8, 1)]
    assert rests == [1.5] * 3
    assert (found.ended, len(found.before), len(found.after)) == ("complete", 2, 2)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), None])
def test_an_interruption_keeps_what_was_measured(error: BaseException | None) -> None:
    """`error`: from outside a run; None: the run itself was interrupted."""
    made = iter([run(seconds=3), run(seconds=3), run(seconds=3)])

    def launch(side: int, plan: Plan) -> Run:
        one = next(made)
        one.plan = one.plan.replace(seed=plan.seed)
        if plan.seed == 1:
            if error is not None:
                raise error
            one.ended = "interrupted"
        return one

    found = interleave((Plan(rate=5.0, seed=0), Plan(rate=5.0)), 3, launch, rest=lambda _: None)
    assert (found.ended, found.whole, len(found.before), len(found.after)) == ("interrupted", 1, 1, 1)


def test_a_target_that_goes_away_is_told() -> None:
    def launch(side: int, plan: Plan) -> Run:
        raise TargetError("nobody is there")

    with pytest.raises(TargetError):
        interleave((Plan(rate=5.0), Plan(rate=5.0)), 1, launch)


@pytest.mark.parametrize("pairs", [0, MOST + 1, -1])
def test_how_often_has_bounds(pairs: int) -> None:
    with pytest.raises(PlanError) as raised:
        check((Plan(), Plan()), pairs)
    assert raised.value.flag == "--pairs"


def test_what_drifts_under_both_falls_out_of_the_change_and_stands_in_the_noise() -> None:
    before, after = sides(1.2)
    by_pairs, by_sides = paired(before, after, 0.05), compare(before, after, 0.05)
    changes = {change.figure: change for change in by_pairs.changes}
    assert changes["p50"].value == pytest.approx(0.2, abs=0.03)
    assert changes["p50"].high - changes["p50"].low < 0.1
    assert (changes["p50"].outcome, by_pairs.exit_code) == ("worse", EXIT_MISSED)
    plain = {change.figure: change for change in by_sides.changes}
    assert plain["p50"].outcome == "inconclusive", "the sides by themselves drown in the drift"
    assert by_pairs.noise["p50"] > 0.5
    assert by_pairs.noise["throughput"] == pytest.approx(0.0, abs=1e-9)


def test_swapped_sides_give_the_inverse() -> None:
    before, after = sides(1.2)
    there = {change.figure: change for change in paired(before, after).changes}
    back = {change.figure: change for change in paired(after, before).changes}
    for figure in ("p50", "p90", "throughput"):
        assert (1 + there[figure].value) * (1 + back[figure].value) == pytest.approx(1)
        assert (1 + there[figure].low) * (1 + back[figure].high) == pytest.approx(1)
    assert paired(before, after).noise == pytest.approx(paired(after, before).noise)


def test_the_same_target_twice_is_no_change() -> None:
    before, after = sides(1.0)
    found = paired(before, after)
    assert found.exit_code == EXIT_OK
    assert {change.outcome for change in found.changes} == {"unchanged"}


def test_few_pairs_bound_nothing() -> None:
    before, after = sides(1.2, DRIFT[:2])
    found = paired(before, after)
    assert found.exit_code == EXIT_INCONCLUSIVE
    assert all(math.isinf(change.high) for change in found.changes if change.figure != "errors")


def test_runs_without_their_pair_are_left_out_and_unsound_pairs_said() -> None:
    before, after = sides(1.2)
    assert paired(before, after[:3]).runs == (3, 3)
    with pytest.raises(CompareError) as raised:
        paired(before[:1], after[1:])
    assert raised.value.flag == "--paired"
    late = run(seconds=20, per_s=80, ms=20.0, lag_ns=90_000_000)
    late.plan = late.plan.replace(seed=3)
    found = paired(before, [*after[:3], late])
    assert found.runs == (3, 3)
    assert "1 of 4 pairs left out, unsound or cut off" in found.notes


def test_what_is_infinite_in_a_run_is_not_told() -> None:
    before, after = sides(1.2)
    dead = run(seconds=20, per_s=40, failing=60, seed=1)
    dead.plan = dead.plan.replace(seed=0, rate=80.0)
    after[0] = dead
    dead.plan = before[0].plan
    change = {change.figure: change for change in paired(before, after).changes}["p90"]
    assert (change.low, change.high, change.outcome) == (-1.0, math.inf, "inconclusive")


TELLS: list[Callable[..., str]] = [comparison_text, comparison_markdown]


@pytest.mark.parametrize("tell", TELLS)
def test_the_noise_is_stated(tell: Callable[..., str]) -> None:
    found = paired(*sides(1.2))
    said = tell(found, SIDES)
    assert "4 pairs, measured in turn (ABBA)" in said
    assert f"p50 ±{100 * found.noise['p50']:.2g} %" in said
    assert "two runs of one side differ by up to throughput ±" in said
    assert "unknown" in tell(replace(found, noise={"p50": math.inf}), SIDES)


def test_pairs_judge_wrong_vectors_by_the_difference_of_the_shares() -> None:
    before, after = sides(1.0)
    for runs, wrong in ((before, 4), (after, 40)):
        for pair, one in enumerate(runs):
            one.facts = run_with(agreement((4, 400, wrong + pair))).facts
    made = paired(before, after)
    change = {one.figure: one for one in made.changes}["wrong"]
    assert (change.value, change.low, change.high, change.outcome) == (*[pytest.approx(0.09)] * 3, "worse")
    assert 0 < made.noise["wrong"] < 0.02
    assert "wrong ±" in comparison_text(made, ("a", "b"))
