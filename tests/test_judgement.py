"""Objectives and the stopping rule on intervals by hand."""

from __future__ import annotations

import math

import pytest

from clipload.estimate import Estimate, quantile, share
from clipload.judgement import Judgement, Relation, checkpoints, judge, precise
from clipload.series import Series
from tests.queues import mm1, true_quantile_ns

INFINITE = math.inf


def estimate(low: float, value: float, high: float, sufficient: bool = True) -> Estimate:
    return Estimate("latency", value, low, high, 1.0, 50.0, sufficient)


@pytest.mark.parametrize(
    ("low", "high", "relation", "judgement"),
    [
        (80, 99, "<", "met"),
        (80, 100, "<", "inconclusive"),  # its upper end is not below the limit
        (80, 120, "<", "inconclusive"),
        (80, INFINITE, "<", "inconclusive"),
        (100, 120, "<", "missed"),  # a value of exactly 100 is not below 100
        (INFINITE, INFINITE, "<", "missed"),
        (101, 120, ">", "met"),
        (100, 120, ">", "inconclusive"),
        (80, 100, ">", "missed"),
        (80, 120, ">", "inconclusive"),
        (101, INFINITE, ">", "met"),
    ],
)
def test_judging_by_hand(low: float, high: float, relation: Relation, judgement: Judgement) -> None:
    assert judge(estimate(low, low, high), relation, 100) == judgement


def test_an_insufficient_estimate_is_believed_below_only() -> None:
    assert judge(estimate(80, 85, 90, sufficient=False), "<", 100) == "inconclusive"
    assert judge(estimate(80, 85, 90, sufficient=False), ">", 100) == "inconclusive"
    assert judge(estimate(110, 115, 120, sufficient=False), "<", 100) == "missed"
    assert judge(estimate(110, 115, 120, sufficient=False), ">", 100) == "met"


def test_no_error_meets_an_objective_once_there_are_enough_requests() -> None:
    assert [judge(share([0], [n]), "<", 0.001) for n in (500, 2000, 3000)] == ["inconclusive", "inconclusive", "met"]
    assert judge(share([9] * 5, [20] * 5), "<", 0.001) == "missed"


def test_a_queue_is_judged_as_its_theory_says() -> None:
    """p99 of M/M/1 at ρ = 0.7 and S = 1 ms is 15.35 ms: five minutes decide 25 and 10 ms, not 15 ms."""
    found = quantile(mm1(3, 200_000, 0.7).series(), 0.99)
    assert [judge(found, "<", ms * 1e6) for ms in (25, 15, 10)] == ["met", "inconclusive", "missed"]


def test_precise_by_hand() -> None:
    assert precise(estimate(90, 100, 110), 0.1)
    assert not precise(estimate(89, 100, 110), 0.1)
    assert not precise(estimate(90, 100, 110, sufficient=False), 0.1)
    assert not precise(estimate(90, 100, INFINITE), 1e9)
    assert not precise(estimate(0, 0, 1), 0.1)
    assert precise(estimate(0, 0, 0), 0.0)


def test_checkpoints_by_hand() -> None:
    assert checkpoints(10, 60) == [10, 15, 22, 34, 51, 60]
    assert checkpoints(10, 15) == [10, 15]
    assert checkpoints(10, 10) == checkpoints(20, 10) == [10]
    assert checkpoints(1, 5, 1.1) == [1, 2, 3, 4, 5]


def test_checkpoints_must_begin_and_grow() -> None:
    for first, growth in ((0, 1.5), (-1, 1.5), (10, 1.0), (10, math.nan)):
        with pytest.raises(ValueError, match="checkpoints"):
            checkpoints(first, 60, growth)


def test_stopping_early_keeps_most_of_the_coverage() -> None:
    """Runs at ρ = 0.5 that end at the first checkpoint whose p99 is known to ±10 %: the truth is still in nine of ten."""
    truth, hits, stopped = true_quantile_ns(0.99, 0.5), 0, 0
    for seed in range(40):
        histograms = mm1(seed, 60_000, 0.5).histograms()
        for seconds in checkpoints(10, 100):
            found = quantile(Series.of(histograms[:seconds], [0] * seconds), 0.99)
            if precise(found, 0.1):
                stopped += seconds < 100
                break
        hits += found.low <= truth <= found.high
    assert stopped >= 20
    assert hits >= 34
