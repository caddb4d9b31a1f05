"""Objectives on Runs made by hand: what is met, missed or undecided, what it would take, and what is not stated at all."""

from __future__ import annotations

import math
from typing import Any

import pytest

from clipload.errors import EXIT_INCONCLUSIVE, EXIT_INTERRUPTED, EXIT_MISSED, EXIT_OK, EXIT_TARGET, EXIT_UNSOUND
from clipload.estimate import Estimate
from clipload.objectives import factor
from clipload.run import KILLED, PRECISE, Run
from clipload.units import Duration
from clipload.verdict import Verdict, judge, verdict_document
from tests.queues import mm1
from tests.simulated import plan_of, run_of_path
from tests.test_figures import growing
from tests.test_run import MS, START, S, answers, closed_plan, interval, run_of, tally

QUICK = [8 * MS] * 90 + [20 * MS] * 10  # p50 to p90 8 ms, p99 20 ms


def run_with(slo: str, seconds: int = 20, *, failed: int = 0, lag_ns: int = 20_000, **fields: Any) -> Run:
    """100 answers in each second, and `failed` requests beside them, at 100/s."""
    part = answers(QUICK, lag_ns=lag_ns) + tally({"scheduled": failed, "error.http_503": failed}, failed=[MS] * failed)
    frames = [interval(0, i, {"measure": part}) for i in range(seconds)]
    plan = plan_of(100, seconds, **({"slo": slo} | fields.pop("changes", {})))
    return run_of(plan, frames, seconds, **fields)


def said(verdict: Verdict) -> list[str]:
    return [judged.sentence for judged in verdict.objectives]


@pytest.mark.parametrize(
    ("slo", "objective", "code", "sentence"),
    [
        ("p99<25ms", "met", EXIT_OK, "p99<25ms is met: 20.0 ms (20.0 ms)"),
        ("p99<19ms", "missed", EXIT_MISSED, "p99<19ms is missed: 20.0 ms (20.0 ms)"),
        ("p50<10ms", "met", EXIT_OK, "p50<10ms is met: 8.00 ms (8.00 ms)"),
        ("service.p99<25ms", "met", EXIT_OK, "service.p99<25ms is met: 20.0 ms (20.0 ms)"),
        ("service.p50<1ms", "missed", EXIT_MISSED, "service.p50<1ms is missed: 7.98 ms (7.98 ms)"),
        ("errors<0.2%", "met", EXIT_OK, "errors<0.2% is met: 0 % (0–0.15 %)"),
        ("throughput>90/s", "met", EXIT_OK, "throughput>90/s is met: 100/s (99.95–100/s)"),
        ("throughput>101/s", "missed", EXIT_MISSED, "throughput>101/s is missed: 100/s (99.95–100/s)"),
    ],
)
def test_an_interval_on_one_side_decides(slo: str, objective: str, code: int, sentence: str) -> None:
    verdict = judge(run_with(slo))
    assert (verdict.objective, verdict.exit_code, said(verdict)) == (objective, code, [sentence])


@pytest.mark.parametrize(
    ("slo", "sentence"),
    [
        ("errors<0.1%", "0 % (0–0.15 %); about 1000 more requests (10 s)"),
        (
            "p99.9<25ms",
            "20.0 ms (≥ 20.0 ms), from 2.0 of the 10 independent requests that it takes; about 8000 more requests (80 s)",
        ),
        ("throughput>100/s", "100/s (99.95–100/s); nobody can say how much more is needed"),
    ],
)
def test_what_is_not_known_says_what_it_would_take(slo: str, sentence: str) -> None:
    verdict = judge(run_with(slo))
    assert (verdict.objective, verdict.exit_code) == ("inconclusive", EXIT_INCONCLUSIVE)
    assert said(verdict)[0].removesuffix(" are needed") == f"{slo} is undecided: {sentence}"


def test_a_single_second_says_the_least_that_it_would_take() -> None:
    """Ten independent requests beyond p99.9 are ten thousand: 9 900 more. Of dependence one second shows nothing."""
    assert said(judge(run_with("p99.9<25ms", 1))) == [
        "p99.9<25ms is undecided: 20.0 ms (unknown), from too short a time; at least 9900 more requests (99 s) are needed"
    ]


def test_an_objective_far_above_the_slowest_is_met_by_few_requests() -> None:
    """700 requests hold seven beyond p99, three too few for its interval: but none of them came near 40 ms."""
    assert said(judge(run_with("p99<40ms", 7))) == [
        "p99<40ms is met: 20.0 ms (≥ 20.0 ms), and none of 700 requests took longer than 20.0 ms"
    ]
    assert judge(run_with("p99<29ms", 7)).objective == "inconclusive"
    assert judge(run_with("p99<40ms", 7, failed=1)).objective != "met"


def test_a_percentile_that_is_refused_may_still_be_missed() -> None:
    """Short runs miss the tail and do not invent one: what lies above the limit already is believed."""
    judged = judge(run_with("p99.9<5ms"))
    assert (judged.objective, judged.exit_code) == ("missed", EXIT_MISSED)
    assert judged.objectives[0].estimate is not None
    assert not judged.objectives[0].estimate.sufficient


def test_a_request_that_is_not_ok_is_infinitely_slow() -> None:
    """Fast refusals improve no percentile: 2 % of them, and p99 is ∞ where that of the ok requests is 20 ms."""
    for failed, objective in ((0, "met"), (2, "missed")):
        run = run_with("p99<25ms", failed=failed)
        assert judge(run).objective == objective
        assert run.figures.quantiles["latency"]["p99"].value < 25 * MS
    assert said(judge(run_with("p99<25ms", failed=2))) == ["p99<25ms is missed: ∞ (∞)"]
    assert judge(run_with("p90<25ms", failed=2)).objective == "met"
    assert judge(run_with("errors<1%", failed=2)).objective == "missed"
    assert judge(run_with("errors<3%", failed=2)).objective == "met"


def test_all_must_be_met_and_one_that_is_missed_decides() -> None:
    for slo, objective, code in (
        ("p99<25ms,errors<1%", "met", EXIT_OK),
        ("p99<25ms,p99.9<25ms", "inconclusive", EXIT_INCONCLUSIVE),
        ("p99.9<25ms,p50<1ms,errors<1%", "missed", EXIT_MISSED),
    ):
        verdict = judge(run_with(slo))
        assert (verdict.objective, verdict.exit_code) == (objective, code)
        assert [judged.objective for judged in verdict.objectives] == slo.split(",")


def test_without_an_objective_nothing_is_judged() -> None:
    verdict = judge(run_with("p99<25ms", changes={"slo": ()}))
    assert (verdict.objective, verdict.objectives, verdict.exit_code) == ("none", (), EXIT_OK)


@pytest.mark.parametrize("slo", ["p99<25ms", "p99<1ms", "p99.9<25ms"])
def test_an_unsound_generator_states_nothing(slo: str) -> None:
    verdict = judge(run_with(slo, lag_ns=9 * MS))
    assert (verdict.generator, verdict.objective, verdict.exit_code) == ("unsound", "none", EXIT_UNSOUND)
    degraded = judge(run_with("p99<25ms", lag_ns=1_500_000))
    assert (degraded.generator, degraded.objective, degraded.exit_code) == ("degraded", "met", EXIT_OK)


def test_of_a_target_that_died_nothing_is_stated_but_that() -> None:
    for lag_ns in (20_000, 9 * MS):
        verdict = judge(run_with("p99<25ms", ended="target died", lag_ns=lag_ns))
        assert (verdict.objective, verdict.exit_code) == ("none", EXIT_TARGET)


def test_an_interrupted_run_says_what_it_knows_and_exits_as_interrupted() -> None:
    verdict = judge(run_with("p99<1ms", ended="interrupted"))
    assert (verdict.objective, verdict.exit_code) == ("missed", EXIT_INTERRUPTED)
    for ended in ("aborted", KILLED):
        verdict = judge(run_with("p99<25ms", ended=ended))
        assert (verdict.objective, verdict.exit_code) == ("none", EXIT_INTERRUPTED)


def test_a_run_that_measured_nothing_decides_nothing() -> None:
    run = run_of(plan_of(100, 2, slo="p99<1s,errors<1%,throughput>5/s"), [], 0)
    verdict = judge(run)
    assert (verdict.objective, verdict.exit_code) == ("inconclusive", EXIT_INCONCLUSIVE)
    assert [sentence.partition(": ")[2] for sentence in said(verdict)[:2]] == ["nothing was measured"] * 2


def test_while_the_queue_grows_no_time_is_met() -> None:
    """100/s to a server that does 90/s: after ten seconds p50 is half a second, and would not stay so."""
    plan = plan_of(100, 10, slo="p50<2s,p50<100ms,throughput>50/s")
    verdict = judge(run_of_path(growing(100, 10), plan))
    assert [judged.judgement for judged in verdict.objectives] == ["inconclusive", "missed", "met"]
    assert "the queue grew throughout" in said(verdict)[0]
    assert any(f.sentence.startswith("the queue grew throughout: by ") for f in verdict.findings)
    assert verdict.exit_code == EXIT_MISSED


@pytest.mark.parametrize(("cpu_ms", "judgement"), [(500, "missed"), (960, "inconclusive")])
def test_a_client_that_was_the_limit_misses_nothing(cpu_ms: int, judgement: str) -> None:
    frames = [interval(0, i, {"measure": answers(QUICK)}, cpu_ns=cpu_ms * MS, steady_ok=[100 * (i + 1)]) for i in range(20)]
    plan = closed_plan(duration=Duration.seconds(20), slo="throughput>200/s,p99<10ms,p99<25ms")
    verdict = judge(run_of(plan, frames, 20, steady_ns=START + 20 * S))
    assert [judged.judgement for judged in verdict.objectives] == [judgement, judgement, "met"]


def estimate(low: float, value: float, high: float, *, sufficient: bool = True, effective: float = 50.0) -> Estimate:
    return Estimate("latency", value, low, high, 1.0, effective, sufficient)


@pytest.mark.parametrize(
    ("found", "times"),
    [
        (estimate(80, 90, 110), 4),  # 20 above, 10 away: half as wide
        (estimate(80, 130, 150), (50 / 30) ** 2),
        (estimate(0, 0, 300), 3),  # an event never seen
        (estimate(95, 96, 97, sufficient=False, effective=2.5), 4),
        (estimate(80, 100, 110), math.inf),
        (estimate(80, 90, math.inf), math.inf),
        (estimate(80, 90, math.inf, sufficient=False, effective=0.0), math.inf),
    ],
)
def test_how_much_more_it_would_take(found: Estimate, times: float) -> None:
    assert factor(found, 100) == pytest.approx(times)


# ---- the precision of --until


@pytest.mark.parametrize(
    ("until", "ended", "code", "sentence"),
    [
        ("p99±10%", "complete", EXIT_OK, "p99±10% was reached after 20.0 s: p99 is 20.0 ms, ±0.0 %"),
        ("p99±10%", PRECISE, EXIT_OK, "p99±10% was reached after 20.0 s: p99 is 20.0 ms, ±0.0 %"),
        ("p99.9±10%", "complete", EXIT_INCONCLUSIVE, "p99.9 is 20.0 ms, ≥ 20.0 ms; about 8000 more requests (80 s)"),
        ("p99±10%", "overload", EXIT_OK, None),
    ],
)
def test_how_well_it_is_known_in_the_end(until: str, ended: str, code: int, sentence: str | None) -> None:
    verdict = judge(run_with("", ended=ended, changes={"slo": (), "until": until}))
    found = [finding.sentence for finding in verdict.findings if "reached" in finding.sentence]
    assert (len(found), verdict.exit_code) == (sentence is not None, code)
    assert sentence is None or sentence in found[0]


def test_a_wide_interval_says_how_wide_and_how_much_longer() -> None:
    run = run_of_path(mm1(4, 3000, 0.7, 0.005), plan_of(140, 20, until="p50±1%"))
    (finding,) = [finding for finding in judge(run).findings if "reached" in finding.sentence]
    half = run.figures.with_failures["latency"]["p50"].half_width
    assert f", ±{100 * half:.1f} %; about " in finding.sentence
    assert finding.remedy == "a longer --duration"


def test_a_growing_queue_is_named_as_the_reason() -> None:
    verdict = judge(run_of_path(growing(100, 20), plan_of(100, 20, until="throughput±5%")))
    (finding,) = [finding for finding in verdict.findings if "reached" in finding.sentence]
    assert finding.sentence.startswith("throughput±5% was not reached in 20.0 s: throughput is 8")
    assert finding.sentence.endswith("but the queue grew throughout")
    assert verdict.exit_code == EXIT_INCONCLUSIVE


def test_an_objective_that_is_decided_needs_no_more_precision() -> None:
    for slo, code in (("p99<25ms", EXIT_OK), ("p99<1ms", EXIT_MISSED), ("p99.9<25ms", EXIT_INCONCLUSIVE)):
        assert judge(run_with(slo, changes={"until": "p99.9±1%"})).exit_code == code


# ---- findings of steadiness, and the document


def test_figures_that_contradict_each_other_are_the_generators_fault() -> None:
    for in_flight, count in ((50, 0), (45, 0), (20, 1)):
        frames = [interval(0, i, {"measure": answers([500 * MS] * 100)}, in_flight=in_flight) for i in range(20)]
        found = [f for f in judge(run_of(plan_of(100, 20), frames, 20)).findings if "contradict each other" in f.sentence]
        assert len(found) == count
        assert all((finding.about, finding.weight) == ("generator", "note") for finding in found)


def test_a_warm_up_that_was_too_short_is_named_with_a_longer_one() -> None:
    frames = [interval(0, i, {"measure": answers([(30 if i < 4 else 10) * MS + i % 3] * 100)}) for i in range(30)]
    (finding,) = judge(run_of(plan_of(100, 30), frames, 30)).findings
    assert finding.sentence == "latency was still falling: in the first 4 s it was 200 % above that of the rest"
    assert finding.remedy == "a longer --warmup, 4s or more"


def test_the_document_has_no_infinity() -> None:
    document = verdict_document(judge(run_with("p99<25ms,p50<25ms", failed=2)))
    assert (document["objective"], document["exit_code"]) == ("missed", EXIT_MISSED)
    first, second = document["objectives"]
    assert (first["objective"], first["judgement"], first["estimate"]["value"]) == ("p99<25ms", "missed", None)
    assert second["estimate"]["low"] <= second["estimate"]["value"] <= second["estimate"]["high"] <= 25 * MS
    assert verdict_document(judge(run_of(plan_of(5, 2, slo="p99<1s"), [], 0)))["objectives"][0]["estimate"] is None
