"""References: which Items are asked for, alone, how long, and what becomes of those that fail."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from clipload.arena import Arena
from clipload.credentials import Credentials
from clipload.dialects import dialect_of
from clipload.integrity import references
from clipload.integrity.kept import Kept
from clipload.integrity.standing import Standing, before_a_load
from clipload.likeness import NONE, References
from clipload.plan import Plan
from clipload.server.app import listening
from clipload.server.engines import engine_for
from clipload.server.options import ServerOptions
from clipload.target import resolve
from clipload.units import Duration, Size
from clipload.values import Image, Sample, Text

QUICK = {"engine": "sim", "law": "constant(1us)", "dim": 32}


def samples(pool: int, mode: str) -> list[Sample]:
    texts = [Text(f"caption {n}") for n in range(pool)]
    images = [Image(bytes([n, n]), "image/png") for n in range(pool)]
    if mode == "multimodal":
        return [Sample(pair) for pair in zip(texts, images, strict=True)]
    return [Sample((item,)) for item in (texts if mode == "text" else images)]


def standing(
    options: Mapping[str, Any] = QUICK, pool: int = 6, examined: Mapping[str, Any] | None = None, **plan: Any
) -> tuple[Standing, list[str]]:
    """What is known before a load of a reference server with `options`, and what was said."""
    said: list[str] = []

    async def talk() -> Standing:
        given = ServerOptions(**options)
        engine = engine_for(given)
        await engine.start()
        listener = socket.create_server(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        asked = Plan(base_url=(url,), **({"timeout": Duration.seconds(10), "mode": "text"} | plan))
        arena = Arena.build(samples(pool, asked.mode), dialect_of(asked), Size(2**24))
        try:
            async with listening(given, engine, listener, 16):
                ends = (resolve(asked, url),)
                return await before_a_load(asked, arena.map, ends, Credentials(), dict(examined or {}), Kept(), said.append)
        finally:
            arena.close()
            await engine.close()

    return asyncio.run(talk()), said


def server_said(**facts: Any) -> dict[str, Any]:
    return {"preflight": [{"server": {"engine": facts.pop("engine", ""), "facts": facts}}]}


@pytest.mark.parametrize("api", ["v1", "native"])
@pytest.mark.parametrize(("mode", "items"), [("text", 6), ("image", 6), ("multimodal", 12)])
def test_every_item_of_a_small_pool_is_asked_for_once_and_alone(api: str, mode: str, items: int) -> None:
    found, said = standing(api=api, mode=mode, batch_size=4)
    assert found.taken is not None
    assert found.taken.rows.shape == (1, items, 32)
    assert sorted(found.taken.bodies) == [0, 1, 2]
    assert all(NONE not in rows for rows in found.taken.bodies.values())
    assert (found.agreement.items, found.agreement.bodies, found.agreement.alike) == (items, 3, 0)
    assert said[0].startswith(f"integrity: {items} Items asked for alone in ")


def test_alone_means_that_what_disturbs_others_disturbs_nobody() -> None:
    honest, _ = standing(batch_size=3)
    for lie in ("leak", "swap", "radix"):
        lied, _ = standing({**QUICK, "lie": lie}, batch_size=3)
        assert honest.taken is not None
        assert lied.taken is not None
        assert np.array_equal(lied.taken.rows, honest.taken.rows), lie


def test_which_bodies_depends_on_the_seed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(references, "MOST_ITEMS", 5)
    chosen = {seed: list(found.taken.bodies) for seed in (1, 1, 2) if (found := standing(pool=50, seed=seed)[0]).taken}
    again, _ = standing(pool=50, seed=1)
    assert again.taken is not None
    assert list(again.taken.bodies) == chosen[1] != chosen[2]
    assert len(chosen[1]) == 5


def test_a_body_too_large_for_the_bound_has_references_for_some_of_its_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(references, "MOST_ITEMS", 5)
    found, _ = standing(pool=50, batch_size=25)
    assert found.taken is not None
    [rows] = found.taken.bodies.values()
    assert rows == [0, 1, 2, 3, 4] + [NONE] * 20


def test_time_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(references, "MOST_NS", 0)
    found, _ = standing()
    assert found.agreement.items == 1


def test_a_target_that_hangs_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(references, "MOST_NS", 0)
    found, _ = standing({**QUICK, "law": "constant(60s)"}, timeout=Duration.seconds(0.2))
    assert found.agreement.skipped == "no Item had a vector alone: 1 × no answer in time"


def test_a_target_that_only_fails_is_left_in_peace() -> None:
    found, said = standing({**QUICK, "error_rate": 1.0})
    assert found.taken is None
    assert (found.agreement.skipped, said) == ("no Item had a vector alone: 3 × HTTP 500", [])


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_references_that_are_no_numbers_are_of_no_use_and_replies_are_looked_at_all_the_same(encoding: str) -> None:
    found, _ = standing({**QUICK, "lie": "nan"}, encoding_format=encoding)
    assert found.taken is not None
    assert (found.agreement.without, len(found.taken.bodies)) == ({"nan": 6}, 6)
    assert not References(found.taken.rows[0], 1e-5).usable.any()


def test_images_that_are_ignored_have_one_vector_before_any_load() -> None:
    assert standing({**QUICK, "lie": "ignore-images"}, mode="image")[0].agreement.alike == 6
    assert standing({**QUICK, "lie": "ignore-images"}, mode="multimodal")[0].agreement.alike == 6


@pytest.mark.parametrize(
    ("examined", "dtype", "limit"),
    [
        ({}, "", 1e-3),
        (server_said(dtype="auto"), "auto", 1e-3),
        (server_said(dtype="torch.float16"), "float16", 1e-5),
        (server_said(dtype="float32"), "float32", 1e-5),
        (server_said(dtype="float32", quantization="w8a8_int8"), "", 1e-3),
    ],
)
def test_the_limit_is_that_of_what_the_server_computes_in(examined: dict[str, Any], dtype: str, limit: float) -> None:
    found = standing(examined=examined)[0].agreement
    assert (found.dtype, found.limit) == (dtype, limit)


@pytest.mark.parametrize(
    ("plan", "examined", "why"),
    [
        ({"no_integrity": True}, {}, "--no-integrity"),
        ({"unique": True, "text_tokens": "5-9", "rate": 5.0}, {}, "--unique sends nothing twice"),
        ({}, server_said(engine="null"), "the vectors of engine null mean nothing"),
    ],
)
def test_where_nothing_is_compared_nothing_is_asked(plan: dict[str, Any], examined: dict[str, Any], why: str) -> None:
    found, said = standing({**QUICK, "error_rate": 1.0}, examined=examined, **plan)
    assert (found.taken, found.agreement.skipped, said) == (None, why, [])
