"""From a search's Ask to a Plan, and from a judged Run to what the search is told."""

from __future__ import annotations

from typing import Any

import pytest

from clipload.errors import PlanError
from clipload.plan import Plan
from clipload.run import Run
from clipload.search import Ask
from clipload.tally import Tally
from clipload.trials import aimed, behind, interrupted, plan_for, told
from clipload.units import Duration
from clipload.verdict import judge
from tests.test_run import MS, START, answers, closed_plan, interval, run_of, tally
from tests.test_sightings import seconds

SECONDS = 40
ASK = Ask({"rate": 100.0})


def plan(**changes: Any) -> Plan:
    return Plan(**({"rate": 100.0, "duration": Duration.seconds(SECONDS)} | changes))


def run(latencies: list[int], *, lag_ns: int = 0, more: Tally | None = None, scheduled: int = 100, **changes: Any) -> Run:
    """`SECONDS` alike."""
    each = answers(latencies, lag_ns=lag_ns, scheduled=scheduled) + (more or Tally())
    return run_of(plan(**changes), [interval(0, i, {"measure": each}) for i in range(SECONDS)], SECONDS)


def hear(one: Run) -> Any:
    return told(ASK, one, judge(one), 12.5)


QUICK = [10 * MS] * 100


def test_an_ask_fills_in_load_and_lengths() -> None:
    made = plan_for({"mode": "text", "batch_size": 2}, Ask({"rate": "50"}, "bisect", 10.5, 2.25, 1.0, backlog=70))
    assert (made.rate, made.concurrency, made.mode, made.batch_size) == (50.0, None, "text", 2)
    assert (made.duration, made.warmup, made.max_backlog) == (Duration.parse("10.5s"), Duration.parse("2.25s"), 70)


def test_what_an_ask_says_takes_its_rivals_out_and_leaves_the_rest() -> None:
    base = {"concurrency": 8, "num_samples": 100}
    made = plan_for(base, Ask({"rate": 5}, seconds=3))
    assert (made.concurrency, made.num_samples, made.rate) == (None, None, 5.0)
    assert plan_for(base, Ask({"batch_size": 4})).concurrency == 8
    assert base == {"concurrency": 8, "num_samples": 100}


def test_the_ladder_before_a_find_is_closed_whatever_was_said_of_an_open_loop() -> None:
    base = {"arrival": "gamma", "cv": 2.0, "max_connections": 50}
    assert plan_for(base, Ask({"concurrency": 4}, "ceiling", 3)).concurrency == 4
    assert plan_for(base, Ask({"rate": 4})).cv == 2.0
    with pytest.raises(PlanError, match="closed loop"):
        plan_for(base, Ask({"concurrency": 4}))


@pytest.mark.parametrize(
    ("latencies", "slo", "fate", "meets", "binding"),
    [
        (QUICK, (), "pass", None, None),
        (QUICK, ("p99<20ms",), "pass", True, None),
        (QUICK, ("p99<5ms",), "fail", False, "latency"),
        (QUICK, ("p50<20ms", "throughput>500/s"), "fail", False, "throughput"),
        ([10 * MS] * 99 + [30 * MS], ("p99.9<20ms",), "fail", False, "latency"),
    ],
)
def test_the_fate_is_that_of_the_objectives(
    latencies: list[int], slo: tuple[str, ...], fate: str, meets: bool | None, binding: str | None
) -> None:
    found = hear(run(latencies, slo=slo))
    assert (found.fate, found.meets, found.binding) == (fate, meets, binding)
    assert found.seconds == 12.5
    assert found.achieved == pytest.approx(100)


def test_errors_bind_by_their_name() -> None:
    failing = tally({"scheduled": 10, "error.http_500": 10}, failed=[MS] * 10)
    found = hear(run(QUICK, more=failing, rate=110.0, slo=("errors<1%",)))
    assert (found.fate, found.binding) == ("fail", "errors")
    assert "errors<1%" in found.sentence


def test_the_quantile_is_that_of_the_first_objective_on_latency() -> None:
    asked = plan(slo=("errors<1%", "service.p90<1s", "p90<20ms", "p99<1s"))
    assert str(aimed(asked)) == "p90<20ms"
    found = hear(run([10 * MS] * 95 + [50 * MS] * 5, slo=asked.slo))
    assert found.quantile.value == pytest.approx(10 * MS, rel=1e-2)
    assert found.quantile.low <= found.quantile.value <= found.quantile.high
    assert hear(run(QUICK)).quantile is None


def test_an_unsound_generator_comes_before_any_objective() -> None:
    found = hear(run(QUICK, lag_ns=9 * MS, slo=("p99<5ms",)))
    assert (found.fate, found.binding, found.leaning) == ("unsound", "generator", None)
    assert "late" in found.sentence


def test_a_run_that_ended_early_is_an_overload_and_one_whose_target_died_is_not() -> None:
    for ended, fate in (("overload", "overload"), ("target died", "died")):
        one = run_of(plan(slo=("p99<20ms",)), [interval(0, 0, {"measure": answers(QUICK)})], 1, ended=ended)
        assert hear(one).fate == fate


@pytest.mark.parametrize(("share", "busy"), [(0.99, "tokenizer full"), (0.5, "")])
def test_what_was_full_is_told(share: float, busy: str) -> None:
    one = run(QUICK)
    one.sightings = seconds({"tokenizer": share}, start_ns=START, n=SECONDS)
    assert hear(one).busy == busy


def test_through_an_unsound_generator_nothing_is_told_of_the_target() -> None:
    one = run([100 * MS] * 100, lag_ns=90 * MS)
    one.sightings = seconds({"tokenizer": 0.99}, start_ns=START, n=SECONDS)
    assert (hear(one).fate, hear(one).busy) == ("unsound", "")


def test_an_interrupted_run_is_not_told() -> None:
    one = run_of(plan(), [interval(0, 0, {"measure": answers(QUICK)})], 1, ended="interrupted")
    assert interrupted(judge(one))
    assert not interrupted(judge(run(QUICK)))


def test_replies_that_stay_out_fail_a_rate_even_when_those_that_came_were_quick() -> None:
    """8 % short of what was due is beyond what chance does to 4000 requests, 5 % is not."""
    for missing, late in ((8, True), (5, False)):
        one = run([10 * MS] * (100 - missing), slo=("p90<20ms",))
        assert behind(one) is late
        assert hear(one).fate == ("fail" if late else "pass")
    few = run_of(plan(rate=10.0), [interval(0, 0, {"measure": answers([MS] * 7, scheduled=10)})], 1)
    assert not behind(few)


def test_an_estimate_on_too_few_requests_is_not_leant_on_unless_it_is_bad() -> None:
    """One slow second of forty holds all of the tail: it is one event."""
    tail = [interval(0, 0, {"measure": answers([12 * MS + i * MS // 20 for i in range(100)], lag_ns=0)})]
    body = [interval(0, i, {"measure": answers(QUICK, lag_ns=0)}) for i in range(1, SECONDS)]
    for limit, meets in (("p99<20ms", None), ("p99<12ms", False)):
        assert hear(run_of(plan(slo=(limit,)), [*tail, *body], SECONDS)).meets is meets


def test_a_closed_loop_at_its_ceiling_is_limited() -> None:
    for busy_ns, limited in ((990 * MS, True), (500 * MS, False)):
        frames = [interval(0, i, {"measure": answers(QUICK)}, cpu_ns=busy_ns) for i in range(2)]
        one = run_of(closed_plan(workers=1), frames, 2)
        assert told(ASK, one, judge(one), 2.0).limited is limited


LATE: dict[str, Any] = {"lag_ns": 20 * MS}  # of latencies of 50 ms: without it they were 40 % lower
SLOW = [50 * MS] * 100


def test_who_meets_the_objective_with_the_generators_lateness_meets_it_without() -> None:
    """The run's own figures stay the generator's."""
    met = run(SLOW, **LATE, slo=("p99<200ms",))
    assert judge(met).generator == "unsound"
    assert (hear(met).fate, hear(met).binding, hear(met).leaning) == ("pass", None, True)
    for slo in (("p99<40ms",), ("p99<200ms", "p50<45ms"), ()):
        assert hear(run(SLOW, **LATE, slo=slo)).fate == "unsound", slo


def test_lateness_is_no_excuse_for_anything_else() -> None:
    late_and_short = run(SLOW, **LATE, slo=("p99<200ms",), scheduled=110)
    assert hear(late_and_short).fate == "unsound", "a tenth was sent and never came back"
    ended = run(SLOW, **LATE, slo=("p99<200ms",))
    ended.ended = "worker died"
    assert hear(ended).fate == "unsound"
    lost = run(SLOW, **LATE, slo=("p99<200ms",))
    lost.workers[0].refused_here = 50
    lost.workers[0].phases["measure"].add("error.local", 50)
    lost.phases["measure"].add("error.local", 50)
    assert hear(lost).fate == "unsound"


def test_a_late_closed_loop_is_told_for_its_rate_and_nothing_else() -> None:
    each = answers(SLOW, lag_ns=20 * MS)
    one = run_of(
        closed_plan(workers=1, duration=Duration.seconds(SECONDS), slo=("p99<200ms",)),
        [interval(0, i, {"measure": each}) for i in range(SECONDS)],
        SECONDS,
        steady_ns=START + SECONDS * 10**9,
    )
    if judge(one).generator == "unsound":
        assert told(Ask({"concurrency": 4}), one, judge(one), 1.0).fate == "unsound"
        assert told(Ask({"concurrency": 4}, "ceiling"), one, judge(one), 1.0).fate == "pass"
    else:
        pytest.fail("the loop was to be late")
