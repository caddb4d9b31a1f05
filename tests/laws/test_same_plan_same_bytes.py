"""The law on which everything rests: the same Plan gives the same bodies at the same due instants, at any number of workers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipload.arena import Arena, Bodies, request_head
from clipload.dialects import dialect_for, dialect_of
from clipload.pacing import BODIES, Shuffle, arrivals
from clipload.plan import Plan
from clipload.sources import source_for
from clipload.units import Duration
from clipload.values import Sample, Text

Request = tuple[int, int, bytes]  # index, due offset, the bytes on the wire
LAW = settings(max_examples=15, deadline=None)
MODES = ("text", "image", "multimodal", "mixed")
TEXTS = [Sample((Text(f"caption {i} \N{SNOWMAN}"),)) for i in range(11)]


@pytest.fixture(scope="module")
def arenas() -> Iterator[dict[tuple[str, int], Arena]]:
    """(mode, pool) → an Arena of the synthetic source, tiny pictures; the pool of texts has eleven of them besides."""
    made = {}
    for mode in MODES:
        dialect = dialect_for("v1", "default", "float", mode)  # type: ignore[arg-type]
        for pool in (1, 5, 8):
            samples = source_for("random", mode=mode, seed=7, image_side=4).draw(pool)
            made[mode, pool] = Arena.build(samples, dialect, Plan().arena_limit)
    made["text", 11] = Arena.build(TEXTS, dialect_for("v1", "default", "float", "text"), Plan().arena_limit)
    yield made
    for arena in made.values():
        arena.close()


def sent(plan: Plan, arena: Arena, worker: int, workers: int) -> Iterator[Request]:
    """What worker `worker` of `workers` sends, walked as a worker does: its own map and shuffle, its share of the arrivals."""
    dialect = dialect_of(plan)
    bodies = Bodies(arena.map, plan.batch_size, dialect.frame(), request_head(dialect.path, "h:1"))
    pick = Shuffle(bodies.count, plan.seed, BODIES)
    end_ns = plan.bounds()[3]
    due = chain.from_iterable(arrivals(plan.pacer, plan.seed, worker, workers, end_ns))
    for i, due_ns in zip(range(worker, 10**9, workers), due):
        body = pick(i)
        whole = b"".join(bodies.views(body))
        assert bodies.small[body] in (None, whole)
        yield i, due_ns, whole


def together(plan: Plan, arena: Arena, workers: int) -> list[Request]:
    return sorted(chain.from_iterable(sent(plan, arena, worker, workers) for worker in range(workers)))


@pytest.mark.parametrize("arrival", ["constant", "poisson"])
@pytest.mark.parametrize(
    ("mode", "pool"), [("text", 1), ("text", 11), ("image", 5), ("multimodal", 8), ("mixed", 8), ("multimodal", 5)]
)
def test_the_same_requests_at_the_same_instants(
    arenas: dict[tuple[str, int], Arena], mode: str, pool: int, arrival: str
) -> None:
    @LAW
    @given(st.integers(0, 2**63 - 1), st.floats(50, 300), st.integers(1, 4))
    def check(seed: int, rate: float, batch_size: int) -> None:
        plan = Plan(
            mode=mode, rate=rate, seed=seed, arrival=arrival, batch_size=batch_size, duration=Duration.parse("200ms")  # type: ignore[arg-type]
        )  # fmt: skip
        one = together(plan, arenas[mode, pool], 1)
        assert [i for i, _, _ in one] == list(range(len(one)))
        for workers in (2, 7):
            assert together(plan, arenas[mode, pool], workers) == one

    check()


def test_the_arena_itself_is_a_function_of_the_plan(arenas: dict[tuple[str, int], Arena]) -> None:
    dialect = dialect_for("v1", "default", "float", "multimodal")
    again = Arena.build(source_for("random", mode="multimodal", seed=7, image_side=4).draw(8), dialect, Plan().arena_limit)
    try:
        plan = Plan(rate=200.0, duration=Duration.parse("200ms"))
        assert together(plan, again, 3) == together(plan, arenas["multimodal", 8], 2)
    finally:
        again.close()


def test_another_seed_sends_other_bodies_at_other_instants(arenas: dict[tuple[str, int], Arena]) -> None:
    one, two = (
        together(Plan(rate=200.0, duration=Duration.parse("200ms"), seed=seed), arenas["multimodal", 8], 2) for seed in (1, 2)
    )
    assert [due for _, due, _ in one] != [due for _, due, _ in two]
    n = min(len(one), len(two))
    assert [body for _, _, body in one[:n]] != [body for _, _, body in two[:n]]


def test_every_body_is_used_equally_often(arenas: dict[tuple[str, int], Arena]) -> None:
    plan = Plan(rate=200.0, arrival="constant", duration=Duration.seconds(1), mode="text")
    requests = together(plan, arenas["text", 11], 7)
    counts = [sum(body == other for _, _, other in requests[:198]) for body in {body for _, _, body in requests}]
    assert counts == [18] * 11
