"""The canary: what its stream is, that it is seeded and apart, and that its account closes in whatever way it ends."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from clipload import archive
from clipload.arena import ArenaMap
from clipload.canary import POOL, _Beside, canary_plan
from clipload.cli.launching import EXAMINED
from clipload.credentials import Credentials
from clipload.errors import PlanError
from clipload.folding import Folding, fold
from clipload.frames import CanaryPart, Closing, Frame, Interval, Opening
from clipload.host import Placement
from clipload.launchers import Assignment, Observer
from clipload.pacing import NEVER, arrivals, bounds_by_time
from clipload.plan import Plan
from clipload.plan.canary import parse_canary
from clipload.preflight import needs
from clipload.preparation import source_options
from clipload.reports.canary import HEAD, canary_rows, canary_sentence
from clipload.reports.tables import tables_of
from clipload.reports.text import summary
from clipload.run import KILLED, WITH_THE_LOAD, Run
from clipload.sources import source_for
from clipload.units import Duration
from clipload.verdict import judge
from tests.reports.saved import save
from tests.test_run import FACTS, MS, START, S, answers, closing, interval, opening, planned, with_done

IMAGES = Plan(mode="image", rate=50.0, duration=Duration.seconds(3), canary="text:2/s")


def due(plan: Plan, count: int = 200) -> np.ndarray:
    blocks = arrivals(plan.pacer, plan.seed, 0, 1, 10**15)
    return np.array(list(itertools.islice(itertools.chain.from_iterable(blocks), count)))


# ---- its Plan


@pytest.mark.parametrize(("text", "kind", "rate"), [("text:2/s", "text", 2.0), ("image:0.5/s", "image", 0.5)])
def test_a_word_is_a_kind_and_a_rate(text: str, kind: str, rate: float) -> None:
    assert parse_canary(text) == (kind, rate)
    plan = canary_plan(Plan(mode="multimodal", canary=text))
    assert (plan.mode, plan.rate, plan.batch_size, plan.arrival) == (kind, rate, 1, "poisson")


@pytest.mark.parametrize("text", ["text:20.1/s", "text:0/s"])
def test_a_canary_is_no_load(text: str) -> None:
    with pytest.raises(PlanError, match="not a low rate") as caught:
        parse_canary(text)
    assert caught.value.flag == "--canary"


def test_its_due_instants_depend_on_the_seed_alone() -> None:
    """Not on the load, nor on how many workers send it; another seed has others."""
    first = due(canary_plan(IMAGES))
    for other in (
        IMAGES.replace(workers=7),
        IMAGES.replace(rate=900.0, arrival="constant"),
        IMAGES.replace(rate=None, concurrency=3, mode="multimodal", batch_size=4),
    ):
        assert np.array_equal(due(canary_plan(other)), first)
    assert not np.array_equal(due(canary_plan(IMAGES.replace(seed=43))), first)
    assert 150 < len(first[first < 100 * 10**9]) <= 200, "some 2 a second"


def test_its_stream_is_not_the_loads() -> None:
    """One seed's arrivals at two rates are one sequence, stretched: beside each other they would move in step."""
    load = due(IMAGES.replace(rate=2.0, canary=None))
    canary = due(canary_plan(IMAGES))
    assert abs(np.corrcoef(np.diff(load), np.diff(canary))[0, 1]) < 0.3


def test_its_texts_are_many() -> None:
    plan = canary_plan(IMAGES)
    texts = {sample.items[0] for sample in source_for("random", **source_options(plan)).draw(POOL)}
    assert len(texts) == POOL


def test_it_asks_as_the_load_does() -> None:
    plan = canary_plan(IMAGES.replace(api="native", base_url=("http://a:1", "http://b:2"), timeout=Duration.seconds(3)))
    assert (plan.api, plan.base_url, plan.timeout) == ("native", ("http://a:1", "http://b:2"), Duration.seconds(3))


def test_the_target_must_be_fit_for_both() -> None:
    assert needs.texts(IMAGES)
    assert needs.images(IMAGES)
    assert needs.both(IMAGES), "they are in flight together"
    assert not needs.pairs(IMAGES)
    assert not needs.crowded_texts(IMAGES)
    assert not needs.texts(IMAGES.replace(canary=None))
    assert not needs.both(IMAGES.replace(canary="image:2/s"))


def test_a_sweep_over_canaries_asks_before_each() -> None:
    """What one load needs of the target, another may not have been asked about."""
    assert "canary" in EXAMINED


# ---- its account


def parts(ended: str = "complete", *, closed: bool = True) -> list[CanaryPart]:
    """Six requests in three seconds, one an error and one unanswered in the end."""
    plan = canary_plan(IMAGES)
    seconds = [
        interval(0, 0, {"measure": answers([20 * MS, 30 * MS])}),
        interval(0, 1, {"measure": answers([25 * MS])}),
        interval(0, 2, {"measure": answers([40 * MS], scheduled=3, **{"error.http_503": 1})}, outstanding={"measure": 1}),
    ]
    own: list[Opening | Interval | Closing] = [opening(plan), *with_done(seconds)]  # type: ignore[list-item]
    if closed:
        last = {0: {"measure": {"planned": 6, "not_due": 0, "censored": 1}}}
        own.append(closing(last, 3, ended=ended))
    return [CanaryPart(part) for part in own]


def frames_with(*beside: CanaryPart, plan: Plan = IMAGES) -> list[Frame]:
    """A load of fifty requests a second, and the canary's frames between its own."""
    load: list[Frame] = [interval(0, second, {"measure": answers([10 * MS] * 50)}) for second in range(3)]
    mixed = [frame for pair in itertools.zip_longest(load, beside) for frame in pair if frame is not None]
    folding = Folding(opening(plan, facts=FACTS))
    for frame in with_done(mixed):
        folding.add(frame)  # type: ignore[arg-type]
    return [opening(plan, facts=FACTS), *with_done(mixed), closing(planned(folding.run), 3)]


def run_with(*beside: CanaryPart, plan: Plan = IMAGES) -> Run:
    return fold(frames_with(*beside, plan=plan))


def canary_of(run: Run) -> Run:
    assert run.canary is not None
    return run.canary


def test_not_a_number_of_it_is_in_the_loads() -> None:
    alone, beside = run_with(), run_with(*parts())
    assert beside.measure == alone.measure
    assert beside.requests_per_s == alone.requests_per_s
    assert archive.intervals_csv(beside) == archive.intervals_csv(alone)
    documents = [archive.document(run) for run in (alone, beside)]
    assert documents[0].pop("canary") is None
    found = documents[1].pop("canary")
    assert documents[0] == documents[1]
    assert found["phases"]["measure"]["ledger"]["ok"] == 4
    assert found["phases"]["measure"]["histograms"]["latency"]["count"] == 4
    assert Plan.from_dict(found["plan"]) == canary_plan(IMAGES)


def test_its_ledger_closes_and_an_open_one_is_found() -> None:
    run = run_with(*parts())
    run.check_ledger()
    canary_of(run).phases["measure"].add("ok", 1)
    with pytest.raises(Exception, match="≠ attempted"):
        run.check_ledger()


def test_a_supervisor_that_was_killed_leaves_what_was_shipped() -> None:
    canary = canary_of(run_with(*parts(closed=False)))
    canary.check_ledger()
    assert (canary.ended, canary.measure["lost"], canary.measure["ok"]) == (KILLED, 1, 4)


def test_the_journal_gives_it_again(tmp_path: Path) -> None:
    directory = save(tmp_path / "run", frames_with(*parts()))
    again = archive.load(directory)
    assert archive.document(again) == archive.document(run_with(*parts()))
    assert canary_of(again).measure["ok"] == 4


def test_beside_a_counted_load_the_schedule_says_what_was_planned(tmp_path: Path) -> None:
    """Not the worker, which died when it had told of two."""
    plan, endless = canary_plan(IMAGES), bounds_by_time(0, NEVER // 2, 0)
    arena = ArenaMap(fd=0, items=1, pool=1, items_per_sample=1, columns=1, table=8)
    place = Placement((0,), (0,))
    assignment = Assignment(
        plan, arena, (), Credentials(), endless, plan.pacer, None, None, 1, 1, place, tmp_path, log="canary"
    )
    launch = _Beside(assignment, Observer(lambda _, __: folding, lambda _: None, lambda _: None))
    folding = Folding(msgspec.structs.replace(opening(plan), bounds=endless))
    folding.add(interval(0, 0, {"measure": answers([20 * MS] * 2)}))
    launch.processes = [SimpleNamespace(number=0, dead=True)]  # type: ignore[list-item]
    launch.stop_ns = START + 10 * S
    folding.add(launch._closing(folding))
    run = folding.finish()
    run.check_ledger()
    count = int((due(plan) <= 10 * S).sum())
    assert count > 10
    assert (run.measure["planned"], run.measure["lost"], run.measure["not_due"]) == (count, count - 2, 0)


# ---- what is said of it

SAID = "text, 2 requests/s beside the load: 4 of 6 ok, 1 http_503, 1 censored"


def test_the_text_has_a_block_of_it() -> None:
    run = run_with(*parts())
    lines = summary(run, judge(run), "runs/x").splitlines()
    at = lines.index(f"canary      {SAID}")
    assert [line.split()[0] for line in lines[at + 2 : at + 10 : 2]] == ["latency", "service", "delay", "of"]
    assert lines[at + 2].split()[1:3] == ["25.0", "ms"]
    assert lines[at + 9].endswith("2 not ok are infinite")
    assert not any(line.startswith("canary") for line in summary(run_with(), judge(run), "runs/x").splitlines())


def test_the_page_has_the_same_in_a_table() -> None:
    run = run_with(*parts())
    (table,) = [table for table in tables_of(run) if table.name == "canary"]
    assert table.sentence.startswith(f"{SAID[:1].upper()}{SAID[1:]}. Its requests are in no figure of the load's.")
    assert table.rows == tuple(canary_rows(canary_of(run)))
    assert {len(row) for row in table.rows} == {len(HEAD)}
    assert [row[-2] for row in table.rows] == ["4", "4", "4", "6"]
    assert [table.name for table in tables_of(run_with())].count("canary") == 0


@pytest.mark.parametrize(
    ("ended", "says"), [("worker died", True), ("target died", True), (WITH_THE_LOAD, False), ("complete", False)]
)
def test_one_that_ended_by_itself_says_so(ended: str, says: bool) -> None:
    run = run_with(*parts(ended))
    assert canary_sentence(run, canary_of(run)).endswith(f"; it ended by itself: {ended}") is says
    both = replace(run, ended=ended)
    assert "by itself" not in canary_sentence(both, canary_of(both)), "so did the load"
