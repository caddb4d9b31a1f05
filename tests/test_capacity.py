"""How much of the generator a Run used: by a calibration where one was known, else by the Run's own CPU."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from clipload import archive
from clipload.capacity import Calibration, capacity
from clipload.reports.capacity import calibration_table, describe_capacity
from clipload.run import Run
from clipload.shapes import Kept
from clipload.units import Duration
from tests.laws.test_shape_laws import shape
from tests.test_run import FACTS, MS, answers, closed_plan, interval, open_plan, run_of, tally
from tests.test_shapes import calibration


def run(known: Calibration | None = None, **facts: Any) -> Run:
    """Two workers and 2 s measured: 10 and 30 requests ended; CPU of 20 and 10 % of a core."""
    many = answers([MS] * 20) + tally({"scheduled": 5, "error.http_500": 5}, failed=[MS] * 5)
    frames = [
        interval(0, 0, {"warmup": answers([MS] * 99)}, cpu_ns=999 * MS),
        interval(0, 1, {"measure": answers([MS] * 10)}, cpu_ns=150 * MS),
        interval(0, 2, {"measure": many}, cpu_ns=250 * MS, starved_ns=500 * MS),
        interval(0, 3, {"measure": answers([MS] * 50)}, cpu_ns=999 * MS),
        interval(1, 0, {}),
        interval(1, 1, {}, cpu_ns=100 * MS),
        interval(1, 2, {"measure": answers([MS] * 5)}, cpu_ns=100 * MS),
        interval(1, 3, {}),
    ]
    return run_of(open_plan(), frames, 3, facts=FACTS | {"calibration": msgspec.to_builtins(known)} | facts)


def test_by_a_calibration() -> None:
    found = capacity(run(calibration(requests_per_s=400.0)))
    assert found is not None
    assert (found.basis, found.at_least, found.taken_s) == ("calibration", False, 1.7e9)
    assert found.requests_per_s == 400.0
    assert found.used == pytest.approx((10 + 30) / 2 / 400)
    assert found.busiest == pytest.approx(30 / 400)


@pytest.mark.parametrize(("limit", "at_least"), [("worker", False), ("engine", True), ("others", True)])
def test_only_a_worker_that_had_no_core_left_was_at_its_ceiling(limit: Any, at_least: bool) -> None:
    found = capacity(run(calibration(limit=limit)))
    assert found is not None
    assert found.at_least == at_least
    assert ("can do at least" in describe_capacity(run(calibration(limit=limit)), "d")) == at_least


def test_by_its_own_cpu_the_busiest_worker_counts() -> None:
    """20 requests/s with a fifth of worker 0's core: a hundred with all of it. Waiting for the core is no work."""
    found = capacity(run())
    assert found is not None
    assert (found.basis, found.at_least, found.taken_s) == ("own cpu", True, None)
    assert found.used == pytest.approx(0.2)
    assert found.requests_per_s == pytest.approx(100)
    assert found.busiest == pytest.approx(0.3)


def test_a_run_without_a_whole_second_says_nothing_of_itself() -> None:
    short = run_of(closed_plan(), [interval(0, 0, {"measure": answers([MS])}, cpu_ns=MS), interval(1, 0)], 0.5)
    assert capacity(short) is None
    assert "not known; to measure it:\n            clipload calibrate --config d/plan.toml" in describe_capacity(short, "d")


def test_a_short_run_can_be_held_against_a_calibration() -> None:
    facts = FACTS | {"calibration": msgspec.to_builtins(calibration(requests_per_s=100.0))}
    short = run_of(
        closed_plan(), [interval(0, 0, {"measure": answers([MS] * 5)}, final=True), interval(1, 0)], 0.5, facts=facts
    )
    found = capacity(short)
    assert found is not None
    assert found.used == pytest.approx(5 / 0.5 / 100)


def test_the_document_says_it_too() -> None:
    for known in (None, calibration()):
        one = run(known)
        assert archive.document(one)["capacity"] == msgspec.to_builtins(capacity(one))
        assert archive.document(one)["facts"]["calibration"] == msgspec.to_builtins(known)


def test_in_words() -> None:
    assert describe_capacity(run(calibration(requests_per_s=400.0)), "d") == (
        "capacity    the generator can do 400 requests/s of this payload (calibrated 2023-11-14 22:13 UTC):\n"
        "            this run used 5.0 % of it, 7.5 % in its busiest second"
    )
    assert describe_capacity(run(target={"dim": 768}), "d") == (
        "capacity    the generator can do some 100 requests/s of this payload (reckoned from this run's CPU):\n"
        "            this run used at most 20 % of it, 30 % in its busiest second\n"
        "            to measure it: clipload calibrate --config d/plan.toml --dim 768"
    )


def test_the_command_can_be_pasted() -> None:
    assert describe_capacity(run(), "my runs/1").endswith("clipload calibrate --config 'my runs/1/plan.toml'")


@pytest.mark.parametrize(
    ("warmup_ms", "duration_ms", "whole"),
    [(0, 2000, range(2)), (500, 2000, range(1, 2)), (500, 2500, range(1, 3)), (1, 900, range(1, 0))],
)
def test_only_seconds_that_are_measured_from_end_to_end_count(warmup_ms: int, duration_ms: int, whole: range) -> None:
    plan = open_plan(warmup=Duration(warmup_ms * MS), duration=Duration(duration_ms * MS))
    frames = [interval(worker, i, {"measure": answers([MS] * 10**i)}) for worker in (0, 1) for i in range(4)]
    one = run_of(
        plan, frames, (warmup_ms + duration_ms) / 1000, facts=FACTS | {"calibration": msgspec.to_builtins(calibration())}
    )
    assert list(one.whole_seconds) == list(whole)
    found = capacity(one)
    assert found is not None
    if whole:
        assert found.used * found.requests_per_s == pytest.approx(sum(2 * 10**i for i in whole) / len(whole))


def test_a_calibration_in_words() -> None:
    table = calibration_table(Kept(shape=shape(), calibration=calibration()), 8)
    assert table.splitlines() == [
        "payload     text, batch of 1, bodies of 80 B; v1, float vectors of 512; stream over tcp",
        "ceiling     20000 requests/s = 160000 samples/s: 1 worker, 16 in flight",
        "            97 % busy, no core left",
        "cpu         48.0 µs a request",
        "adds        p50 150 µs (148 µs–153 µs), p99 400 µs (≥ 380 µs)",
        "            at 1000 requests/s (2000 of them): client, wire and null engine together",
    ]
    shared = Kept(shape=shape(shared=True), calibration=calibration(limit="others", starved=0.31))
    table = calibration_table(shared, 1)
    assert "at least 20000 requests/s" in table
    assert "others had its core for 31 % of the time" in table
    assert "on the same cores" in table
