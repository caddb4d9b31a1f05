"""The rules of the generator's health: on signals recorded of real runs, and at each of their thresholds."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clipload.frames import Reading
from clipload.health import RULES, Rule, findings_of, judge_generator
from clipload.histogram import Histogram
from clipload.outcomes import LOCAL, fate
from clipload.run import Run
from clipload.signals import SIGNALS, health_of
from clipload.signals.signal import Signal
from clipload.units import Duration
from clipload.verdict import Verdict, judge
from tests.laws.test_lateness_laws import histogram
from tests.test_run import FACTS, MS, START, S, answers, closed_plan, interval, open_plan, run_of, tally

GOLDEN = Path(__file__).parent / "golden"
RECORDED = {
    path.stem.removeprefix("health_"): msgspec.json.decode(path.read_bytes(), type=dict[str, Signal])
    for path in sorted(GOLDEN.glob("health_*.json"))
}
FATAL = {  # what each recorded run was found guilty of
    "busy_closed": {"reading"},
    "stopped_closed": {"paused"},
    "stopped_open": {"lag"},
    "no_ports": {"own_limit"},
    "no_descriptors": {"own_limit"},
}


def weights(health: dict[str, Signal]) -> dict[str, str]:
    return {finding.rule: finding.weight for finding in findings_of(health)}


@pytest.mark.parametrize("name", FATAL)
def test_a_recorded_run_is_judged_by_what_happened_to_it(name: str) -> None:
    found = weights(RECORDED[name])
    fatal = {rule for rule, weight in found.items() if weight == "fatal"}
    assert FATAL[name] <= fatal
    assert found["loop_lag"] == "note" or not name.startswith(("busy", "stopped"))


@pytest.mark.parametrize("name", ["quiet_closed", "quiet_open"])
def test_a_recorded_quiet_run_can_be_believed(name: str) -> None:
    assert set(weights(RECORDED[name]).values()) <= {"degrading", "note"}


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_words_fill_the_sentences(name: str) -> None:
    for finding in findings_of(RECORDED[name]):
        assert finding.remedy
        assert not re.search(r"[{}]", finding.sentence)


# ---- the table


def test_every_signal_has_a_rule_and_every_rule_a_signal() -> None:
    assert {rule.signal for rule in RULES} == SIGNALS
    assert len({rule.signal for rule in RULES}) == len(RULES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.signal)
def test_a_rule_weighs_by_its_thresholds(rule: Rule) -> None:
    order = [("note", rule.note), ("degrading", rule.degrading), ("fatal", rule.fatal)]
    limits = [limit for _, limit in order if limit < math.inf]
    assert limits == sorted(limits), "a graver finding needs more"
    assert limits, "a rule that never speaks"
    for name, limit in order:
        if -math.inf < limit < math.inf:
            assert rule.weight(math.nextafter(limit, math.inf)) == name
            assert rule.weight(limit) != name


def test_signals_that_are_not_there_are_not_judged() -> None:
    assert findings_of({}) == []
    quiet = run_of(open_plan(), [interval(0, 1, {"measure": answers([10 * MS] * 100)})], 3)
    assert judge_generator(quiet) == []


# ---- each signal, of Runs made by hand


def late(withheld_ms: list[float], instants: int = 100) -> dict[str, Any]:
    """Fields of an Interval: so many instants, of which some were withheld for so long."""
    values = [round(ms * MS) for ms in withheld_ms] + [0] * (instants - len(withheld_ms))
    return {"late": histogram(values).to_sparse(), "withheld": histogram(values).to_sparse()}


def closed(latencies_ms: list[float], **fields: Any) -> Run:
    measured = answers([round(ms * MS) for ms in latencies_ms], lag_ns=0)
    return run_of(closed_plan(), [interval(0, 0, {"measure": measured}, **fields), interval(0, 1)], 2)


def found(run: Run, name: str) -> Signal:
    return health_of(run)[name]


def test_a_closed_loop_whose_worker_could_not_run_is_unsound() -> None:
    """10 ms each, but 3 ms more for every reply that came while another had the core: in half of the instants."""
    run = closed([10, 13] * 50, **late([3] * 50))
    reading = found(run, "reading")
    assert reading.value == pytest.approx(0.3, abs=0.01)
    assert (reading.words["with"], reading.words["without"]) == ("13.0 ms", "10.0 ms")
    verdict = judge(run)
    assert (verdict.generator, verdict.exit_code) == ("unsound", 5)
    assert any("a worker could not run in 50.0 % of the instants" in f.sentence for f in verdict.findings)


@pytest.mark.parametrize(
    ("latencies_ms", "withheld_ms", "generator"),
    [
        ([10] * 100, [], "sound"),
        ([10] * 99 + [40], [3], "sound"),  # one instant in a hundred, and p99 is not made of it
        ([100] * 50 + [103] * 50, [3] * 50, "sound"),  # 3 % of it
        ([30] * 50 + [33] * 50, [3] * 50, "degraded"),  # 10 %
        ([10] * 50 + [13] * 50, [3] * 50, "unsound"),
        ([13] * 100, [0.9] * 50, "sound"),  # would have been below what counts: the witness leaves it out
    ],
)
def test_the_lateness_of_the_loop_is_judged_by_what_it_does_to_p99(
    latencies_ms: list[float], withheld_ms: list[float], generator: str
) -> None:
    assert judge(closed(latencies_ms, **late([ms for ms in withheld_ms if ms >= 1]))).generator == generator


def test_a_stop_is_a_suspect_though_another_would_add_nothing() -> None:
    """What was in flight is the slowest hundredth by itself, a second each; another dose of a second would be no longer."""
    latencies: list[float] = [6] * 150 + [120] * 47 + [1000] * 3
    stopped = found(closed(latencies, **late([970 - 39 * i for i in range(25)])), "reading")
    assert stopped.value > 1
    assert found(closed(latencies, **late([19] * 25)), "reading").value == 0, "of which a second cannot be made"


def test_an_open_loop_is_late_both_ways() -> None:
    """15 % on the way out and 15 % on the way in are more than 20 % together."""
    lag, read = 1.5, 1.5
    measured = answers([round((10 + lag + read) * MS)] * 100, lag_ns=round(lag * MS))
    for fields, generator in (({}, "degraded"), (late([read] * 100), "unsound")):
        run = run_of(open_plan(warmup=Duration(0)), [interval(0, 0, {"measure": measured}, **fields)], 2)
        assert judge(run).generator == generator


def test_lateness_outside_the_measured_phase_is_not_judged() -> None:
    plan = open_plan(workers=1)
    frames = [interval(0, second, {"measure": answers([MS] * 50)}, **late([500] * 50)) for second in (0, 3)]
    assert "reading" not in health_of(run_of(plan, frames, 3))
    assert "reading" in health_of(run_of(plan, [interval(0, 1, {"measure": answers([MS] * 50)}, **late([500] * 50))], 3))


def test_a_pause_of_a_closed_loop_shows_in_its_rate() -> None:
    """Half of the time away and one reply that met it: p99 is what it was, and the rate is half."""
    run = closed([10] * 200 + [1000], **late([500] * 50))
    assert found(run, "reading").value < 0.05
    assert found(run, "paused").value == pytest.approx(1.0)
    assert judge(run).generator == "unsound"
    run = closed([100] * 20, **late([2] * 50))
    assert found(run, "paused").value == pytest.approx(0.0101, abs=0.001), "no more than if every reply had met it: 1 ms of 100"
    assert "paused" not in health_of(run_of(open_plan(warmup=Duration(0)), [interval(0, 0, **late([500] * 50))], 2))


def test_the_judged_quantiles_are_those_of_the_answer() -> None:
    """A lag of the slowest few moves p99, and not p50; a Run is judged by what it states."""
    measured = answers([10 * MS] * 95, lag_ns=0) + answers([50 * MS] * 5, lag_ns=40 * MS)
    run = run_of(open_plan(), [interval(0, 1, {"measure": measured})], 3)
    assert [f.weight for f in judge_generator(run)] == ["fatal"]
    assert judge_generator(run, [0.5]) == []
    assert judge_generator(run, [0.5, 0.99])[0].sentence.startswith("the generator itself was late: p99 is")


def test_what_had_not_gone_out_in_time_is_not_the_load_that_was_asked_for() -> None:
    for behind, weight in ((0, None), (3, "degrading"), (20, "fatal")):
        frames = [
            interval(0, 1, {"measure": answers([MS] * (200 - behind), lag_ns=0)}),
            interval(0, 3, {"measure": answers([MS] * behind, lag_ns=0)}),
        ]
        run = run_of(open_plan(workers=1), frames, 3)
        assert weights(health_of(run)).get("behind") == weight, behind


def readings(**changes: tuple[Any, Any]) -> list[Reading]:
    """Three of the measured phase; a field has its first value before the last, and its second in it."""
    return [
        Reading(at_ns=START + second * S, **{name: pair[second == 3] for name, pair in changes.items()}) for second in (1, 2, 3)
    ]


def watched(plan_facts: dict[str, Any] | None = None, **changes: tuple[Any, Any]) -> Run:
    run = run_of(open_plan(), [interval(0, 1, {"measure": answers([MS] * 9)})], 3, facts=FACTS | (plan_facts or {}))
    run.readings = [
        Reading(at_ns=START - S // 2, tcp=(0, 0, 0)),
        *readings(**changes),
        Reading(at_ns=START + 9 * S, throttled=(99, 99)),
    ]
    return run


@pytest.mark.parametrize(
    ("facts", "changes", "rule", "weight", "words"),
    [
        ({}, {"cores": ({0: (0, 0, 0)}, {0: (2000, 50, 0)})}, "stolen", "degrading", "took 1.5 % of core 0"),
        ({}, {"cores": ({0: (0, 0, 0)}, {0: (2000, 30, 0)})}, "stolen", None, ""),  # two ticks of the kernel's clock are none
        ({}, {"cores": ({0: (0, 0, 0)}, {0: (2000, 0, 620)})}, "interrupted", "note", "core 0 spent 30.0 %"),
        ({}, {"throttled": ((4, 0), (6, 300 * MS))}, "throttled", "degrading", "back 2 times, for 300 ms"),
        ({}, {"throttled": ((4, 0), (4, 0))}, "throttled", None, ""),
        ({}, {"tcp": ((100, 5, 1), (10_100, 205, 3))}, "sent_again", "degrading", "200 TCP segments again (2.00 %), 2 of them"),
        ({}, {"tcp": ((100, 5, 1), (10_100, 25, 1))}, "sent_again", "note", "(0.20 %)"),
        ({}, {"tcp": ((100, 5, 1), (110, 14, 1))}, "sent_again", None, ""),  # a handful
        ({"ports": 100}, {"sockets": ((10, 60), (9, 0))}, "ports", "note", "70 TCP sockets were in use"),
        ({"ports": 100}, {"sockets": ((10, 20), (9, 0))}, "ports", None, ""),
        ({"descriptors": 100}, {"descriptors": ({0: 20, 1: 95}, {0: 20})}, "descriptors", "note", "95 of 100"),
        ({"links": {"eth0": 10**9}}, {"traffic": ({"eth0": (0, 0)}, {"eth0": (0, 2 * 10**8)})}, "link", "degrading", "80 % fu"),
        ({"links": {"eth0": 10**9}}, {"traffic": ({"eth0": (0, 0)}, {"eth0": (10**8, 9)})}, "link", None, ""),
        ({"links": {"eth0": 0}}, {"traffic": ({"eth0": (0, 0)}, {"eth0": (10**12, 9)})}, "link", None, ""),  # nobody knows
    ],
)  # fmt: skip
def test_what_the_host_tells(
    facts: dict[str, Any], changes: dict[str, tuple[Any, Any]], rule: str, weight: str | None, words: str
) -> None:
    run = watched({"limits": facts}, **changes)
    said = {finding.rule: finding for finding in judge_generator(run)}
    assert set(said) <= {rule}, "and nothing else"
    if weight is None:
        assert said == {}
    else:
        assert (said[rule].weight, words in said[rule].sentence) == (weight, True), said[rule].sentence


def test_a_host_that_was_not_read_twice_is_not_judged() -> None:
    run = watched(throttled=((0, 0), (9, 9)))
    run.readings = run.readings[:2]
    assert {"stolen", "throttled", "sent_again", "link"}.isdisjoint(health_of(run))


def test_a_garbage_collection_is_named() -> None:
    for gc_ms, said in ((4, []), (6, ["a garbage collection stopped a worker for 6.00 ms"])):
        run = run_of(open_plan(), [interval(0, 1, {"measure": answers([MS])}, gc_ns=gc_ms * MS), interval(1, 2)], 3)
        assert [f.sentence for f in judge_generator(run)] == said
    before = run_of(open_plan(), [interval(0, 0, gc_ns=60 * MS), interval(0, 1, {"measure": answers([MS])})], 3)
    assert judge_generator(before) == [], "in the warm-up it stops nobody"


@pytest.mark.parametrize(
    ("number", "words"),
    [(99, "no local port was free"), (24, "ulimit -n: no descriptor was free"), (12, "Cannot allocate memory")],
)
def test_what_was_lacking_has_a_name(number: int, words: str) -> None:
    nothing = tally({"scheduled": 7, fate(LOCAL): 7}, failed=[MS] * 7)
    run = run_of(open_plan(), [interval(0, 1, {"measure": nothing}, lacking={number: 7}, refused_here=7)], 3)
    (said, *_) = [f for f in judge_generator(run) if f.rule == "without_room"]
    assert said.sentence == f"7 requests found no port or descriptor here ({words})"
    assert said.weight == "fatal"


def test_a_loop_that_is_late_without_harm_is_named_and_no_more() -> None:
    run = closed([1000] * 100, **late([8] * 50))
    assert [(f.rule, f.weight) for f in judge_generator(run)] == [("loop_lag", "note")]
    assert judge(run) == Verdict(tuple(judge_generator(run)), 0)


def test_signals_can_be_written_down_and_read_again() -> None:
    run = closed([10, 13] * 50, **late([3] * 50))
    health = health_of(run)
    again = msgspec.json.decode(msgspec.json.encode(health), type=dict[str, Signal])
    assert findings_of(again) == findings_of(health) != []


def test_judging_by_a_witness_needs_one() -> None:
    """An older journal has none."""
    run = closed([10] * 100)
    assert run.withheld == Histogram()
    assert {"reading", "paused", "loop_lag"}.isdisjoint(health_of(run))
