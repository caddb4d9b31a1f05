"""Outcomes by hand: what each fate's row adds to which count and histogram, and in which phase."""

from __future__ import annotations

import numpy as np
import pytest

from clipload.outcomes import (
    CENSORED,
    COLUMNS,
    CONNECT,
    DONE,
    LOCAL,
    NOT_JSON,
    OK,
    PROTOCOL,
    RESET,
    ROW,
    TIMEOUT,
    UNSENT,
    VECTORS,
    Outcomes,
    Rows,
    fate,
    fold,
)
from clipload.tally import HISTOGRAMS, Tally

MS = 10**6
BODY_BYTES = np.array([[1000, 5000]])
ALL_TIME = np.array([0, 0, 10**15, 10**15])

# due, dispatched, sent, written, first, done, code, body, received, retries, target, server's queue, server's time
ANSWERED = (100 * MS, 101 * MS, 104 * MS, 105 * MS, 112 * MS, 120 * MS, OK, 0, 700, 0, 0, 0, 0)


def rows(*given: tuple[int, ...]) -> Rows:
    """What a row leaves out is 0."""
    return np.array([(*row, *[0] * (len(COLUMNS) - len(row))) for row in given], np.int64)


def tally_of(*given: tuple[int, ...], samples: int = 4) -> Tally:
    return fold(rows(*given), ALL_TIME, samples, BODY_BYTES)["measure"]


def recorded(tally: Tally) -> dict[str, list[int]]:
    """Histogram name → [smallest, largest], in ms."""
    return {
        name: [tally.histogram(name).min // MS, tally.histogram(name).max // MS]
        for name in HISTOGRAMS
        if tally.histogram(name).total
    }


def test_an_answer() -> None:
    tally = tally_of(ANSWERED)
    assert tally.counts == {"ok": 1, "samples": 4, "bytes_received": 700, "bytes_sent": 1000}
    assert recorded(tally) == {
        "latency": [20, 20],  # 120 − 100
        "service": [16, 16],  # 120 − 104
        "first_byte": [8, 8],  # 112 − 104
        "upload": [1, 1],  # 105 − 104
        "unlagged": [19, 19],  # 120 − 101
        "delay": [4, 4],  # 104 − 100
        "lag": [1, 1],  # 101 − 100
        "wait": [3, 3],  # 104 − 101
    }


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (RESET, "error.reset"), (PROTOCOL, "error.protocol"), (NOT_JSON, "error.not_json"), (VECTORS, "error.vectors"),
        (TIMEOUT, "timeout"), (404, "error.http_404"), (500, "error.http_500"), (201, "error.http_201"),
    ],
)  # fmt: skip
def test_a_failure_after_it_was_sent(code: int, name: str) -> None:
    tally = tally_of((*ANSWERED[:6], code, 1, 300, 1, 0, 0))
    assert tally.counts == {name: 1, "bytes_received": 300, "bytes_sent": 5000, "retried": 1}
    assert recorded(tally) == {"delay": [4, 4], "lag": [1, 1], "wait": [3, 3], "failed": [20, 20]}
    assert fate(code) == name


@pytest.mark.parametrize(("code", "name"), [(CONNECT, "error.connect"), (LOCAL, "error.local"), (TIMEOUT, "timeout")])
def test_a_failure_before_it_was_sent(code: int, name: str) -> None:
    tally = tally_of((100 * MS, 101 * MS, 0, 0, 0, 130 * MS, code, 1, 0, 0, 0, 0))
    assert tally.counts == {name: 1}
    assert recorded(tally) == {"failed": [30, 30]}


def test_a_request_that_was_never_sent() -> None:
    tally = tally_of((100 * MS, 101 * MS, 0, 0, 0, 150 * MS, UNSENT, 1, 0, 0, 0, 0))
    assert tally.counts == {"unsent": 1}
    assert recorded(tally) == {"bound": [50, 50]}


def test_a_request_that_was_never_answered() -> None:
    tally = tally_of((*ANSWERED[:4], 0, 160 * MS, CENSORED, 1, 0, 0, 0, 0))
    assert tally.counts == {"censored": 1, "bytes_sent": 5000}
    assert recorded(tally) == {"delay": [4, 4], "lag": [1, 1], "wait": [3, 3], "bound": [60, 60]}


def test_a_body_that_was_cut_was_not_sent() -> None:
    tally = tally_of((*ANSWERED[:3], 0, 0, 120 * MS, RESET, 1, 0, 0, 0, 0))
    assert tally["bytes_sent"] == 0
    assert recorded(tally)["failed"] == [20, 20]


def test_an_answer_that_came_before_the_body_was_written() -> None:
    tally = tally_of((*ANSWERED[:3], 0, *ANSWERED[4:]))
    assert tally["ok"] == 1
    assert recorded(tally)["latency"] == [20, 20]
    assert "upload" not in recorded(tally)


def test_what_the_target_told_of_itself() -> None:
    """Of ok requests, and of those that told: a queue of nothing counts, a time of nothing was not told."""
    told = [(*ANSWERED[:11], 3 * MS, 9 * MS), (*ANSWERED[:11], 0, 11 * MS)]
    tally = tally_of(*told, ANSWERED, (*ANSWERED[:6], 503, 1, 50, 0, 0, 99 * MS, 99 * MS))
    assert recorded(tally)["server_time"] == [9, 11]
    assert recorded(tally)["server_queue"] == [0, 3]
    assert tally.histogram("server_time").total == tally.histogram("server_queue").total == 2


def test_many_rows_are_the_sum_of_each() -> None:
    given = [
        ANSWERED,
        (*ANSWERED[:5], 140 * MS, OK, 1, 300, 2, 0, 0),
        (*ANSWERED[:6], 503, 1, 50, 0, 0, 0),
        (100 * MS, 101 * MS, 0, 0, 0, 150 * MS, UNSENT, 1, 0, 0, 0, 0),
    ]
    total = Tally()
    for row in given:
        total += tally_of(row)
    assert tally_of(*given) == total
    assert total.histogram("latency").total == 2
    assert recorded(total)["latency"] == [20, 40]
    assert total["samples"] == 8


def test_phases_by_the_due_instant() -> None:
    bounds = np.array([0, 100, 200, 300])

    def row(due: int, done: int) -> tuple[int, ...]:
        return (due, due, due, due, due, done, OK, 0, 1, 0, 0)

    given = [row(0, 1), row(99, 250), row(100, 100), row(199, 10**6), row(200, 200), row(299, 300)]
    tallies = fold(rows(*given), bounds, 1, BODY_BYTES)
    assert {name: tally["ok"] for name, tally in tallies.items()} == {"warmup": 2, "measure": 2, "cooldown": 2}
    assert tallies["measure"].histogram("latency").max == 10**6 - 199
    assert set(fold(rows(row(150, 160)), bounds, 1, BODY_BYTES)) == {"measure"}
    assert set(fold(rows(row(0, 1)), np.array([0, 0, 100, 100]), 1, BODY_BYTES)) == {"measure"}  # no warm-up at all


def test_no_fate_shares_a_code_with_a_status() -> None:
    named = [fate(code) for code in range(10)]
    assert len(set(named)) == 10
    assert not any(name.startswith("error.http_") for name in named)
    assert fate(100) == "error.http_100"


def test_take_gives_what_is_done_by_then_and_keeps_the_rest_in_order() -> None:
    outcomes = Outcomes(8)
    given = [(i, i, i, i, i, done, OK, i % 2, i, 0, 0, 0, 0) for i, done in enumerate([10, 20, 20, 30, 40])]
    for row in given:
        assert outcomes.add(row) is False
    assert outcomes.take(10).tolist() == []  # done *before* the instant
    assert outcomes.take(20).tolist() == [list(given[0])]
    assert outcomes.take(31).tolist() == [list(row) for row in given[1:4]]
    assert outcomes.offset == ROW.size
    outcomes.add((9, 9, 9, 9, 9, 50, OK, 0, 0, 0, 0, 0, 0))
    assert outcomes.take(2**62)[:, DONE].tolist() == [40, 50]
    assert outcomes.take(2**62).tolist() == []


def test_what_was_taken_is_a_copy() -> None:
    outcomes = Outcomes(4)
    outcomes.add(ANSWERED)
    taken = outcomes.take(2**62)
    outcomes.add((7,) * len(COLUMNS))
    assert taken.tolist() == [list(ANSWERED)]


def test_a_full_buffer_says_so_and_a_fold_empties_it() -> None:
    outcomes = Outcomes(3)
    assert [outcomes.add((i,) * len(COLUMNS)) for i in range(3)] == [False, False, True]
    assert len(outcomes.take(2**62)) == 3
    assert [outcomes.add((i,) * len(COLUMNS)) for i in range(3)] == [False, False, True]
    assert outcomes.take(2).tolist() == [[0] * len(COLUMNS), [1] * len(COLUMNS)]
    assert [outcomes.add((i,) * len(COLUMNS)) for i in (3, 4)] == [False, True]
    assert outcomes.take(2**62)[:, DONE].tolist() == [2, 3, 4]
