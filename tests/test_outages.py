"""Outages: what a worker notes of refusals, what several notes make together, and the sentences."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipload.archive import document
from clipload.errors import EXIT_OK, EXIT_TARGET
from clipload.outages import FEWEST, Absences, Noted, Outage, deaths, outages, returns, together
from clipload.outcomes import CODE, COLUMNS, CONNECT, DONE, OK, RESET, TARGET, Rows
from clipload.run import Run
from clipload.units import Duration
from clipload.verdict import judge
from tests.test_run import MS, START, S, answers, closed_plan, interval, open_plan, run_of, tally

Event = tuple[int, int]  # code, target
RUNS = st.tuples(st.sampled_from([OK, CONNECT, OK, CONNECT, RESET, 503]), st.integers(0, 1), st.integers(1, 5))
EVENTS = st.lists(RUNS, max_size=15).map(lambda runs: [(code, target) for code, target, n in runs for _ in range(n)])


def rows_of(events: list[Event], begin: int = 0) -> Rows:
    """A row each, done 10 ns apart from `begin` on."""
    rows = np.zeros((len(events), len(COLUMNS)), np.int64)
    for i, (code, target) in enumerate(events):
        rows[i, [DONE, CODE, TARGET]] = (begin + i) * 10 + 10, code, target
    return rows


def noted(events: list[Event], cuts: list[int], targets: int = 2) -> tuple[list[Noted], list[Noted]]:
    """What ended and what is open, folded in pieces."""
    absences = Absences(targets)
    absences.start(1)
    ended: list[Noted] = []
    edges = sorted({0, len(events), *(cut for cut in cuts if cut < len(events))})
    for begin, end in pairwise(edges):
        absences.fold(rows_of(events[begin:end], begin))
        ended += absences.took()
    return sorted(ended), sorted(absences.open())


def one_by_one(events: list[Event]) -> tuple[list[Noted], list[Noted]]:
    """The definition: between two ok replies of a target, when at least FEWEST connections were refused."""
    ended, still = [], []
    for target in (0, 1):
        last, refused = 1, 0
        for i, (code, whose) in enumerate(events):
            if whose != target:
                continue
            refused += code == CONNECT
            if code == OK:
                if refused >= FEWEST:
                    ended.append((target, last, 10 * i + 10, refused))
                last, refused = 10 * i + 10, 0
        if refused >= FEWEST:
            still.append((target, last, 0, refused))
    return sorted(ended), sorted(still)


@given(EVENTS, st.lists(st.integers(0, 60), max_size=5))
def test_notes_do_not_depend_on_where_the_rows_are_cut(events: list[Event], cuts: list[int]) -> None:
    assert noted(events, cuts) == one_by_one(events)


def test_an_outage_lies_between_two_ok_replies() -> None:
    events = [(OK, 0), (RESET, 0), *[(CONNECT, 0)] * 4, (503, 0), (OK, 0)]
    assert noted(events, []) == ([(0, 10, 80, 4)], [])
    assert noted([(OK, 0), (CONNECT, 0), (CONNECT, 0), (OK, 0)], []) == ([], []), "a refusal or two are none"
    assert noted([(CONNECT, 0)] * 3, []) == ([], [(0, 1, 0, 3)]), "out from the start"


def test_what_several_workers_noted_is_one_outage() -> None:
    """One that is over for one of them is over."""
    assert together([(0, 100, 200, 5), (0, 110, 190, 7)], 999) == [Outage(0, 110, 190, 12)]
    assert together([(0, 100, 200, 5), (0, 110, 0, 7)], 999) == [Outage(0, 110, 200, 12)]
    assert together([(1, 100, 0, 5), (1, 110, 0, 7)], 999) == [Outage(1, 110, None, 12)]


def test_two_outages_stay_two() -> None:
    assert together([(0, 300, 400, 5), (0, 100, 200, 7)], 999) == [Outage(0, 100, 200, 7), Outage(0, 300, 400, 5)]
    # a worker that heard nothing in between does not make them one, and its refusals are counted once
    assert together([(0, 100, 400, 9), (0, 110, 200, 5), (0, 300, 390, 7)], 999) == [
        Outage(0, 110, 200, 14),
        Outage(0, 300, 390, 7),
    ]


@given(st.lists(st.tuples(st.just(0), st.integers(1, 50), st.integers(51, 99), st.integers(3, 9)), min_size=1, max_size=6))
def test_notes_that_overlap_lose_no_refusal_and_their_outage_lies_within(notes: list[Noted]) -> None:
    found = together(notes, 999)
    assert sum(one.refused for one in found) == sum(note[3] for note in notes)
    for one in found:
        assert any(note[1] <= one.begin_ns < (one.end_ns or 0) <= note[2] for note in notes)


LOST = tally({"scheduled": 20, "error.connect": 20}, failed=[MS] * 20)


def run_with(notes: list[Noted], *, gone: tuple[int, ...] = (), plan: Any = None, **fields: Any) -> Run:
    """Two ok seconds of 20 requests, then one in which all is refused; the notes are in its last frame."""
    plan = plan or open_plan(workers=1, warmup=Duration(0), duration=Duration.seconds(3))
    good = {"measure": answers([5 * MS] * 20)}
    frames = [
        interval(0, 0, good, in_flight=2),
        interval(0, 1, good, in_flight=3),
        interval(0, 2, {"measure": LOST}, outages=notes, gone=list(gone), final=True),
    ]
    if len(plan.base_url) > 1:
        frames = [
            interval(0, i, good if i < 2 else {"measure": LOST}, targets={0: answers([5 * MS] * 9).to_wire()}, steady_ok=[i, 0],
                     outages=notes if i == 2 else [], gone=list(gone) if i == 2 else [])
            for i in range(3)
        ]  # fmt: skip
    return run_of(plan, frames, 3.0, **fields)


OPEN = [(0, START + 2 * S + 300 * MS, 0, 20)]
AWAY = [(0, START + S + 900 * MS, START + 2 * S + 500 * MS, 20)]


def test_a_death_says_when_at_what_load_and_after_what() -> None:
    run = run_with(OPEN, gone=(0,), ended="target died")
    when = "2.30 s after the start, at 20 requests/s with 3 in flight, after 40 ok replies"
    assert deaths(run) == [f"the target refused every connection in the end: it died or was stopped {when}"]
    verdict = judge(run)
    assert (verdict.exit_code, verdict.target_died) == (EXIT_TARGET, True)
    assert [f.sentence for f in verdict.findings if f.weight == "fatal"] == deaths(run)
    assert document(run)["outages"] == [{"target": 0, "begin_ns": 2 * S + 300 * MS, "end_ns": None, "refused": 20}]


def test_one_that_never_answered_died_at_once() -> None:
    plan = open_plan(workers=1, warmup=Duration(0), duration=Duration.seconds(1))
    notes = [(0, START, 0, 20)]
    run = run_of(plan, [interval(0, 0, {"measure": LOST}, outages=notes, gone=[0], final=True)], 1.0, ended="target died")
    (sentence,) = deaths(run)
    assert sentence.endswith(f"it died or was stopped at once, before its first ok reply, at {plan.peak_rate:g} requests/s")


def test_a_closed_loop_has_its_slots_and_the_waiting_is_said() -> None:
    plan = closed_plan(workers=1, duration=Duration.seconds(3), outage=Duration.seconds(2))
    (sentence,) = deaths(run_with(OPEN, gone=(0,), plan=plan, ended="target died", steady_ns=START + 3 * S))
    assert sentence.endswith("with 4 in flight, after 40 ok replies; it was waited for 2s (--outage)")


def test_one_that_is_dead_when_the_time_is_over_has_died() -> None:
    run = run_with(OPEN, gone=(0,))
    assert (run.ended, judge(run).exit_code) == ("complete", EXIT_TARGET)


def test_one_that_came_back_is_a_finding_and_no_failure() -> None:
    run = run_with(AWAY)
    assert deaths(run) == []
    assert returns(run) == ["the target was away for 600 ms, 1.90 s after the start, and came back: 20 requests were refused"]
    verdict = judge(run)
    assert verdict.exit_code == EXIT_OK
    assert returns(run)[0] in [f.sentence for f in verdict.findings]


def test_the_longest_of_several_is_told() -> None:
    run = run_with([*AWAY, (0, START + 2 * S + 600 * MS, START + 2 * S + 700 * MS, 3)])
    assert len(outages(run)) == 2
    assert returns(run)[0].endswith("and came back; 2 times in all: 23 requests were refused")


def test_of_several_targets_each_is_named() -> None:
    plan = open_plan(workers=1, warmup=Duration(0), duration=Duration.seconds(3), base_url=("http://a:1", "http://b:1"))
    run = run_with([*AWAY, (1, START + S, 0, 9)], gone=(1,), plan=plan)
    (death,), (back,) = deaths(run), returns(run)
    assert death.startswith("http://b:1 refused every connection in the end")
    assert death.endswith("after 0 ok replies in the measured phase")
    assert back.startswith("http://a:1 was away for 600 ms")


def test_a_journal_that_noted_nothing_still_says_that_it_died() -> None:
    assert deaths(run_with([], gone=(0,))) == ["the target refused every connection in the end: it died or was stopped"]


@pytest.mark.parametrize("gone", [(), (0,)])
def test_without_refusals_there_is_nothing_to_say(gone: tuple[int, ...]) -> None:
    run = run_with([])
    assert (outages(run), returns(run), deaths(run)) == ([], [], [])
