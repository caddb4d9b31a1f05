"""Whether a target remembers: what is compared at all, what the intervals decide, and what might be the client's own doing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipload.changes import Change, outcome_of
from clipload.compare import compare, document
from clipload.estimate import Estimate
from clipload.histogram import Histogram
from clipload.paired import paired
from clipload.recurrence import Recurrence, recurrence, repetition
from clipload.reports.comparison import comparison_markdown, comparison_text
from clipload.run import Run
from clipload.units import Duration
from tests.reports.saved import loop, run
from tests.test_paired import DRIFT
from tests.test_run import MS

LIMIT = 0.05
IMAGES: dict[str, Any] = {"mode": "image", "seconds": 20, "per_s": 80}


def few(ms: float = 20.0, **more: Any) -> Run:
    """1600 requests for one image."""
    return run(ms=ms, **IMAGES | {"pool": 1, "seed": 1} | more)


def many(ms: float = 20.0, **more: Any) -> Run:
    """1600 requests for as many images."""
    return run(ms=ms, **IMAGES | {"unique": True, "pool": 1601, "seed": 2} | more)


def found(before: Sequence[Run] | Run, after: Sequence[Run] | Run, limit: float = LIMIT) -> Recurrence | None:
    sides = [[side] if isinstance(side, Run) else side for side in (before, after)]
    return compare(sides[0], sides[1], limit).recurrence


def told(before: Sequence[Run] | Run, after: Sequence[Run] | Run) -> Recurrence:
    one = found(before, after)
    assert one is not None
    return one


def upload(one: Run, ns: int) -> Run:
    """The same, had sending each body taken so long."""
    made = Histogram()
    made.record(np.full(one.measure["ok"], ns, np.int64))
    one.phases["measure"].histograms["upload"] = made
    return one


def judged(*spans: tuple[float, float]) -> Any:
    """A comparison that found these intervals, whatever the figures are: of service p50, of throughput."""
    left = dict(zip(("service p50", "throughput"), spans, strict=False))

    def changed(figure: str, a: Sequence[Estimate], b: Sequence[Estimate]) -> Change:
        low, high = left[figure]
        bad = (-high, -low) if figure == "throughput" else (low, high)
        return Change(figure, a[0], b[0], (low + high) / 2, low, high, outcome_of(bad, LIMIT, False))

    return changed


# ---- what the intervals decide


def test_who_answers_what_recurs_in_a_tenth_of_the_time_remembers() -> None:
    one = told(few(2.0), many(20.0))
    assert (one.shown, one.often) == ("cache", 0)
    assert one.sentence.startswith("the target remembers what it has seen: service p50 is ")
    assert "where 1 Sample was sent 1600 times, " in one.sentence
    assert "where 1600 Samples were sent once each (−90" in one.sentence
    assert one.sentence.endswith("the figures of before are its cache's")
    assert one.remedy.startswith("measure with --unique")
    assert "--interleave" in one.remedy, "one run of each may be chance"
    (change,) = one.changes
    assert (change.before.value, change.after.value) == pytest.approx((20 * MS, 2 * MS), rel=0.05)
    assert change.value == pytest.approx(-0.9, abs=0.02)


def test_the_order_of_the_sides_changes_nothing_but_the_name() -> None:
    there, back = told(few(2.0), many(20.0)), told(many(20.0), few(2.0))
    assert (back.shown, back.often, back.changes) == ("cache", 1, there.changes)
    assert back.sentence == there.sentence.replace("before", "after")
    assert told(few(), many()).sentence == told(many(), few()).sentence


def test_the_same_target_shows_no_cache_and_says_with_what_bound() -> None:
    one = told(few(), many())
    (change,) = one.changes
    assert one.shown == "none"
    assert 0 < -change.low < LIMIT
    assert one.sentence.startswith(f"no cache shows: service p50 at most {-100 * change.low:.2g} % lower where 1 Sample was")
    assert told(few(30.0), many()).shown == "none", "who is slower with what recurs has no use of a cache"


def test_what_is_neither_seen_nor_excluded_is_not_known() -> None:
    short = {"seconds": 3, "per_s": 20}
    one = told(few(19.0, **short), many(20.0, **short))
    assert (one.shown, one.remedy) == ("unknown", "longer runs, or more of them")
    assert "is not known: service p50 is" in one.sentence


@given(st.floats(-1, 2), st.floats(0, 2), st.floats(0.001, 0.5))
def test_the_whole_interval_decides(low: float, width: float, limit: float) -> None:
    """Law: `cache` when all of it lies below −limit, `none` when none of it does."""
    high = low + width

    def changed(figure: str, a: Sequence[Estimate], b: Sequence[Estimate]) -> Change:
        return Change(figure, a[0], b[0], low, low, high, outcome_of((low, high), limit, False))

    one = recurrence([FEW], [MANY], ("pool", "unique"), changed, limit)
    assert one is not None
    assert (one.shown == "cache") is (high < -limit)
    assert (one.shown == "none") is (low >= -limit)


FEW, MANY = few(2.0), many(20.0)


def test_repeats_are_judged_over_the_runs_and_pairs_within_them() -> None:
    """A target whose speed drifts by itself, as `tests/test_paired.py` has it; what recurs takes 0.8 of the time."""
    sides: list[list[Run]] = [[], []]
    for seed, slow in enumerate(DRIFT):
        for side, one in zip(sides, (few(16 * slow, seed=seed), many(20 * slow, seed=seed + 100)), strict=True):
            one.plan = one.plan.replace(seed=seed)
            side.append(one)
    by_pairs, by_sides = paired(*sides).recurrence, found(*sides)
    assert by_pairs is not None
    assert by_sides is not None
    assert (by_pairs.shown, by_sides.shown) == ("cache", "unknown"), "between the runs it drowns in the drift"
    assert by_pairs.changes[0].value == pytest.approx(-0.2, abs=0.03)
    assert "--interleave" not in by_pairs.remedy


def test_a_closed_loop_is_judged_by_its_throughput_too() -> None:
    slow, quick = (loop(8, rate, mode="image", pool=pool, seed=pool) for rate, pool in ((400, 10**6), (800, 1)))
    one = told(quick, slow)
    assert [change.figure for change in one.changes] == ["service p50", "throughput"]
    assert one.shown == "cache"
    assert "throughput 800 and 400 samples/s (+100 %" in one.sentence
    alone = recurrence([quick], [slow], ("pool",), judged((-0.2, 0.2), (0.9, 1.1)), LIMIT)
    assert alone is not None
    assert alone.shown == "cache", "half of the requests may be quicker, and the median not"
    for throughput, shown in (((-0.04, 0.2), "unknown"), ((-0.2, 0.04), "none")):
        both = recurrence([quick], [slow], ("pool",), judged((-0.04, 0.2), throughput), LIMIT)
        assert both is not None
        assert both.shown == shown, "none only when neither may be better"


# ---- what might be the client's own


def test_a_gain_within_the_time_of_sending_may_be_the_clients_own() -> None:
    """Bodies that stay in its CPU's cache are sent sooner: a gain of 4 ms is no cache's where sending took 5 ms."""
    assert told(few(16.0), upload(many(), 3 * MS)).shown == "cache"
    one = told(few(16.0), upload(many(), 5 * MS))
    assert one.shown == "unknown"
    assert "no more than what sending them may have gained (5.00 ms)" in one.sentence


def test_a_throughput_without_its_service_time_is_not_the_targets() -> None:
    same = [loop(8, 400, mode="image", pool=pool, seed=pool) for pool in (1, 10**6)]
    one = recurrence(same[:1], same[1:], ("pool",), judged((-0.01, 0.01), (0.9, 1.1)), LIMIT)
    assert one is not None
    assert one.shown == "unknown"


@pytest.mark.parametrize("often", [0, 1])
def test_requests_of_other_sizes_are_not_compared(often: int) -> None:
    sides = [few(2.0), many(20.0)]
    sides[often].phases["measure"].counts["bytes_sent"] *= 2
    one = told(*sides)
    assert one.shown == "unknown"
    assert "requests of" in one.sentence
    assert "one size" in one.remedy


def test_nor_are_images_of_other_sizes_that_travel_by_reference() -> None:
    sides = [few(2.0), many(20.0)]
    for side, size in zip(sides, (10_000, 12_000), strict=True):
        side.facts = side.facts | {"payload": {"images": 1, "bytes": size, "text_bytes": 0, "sized_bytes": size, "pixels": 1}}
    assert "images of 10.0 kB where Samples recur, of 12.0 kB else" in told(*sides).sentence


def test_failures_are_no_cache() -> None:
    one = told(few(2.0), many(20.0, per_s=72, failing=8))
    assert one.shown == "unknown"
    assert "10 % of the requests of a run were not ok" in one.sentence


def busy(one: Run) -> Run:
    """A closed loop whose worker had no core left."""
    account = one.workers[0]
    account.loads = dict.fromkeys(account.loads, (10**9, 0))
    return one


def test_a_worker_at_its_ceiling_is_no_measure_of_the_target() -> None:
    def sides(quick: int) -> tuple[Run, Run]:
        return loop(8, quick, mode="image", pool=1), loop(8, 400, mode="image", pool=10**6, seed=2)

    quick, slow = sides(800)
    assert told(busy(quick), slow).shown == "cache", "it might be quicker still"
    assert "at its ceiling" in told(quick, busy(slow)).sentence
    quick, slow = sides(400)
    assert told(quick, slow).shown == "none"
    assert "at its ceiling" in told(busy(quick), slow).sentence


# ---- what is compared at all


@pytest.mark.parametrize(
    "other",
    [
        {"base_url": ("http://b:1",)},
        {"batch": 2},
        {"per_s": 70},
        {"workers": 2},
        {"encoding_format": "base64"},
        {"warmup": Duration(1)},
    ],
)
def test_what_differs_in_anything_else_is_not_compared(other: dict[str, Any]) -> None:
    assert found(few(2.0), many(20.0, **other)) is None


def test_how_long_and_what_is_asked_beforehand_make_no_difference() -> None:
    assert told(few(2.0), many(20.0, seconds=15, no_preflight=True, no_integrity=True)).shown == "cache"


def test_a_load_that_changes_is_not_compared() -> None:
    shaped = [few(2.0), many(20.0)]
    for one in shaped:
        one.plan = one.plan.replace(rate=None, steps="40,80")
    assert found(*shaped) is None


def test_only_what_recurs_much_more_is_compared() -> None:
    pools = [few(pool=pool, seed=pool) for pool in (256, 512, 1024)]
    assert found(pools[0], pools[1]) is None
    assert told(pools[0], pools[2]).shown == "none"
    assert found(few(pool=1000), many(seconds=60, pool=4801)) is None, "each of 1000 was sent not even twice"
    assert found(many(), many(seed=3)) is None


def test_random_texts_are_one_however_large_the_pool() -> None:
    made = [run(seconds=20, per_s=80, mode="text", pool=pool, seed=pool) for pool in (1, 256)]
    for one in made:
        one.facts = one.facts | {"arena": {"items": 1, "texts": 1, "pool": one.plan.pool}}
    assert repetition(made[1:]) == repetition(made[:1]) == (1, 1600.0)
    assert found(*made) is None


def test_samples_are_counted_by_their_kind_and_never_more_than_were_sent() -> None:
    def counted(mode: str, items: int, texts: int) -> int:
        one = run(seconds=20, per_s=80, mode=mode, pool=2000)
        one.facts = one.facts | {"arena": {"items": items, "texts": texts}}
        return repetition([one]).samples

    assert counted("image", 900, 0) == 900
    assert counted("mixed", 900, 300) == 900
    assert counted("text", 300, 300) == 300
    assert counted("multimodal", 2001, 1) == 1600
    assert repetition([few(batch=3)]) == (1, 4800.0)
    assert repetition([many(seconds=seconds) for seconds in (10, 15, 20)]) == (1200, 1.0), "each in its own run"


def test_what_a_cache_would_have_to_be_like_not_to_show_is_said() -> None:
    pools = told(few(), few(pool=400, seed=2))
    assert "one that holds all 400 would not show" in pools.sentence
    assert pools.remedy == "measure with --unique"
    data = {"data_source": "folder", "data": "/x"}
    twice = [[make(seed=seed, **data) for seed in seeds] for make, seeds in ((few, (1, 2, 3)), (many, (4, 5, 6)))]
    assert "one that outlives a run would not show" in told(*twice).sentence
    fresh = [[make(seed=seed) for seed in seeds] for make, seeds in ((few, (1, 2, 3)), (many, (4, 5, 6)))]
    assert told(*fresh).remedy == ""


def test_through_an_unsound_generator_nothing_is_told() -> None:
    late = many(5.0, lag_ns=8 * MS)
    comparison = compare([few(2.0)], [late])
    assert comparison.unsound
    assert comparison.recurrence is None


def test_without_a_reply_nothing_is_told() -> None:
    silent = many(20.0, per_s=0, failing=80)
    assert found(few(2.0), silent) is None


# ---- how it is told


def test_it_stands_in_every_text_with_its_remedy() -> None:
    comparison = compare([few(2.0)], [many(20.0)])
    one = comparison.recurrence
    assert one is not None
    assert comparison_text(comparison, ("a", "b")).endswith(f"\n{one.sentence} ({one.remedy})")
    assert "- the target remembers what it has seen" in comparison_markdown(comparison, ("a", "b"))
    said = document(comparison)["recurrence"]
    assert (said["shown"], said["repeats"], said["samples"]) == ("cache", "before", [1, 1600])
    assert said["sentence"] == one.sentence
    change = said["changes"]["service p50"]
    assert change["value"] == one.changes[0].value
    assert (change["repeats"]["value"], change["other"]["value"]) == (one.changes[0].after.value, one.changes[0].before.value)
    alike = compare([few()], [few(seed=3)])
    assert document(alike)["recurrence"] is None
    assert "remembers" not in comparison_text(alike, ("a", "b"))
