"""What limits the target, as the summary says it."""

from __future__ import annotations

from clipload.reports import tables
from clipload.reports.limits import describe_limit
from clipload.reports.text import details
from clipload.run import Run
from clipload.sightings import ACTIVE, ITEMS, QUEUED, Sighting
from clipload.verdict import judge
from tests.test_run import MS, START, answers, interval, open_plan, run_of
from tests.test_sightings import seconds

TOLD = {ACTIVE: 15.96, QUEUED: 0.25}


def watched(sightings: list[Sighting], urls: tuple[str, ...] = ("http://a:1",), lag_ns: int = 0) -> Run:
    each = answers([10 * MS] * 100, lag_ns=lag_ns)
    done = {i: [100 * i, *[0] * (len(urls) - 1)] for i in (1, 2)}
    frames = [interval(0, i, {"measure": each}, steady_ok=ok) for i, ok in done.items()]
    run = run_of(open_plan(workers=1, base_url=urls), frames, 3.0)
    run.sightings = sightings
    return run


def full(**more: object) -> list[Sighting]:
    return seconds({"tokenizer": 1.0}, start_ns=START, n=4, **more)  # type: ignore[arg-type]


def test_the_sentence_its_remedy_and_what_the_target_tells() -> None:
    run = watched(full(gauges=TOLD, growing={ITEMS: 31.0}))
    assert describe_limit(run).splitlines() == [
        "limit       the tokenizer process sits at 100 % of a core: the front-end is the limit",
        "            try --tokenizer-worker-num 2 or smaller images",
        "            as it tells: 16.0 requests active, 0.2 queued, 31.0 items/s done",
    ]
    assert describe_limit(run) in details(run, judge(run), "runs/x")


def test_of_several_targets_it_is_named() -> None:
    run = watched(full(target=1), ("http://a:1", "http://b:1"))
    assert describe_limit(run).splitlines()[0].endswith("the front-end is the limit (http://b:1)")


def test_through_an_unsound_generator_nothing_is_said() -> None:
    run = watched(full(), lag_ns=9 * MS)
    assert judge(run).generator == "unsound"
    assert describe_limit(run) == ""


def test_nothing_seen_nothing_said() -> None:
    assert describe_limit(watched([])) == ""
    assert tables.seen(watched([])).rows == ()
    assert tables.payload_table(watched([])).rows == ()


def test_the_pages_tables() -> None:
    run = watched(full())
    run.facts["payload"] = {"images": 0, "bytes": 0, "text_bytes": 0, "sized_bytes": 0, "pixels": 0}
    table = tables.seen(run)
    assert table.sentence == "The tokenizer process sits at 100 % of a core: the front-end is the limit."
    assert table.rows == (("http://a:1", "tokenizer", "10", "100 %", "100 %"),)
    assert ("on the wire", "0.8 Mbit/s up, 3.2 Mbit/s down") in tables.payload_table(run).rows
    assert {table.name for table in tables.tables_of(run)} >= {"payload", "limit"}
    unsound = watched(full(), lag_ns=9 * MS)
    assert tables.seen(unsound).sentence == "", "the evidence stays, the claim does not"
