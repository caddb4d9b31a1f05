"""Cases of the Tally and its Ledger: each sum that does not close raises, and says where."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clipload.errors import CliploadError
from clipload.histogram import Histogram
from clipload.tally import HISTOGRAMS, Ledger, LedgerError, Tally

CLOSED: dict[str, Any] = {
    "planned": 30, "not_due": 5, "scheduled": 25, "lost": 3, "unsent": 2, "ok": 10, "timeout": 4, "censored": 1,
}  # fmt: skip
ERRORS = {"http_500": 3, "reset": 2}
COUNTS = {**CLOSED, **{f"error.{name}": n for name, n in ERRORS.items()}}


def of(*values: int) -> Histogram:
    histogram = Histogram()
    histogram.record(np.array(values, np.int64))
    return histogram


def test_the_ledger_of_a_tally() -> None:
    ledger = Tally(COUNTS).ledger()
    assert ledger == Ledger(**CLOSED, errors=ERRORS)
    assert ledger.attempted == 10 + 5 + 4 + 1
    ledger.check("here")


@pytest.mark.parametrize("name", CLOSED)
@pytest.mark.parametrize("step", [-1, 1])
def test_a_ledger_that_is_off_by_one_raises(name: str, step: int) -> None:
    with pytest.raises(LedgerError) as caught:
        Tally(COUNTS | {name: CLOSED[name] + step}).ledger().check("worker 3, measure")
    assert str(caught.value).startswith("worker 3, measure: ")
    assert caught.value.exit_code == 70


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_that_is_missing_raises(name: str) -> None:
    with pytest.raises(LedgerError):
        Tally({key: n for key, n in COUNTS.items() if key != f"error.{name}"}).ledger().check("here")


def test_each_of_the_two_sums_is_checked() -> None:
    with pytest.raises(LedgerError, match=r"planned 26 ≠ scheduled 25 \+ not due 0"):
        Tally(COUNTS | {"planned": 26, "not_due": 0}).ledger().check("here")
    with pytest.raises(LedgerError, match=r"scheduled 25 ≠ attempted 20 \+ unsent 2 \+ lost 4"):
        Tally(COUNTS | {"lost": 4}).ledger().check("here")
    assert issubclass(LedgerError, CliploadError)


def test_a_negative_count_raises() -> None:
    with pytest.raises(LedgerError):
        Tally({"planned": 10, "scheduled": 12, "not_due": -2, "ok": 15, "lost": -3}).ledger().check("here")


def test_an_empty_tally_closes() -> None:
    Tally().ledger().check("nowhere")
    assert Tally().not_ok == 0
    assert Tally()["ok"] == 0
    assert Tally().errors == {}


def test_what_is_not_ok() -> None:
    assert Tally(COUNTS).not_ok == 15
    assert Tally(COUNTS).errors == ERRORS
    assert list(Tally({"error.b": 1, "error.a": 1, "error.c": 9}).errors) == ["c", "a", "b"]
    assert Tally({"timeout": 5, "censored": 5, "unsent": 5}).errors == {}


def test_a_histogram_by_its_name() -> None:
    tally = Tally({}, {"latency": of(5, 7)})
    assert tally.histogram("latency").total == 2
    assert tally.histogram("service").total == 0
    with pytest.raises(KeyError):
        tally.histogram("latencies")
    assert "latency" in HISTOGRAMS


def test_merging_leaves_the_other_as_it_was() -> None:
    one, two = Tally({"ok": 1}, {"latency": of(5)}), Tally({"ok": 2}, {"latency": of(7), "lag": of(1)})
    total = one + two
    assert (one, two) == (Tally({"ok": 1}, {"latency": of(5)}), Tally({"ok": 2}, {"latency": of(7), "lag": of(1)}))
    total.histograms["lag"].record(np.array([3]))
    total.add("ok", 1)
    assert two.histograms["lag"] == of(1)
    assert (one["ok"], two["ok"], total["ok"]) == (1, 2, 4)


def test_nothing_equals_nothing() -> None:
    assert Tally({"ok": 0}, {"latency": Histogram()}) == Tally()
    assert Tally() != "Tally()"
    with pytest.raises(TypeError):
        hash(Tally())


def test_the_repr_says_what_matters() -> None:
    assert repr(Tally({"ok": 1, "scheduled": 3})).startswith("Tally(1 ok of 3 scheduled, latency ")
