"""Laws of the Tally: merging is addition, the wire loses nothing, and books that close still close when they are added."""

from __future__ import annotations

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from clipload.histogram import Histogram
from clipload.tally import HISTOGRAMS, Tally, WirePart

LAW = settings(max_examples=40, deadline=None)
NAMES = (
    "planned",
    "scheduled",
    "not_due",
    "lost",
    "ok",
    "timeout",
    "censored",
    "unsent",
    "samples",
    "error.http_500",
    "error.x",
)


def histogram(values: list[int]) -> Histogram:
    made = Histogram()
    made.record(np.array(values, np.int64))
    return made


TALLIES = st.builds(
    Tally,
    st.dictionaries(st.sampled_from(NAMES), st.integers(0, 2**40)),
    st.dictionaries(
        st.sampled_from(sorted(HISTOGRAMS)), st.lists(st.integers(0, 5 * 10**12), max_size=5).map(histogram), max_size=3
    ),
)


@LAW
@given(TALLIES, TALLIES, TALLIES)
def test_merging_is_associative(a: Tally, b: Tally, c: Tally) -> None:
    assert (a + b) + c == a + (b + c)


@LAW
@given(TALLIES, TALLIES)
def test_merging_is_commutative(a: Tally, b: Tally) -> None:
    assert a + b == b + a


@LAW
@given(TALLIES)
def test_the_empty_tally_is_the_identity(a: Tally) -> None:
    assert a + Tally() == a == Tally() + a


@LAW
@given(TALLIES, TALLIES)
def test_merging_in_place_is_merging(a: Tally, b: Tally) -> None:
    total = a + b
    a += b
    assert a == total
    for name in NAMES:
        assert total[name] == a[name]


@LAW
@given(TALLIES)
def test_the_wire_loses_nothing(a: Tally) -> None:
    part = msgspec.msgpack.decode(msgspec.msgpack.encode(a.to_wire()), type=WirePart)
    again = Tally.from_wire(part)
    assert again == a
    for name in HISTOGRAMS:
        ours, theirs = a.histogram(name), again.histogram(name)
        assert (ours.min, ours.max, ours.sum, ours.total) == (theirs.min, theirs.max, theirs.sum, theirs.total)


@LAW
@given(TALLIES, TALLIES)
def test_what_came_by_wire_adds_as_what_did_not(a: Tally, b: Tally) -> None:
    assert Tally.from_wire(a.to_wire()) + Tally.from_wire(b.to_wire()) == a + b


@LAW
@given(TALLIES, TALLIES)
def test_adding_what_came_by_wire_bucket_by_bucket_is_adding_it(a: Tally, b: Tally) -> None:
    total, part = a + Tally(), b.to_wire()
    total.add_wire(part)
    assert total == a + b
    assert b.to_wire() == part, "and what came is as it was"


@st.composite
def closed(draw: st.DrawFn) -> Tally:
    """A Tally whose ledger closes."""
    fates = {name: draw(st.integers(0, 99)) for name in ("ok", "timeout", "censored", "unsent", "lost", "error.a", "error.b")}
    scheduled, not_due = sum(fates.values()), draw(st.integers(0, 99))
    return Tally({**fates, "scheduled": scheduled, "not_due": not_due, "planned": scheduled + not_due})


@LAW
@given(st.lists(closed(), max_size=5))
def test_books_that_close_still_close_when_added(books: list[Tally]) -> None:
    total = Tally()
    for book in books:
        book.ledger().check("one")
        total += book
    total.ledger().check("all")
    assert total.not_ok == sum(book.not_ok for book in books)
