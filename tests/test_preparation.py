"""Preparation: what of the Plan reaches the Source, the bound on the Arena, and a pool in which nothing is there twice."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow

from clipload.arena import Bodies, count_bodies
from clipload.dialects import dialect_for
from clipload.errors import CliploadError, DatasetError, HostError
from clipload.gallery import Gallery
from clipload.pacing import BODIES, Shuffle
from clipload.plan import Plan
from clipload.preparation import Prepared, payload, prepare, source_options
from clipload.sources import SourceOptions
from clipload.units import Size

KIB = 2**10


def quiet(done: int, total: int) -> None:
    """Nobody watches."""


@contextmanager
def prepared(plan: Plan, requests: int = 0) -> Iterator[Prepared]:
    found = prepare(plan, Gallery(), quiet, requests)
    try:
        yield found
    finally:
        found.arena.close()


def bodies(found: Prepared) -> list[bytes]:
    plan = found.plan
    dialect = dialect_for(plan.api, plan.model, plan.encoding_format, plan.mode)
    each = Bodies(found.arena.map, plan.batch_size, dialect.frame(), b"")
    return [each.payload(body) for body in range(each.count)]


def test_every_option_of_a_source_comes_from_the_plan() -> None:
    assert set(source_options(Plan())) == {spec.name for spec in fields(SourceOptions)}


def test_progress_is_told_of_each_sample() -> None:
    said: list[tuple[int, int]] = []
    prepare(Plan(mode="image", image_size="8x8", pool=5), Gallery(), lambda *done: said.append(done)).arena.close()
    assert said == [(n, 5) for n in range(1, 6)]


@pytest.mark.parametrize("size", ["224x224", "336x336"])
def test_the_arena_does_not_grow_with_the_batch_size(size: str) -> None:
    """PNG pairs: batches of 1 to 128 are views of the same Items, and stay within --arena-limit."""
    sizes = set()
    for batch_size in (1, 2, 8, 32, 128):
        with prepared(Plan(image_size=size, batch_size=batch_size, pool=16, arena_limit=Size(2**24), num_samples=128)) as found:
            sizes.add(found.arena.map.size)
            assert found.arena.map.size <= found.plan.arena_limit
            assert len(bodies(found)[0]) > batch_size * found.arena.map.size / 17
    assert len(sizes) == 1


def test_more_than_the_limit_is_refused() -> None:
    with pytest.raises(HostError) as caught:
        prepare(Plan.from_dict({"mode": "image", "pool": 16, "arena_limit": "1MiB"}), Gallery(), quiet)
    assert caught.value.flag == "--arena-limit"


def test_a_dataset_of_which_nothing_can_be_read_says_why(tmp_path: Path) -> None:
    """The first that was passed over: file, line and reason."""
    (tmp_path / "lines").write_text('{"image": "gone.png"}\n{"image": "away.png"}\n')
    with pytest.raises(DatasetError) as caught:
        prepare(Plan(mode="image", data_source="jsonl", data=str(tmp_path / "lines")), Gallery(), quiet)
    assert caught.value.flag == "--data"
    assert re.search(r"passed over 2, the first: .*(gone|away)\.png \(named on line [12]\): ", str(caught.value))


UNIQUE: list[dict[str, Any]] = [
    {"mode": "image", "image_size": "8x8"},
    {"mode": "text", "text_tokens": "5-9"},
    {"mode": "multimodal", "text_tokens": "5-9", "image_size": "8x8"},
    {"mode": "mixed", "text_tokens": "5-9", "image_size": "8x8,9x9"},
]


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("values", UNIQUE, ids=lambda values: values["mode"])
def test_a_unique_load_and_its_probe_repeat_nothing(values: dict[str, Any], batch_size: int) -> None:
    plan = Plan(**values, unique=True, num_samples=20, batch_size=batch_size)
    assert plan.requests is not None
    with prepared(plan, plan.requests) as found:
        arena = found.arena.map
        assert found.plan.pool == arena.pool == batch_size * (plan.requests + 1)
        assert arena.items == arena.pool * plan.items_per_sample, "an Item is there twice"
        pick = Shuffle(count_bodies(arena.pool, batch_size), plan.seed, BODIES)
        each = bodies(found)
        sent = [each[pick(request)] for request in range(plan.requests)]
        assert len({*sent, payload(found)}) == plan.requests + 1
    with prepared(found.plan, plan.requests) as again:
        assert again.plan == found.plan, "a saved Plan gives the same pool"


def test_what_is_in_a_dataset_twice_is_sent_once(tmp_path: Path) -> None:
    for name, shade in (("a", 1), ("b", 2), ("copy", 1), ("c", 3)):
        Pillow.new("RGB", (4, 4), (shade, 0, 0)).save(tmp_path / f"{name}.png")
    plan = Plan(data_source="folder", data=str(tmp_path), mode="image", unique=True, num_samples=2)
    with prepared(plan, 2) as found:
        assert found.arena.map.items == found.plan.pool == 3
    with pytest.raises(DatasetError, match=r"3 requests and the probe take 4 different Samples; .* has 3") as caught:
        prepare(plan.replace(num_samples=3), Gallery(), quiet, 3)
    assert caught.value.flag == "--unique"


@pytest.mark.parametrize(
    ("values", "requests"),
    [
        ({"mode": "text", "text_tokens": "3", "num_samples": 512}, 512),
        ({"mode": "mixed", "text_tokens": "3", "num_samples": 3000, "image_size": "4x4", "text_share": 1.0}, 3000),
        ({"mode": "image", "image_size": "1x1", "image_format": "jpeg", "image_quality": 1, "num_samples": 2000}, 2000),
    ],
)
def test_a_source_that_has_too_few_is_told_so_with_numbers(values: dict[str, Any], requests: int) -> None:
    with pytest.raises(
        DatasetError, match=f"{requests} requests and the probe take {requests + 1} different Samples"
    ) as caught:
        prepare(Plan(**values, unique=True), Gallery(), quiet, requests)
    assert caught.value.flag == "--unique"
    assert caught.value.remedy


def test_skips_of_the_source_and_of_repetition_are_kept(tmp_path: Path) -> None:
    rows = [{"text": "a"}, {"text": "a"}, {"text": "b"}, {"image": "x"}, {"text": "c"}]
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    with prepared(Plan(data_source="jsonl", data=str(file), mode="text", unique=True, num_samples=2), 2) as found:
        assert found.plan.pool == 3
        assert {skip.why for skip in found.skipped} <= {'no "text"', "its text or image was in one before (--unique)"}
    with prepared(Plan(data_source="jsonl", data=str(file), mode="text")) as found:
        assert [skip.why for skip in found.skipped] == ['no "text"']
        assert (found.plan.pool, found.arena.map.items) == (4, 3)


def test_a_listing_longer_than_the_arena_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"text": "a" * 5 * KIB}))
    plan = Plan.from_dict({"data_source": "jsonl", "data": str(file), "mode": "text", "arena_limit": "4KiB"})
    with pytest.raises(CliploadError, match="--arena-limit"):
        prepare(plan, Gallery(), quiet)
