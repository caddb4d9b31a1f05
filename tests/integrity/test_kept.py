"""References from load to load: who is asked again, for what, and when what is known is no longer believed; several targets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import numpy as np
import pytest

from clipload.arena import Arena
from clipload.credentials import Credentials
from clipload.dialects import ServerDialect, dialect_of
from clipload.integrity import kept as kept_module
from clipload.integrity import references
from clipload.integrity.kept import Alone, Kept, Recollection
from clipload.integrity.standing import Standing, before_a_load
from clipload.plan import Plan
from clipload.server.app import listening
from clipload.server.engines import Answer, queue_full
from clipload.server.engines.sim import SimEngine
from clipload.server.options import ServerOptions
from clipload.target import resolve
from clipload.units import Duration, Size
from clipload.values import Image, Item, Sample, Text

OPTIONS = ServerOptions(engine="sim", law="constant(1us)", dim=32)
TEXTS = [Sample((Text(f"caption {n}"),)) for n in range(6)]
SHORTEST = Duration(20)  # ns


class Other(SimEngine):
    """Counts what it is asked. `changed`: texts have other vectors, as those of another model; `failing`: it refuses all."""

    def __init__(self, options: ServerOptions = OPTIONS) -> None:
        super().__init__(options)
        self.asked: list[bytes] = []
        self.changed = self.failing = False
        self.at_once = self.most_at_once = 0

    async def answer(self, dialect: ServerDialect, body: bytes) -> Answer:
        self.asked.append(body)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.failing:
                raise queue_full()
            return await super().answer(dialect, body.replace(b"caption", b"another") if self.changed else body)
        finally:
            self.at_once -= 1

    def took(self) -> int:
        """Requests since last asked."""
        count = len(self.asked)
        self.asked.clear()
        return count


@asynccontextmanager
async def served(*engines: Other) -> AsyncIterator[tuple[str, ...]]:
    async with AsyncExitStack() as stack:
        urls = []
        for engine in engines:
            await engine.start()
            stack.push_async_callback(engine.close)
            listener = socket.create_server(("127.0.0.1", 0))
            urls.append(f"http://127.0.0.1:{listener.getsockname()[1]}")
            await stack.enter_async_context(listening(OPTIONS, engine, listener, 16))
        yield tuple(urls)


async def standing(
    urls: Sequence[str],
    kept: Kept,
    samples: Sequence[Sample] = tuple(TEXTS),
    examined: dict[str, Any] | None = None,
    **plan: Any,
) -> Standing:
    asked = Plan(base_url=tuple(urls), **({"timeout": Duration.seconds(10), "mode": "text"} | plan))
    arena = Arena.build(samples, dialect_of(asked), Size(2**24))
    try:
        ends = tuple(resolve(asked, url) for url in urls)
        return await before_a_load(asked, arena.map, ends, Credentials(), examined or {}, kept, lambda _: None)
    finally:
        arena.close()


def rows(found: Standing) -> dict[int, list[list[float]]]:
    """Body → the vectors of its Items, whatever the numbers of their rows."""
    assert found.taken is not None
    return {body: found.taken.rows[0][own].tolist() for body, own in found.taken.bodies.items()}


def test_the_same_items_of_the_same_target_are_not_asked_for_twice_but_for_two_that_confirm_it() -> None:
    async def course() -> None:
        engine, kept = Other(), Kept()
        async with served(engine) as urls:
            first = await standing(urls, kept)
            assert engine.took() == 6
            again = await standing(urls, kept)
            assert engine.took() == 2
            assert rows(again) == rows(first)
            third = await standing(urls, kept, batch_size=3)  # other bodies, the same Items
            assert engine.took() == 2
        assert (first.agreement.items, first.agreement.earlier, first.agreement.again, first.agreement.age_ns) == (6, 0, 0, 0)
        for found in (again, third):
            assert (found.agreement.items, found.agreement.earlier, found.agreement.again) == (6, 6, 2)
            assert found.agreement.changed == []
        assert 0 < again.agreement.age_ns < third.agreement.age_ns

    asyncio.run(course())


@pytest.mark.parametrize(
    ("samples", "plan", "asked"),
    [
        ([*TEXTS[:4], Sample((Text("new"),)), Sample((Text("newer"),))], {}, 2 + 2),  # another pool
        ([Sample((Text(f"seed 2, {n}"),)) for n in range(6)], {}, 6),  # another seed's
        (TEXTS, {"seed": 9}, 2),  # the same Items in another order
        (TEXTS, {"model": "another"}, 6),
        (TEXTS, {"encoding_format": "base64"}, 6),
        (TEXTS, {"api": "native", "model": Plan().model}, 6),
        (TEXTS, {"header": ("X-Route=b",)}, 6),
        (TEXTS, {"examined": {"preflight": [{"server": {"engine": "", "version": "2", "facts": {}}}]}}, 6),
    ],
)
def test_what_is_not_known_is_asked_for(samples: list[Sample], plan: dict[str, Any], asked: int) -> None:
    async def course() -> None:
        engine, kept = Other(), Kept()
        version = {"preflight": [{"server": {"engine": "", "version": "1", "facts": {}}}]}
        async with served(engine) as urls:
            await standing(urls, kept, examined=version)
            assert engine.took() == 6
            found = await standing(urls, kept, samples, **({"examined": version} | plan))
            assert engine.took() == asked
            assert found.agreement.items == 6
            alone = await standing(urls, Kept(), samples, **plan)
            assert rows(found) == rows(alone)

    asyncio.run(course())


def test_another_target_is_asked_for_itself() -> None:
    async def course() -> None:
        one, two, kept = Other(), Other(), Kept()
        two.changed = True
        async with served(one, two) as urls:
            await standing(urls[:1], kept)
            found = await standing(urls[1:], kept)
            assert (one.took(), two.took()) == (6, 6)
            assert rows(found) == rows(await standing(urls[1:], Kept()))

    asyncio.run(course())


def test_a_target_that_gives_other_vectors_than_before_is_asked_for_all_and_that_is_told() -> None:
    async def course() -> None:
        engine, kept = Other(), Kept()
        async with served(engine) as urls:
            await standing(urls, kept)
            engine.changed = True
            engine.took()
            found = await standing(urls, kept)
            assert engine.took() == 1 + 6
            assert (found.agreement.changed, found.agreement.earlier, found.agreement.again) == ([urls[0]], 0, 0)
            assert rows(found) == rows(await standing(urls, Kept()))

    asyncio.run(course())


def test_a_text_and_an_image_confirm_a_target_that_is_sent_both() -> None:
    async def course() -> None:
        engine, kept = Other(), Kept()
        items: list[tuple[Item, Item]] = [(Text(f"t{n}"), Image(bytes([n]) * 90, "image/png")) for n in range(4)]
        samples = [Sample(pair) for pair in items]
        async with served(engine) as urls:
            await standing(urls, kept, samples, mode="multimodal")
            assert engine.took() == 8
            await standing(urls, kept, samples, mode="multimodal")
            assert sorted(b"data:image" in body for body in engine.asked) == [False, True]

    asyncio.run(course())


def test_what_had_no_usable_vector_is_asked_for_again() -> None:
    async def course() -> None:
        engine, kept = Other(ServerOptions(engine="sim", law="constant(1us)", dim=32, lie="nan")), Kept()
        async with served(engine) as urls:
            for _ in range(2):
                found = await standing(urls, kept, encoding_format="base64")
                assert engine.took() == 6
                assert (found.agreement.without, found.agreement.earlier) == ({"nan": 6}, 0)

    asyncio.run(course())


def test_what_is_forgotten_is_asked_for_again() -> None:
    async def course() -> None:
        engine, kept = Other(), Kept()
        async with served(engine) as urls:
            await standing(urls, kept)
            kept.forget()
            engine.took()
            assert (await standing(urls, kept)).agreement.earlier == 0
            assert engine.took() == 6

    asyncio.run(course())


def test_what_time_left_out_is_asked_for_before_the_next_load(monkeypatch: pytest.MonkeyPatch) -> None:
    async def course() -> None:
        engine, kept = Other(), Kept()
        async with served(engine) as urls:
            monkeypatch.setattr(references, "MOST_ITEMS", 4)
            assert (await standing(urls, kept)).agreement.items == engine.took() == 4
            monkeypatch.setattr(references, "MOST_ITEMS", 256)
            found = await standing(urls, kept)
            assert (found.agreement.items, found.agreement.earlier, engine.took()) == (6, 4, 2 + 2)

    asyncio.run(course())


def test_a_later_load_waits_a_twentieth_of_its_length_for_items_that_nobody_knows() -> None:
    """So that a search of many short loads spends its time on loads; what is known takes none, and is used all the same."""

    async def course() -> None:
        engine, kept = Other(), Kept()
        async with served(engine) as urls:
            for length in (SHORTEST, None):
                assert (await standing(urls, kept, duration=length)).agreement.earlier == 0, "the first load takes its time"
                assert engine.took() == len(TEXTS)
                kept.forget()
            await standing(urls, kept)
            engine.took()
            others = [Sample((Text(f"another caption {n}"),)) for n in range(6)]
            found = await standing(urls, kept, others, duration=SHORTEST)
            assert (found.agreement.items, engine.took()) == (1, 1), "nothing of these was known, so nothing confirmed"
            assert (await standing(urls, kept, others, duration=Duration.seconds(10**6))).agreement.items == 6
            engine.took()
            found = await standing(urls, kept, duration=SHORTEST)
            assert (found.agreement.items, found.agreement.earlier, engine.took()) == (6, 6, 2)

    asyncio.run(course())


def test_the_oldest_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_module, "MOST", 2)
    known, vector = Recollection(), np.ones(3, np.float32)
    for name in (b"a", b"b", b"a", b"c"):
        known.keep(name, Alone(vector, 0))
    assert len(known) == 2
    assert [known.find(name) is None for name in (b"a", b"b", b"c")] == [False, True, False]


# ---- several targets


def test_each_target_has_references_of_its_own_and_is_asked_when_no_other_is() -> None:
    async def course() -> None:
        one, two = Other(), Other()
        two.changed = True
        async with served(one, two) as urls:
            found = await standing(urls, Kept())
            assert (one.took(), two.took()) == (6, 6)
            assert found.taken is not None
            assert found.taken.rows.shape == (2, 6, 32)
            for number, url in enumerate(urls):
                own = await standing([url], Kept())
                assert own.taken is not None
                assert np.array_equal(found.taken.rows[number], own.taken.rows[0])
            [apart] = found.agreement.apart
            assert (apart.url, apart.both, apart.differ, found.agreement.targets) == (urls[1], 6, 6, 2)
            assert apart.distance > 0.1

    asyncio.run(course())


def test_one_server_behind_two_names_never_has_two_requests_at_once() -> None:
    async def course() -> None:
        engine = Other()
        async with served(engine) as (url,):
            found = await standing([url, url.replace("127.0.0.1", "localhost")], Kept())
            assert (engine.took(), engine.most_at_once) == (12, 1)
            assert [apart.differ for apart in found.agreement.apart] == [0]

    asyncio.run(course())


def test_a_target_that_only_fails_takes_nothing_from_the_others() -> None:
    async def course() -> None:
        one, two = Other(), Other()
        async with served(one, two) as urls:
            two.failing = True
            found = await standing(urls, Kept())
            assert found.taken is not None
            assert (one.took(), two.took()) == (6, 3)
            assert np.isfinite(found.taken.rows[0]).all()
            assert np.isnan(found.taken.rows[1]).all()
            assert [(apart.both, apart.differ) for apart in found.agreement.apart] == [(0, 0)]
            assert found.agreement.without == {"HTTP 503": 3}

    asyncio.run(course())
