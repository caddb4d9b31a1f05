"""Repeated runs from a launch that measures nothing: what is asked, what is kept when it ends early, and what is claimed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from clipload import archive, estimate
from clipload.campaign import DOCUMENT, Campaign, resumable
from clipload.errors import (
    EXIT_INCONCLUSIVE,
    EXIT_INTERNAL,
    EXIT_INTERRUPTED,
    EXIT_MISSED,
    EXIT_OK,
    EXIT_TARGET,
    EXIT_UNSOUND,
    EXIT_USAGE,
    PlanError,
    TargetError,
    worst,
)
from clipload.frames import Frame
from clipload.plan import Plan
from clipload.repeats import QUANTILES, answer, counted, figures, repeats_of, resumed, seeds, verdict
from clipload.reports.repeats import summary
from clipload.run import Run
from clipload.search import Grid
from clipload.spread import estimates
from clipload.tally import Tally
from clipload.units import Duration
from tests.test_run import MS, answers, closing, interval, opening, run_of, tally, with_done

PLAN = Plan(rate=50.0, duration=Duration.seconds(2), seed=7, name="evening")
GOLDEN = Path(__file__).parent / "golden"
ORDER = [
    *(EXIT_USAGE, EXIT_INTERNAL, EXIT_INTERRUPTED, EXIT_TARGET, EXIT_UNSOUND, EXIT_MISSED, EXIT_INCONCLUSIVE, EXIT_OK),
]


def run(plan: Plan, ms: int = 10, *, failed: int = 0, lag_ms: int = 0, **fields: Any) -> Run:
    """Two seconds of fifty answers each, all of `ms`."""
    bad = tally({"scheduled": failed, "error.http_500": failed}, failed=[MS] * failed) if failed else Tally()
    frames = [interval(0, i, {"measure": answers([ms * MS] * 50, lag_ns=lag_ms * MS) + bad}, cpu_ns=MS) for i in range(2)]
    return run_of(plan, frames, 2, **fields)


def keep(plan: Plan, directory: Path, ms: int = 10, *, failed: int = 0, lag_ms: int = 0, ended: str = "complete") -> Run:
    """The same, as its journal has it."""
    bad = tally({"scheduled": failed, "error.http_500": failed}, failed=[MS] * failed) if failed else Tally()
    part = answers([ms * MS] * 50, lag_ns=lag_ms * MS) + bad
    frames: list[Frame] = with_done([interval(0, i, {"measure": part}, cpu_ns=MS) for i in range(2)])
    end = closing({0: {"measure": {"planned": 2 * part["scheduled"]}}}, 2, ended=ended)
    journal = archive.Journal(directory / "journal.bin")
    for frame in (opening(plan), *frames, end):
        journal.append(frame)
    journal.close()
    return archive.load(directory)


def pursued(campaign: Campaign[Grid], outcomes: list[Any]) -> list[Plan]:
    """The Plans that were launched; each launch gives out a Run like its outcome (what `keep` is told), or raises it."""
    given: list[Plan] = []

    def launch(plan: Plan) -> tuple[Run, Path]:
        outcome = outcomes[len(given)]
        given.append(plan)
        if isinstance(outcome, BaseException):
            raise outcome
        directory = archive.create_directory(campaign.directory, "run", 1.7e9)
        return keep(plan, directory, **outcome), directory

    list(campaign.pursue(launch, lambda _: None))
    return given


def repeated(out: Path, outcomes: list[Any], times: int | None = None, plan: Plan = PLAN) -> Campaign[Grid]:
    out.mkdir(exist_ok=True)
    campaign = repeats_of(plan, times or len(outcomes), out)
    pursued(campaign, outcomes)
    return campaign


def taking(*times: int, **more: Any) -> list[dict[str, Any]]:
    return [{"ms": ms} | more for ms in times]


def document(campaign: Campaign[Grid]) -> dict[str, Any]:
    """What is on disk, which has no words that JSON has not."""

    def constant(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    campaign.answer = answer(campaign)
    campaign.save()
    found: dict[str, Any] = json.loads((campaign.directory / DOCUMENT).read_text(), parse_constant=constant)
    return found


def test_run_i_has_the_seed_of_the_plan_and_i(tmp_path: Path) -> None:
    campaign = repeats_of(PLAN, 3, tmp_path)
    assert pursued(campaign, taking(10, 12, 11)) == [PLAN.replace(seed=seed) for seed in (7, 8, 9)]
    assert seeds(campaign) == [7, 8, 9]
    assert (campaign.ended, verdict(campaign).exit_code) == ("complete", EXIT_OK)


def test_figures_are_those_over_runs(tmp_path: Path) -> None:
    campaign = repeated(tmp_path, taking(10, 14, 12))
    runs = [run(PLAN.replace(seed=seed), ms) for seed, ms in ((7, 10), (8, 14), (9, 12))]
    for name, found in figures(campaign).items():
        assert found == estimate.repeats([estimates(one, QUANTILES)[name] for one in runs]), name
    p99 = figures(campaign)["p99"]
    assert p99.estimate.value == pytest.approx(12 * MS, rel=1e-3)
    assert p99.between == pytest.approx(2 * MS, rel=1e-3)
    assert p99.estimate.low == pytest.approx(12 * MS - 4.3027 * 2 * MS / 3**0.5, rel=1e-2)


def test_the_value_of_a_run_is_that_of_its_measured_phase() -> None:
    one = run(PLAN, failed=2)
    found = estimates(one, QUANTILES)
    assert found["p50"].value == one.measure.histogram("latency").quantile_with_infinite(0.5, 4)
    assert found["p99"].value == float("inf"), "4 of 104 failed"
    assert found["errors"].value == 4 / 104
    assert found["throughput"].value == one.throughput == 50
    for name, figure in found.items():
        assert figure.low <= figure.value <= figure.high, name


def test_throughput_counts_samples() -> None:
    eight = run(PLAN.replace(batch_size=8))
    assert estimates(eight, QUANTILES)["throughput"].value == eight.throughput == 400


def test_runs_without_an_error_do_not_prove_that_there_are_none(tmp_path: Path) -> None:
    errors = figures(repeated(tmp_path, taking(10, 11, 12)))["errors"]
    assert errors.estimate.value == errors.between == 0
    assert errors.estimate.high == pytest.approx(1 - 0.05 ** (1 / 100))


def test_nothing_is_claimed_through_an_unsound_generator(tmp_path: Path) -> None:
    outcomes = [*taking(10), *taking(900, lag_ms=800), *taking(12)]
    campaign = repeated(tmp_path, outcomes, plan=PLAN.replace(slo="p50<1s"))
    assert [one.plan.seed for one in counted(campaign)] == [7, 9]
    assert figures(campaign)["p50"].values == pytest.approx((10 * MS, 12 * MS), rel=1e-3)
    assert (verdict(campaign).exit_code, verdict(campaign).objectives) == (EXIT_UNSOUND, ())
    text = summary(campaign)
    assert "over 2 runs (1 left out: unsound, or not begun)" in text
    assert "generator   unsound: no statement is made about the target" in text
    assert "seed 8: the generator itself was late" in text


def test_objectives_are_judged_over_the_runs_and_not_run_by_run(tmp_path: Path) -> None:
    """One of three misses p50 by itself; over the three nobody knows."""
    campaign = repeated(tmp_path, taking(8, 9, 30), plan=PLAN.replace(slo="p50<20ms,errors<5%"))
    assert [point.exit_code == EXIT_MISSED for point in campaign.points] == [False, False, True]
    assert verdict(campaign).exit_code == EXIT_INCONCLUSIVE
    text = summary(campaign)
    assert "objective   inconclusive\n  p50<20ms is undecided: 9.00 ms over 3 runs" in text
    assert text.count("missed") == 0, "a run's own judgement stands in no line"
    assert [one["judgement"] for one in answer(campaign)["verdict"]["objectives"]] == ["inconclusive", "met"]


def test_an_infinite_percentile_is_null_in_the_document(tmp_path: Path) -> None:
    campaign = repeated(tmp_path, taking(10, 11, failed=2))
    found = document(campaign)["answer"]
    assert found["figures"]["p99"]["value"] is None
    assert found["figures"]["p99"]["values"] == [None, None]
    assert found["runs"][0]["figures"]["p99"]["value"] is None
    assert "∞" in summary(campaign)


def test_the_text_is_the_golden_one(tmp_path: Path) -> None:
    """One run unsound, one with errors. CLIPLOAD_REWRITE_GOLDEN=1 writes it anew."""
    outcomes = [*taking(10, 14), *taking(900, lag_ms=800), *taking(12, failed=1)]
    text = summary(repeated(tmp_path, outcomes)).replace(str(tmp_path), "runs/evening") + "\n"
    check_golden("repeats.txt", text)


def test_the_text_of_objectives_is_the_golden_one(tmp_path: Path) -> None:
    """Interrupted in the fourth of five runs."""
    plan = PLAN.replace(slo=("p50<20ms", "p99<1s", "errors<5%", "throughput>60/s"))
    campaign = repeated(tmp_path, [*taking(10, 14, 12), *taking(11, ended="interrupted")], 5, plan)
    check_golden("repeats_objectives.txt", summary(campaign).replace(str(tmp_path), "runs/evening") + "\n")


def check_golden(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("CLIPLOAD_REWRITE_GOLDEN") == "1":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_the_document_is_what_was_pursued(tmp_path: Path) -> None:
    campaign = repeated(tmp_path, taking(10, 12, 11))
    found = document(campaign)
    assert (found["schema"], found["kind"], found["ended"]) == (1, "repeats", "complete")
    assert Plan.from_dict(found["base"]) == PLAN
    assert [one["ask"]["values"] for one in found["points"]] == [{"seed": seed} for seed in (7, 8, 9)]
    assert [archive.load(tmp_path / one["directory"]).plan.seed for one in found["points"]] == [7, 8, 9]
    assert (found["answer"]["asked"], found["answer"]["counted"], found["answer"]["verdict"]["exit_code"]) == (3, 3, EXIT_OK)
    assert [one["seed"] for one in found["answer"]["runs"]] == [7, 8, 9]


def test_an_interrupted_run_is_measured_anew_and_the_answer_is_as_if_nothing_had_been(tmp_path: Path) -> None:
    plan = PLAN.replace(slo="p50<20ms")
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    expected = answer(repeated(whole, taking(10, 14, 12), plan=plan))
    first = repeated(parted, [*taking(10), *taking(14, ended="interrupted")], 3, plan)
    assert (first.ended, len(first.points), verdict(first).exit_code) == ("interrupted", 1, EXIT_INTERRUPTED)
    assert f"unfinished  2 left: clipload run --resume {parted}" in summary(first)
    again = resumed(parted, [])
    assert pursued(again, taking(14, 12)) == [plan.replace(seed=seed) for seed in (8, 9)]
    assert answer(again) == expected
    assert resumed(parted, []).search.done, "nothing is left"
    assert answer(resumed(parted, [])) == expected


def test_interrupted_in_the_first_run_it_can_be_gone_on_with(tmp_path: Path) -> None:
    campaign = repeated(tmp_path, taking(10, ended="interrupted"), 3)
    assert (campaign.saved, campaign.points, verdict(campaign).exit_code) == (True, [], EXIT_INTERRUPTED)
    assert "0 of 3 runs" in summary(campaign)
    assert "over runs   nothing: no run counts" in summary(campaign)
    assert [plan.seed for plan in pursued(resumed(tmp_path, []), taking(10, 11, 12))] == [7, 8, 9]


def test_interrupted_between_two_runs(tmp_path: Path) -> None:
    campaign = repeated(tmp_path, [*taking(10, 11), KeyboardInterrupt()])
    assert (len(document(campaign)["points"]), document(campaign)["ended"]) == (2, "interrupted")
    assert verdict(campaign).exit_code == EXIT_INTERRUPTED


def test_interrupted_before_the_first_leaves_nothing(tmp_path: Path) -> None:
    for outcome in (KeyboardInterrupt(), TargetError("nobody is there")):
        with pytest.raises(type(outcome)):
            repeated(tmp_path / "runs", [outcome], 3)
        assert not (tmp_path / "runs").exists()


def test_a_target_that_is_gone_for_a_while_is_told_as_such(tmp_path: Path) -> None:
    plan = PLAN.replace(slo="p50<20ms")
    campaign = repeated(tmp_path, [*taking(10, 11), TargetError("nobody is there"), *taking(12)], plan=plan)
    assert (len(campaign.points), len(counted(campaign))) == (4, 3)
    assert (verdict(campaign).exit_code, verdict(campaign).objectives) == (EXIT_TARGET, ())
    assert "target died: nobody is there" in summary(campaign)


def test_what_would_make_others_of_them_is_refused(tmp_path: Path) -> None:
    repeated(tmp_path, taking(10, 11))
    with pytest.raises(PlanError, match="has its own") as caught:
        resumed(tmp_path, ["--rate"])
    assert (caught.value.flag, "clipload run" in caught.value.remedy) == ("--rate", True)
    with pytest.raises(PlanError, match="of the kind repeats") as caught:
        resumable(tmp_path, "sweep", [])
    assert (caught.value.flag, caught.value.remedy) == ("--resume", "use clipload run --resume")


@pytest.mark.parametrize(
    ("plan", "times", "flag"),
    [
        (PLAN, 0, "--repeats"),
        (PLAN, -1, "--repeats"),
        (PLAN, 1001, "--repeats"),
        (PLAN.replace(seed=2**63 - 2), 3, "--seed"),
        (PLAN.replace(data_source="jsonl", data="-"), 2, "--repeats"),
    ],
)
def test_what_cannot_be_repeated_names_the_flag(plan: Plan, times: int, flag: str, tmp_path: Path) -> None:
    with pytest.raises(PlanError) as caught:
        repeats_of(plan, times, tmp_path)
    assert caught.value.flag == flag
    assert caught.value.remedy


def test_the_worst_exit_code_stands_for_all() -> None:
    assert worst([]) == EXIT_OK
    for place, code in enumerate(ORDER):
        assert worst(ORDER[place:][::-1]) == code
        assert worst([code, code]) == code
