"""What a Run knows of its vectors under load: shares and their intervals, levels in rows, objectives and findings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from clipload.agreement import FACT, Agreement, Apart, Checked, Level, agreement_in, not_right, proportion, rightly
from clipload.errors import EXIT_INCONCLUSIVE, EXIT_MISSED, EXIT_OK
from clipload.estimate import Estimate, share
from clipload.folding import fold
from clipload.plan import Plan
from clipload.run import Run
from clipload.units import Duration
from clipload.verdict import judge
from tests.test_run import FACTS, MS, START, S, answers, closing, interval, opening, run_of, tally

QUICK = [8 * MS] * 90 + [20 * MS] * 10  # p50 to p90 8 ms, p99 20 ms


def agreement(*levels: tuple[int, int, int], name: str = "different", seconds: int = 20, **more: Any) -> Agreement:
    """Of (in flight, sampled, wrong); what was wrong lies evenly in the seconds, as far as it can."""
    made = [Level(n, sampled, wrong, sampled, wrong, {name: wrong} if wrong else {}) for n, sampled, wrong in levels]
    found = Agreement(items=64, bodies=64, limit=1e-3, levels=made, **more)
    found.seconds = [
        (
            found.sampled * (s + 1) // seconds - found.sampled * s // seconds,
            found.wrong * (s + 1) // seconds - found.wrong * s // seconds,
        )
        for s in range(seconds)
    ]
    return found


def run_with(found: Agreement | None, slo: Sequence[str] = (), *, failed: int = 0) -> Run:
    plan = Plan(concurrency=2, duration=Duration.seconds(20), slo=tuple(slo))
    part = answers(QUICK)
    if failed:
        part += tally({"scheduled": failed, "error.http_503": failed}, failed=[2 * MS] * failed)
    facts = FACTS | ({} if found is None else {FACT: msgspec.to_builtins(found)})
    frames = [interval(0, index, {"measure": part}, in_flight=2) for index in range(20)]
    return run_of(plan, frames, 20.0, facts=facts, steady_ns=START + 20 * S)


def judgements(found: Agreement | None, *slo: str, failed: int = 0) -> list[str]:
    return [judged.judgement for judged in judge(run_with(found, slo, failed=failed)).objectives]


# ---- shares


@pytest.mark.parametrize(
    ("events", "trials", "low", "high"),
    [(24, 80, 0.2024, 0.4129), (1, 10, 0.0025, 0.4450), (8, 64, 0.0555, 0.2315)],  # R: binom.test
)
def test_the_interval_of_a_share_is_clopper_and_pearsons(events: int, trials: int, low: float, high: float) -> None:
    found = proportion(events, trials)
    assert (found.value, found.sufficient) == (events / trials, True)
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-3), pytest.approx(high, abs=1e-3))


def test_none_and_all_have_one_side() -> None:
    assert proportion(0, 299) == share([0], [299])
    assert proportion(0, 299).high == pytest.approx(0.01, rel=1e-2)
    assert (proportion(5, 5).high, proportion(5, 5).value) == (1.0, 1.0)


def test_what_comes_in_bursts_is_known_less_well() -> None:
    even = agreement((4, 800, 240))
    burst = agreement((4, 800, 240))
    burst.seconds = [(40, 40 if second < 6 else 0) for second in range(20)]
    assert even.share is not None
    assert burst.share is not None
    assert even.share.value == burst.share.value == 0.3
    assert burst.share.high - burst.share.low > 2 * (even.share.high - even.share.low)


def test_a_second_or_two_show_no_bursts_and_count_as_independent() -> None:
    short = agreement((4, 80, 24), seconds=1)
    assert short.share == proportion(24, 80)
    assert Agreement().share is None


def test_levels_have_rows_of_their_own_and_then_ranges() -> None:
    found = agreement((1, 5, 0), (2, 80, 0), (3, 80, 11), (4, 80, 24), (5, 1, 1), (8, 1, 0), (9, 2, 1), (33, 7, 0))
    rows = [(label, level.sampled, level.wrong) for label, level in found.rows()]
    assert rows == [
        ("1", 5, 0), ("2", 80, 0), ("3", 80, 11), ("4", 80, 24), ("5–8", 2, 1), ("9–16", 2, 1), ("33–64", 7, 0),
    ]  # fmt: skip
    assert sum(level.sampled for _, level in found.rows()) == found.sampled
    assert found.classes == {"different": 37}


def test_it_reads_back_from_a_runs_facts() -> None:
    found = agreement((3, 80, 11), without={"nan": 1}, examples={"different": "so"})
    assert agreement_in({FACT: msgspec.to_builtins(found)}) == found
    assert agreement_in({FACT: msgspec.json.decode(msgspec.json.encode(found))}) == found
    assert agreement_in({}) is None


# ---- objectives


def test_wrong_vectors_count_as_errors() -> None:
    errors, wrong = share([2] * 20, [100] * 20), share([30] * 20, [100] * 20)
    both = not_right(errors, wrong)
    assert both.value == pytest.approx(0.02 + 0.98 * 0.3)
    assert both.low == pytest.approx(errors.low + (1 - errors.low) * wrong.low)
    assert both.high == pytest.approx(errors.high + (1 - errors.high) * wrong.high)


def test_wrong_vectors_are_no_throughput() -> None:
    rate = Estimate("rate", 100.0, 90.0, 110.0, 1.0, 100.0, True)
    right = rightly(rate, Estimate("share", 0.3, 0.2, 0.4, 1.0, 100.0, True))
    assert (right.value, right.low, right.high) == (pytest.approx(70), pytest.approx(54), pytest.approx(88))
    unbounded = Estimate("rate", 100.0, 0.0, math.inf, 1.0, 0.0, False)
    assert rightly(unbounded, share([1], [1])).high == math.inf


@pytest.mark.parametrize(
    ("found", "slo", "judgement"),
    [
        (None, "errors<1%", "met"),
        (agreement((4, 80, 0)), "errors<1%", "met"),  # none was seen: as if nobody had looked
        (agreement((4, 80, 24)), "errors<1%", "missed"),
        (agreement((4, 80, 1)), "errors<1%", "inconclusive"),
        (agreement((4, 8000, 40)), "errors<1%", "met"),
        (agreement((4, 80, 24)), "p99<50ms", "missed"),  # ∞
        (agreement((4, 80, 24)), "p50<50ms", "met"),
        (agreement((4, 8000, 8)), "p99<50ms", "met"),
        (agreement((4, 8000, 80)), "p99<50ms", "inconclusive"),
        (agreement((4, 80, 24)), "p50<9ms", "inconclusive"),  # 24 fast ones may have been the wrong ones
        (agreement((4, 80, 40)), "p90<9ms", "missed"),
        (agreement((4, 80, 24)), "throughput>90/s", "missed"),
        (agreement((4, 80, 24)), "throughput>40/s", "met"),
    ],
)
def test_the_share_of_what_was_wrong_decides(found: Agreement | None, slo: str, judgement: str) -> None:
    assert judgements(found, slo) == [judgement]


def test_errors_and_wrong_vectors_add_up() -> None:
    assert judgements(agreement((4, 8000, 40)), "errors<3%", failed=1) == ["met"]
    assert judgements(agreement((4, 8000, 300)), "errors<3%", failed=1) == ["missed"]


def test_the_sentence_says_of_how_many() -> None:
    verdict = judge(run_with(agreement((4, 80, 24)), ("errors<1%",)))
    assert verdict.exit_code == EXIT_MISSED
    assert verdict.objectives[0].sentence.startswith("errors<1% is missed: 30 % (")
    assert verdict.objectives[0].sentence.endswith(", 24 of 80 sampled replies being wrong")


def test_the_ledger_is_not_touched() -> None:
    with_, without = run_with(agreement((4, 80, 24))), run_with(None)
    assert with_.measure == without.measure
    assert with_.figures.errors == without.figures.errors
    with_.check_ledger()


# ---- findings


def findings(found: Agreement | None) -> list[tuple[str, str]]:
    verdict = judge(run_with(found))
    assert verdict.exit_code in (EXIT_OK, EXIT_INCONCLUSIVE)
    return [(finding.sentence, finding.remedy) for finding in verdict.findings if finding.about == "target"]


def test_nothing_is_said_when_all_is_right_or_nobody_looked() -> None:
    assert findings(agreement((4, 80, 0))) == findings(None) == findings(Agreement(skipped="--no-integrity")) == []


def test_what_was_wrong_and_from_which_load_on() -> None:
    [(sentence, remedy)] = findings(agreement((1, 5, 0), (2, 80, 0), (3, 80, 11), (4, 80, 24)))
    assert sentence.startswith("35 of 245 sampled replies had wrong vectors (14.3 %, ")
    assert sentence.endswith(": 35 × different; from 3 in flight on, none of 85 below")
    assert "--prefill-max-requests 1" in remedy


@pytest.mark.parametrize(("level", "name"), [(1, "different"), (4, "nan")])
def test_what_is_wrong_alone_too_is_not_for_want_of_room(level: int, name: str) -> None:
    [(sentence, remedy)] = findings(agreement((level, 80, 80), name=name))
    assert f"80 × {name}; from {level} in flight on" in sentence
    assert remedy == "no figure of it means anything: see its log"


@pytest.mark.parametrize(
    ("items", "alike", "said"), [(64, 4, False), (64, 5, True), (2, 2, True), (2, 0, False), (0, 0, False)]
)
def test_items_that_are_one_to_the_server(items: int, alike: int, said: bool) -> None:
    found = agreement((4, 80, 0), alike=alike)
    found.items = items
    assert bool(findings(found)) == said


def test_what_failed_alone_and_a_checker_that_died() -> None:
    found = agreement((4, 80, 0), without={"nan": 6, "HTTP 503": 1}, error="the checker died")
    assert [sentence for sentence, _ in findings(found)] == [
        "vectors were not compared to the end: the checker died",
        "6 of 64 Items had no vector even alone: nan",
    ]


def test_targets_that_disagree_and_one_that_is_another_than_before() -> None:
    alike, other = Apart("http://b:2", 40, 0, 1e-7), Apart("http://c:3", 40, 39, 0.6543)
    (apart, remedy), (changed, radix) = findings(agreement((4, 80, 0), targets=3, apart=[alike, other], changed=["http://c:3"]))
    assert apart == (
        "targets disagree: http://c:3 gave other vectors than http://127.0.0.1:30000 for 39 of 40 Items, asked for alone "
        "(1 − cosine up to 0.65); each was held against its own"
    )
    assert remedy.startswith("serve one model")
    assert changed.startswith("http://c:3: an Item asked for alone again had another vector than before an earlier load")
    assert "--disable-radix-cache" in radix


# ---- added up


PARTS = [
    Checked(levels={2: Level(2, 3, 1, 3, 1, {"swapped": 1})}, seconds={7: (3, 1)}, compared=3, distance=0.5, heard=1,
            examples={"swapped": "first"}),
    Checked(levels={2: Level(2, 1, 1, 1, 1, {"nan": 1}), 1: Level(1, 2, 0, 2, 0)}, seconds={8: (2, 0), 7: (1, 1)}, compared=2,
            difference=0.25, dropped=4, spared=5, spent_ns=6, heard=1, examples={"swapped": "second", "nan": "n"}),
]  # fmt: skip


def test_what_was_found_second_by_second_adds_up() -> None:
    whole = Checked()
    for part in PARTS:
        whole.add(msgspec.convert(msgspec.to_builtins(part), Checked))
    found = whole.agreement(Agreement(items=9, took_ns=8), 3, "cut")
    assert found.levels == [Level(1, 2, 0, 2, 0), Level(2, 4, 2, 4, 2, {"swapped": 1, "nan": 1})]
    assert found.seconds == [(4, 2), (2, 0)]
    assert (found.items, found.took_ns, found.compared, found.distance, found.difference) == (9, 8, 5, 0.5, 0.25)
    assert (found.dropped, found.spared, found.spent_ns, found.unheard, found.error) == (4, 5, 6, 1, "cut")
    assert found.examples == {"swapped": "first", "nan": "n"}
    assert PARTS[0].levels[2].sampled == 3, "what is added stays as it is"


@pytest.mark.parametrize("closed", [False, True])
def test_a_run_that_was_cut_off_knows_what_was_compared_by_then(closed: bool) -> None:
    plan, before = Plan(concurrency=2, duration=Duration.seconds(20)), Agreement(items=9, limit=1e-3)
    facts = FACTS | {FACT: msgspec.to_builtins(before)}
    frames = [opening(plan, facts=facts), interval(0, 0, {"measure": answers(QUICK)}), *PARTS]
    whole = {FACT: msgspec.to_builtins(agreement((4, 80, 24)))}
    found = agreement_in(fold([*frames, *([closing({}, 1.0, facts=whole)] if closed else [])]).facts)
    assert found is not None
    assert (found.sampled, found.wrong) == ((80, 24) if closed else (6, 2))
    assert ("cut off" in found.error) is not closed
    assert (found.items, found.unheard) == ((64, 0) if closed else (9, plan.workers - 2))


def test_a_run_that_was_cut_off_and_compared_nothing_says_why() -> None:
    plan, why = Plan(concurrency=2, duration=Duration.seconds(20)), Agreement(skipped="--no-integrity")
    run = fold([opening(plan, facts=FACTS | {FACT: msgspec.to_builtins(why)}), interval(0, 0, {"measure": answers(QUICK)})])
    assert agreement_in(run.facts) == why
