"""Two loads against each other: laws of the change, what is called a regression, and what is not set side by side."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipload import changes
from clipload.agreement import Agreement
from clipload.compare import CompareError, compare, document, unlike
from clipload.errors import EXIT_INCONCLUSIVE, EXIT_MISSED, EXIT_OK, EXIT_UNSOUND
from clipload.estimate import Estimate, repeats
from clipload.reports.comparison import answer, comparison_markdown, comparison_text
from clipload.spread import QUANTILES, estimates, estimates_of, over_runs
from clipload.units import Duration, format_ns
from tests.reports.saved import loop, nothing, run
from tests.test_agreement import agreement, run_with
from tests.test_run import MS

RIGHT, WRONG = (agreement((4, 400, wrong), name="swapped") for wrong in (0, 40))
BEFORE = [run(seed=seed, ms=20, seconds=30, per_s=80) for seed in (1, 2, 3)]
SLOWER = [run(seed=seed, ms=24, seconds=30, per_s=80) for seed in (4, 5, 6)]
ALIKE = [run(seed=seed, ms=20, seconds=30, per_s=80) for seed in (7, 8, 9)]
FAILING = [run(seed=seed, ms=20, seconds=30, per_s=78, failing=2) for seed in (1, 2, 3)]
UNSOUND = run(seed=1, ms=5, lag_ns=8 * MS, seconds=30)

figures = st.floats(1, 1e9)


@st.composite
def estimate(draw: st.DrawFn) -> Estimate:
    value = draw(figures)
    low, high = value * draw(st.floats(0, 1)), value * draw(st.floats(1, 10) | st.just(math.inf))
    return Estimate("latency", value, low, high, 1.0, 100.0, draw(st.booleans()))


def outcomes(before: list, after: list, limit: float = 0.05) -> dict[str, str]:
    return {change.figure: change.outcome for change in compare(before, after, limit).changes}


@given(estimate(), estimate(), st.floats(0, 0.5))
def test_a_change_lies_in_its_interval_and_is_judged_by_it(a: Estimate, b: Estimate, limit: float) -> None:
    change = changes.change_of("p99", a, b, limit)
    assert change.low <= change.value <= change.high
    assert change.value == pytest.approx(b.value / a.value - 1, rel=1e-9, abs=1e-9)
    assert (change.outcome == "worse") is (change.low > limit)
    assert (change.outcome == "better") is (change.high < -limit)
    assert (change.outcome == "unchanged") is (-limit <= change.low and change.high <= limit)


@given(estimate(), estimate())
def test_the_other_way_round_it_is_the_inverse(a: Estimate, b: Estimate) -> None:
    there, back = changes.ratio(a, b), changes.ratio(b, a)
    assert (1 + there[0]) * (1 + back[0]) == pytest.approx(1, rel=1e-5)
    if math.isfinite(there[2]) and there[1] > -1:
        assert there[2] > 1e6 or (1 + there[2]) * (1 + back[1]) == pytest.approx(1, rel=1e-5)


@given(estimate(), st.floats(0, 0.5))
def test_nothing_is_worse_or_better_than_itself(a: Estimate, limit: float) -> None:
    for figure in ("p99", "throughput", "errors"):
        assert changes.change_of(figure, a, a, limit).outcome in ("unchanged", "inconclusive")


@given(estimate(), estimate(), st.floats(0, 0.5))
def test_more_throughput_is_better_and_more_latency_worse(a: Estimate, b: Estimate, limit: float) -> None:
    turned = {"worse": "better", "better": "worse"}
    rate, time = (changes.change_of(figure, a, b, limit).outcome for figure in ("throughput", "p99"))
    assert rate == turned.get(time, time)


def test_the_interval_of_a_ratio_is_that_of_zou_and_donner() -> None:
    a, b = (Estimate("rate", value, low, high, 1.0, 9, True) for value, low, high in ((100, 90, 110), (120, 108, 132)))
    down, up = math.hypot(math.log(120 / 108), math.log(1.1)), math.hypot(math.log(1.1), math.log(100 / 90))
    assert changes.ratio(a, b) == pytest.approx((0.2, 1.2 * math.exp(-down) - 1, 1.2 * math.exp(up) - 1))
    assert changes.difference(a, b) == pytest.approx((20, 20 - math.hypot(12, 10), 20 + math.hypot(12, 10)))


def test_what_rests_on_too_little_is_believed_below_only() -> None:
    a, b = (Estimate("latency", value, 0.9 * value, 1.1 * value, 1.0, 9, True) for value in (100.0, 100.0))
    assert changes.change_of("p99", a, b, 0.2).outcome == "unchanged"
    assert changes.change_of("p99", a, replace(b, sufficient=False), 0.2).outcome == "inconclusive"
    assert changes.change_of("p99", a, replace(b, value=200, low=180, high=220, sufficient=False), 0.2).outcome == "worse"


def test_repeats_of_a_slower_target_are_a_regression() -> None:
    found = compare(BEFORE, SLOWER)
    assert {change.figure: change.outcome for change in found.changes} == {
        "throughput": "unchanged", "p50": "worse", "p90": "worse", "p99": "worse", "errors": "unchanged",
    }  # fmt: skip
    assert found.exit_code == EXIT_MISSED
    assert found.basis == ("repeats", "repeats")
    (p50,) = [change for change in found.changes if change.figure == "p50"]
    assert p50.value == pytest.approx(0.2, abs=0.03)
    assert answer(found).startswith("regression: p50, p90, p99 worse by more than 5 %")
    assert outcomes(SLOWER, BEFORE)["p50"] == "better"
    assert compare(BEFORE, SLOWER, 0.5).exit_code == EXIT_OK, "a change that does not matter"


def test_no_change_is_an_answer() -> None:
    found = compare(BEFORE, ALIKE)
    assert set(outcomes(BEFORE, ALIKE).values()) == {"unchanged"}
    assert found.exit_code == EXIT_OK
    assert answer(found) == "no change: nothing moved by more than 5 %"


def test_any_certain_increase_of_errors_is_a_regression() -> None:
    found = compare(BEFORE, FAILING)
    assert outcomes(BEFORE, FAILING)["errors"] == "worse"
    assert outcomes(FAILING, BEFORE)["errors"] == "better"
    (errors,) = [change for change in found.changes if change.figure == "errors"]
    assert errors.value == pytest.approx(0.025)
    assert "+2.5 pp" in comparison_text(found, ("a", "b"))


def test_failures_make_a_quantile_infinite_and_the_change_with_it() -> None:
    (change,) = [change for change in compare(BEFORE, FAILING).changes if change.figure == "p99"]
    assert (change.after.value, change.value) == (math.inf, math.inf)
    assert change.outcome == "worse"
    assert document(compare(BEFORE, FAILING))["changes"]["p99"]["value"] is None


def test_single_runs_are_compared_from_within_and_labelled_so() -> None:
    found = compare(BEFORE[:1], SLOWER[:1])
    assert found.basis == ("within one run", "within one run")
    assert "do not know how runs differ" in comparison_text(found, ("a", "b"))
    assert outcomes(BEFORE[:1], SLOWER[:1])["p50"] == "worse"
    mixed = compare(BEFORE, SLOWER[:1])
    assert mixed.basis == ("repeats", "within one run")
    assert "3 runs before, one run after" in comparison_text(mixed, ("a", "b"))


def test_what_is_neither_seen_nor_excluded_is_inconclusive() -> None:
    short = [run(seed=seed, seconds=2, per_s=20) for seed in (1, 2)]
    found = compare(short[:1], short[1:])
    assert found.exit_code == EXIT_INCONCLUSIVE
    assert answer(found).startswith("inconclusive: a change of 5 % of p50")


def test_a_closed_loop_is_never_set_beside_an_open_one() -> None:
    with pytest.raises(CompareError, match="their latencies mean different things") as caught:
        compare(BEFORE, [loop(8, 400)])
    assert "one kind" in caught.value.remedy
    assert "closed loops: their latencies" in comparison_text(compare([loop(8, 400)], [loop(8, 400, seed=2)]), ("a", "b"))


def test_a_folder_of_different_loads_is_not_repeats_of_one() -> None:
    with pytest.raises(CompareError, match=r"the second is a folder of runs of different loads \(--rate\)"):
        compare(BEFORE, [run(per_s=50, seconds=30), run(per_s=60, seconds=30)])
    with pytest.raises(CompareError, match="the first has no runs"):
        compare([], BEFORE)


def test_an_unsound_generator_says_nothing_of_the_target() -> None:
    found = compare(BEFORE, [UNSOUND])
    assert found.exit_code == EXIT_UNSOUND
    assert answer(found).startswith("no statement: a generator was unsound (after: the generator itself was late")
    assert "WORSE" not in comparison_text(found, ("a", "b"))
    assert {change["outcome"] for change in document(found)["changes"].values()} == {None}


def test_of_repeats_those_that_say_nothing_are_left_out() -> None:
    cut = run(seed=2, ms=20, seconds=30, per_s=80, ended="interrupted")
    unsound = run(seed=3, ms=5, lag_ns=8 * MS, seconds=30, per_s=80)
    found = compare(BEFORE, [*ALIKE, cut, unsound])
    assert found.runs == (3, 3)
    assert found.changes == compare(BEFORE, ALIKE).changes
    assert found.notes == ("after: 2 of 5 left out, unsound or cut off",)
    assert compare(BEFORE, [unsound, unsound]).exit_code == EXIT_UNSOUND, "when nothing is left nothing is said"


def test_runs_that_ended_early_are_named() -> None:
    text = comparison_text(compare(BEFORE[:1], [run(seed=2, seconds=30, ended="overload")]), ("a", "b"))
    assert "after: 1 of 1 ended early (overload)" in text


def test_a_run_without_an_answer_has_a_throughput_and_errors() -> None:
    found = estimates(nothing())
    assert (found["throughput"].value, found["errors"].value, found["p99"].value) == (0, 1, math.inf)
    assert compare([nothing()], [nothing()]).exit_code in (EXIT_OK, EXIT_INCONCLUSIVE)


def test_the_estimates_are_the_runs_own_figures() -> None:
    for made in (BEFORE[0], FAILING[0], loop(8, 400)):
        found, latency = estimates(made), made.measure.histogram("latency")
        assert found["throughput"].value == made.throughput
        assert found["throughput"].low <= made.throughput <= found["throughput"].high
        for label, q in QUANTILES.items():
            assert found[label].value == latency.quantile_with_infinite(q, made.measure.not_ok)
        assert found["errors"].value == pytest.approx(made.measure.not_ok / made.measure["scheduled"])
    several = estimates_of(BEFORE)
    assert several["p99"] == repeats([estimates(made)["p99"] for made in BEFORE]).estimate
    assert several["errors"].high == min(estimates(made)["errors"].high for made in BEFORE) > 0, "three without an error"
    assert over_runs([]) == {}


def test_what_was_lost_with_a_worker_was_not_ok() -> None:
    made = run(seconds=20)
    made.phases["measure"].counts |= {"lost": 30, "scheduled": made.measure["scheduled"] + 30}
    found = estimates(made)
    assert found["errors"].value == pytest.approx(made.measure.not_ok / made.measure["scheduled"]) == 30 / 1030
    assert found["p99"].value == math.inf


def test_plans_are_told_apart_by_what_they_ask_for() -> None:
    plan = BEFORE[0].plan
    assert unlike([plan, plan.replace(seed=9, name="other", cores=(1,))]) == ()
    assert unlike([plan, plan.replace(base_url=("http://b:1",), duration=Duration.seconds(7))]) == ("base_url", "duration")
    unique = plan.replace(unique=True, mode="image", pool=801)
    assert unlike([unique, unique.replace(seed=9, pool=790)]) == (), "as many as are sent: so many has the seed"
    assert unlike([unique, unique.replace(unique=False, pool=256)]) == ("pool", "unique")
    assert unlike([unique.replace(unique=False), unique.replace(unique=False, pool=790)]) == ("pool",)
    assert "the Plans differ: --rate" in comparison_text(compare(BEFORE[:1], [run(per_s=60, seconds=30)]), ("a", "b"))


def test_below_each_figure_stands_as_much_of_its_interval_as_is_believed() -> None:
    """20 a second: 800 requests carry a p90 and no p99, of which only the lower bound is believed."""
    before, after = run(seconds=40, per_s=20), run(seconds=40, per_s=20, seed=2)
    found = compare([before], [after])
    lines = comparison_text(found, ("a", "b")).split("\n")
    for change in found.changes:
        (place,) = [place for place, line in enumerate(lines) if line.startswith(f"{change.figure} ")]
        for where, estimate in ((12, change.before), (30, change.after)):
            figure, interval = (line[where : where + 18].strip() for line in lines[place : place + 2])
            assert figure.startswith("(") is not estimate.sufficient
            assert interval == (estimate.span if estimate.sufficient else f"few: ≥ {format_ns(estimate.low)}")
    assert [change.before.sufficient for change in found.changes] == [True, True, True, False, True]
    p50 = found.changes[1].before
    assert f"| p50 | {p50.said} ({p50.span}) | " in comparison_markdown(found, ("a", "b"))


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.0314, "+3.14 %"), (-0.5, "−50 %"), (9.99, "+999 %"), (10.73, "+1073 %"), (math.inf, "∞"), (-math.inf, "−∞")],
)
def test_a_change_is_said_without_an_exponent(value: float, said: str) -> None:
    assert changes.percent(value) == said


def test_as_markdown_it_is_a_table() -> None:
    text = comparison_markdown(compare(BEFORE, SLOWER), ("main", "branch_1"))
    assert text.startswith("### main → branch\\_1\n\n**regression: ")
    assert text.count("\n| ") == 2 + 5
    assert "| p50 | 20" in text or "| p50 | 19" in text


# ---- wrong vectors


def test_vectors_that_became_wrong_are_a_regression_however_quick_they_are() -> None:
    """The share is that of the Run's own estimate, in a row of its own; what it rests on is said."""
    before, after = run_with(RIGHT), run_with(WRONG)
    made = compare([before], [after])
    change = {one.figure: one for one in made.changes}["wrong"]
    assert (change.before, change.after) == (RIGHT.share, WRONG.share)
    assert (change.value, change.outcome) == (pytest.approx(0.1), "worse")
    assert 0 < change.low < 0.1 < change.high
    assert made.exit_code == EXIT_MISSED
    assert made.notes == (
        "before: 0 of 400 sampled replies had wrong vectors",
        "after: 40 of 400 sampled replies had wrong vectors (40 × swapped)",
    )
    text = comparison_text(made, ("a", "b"))
    (row,) = [line for line in text.splitlines() if line.startswith("wrong")]
    assert text.endswith("\n\nregression: more wrong vectors")
    assert row.split()[1:7] == ["0", "%", "10", "%", "+10", "pp"]
    assert "| wrong | " in comparison_markdown(made, ("a", "b"))
    assert document(made)["changes"]["wrong"]["after"]["value"] == pytest.approx(0.1)
    assert outcomes([after], [before])["wrong"] == "better"
    assert outcomes([after], [after])["wrong"] == "unchanged"


def test_what_only_one_side_compared_is_no_row_and_is_said() -> None:
    for other in (None, Agreement(skipped="--no-integrity")):
        made = compare([run_with(WRONG)], [run_with(other)])
        assert "wrong" not in {one.figure for one in made.changes}
        assert made.notes[-1] == "after: no vectors were compared"
    assert compare([run_with(None)], [run_with(None)]).notes == ()


def test_repeats_are_added_up_and_their_share_is_that_over_runs() -> None:
    made = compare([run_with(RIGHT)] * 3, [run_with(WRONG)] * 3)
    assert {one.figure: one.outcome for one in made.changes}["wrong"] == "worse"
    assert made.notes[-1] == "after: 120 of 1200 sampled replies had wrong vectors (120 × swapped)"
