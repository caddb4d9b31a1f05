"""Integrity under load in the text summary and on the page."""

from __future__ import annotations

import msgspec

from clipload.agreement import FACT, Agreement, Level
from clipload.reports.integrity import HEAD, integrity_lines
from clipload.reports.tables import integrity, tables_of
from clipload.reports.text import summary
from clipload.run import Run
from clipload.verdict import judge
from tests.reports.saved import loop

LEAK = Agreement(
    items=64,
    bodies=64,
    dtype="float32",
    limit=1e-5,
    levels=[
        Level(1, 5, 0, 5, 0),
        Level(2, 80, 0, 80, 0),
        Level(3, 80, 11, 80, 11, {"different": 11}),
        Level(4, 80, 24, 80, 24, {"different": 20, "swapped": 4}),
    ],
    seconds=[(245, 35)],
    compared=245,
    distance=0.87654,
    dropped=7,
    spared=310,
    spent_ns=4_000_000,
    examples={"different": "vector 1 of 1 with 3 in flight, cosine 0.3312 at worst"},
)
SAID = """\
integrity   35 of 245 sampled replies had wrong vectors: 14.3 % (10.2–19.3 %)
            compared with what 64 Items had alone before the load; 1 − cosine up to 1e-05 is right (float32), farthest 0.88
            left out 310 for their cost, 7 because the checker was behind; the others cost 4.00 ms of the workers' time
            different: vector 1 of 1 with 3 in flight, cosine 0.3312 at worst
               in flight   compared   wrong     share     95 % interval   what was wrong
                       1          5       0       0 %          0–45.1 %
                       2         80       0       0 %          0–3.68 %
                       3         80      11    13.8 %       7.07–23.3 %   11 × different
                       4         80      24      30 %       20.3–41.3 %   20 × different, 4 × swapped"""


def run_with(found: Agreement | None) -> Run:
    run = loop(4, 100)
    run.facts = {**run.facts, **({} if found is None else {FACT: msgspec.to_builtins(found)})}
    return run


def test_the_text_shows_integrity_against_load() -> None:
    run = run_with(LEAK)
    assert integrity_lines(run) == SAID
    assert f"\n\n{SAID}\n\n" in summary(run, judge(run), "runs/x")


def test_the_page_has_the_same_in_a_table() -> None:
    table = integrity(run_with(LEAK))
    assert table in tables_of(run_with(LEAK))
    assert (table.head, len(table.rows)) == (HEAD, 4)
    assert table.rows[3] == ("4", "80", "24", "30 %", "20.3–41.3 %", "20 × different, 4 × swapped")
    assert table.sentence.startswith("35 of 245 sampled replies had wrong vectors: 14.3 % (10.2–19.3 %). Compared with what")


def test_nothing_is_said_of_what_nobody_asked() -> None:
    assert integrity_lines(run_with(None)) == ""
    assert integrity(run_with(None)).rows == ()


def test_why_nothing_was_compared() -> None:
    run = run_with(Agreement(skipped="--no-integrity"))
    assert integrity_lines(run) == "integrity   vectors under load were not compared: --no-integrity"
    assert integrity(run) not in tables_of(run)


def test_what_is_not_known() -> None:
    found = Agreement(items=6, bodies=6, limit=1e-3, without={"nan": 6}, unheard=2, error="the checker died")
    assert integrity_lines(run_with(found)).splitlines() == [
        "integrity   no reply was compared",
        "            compared with what 6 Items had alone before the load (without one: 6 × nan); of none was it of use",
        "            what 2 workers left out is not known",
        "            the checker died",
    ]


def test_when_and_of_whom_references_were_taken() -> None:
    found = Agreement(items=40, bodies=40, targets=2, earlier=38, age_ns=41_200_000_000, again=4)
    assert integrity_lines(run_with(found)).splitlines()[1] == (
        "            compared with what 40 Items had alone at each of 2 targets before the load; 38 of them were asked before "
        "an earlier load, up to 41.2 s ago, and 4 once more: the same; of none was it of use"
    )
