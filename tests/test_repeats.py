"""Repeated runs from a launch that measures nothing: what is asked, what is kept when it ends early, and what is claimed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clipload import estimate
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
from clipload.plan import Plan
from clipload.repeats import DOCUMENT, QUANTILES, Repetition
from clipload.reports.repeats import summary
from clipload.run import Run
from clipload.spread import estimates
from clipload.tally import Tally
from clipload.units import Duration
from tests.test_run import MS, answers, interval, run_of, tally

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


def repetition_of(out: Path, outcomes: list[Any], times: int | None = None) -> tuple[Repetition, list[Plan]]:
    """Pursued with a launch that gives out, or raises, `outcomes` in turn; with the Plans that it was given."""
    repetition, given = Repetition(PLAN, times or len(outcomes), out), []

    def launch(plan: Plan) -> tuple[Run, Path]:
        outcome = outcomes[len(given)]
        given.append(plan)
        if isinstance(outcome, BaseException):
            raise outcome
        directory = repetition.directory / f"{len(given)}"
        directory.mkdir()
        return outcome(plan), directory

    try:
        repetition.pursue(launch)
    except TargetError:
        assert TargetError in map(type, outcomes)
    return repetition, given


def document(repetition: Repetition) -> dict[str, Any]:
    def constant(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads((repetition.directory / DOCUMENT).read_text(), parse_constant=constant)


def taking(*times: int, **more: Any) -> list[Callable[[Plan], Run]]:
    return [lambda plan, ms=ms: run(plan, ms, **more) for ms in times]


def test_run_i_has_the_seed_of_the_plan_and_i(tmp_path: Path) -> None:
    repetition, given = repetition_of(tmp_path, taking(10, 12, 11))
    assert given == [PLAN.replace(seed=seed) for seed in (7, 8, 9)]
    assert [row.seed for row in repetition.rows] == [7, 8, 9]
    assert (repetition.ended, repetition.exit_code) == ("complete", EXIT_OK)


def test_figures_are_those_over_runs(tmp_path: Path) -> None:
    repetition, given = repetition_of(tmp_path, taking(10, 14, 12))
    runs = [run(plan, ms) for plan, ms in zip(given, (10, 14, 12), strict=True)]
    for name, found in repetition.figures().items():
        assert found == estimate.repeats([estimates(one, QUANTILES)[name] for one in runs]), name
    p99 = repetition.figures()["p99"]
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
    errors = repetition_of(tmp_path, taking(10, 11, 12))[0].figures()["errors"]
    assert errors.estimate.value == errors.between == 0
    assert errors.estimate.high == pytest.approx(1 - 0.05 ** (1 / 100))


def test_nothing_is_claimed_through_an_unsound_generator(tmp_path: Path) -> None:
    outcomes = [*taking(10), *taking(900, lag_ms=800), *taking(12)]
    repetition, _ = repetition_of(tmp_path, outcomes)
    assert [row.counts for row in repetition.rows] == [True, False, True]
    assert repetition.figures()["p50"].values == pytest.approx((10 * MS, 12 * MS), rel=1e-3)
    assert repetition.exit_code == EXIT_UNSOUND
    text = summary(repetition)
    assert "over 2 runs (1 left out: unsound or interrupted)" in text
    assert "run 2     the generator itself was late" in text


def test_an_infinite_percentile_is_null_in_the_document(tmp_path: Path) -> None:
    repetition, _ = repetition_of(tmp_path, taking(10, 11, failed=2))
    found = document(repetition)
    assert found["figures"]["p99"]["estimate"]["value"] is None
    assert found["runs"][0]["figures"]["p99"]["value"] is None
    assert "∞" in summary(repetition)


def test_the_text_is_the_golden_one(tmp_path: Path) -> None:
    """One run unsound, one with errors. CLIPLOAD_REWRITE_GOLDEN=1 writes it anew."""
    outcomes = [*taking(10, 14), *taking(900, lag_ms=800), *taking(12, failed=1)]
    repetition, _ = repetition_of(tmp_path, outcomes)
    text, path = summary(repetition).replace(str(repetition.directory), "runs/evening") + "\n", GOLDEN / "repeats.txt"
    if os.environ.get("CLIPLOAD_REWRITE_GOLDEN") == "1":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_the_document_is_what_was_pursued(tmp_path: Path) -> None:
    repetition, _ = repetition_of(tmp_path, taking(10, 12, 11))
    found = document(repetition)
    assert found == json.loads(json.dumps(repetition.document()))
    assert (found["schema"], found["asked"], found["ended"], found["exit_code"]) == (1, 3, "complete", 0)
    assert Plan.from_dict(found["plan"]) == PLAN
    assert [one["directory"] for one in found["runs"]] == ["1", "2", "3"]
    assert repetition.directory.parent == tmp_path
    assert repetition.directory.name.endswith("-evening")


def test_whoever_kills_it_leaves_the_document_of_the_runs_before(tmp_path: Path) -> None:
    seen = []

    def second(plan: Plan) -> Run:
        (path,) = tmp_path.glob(f"*/{DOCUMENT}")
        seen.append(json.loads(path.read_text()))
        return run(plan)

    repetition_of(tmp_path, [*taking(10), second])
    assert [(found["ended"], len(found["runs"])) for found in seen] == [("under way", 1)]


def test_an_interrupted_run_ends_it_and_is_kept(tmp_path: Path) -> None:
    outcomes = [*taking(10), *taking(10, ended="interrupted"), *taking(10)]
    repetition, given = repetition_of(tmp_path, outcomes)
    assert len(given) == len(repetition.rows) == 2
    assert [row.counts for row in repetition.rows] == [True, False]
    assert (repetition.exit_code, document(repetition)["ended"]) == (EXIT_INTERRUPTED, "interrupted")


def test_interrupted_between_two_runs(tmp_path: Path) -> None:
    repetition, _ = repetition_of(tmp_path, [*taking(10, 11), KeyboardInterrupt()])
    assert len(document(repetition)["runs"]) == 2
    assert (repetition.exit_code, document(repetition)["ended"]) == (EXIT_INTERRUPTED, "interrupted")


def test_interrupted_before_the_first_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        repetition_of(tmp_path, [KeyboardInterrupt()], 3)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_cannot_begin_leaves_the_ones_before_it(tmp_path: Path) -> None:
    repetition, _ = repetition_of(tmp_path, [*taking(10, 11), TargetError("nobody is there")], 5)
    assert document(repetition)["ended"] == "nobody is there"
    assert len(document(repetition)["runs"]) == 2
    assert "2 of 5 runs" in summary(repetition)


def test_a_first_run_that_cannot_begin_leaves_nothing(tmp_path: Path) -> None:
    repetition_of(tmp_path, [TargetError("nobody is there")], 3)
    assert list(tmp_path.iterdir()) == []


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
def test_what_cannot_be_repeated_names_the_flag_and_makes_nothing(plan: Plan, times: int, flag: str, tmp_path: Path) -> None:
    with pytest.raises(PlanError) as caught:
        Repetition(plan, times, tmp_path / "runs")
    assert caught.value.flag == flag
    assert caught.value.remedy
    assert not (tmp_path / "runs").exists()


def test_the_worst_exit_code_stands_for_all() -> None:
    assert worst([]) == EXIT_OK
    for place, code in enumerate(ORDER):
        assert worst(ORDER[place:][::-1]) == code
        assert worst([code, code]) == code
