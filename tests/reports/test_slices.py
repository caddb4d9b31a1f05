"""A Run cut into pieces of time: nothing is lost, whatever the number of pieces."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipload.folding import fold
from clipload.histogram import Histogram
from clipload.reports.slices import slices
from clipload.units import Duration
from tests.reports.saved import run, total
from tests.test_run import MS, answers, interval, open_frames, open_plan, run_of

RUN = run(seconds=37, failing=2)


@given(st.integers(1, 60))
def test_the_pieces_add_up_to_the_run(most: int) -> None:
    pieces = slices(RUN, most)
    assert len(pieces) <= most
    assert sum(piece.length_s for piece in pieces) == 37
    assert pieces[0].begin_s == 0
    for before, after in pairwise(pieces):
        assert before.begin_s + before.length_s == after.begin_s
    summed = Histogram()
    for piece in pieces:
        summed += piece.latency
    assert summed == total(RUN).histogram("latency")
    for name in ("ok", "scheduled", "error.http_503"):
        assert sum(piece.counts.get(name, 0) for piece in pieces) == total(RUN)[name]


def test_all_phases_and_workers_are_in_it() -> None:
    made = fold(open_frames())
    whole = total(made)
    (piece,) = slices(made, 1)
    ended = {name: count for name, count in whole.counts.items() if name not in ("planned", "not_due", "lost")}
    assert {name: piece.counts.get(name, 0) for name in ended} == ended
    assert piece.failures == {"http_500": 2 / piece.length_s, "reset": 1 / piece.length_s} | (
        {"timeout": whole["timeout"] / piece.length_s} if whole["timeout"] else {}
    )


def test_rates_are_per_second_of_the_piece() -> None:
    assert [piece.per_s("ok") for piece in slices(RUN, 5)] == pytest.approx([50] * 5, rel=0.01)
    assert [piece.failures for piece in slices(RUN, 1)] == [pytest.approx({"http_503": 2}, rel=0.01)]


def test_a_short_drain_is_no_piece_of_its_own() -> None:
    """One reply in the last 5 ms would else be 200 requests/s."""
    late = [interval(0, i, {"measure": answers([20 * MS] * (20 if i < 3 else 1))}, final=i == 3) for i in range(4)]
    made = run_of(open_plan(workers=1, warmup=Duration(0)), late, 3.0)
    assert [round(piece.per_s("ok")) for piece in slices(made, 240)] == [20, 20, 21]


def test_seconds_in_which_nobody_said_anything_count_as_time() -> None:
    frames = [interval(0, 0, {"measure": answers([MS] * 10)}), interval(0, 3, {"measure": answers([MS] * 10)}, final=True)]
    made = run_of(open_plan(workers=1, warmup=Duration(0)), frames, 4.0)
    assert [piece.counts.get("ok", 0) for piece in slices(made)] == [10, 0, 0, 10]


def test_a_run_that_never_began_has_none() -> None:
    assert slices(fold(open_frames()[:1])) == []
