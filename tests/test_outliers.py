"""Which workers depart from the others: those with a slow way of their own are found, chance is not."""

from __future__ import annotations

import numpy as np
import pytest

from clipload.outliers import CHANCE, departs, outliers, without
from clipload.pacing import PHASES
from clipload.run import Run
from clipload.verdict import judge
from tests.test_run import MS, answers, closed_plan, interval, open_plan, run_of


def run_with(latencies: list[np.ndarray], **plan: object) -> Run:
    """One array of ns for each worker, in an open loop that asked for no more than came back."""
    frames = [interval(number, 1, {"measure": answers(values.tolist())}) for number, values in enumerate(latencies)]
    return run_of(open_plan(workers=len(latencies), **plan), frames, 3)


def exponential(seed: int, workers: int, each: int = 2000) -> list[np.ndarray]:
    """A target in whose queue one busy period slows the requests of all workers: neighbours are alike, as on one schedule."""
    draw = np.random.default_rng(seed)
    busy = np.repeat(draw.exponential(20 * MS, each // 50 + 1), 50)[:each]
    return [(busy + draw.exponential(MS, each)).astype(np.int64) for _ in range(workers)]


@pytest.mark.parametrize("workers", [2, 4])
def test_chance_is_no_outlier(workers: int) -> None:
    """Runs whose requests depend on each other in time."""
    found = [outliers(run_with(exponential(seed, workers))) for seed in range(20)]
    assert sum(map(bool, found)) == 0


@pytest.mark.parametrize("workers", [2, 4])
def test_a_worker_with_a_slow_way_is_found(workers: int) -> None:
    """The lower half of its requests is as quick as everybody's."""
    latencies = exponential(3, workers)
    latencies[1] = latencies[1] + (np.arange(2000) % 20 == 0) * 500 * MS
    run = run_with(latencies)
    found = outliers(run)
    assert [(outlier.worker, outlier.slow) for outlier in found if outlier.slow] == [(1, True)]
    assert len(found) == (2 if workers == 2 else 1), "of two nobody can say which departs"
    assert all(outlier.sentence.startswith("p99 ") for outlier in found)
    assert without(run, {1}).total == 2000 * (workers - 1)
    verdict = judge(run)
    said = [f for f in verdict.findings if f.rule == "outliers"]
    assert [f.weight for f in said] == ["fatal"]
    assert "worker 1 has a p99 " in said[0].sentence


def test_a_quick_worker_is_an_outlier_that_moves_no_tail() -> None:
    quick, slow = exponential(5, 2)
    found = outliers(run_with([quick // 3, slow, slow + 1, slow + 2]))
    assert [(outlier.worker, outlier.slow) for outlier in found] == [(0, False)]


def test_a_difference_that_is_sure_and_small_is_none() -> None:
    """A hundred thousand requests show that a worker is 20 % slower in its tail; that is no other way."""
    draw = np.random.default_rng(1)
    one = draw.exponential(10 * MS, 50_000).astype(np.int64)
    assert outliers(run_with([one, (1.2 * one).astype(np.int64)])) == []


def test_few_requests_prove_nothing() -> None:
    run = run_with([np.array([10 * MS] * 5), np.array([10 * MS] * 4 + [90 * MS])])
    assert outliers(run) == []
    assert outliers(run_with([np.array([10 * MS] * 5)])) == []


def test_a_worker_with_too_few_ok() -> None:
    """In an open loop by what it was asked for: the failures are one worker's."""
    frames = [
        interval(0, 1, {"measure": answers([10 * MS] * 1000)}),
        interval(1, 1, {"measure": answers([10 * MS] * 500, **{"scheduled": 1000, "error.reset": 500})}),
    ]
    found = outliers(run_of(open_plan(), frames, 3))
    assert [outlier.sentence for outlier in found] == ["+33 % ok beside its share", "-33 % ok beside its share"]


@pytest.mark.parametrize(("slots", "said"), [(4, 2), (6, 0)])
def test_a_closed_loops_worker_has_the_share_of_its_slots(slots: int, said: int) -> None:
    """Three slots or two of five answer so many; of six each has three, and of four each has two."""
    counts = {4: (1500, 500), 6: (1000, 1000)}[slots]
    frames = [interval(number, 0, {"measure": answers([10 * MS] * count)}) for number, count in enumerate(counts)]
    assert len(outliers(run_of(closed_plan(concurrency=slots), frames, 2))) == said
    uneven = [interval(number, 0, {"measure": answers([10 * MS] * count)}) for number, count in enumerate((1500, 1000))]
    assert outliers(run_of(closed_plan(concurrency=5), uneven, 2)) == []


def test_a_part_by_chance() -> None:
    """Against the binomial distribution itself: of 100 000 draws about CHANCE / workers are called more than chance."""
    draw = np.random.default_rng(2)
    for workers in (2, 8):
        parts, counts = np.unique(draw.binomial(500, 1 / workers, 100_000), return_counts=True)
        called = sum(count for part, count in zip(parts.tolist(), counts.tolist()) if departs(part, 500, 1 / workers, workers))
        assert called <= 2 * CHANCE / workers * 100_000  # a rare event: 50 and 12 are expected at most
    assert departs(0, 500, 0.5, 2)
    assert departs(500, 500, 0.5, 2)
    assert not departs(0, 0, 0.5, 2)
    with pytest.raises(ValueError, match="3 of 2"):
        departs(3, 2, 0.5, 2)


def test_the_phases_that_are_not_the_answer_do_not_count() -> None:
    draw = exponential(4, 2)
    frames = [
        interval(number, 0, {"warmup": answers((values * (1 + 9 * number)).tolist()), "measure": answers(values.tolist())})
        for number, values in enumerate(draw)
    ]
    run = run_of(open_plan(), frames, 3)
    assert run.phases[PHASES[0]].histogram("latency").max > 0
    assert outliers(run) == []
