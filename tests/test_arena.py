"""The Arena and its Bodies: a server would read what the definition says, and nothing is stored twice or left behind."""

from __future__ import annotations

import gc
import json
import mmap
import os
import tempfile
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from math import gcd
from pathlib import Path

import pytest

from clipload.arena import SMALL, Arena, Bodies, count_bodies, mean_body, request_head
from clipload.credentials import Credentials
from clipload.dialects import Dialect, dialect_for, server_dialect_for
from clipload.errors import DatasetError, HostError
from clipload.units import Size
from clipload.values import Image, ImageRef, Item, Sample, Text

ROOM = Size(2**24)
HEAD = request_head("/v1/embeddings", "127.0.0.1:30000")
PAIR = dialect_for("v1", "some model", "float", "multimodal")
PLAIN = dialect_for("v1", "some model", "base64", "text")
TWO_COLUMNS = dialect_for("native", "default", "float", "multimodal")


def picture(i: int, size: int = 40) -> Image:
    return Image(bytes((i + k) % 256 for k in range(size)), "image/png")


def pairs(n: int, size: int = 40) -> list[Sample]:
    return [Sample((Text(f'caption "{i}" \N{SNOWMAN}\n'), picture(i, size))) for i in range(n)]


def texts(n: int) -> list[Sample]:
    return [Sample((Text(f"caption {i}, é"),)) for i in range(n)]


@contextmanager
def arena_of(samples: list[Sample], dialect: Dialect = PAIR, limit: Size = ROOM) -> Iterator[Arena]:
    arena = Arena.build(samples, dialect, limit)
    try:
        yield arena
    finally:
        arena.close()


def bodies_of(arena: Arena, batch_size: int, dialect: Dialect = PAIR, head: bytes = HEAD) -> Bodies:
    return Bodies(arena.map, batch_size, dialect.frame(), head)


def read(body: bytes, api: str = "v1") -> list[Item]:
    """What a server understands."""
    items: list[Item] = []
    for item in server_dialect_for(api).parse(body).items:
        if item.image is None:
            assert item.text is not None
            items.append(Text(item.text))
        else:
            media_type, _, data = item.image.removeprefix("data:").partition(";base64,")
            items.append(Image(b64decode(data), media_type))
    return items


@pytest.mark.parametrize("pool", [1, 2, 3, 7, 10])
@pytest.mark.parametrize("batch_size", range(1, 8))
def test_body_b_holds_the_samples_that_the_definition_gives(pool: int, batch_size: int) -> None:
    for samples, dialect, api in ((pairs(pool), PAIR, "v1"), (texts(pool), PLAIN, "v1"), (pairs(pool), TWO_COLUMNS, "native")):
        with arena_of(samples, dialect) as arena:
            bodies = bodies_of(arena, batch_size, dialect)
            assert bodies.count == count_bodies(pool, batch_size)
            used = [0] * pool
            for b in range(bodies.count):
                rows = [(b * batch_size + k) % pool for k in range(batch_size)]
                expected = [samples[row] for row in rows]
                assert bodies.payload(b) == dialect.encode(expected)
                read_back = [item for item in read(bodies.payload(b), api) if item != Text("padding")]
                assert read_back == [item for sample in expected for item in sample.items]
                for row in rows:
                    used[row] += 1
            assert len(set(used)) == 1, "each Sample is used equally often"
            lengths = [len(bodies.payload(b)) for b in range(bodies.count)]
            assert mean_body(arena.map, batch_size, dialect.frame()) == round(sum(lengths) / len(lengths))


def test_the_request_is_http() -> None:
    head = request_head("/v1/embeddings", "h:1", Credentials("sesame").headers)
    with arena_of(pairs(3)) as arena:
        bodies = bodies_of(arena, 2, head=head)
        whole = b"".join(bodies.views(1))
    lines, body = whole.split(b"\r\n\r\n", 1)
    first, *headers = lines.decode().split("\r\n")
    assert first == "POST /v1/embeddings HTTP/1.1"
    named = dict(line.split(": ", 1) for line in headers)
    assert named == {
        "Host": "h:1",
        "Content-Type": "application/json",
        "Accept": "application/json",
        "Authorization": "Bearer sesame",
        "Content-Length": str(len(body)),
    }
    assert json.loads(body)["model"] == "some model"
    assert b"Authorization" not in request_head("/", "h")


@pytest.mark.parametrize("batch_size", [1, 2, 5])
@pytest.mark.parametrize("size", [10, 6_000, 20_000])
@pytest.mark.parametrize("dialect", [PAIR, TWO_COLUMNS], ids=["one column", "two columns"])
def test_lengths_are_real_and_what_is_small_is_joined(batch_size: int, size: int, dialect: Dialect) -> None:
    with arena_of(pairs(4, size), dialect) as arena:
        bodies = bodies_of(arena, batch_size, dialect)
        for b in range(bodies.count):
            whole = b"".join(bodies.views(b))
            assert bodies.wire_bytes[b] == len(whole)
            assert bodies.small[b] == (whole if len(whole) <= SMALL else None)
            assert len(bodies.views(b)) <= len(dialect.frame()) * (2 * batch_size + 1)
            assert int(whole.split(b"Content-Length: ")[1].split(b"\r\n")[0]) == len(whole.split(b"\r\n\r\n", 1)[1])


def test_a_request_of_just_the_small_size_is_joined() -> None:
    with arena_of([Sample((Text("x"),))], PLAIN) as arena:
        spare = SMALL - int(bodies_of(arena, 1, PLAIN).wire_bytes[0])
    for more, joined in ((spare - 3, True), (spare - 2, False)):
        # Content-Length has three more digits than before
        with arena_of([Sample((Text("x" * (1 + more)),))], PLAIN) as arena:
            bodies = bodies_of(arena, 1, PLAIN)
            assert bodies.wire_bytes[0] == SMALL + (not joined)
            assert (bodies.small[0] is not None) is joined


def test_joined_requests_have_a_bound() -> None:
    """They are each worker's own memory: past the bound a request goes out from the Arena, and says the same."""
    with arena_of(texts(40), PLAIN) as arena:
        whole = bodies_of(arena, 1, PLAIN)
        room = int(whole.wire_bytes[:25].sum())
        bounded = Bodies(arena.map, 1, PLAIN.frame(), HEAD, room)
        assert sum(len(request or b"") for request in bounded.small) == room
        assert [request is not None for request in bounded.small] == [True] * 25 + [False] * 15
        assert all(b"".join(bounded.views(b)) == whole.small[b] for b in range(40))


def test_the_same_item_is_stored_once() -> None:
    caption, shared = Text("one caption"), picture(1)
    samples = [Sample((caption, picture(1))), Sample((Text("one caption"), picture(2))), Sample((Text("two"), shared))]
    with arena_of(samples) as arena:
        assert (arena.map.items, arena.map.pool, arena.map.items_per_sample) == (4, 3, 2)
        bodies = bodies_of(arena, 3)
        assert read(bodies.payload(0)) == [item for sample in samples for item in sample.items]


@pytest.mark.parametrize("dialect", [PAIR, TWO_COLUMNS], ids=["one column", "two columns"])
def test_neighbours_are_one_view_in_each_column(dialect: Dialect) -> None:
    """A body is as long a list of views as there are gaps: neighbours in the pool, the dataset's usual case, have none."""
    with arena_of(pairs(6), dialect) as arena:
        bodies = bodies_of(arena, 4, dialect)
        columns = len(dialect.frame()) - 1
        assert [len(bodies.views(b)) - len(dialect.frame()) for b in range(bodies.count)] == [columns, 2 * columns, columns]


def test_a_text_is_not_a_picture_of_the_same_bytes() -> None:
    with arena_of([Sample((Text("abc"), Image(b"abc", "image/png")))]) as arena:
        assert arena.map.items == 2


def test_a_reference_is_neither_a_text_nor_a_picture() -> None:
    samples = [Sample((Text("/a.png"),)), Sample((ImageRef("/a.png"),)), Sample((ImageRef("/a.png"),))]
    with arena_of(samples) as arena:
        assert (arena.map.items, arena.map.pool) == (2, 3)


def test_pictures_of_other_media_types_are_others() -> None:
    samples = [Sample((Image(b"abc", "image/png"),)), Sample((Image(b"abc", "image/jpeg"),))]
    with arena_of(samples) as arena:
        assert read(bodies_of(arena, 2).payload(0)) == [item for sample in samples for item in sample.items]


def size_by_the_book(samples: list[Sample], dialect: Dialect) -> int:
    """Σ len + 1 of the distinct Items' pieces, aligned to 8, and the table."""
    items = {item: dialect.encode_item(item) for sample in samples for item in sample.items}
    encoded = sum(len(piece) + 1 for pieces in items.values() for piece in pieces)
    columns = len(dialect.frame()) - 1
    table = 8 * (columns * (len(items) + 1) + sum(len(sample.items) for sample in samples))
    return encoded + -encoded % 8 + table


@pytest.mark.parametrize("n", [1, 5, 64])
@pytest.mark.parametrize("dialect", [PAIR, TWO_COLUMNS], ids=["one column", "two columns"])
def test_memory_is_that_of_the_items_whatever_the_batch_size(n: int, dialect: Dialect) -> None:
    samples = pairs(n, 1000)
    with arena_of(samples, dialect) as arena:
        assert os.fstat(arena.fd).st_size == arena.map.size == size_by_the_book(samples, dialect)
        for batch_size in (1, 7, 100):
            before = os.fstat(arena.fd).st_blocks
            bodies = bodies_of(arena, batch_size, dialect)
            new = [view for b in range(bodies.count) for view in bodies.views(b) if not isinstance(view.obj, mmap.mmap)]
            assert sum(len(view) for view in new) < 300 * bodies.count  # only heads and frames are not in the Arena
            assert len(new) == bodies.count * len(dialect.frame())
            assert os.fstat(arena.fd).st_blocks == before


def test_the_limit_is_exact_and_names_its_flag() -> None:
    samples = pairs(9, 500)
    for dialect in (PAIR, TWO_COLUMNS):
        size = size_by_the_book(samples, dialect)
        with arena_of(samples, dialect, limit=Size(size)) as arena:
            assert arena.map.size == size
        for limit in (size - 1, size // 2, 0):
            with pytest.raises(HostError) as caught:
                Arena.build(samples, dialect, Size(limit))
            assert caught.value.flag == "--arena-limit"
            assert "--pool" in caught.value.remedy


def test_no_samples_are_a_mistake() -> None:
    with pytest.raises(DatasetError) as caught:
        Arena.build([], PAIR, ROOM)
    assert caught.value.flag == "--data-source"
    assert caught.value.remedy


def descriptors() -> set[str]:
    gc.collect()
    return set(os.listdir("/proc/self/fd"))  # noqa: PTH208  - names of descriptors, of which the listing's own is one


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = descriptors()
    with arena_of(pairs(3)) as arena:
        assert os.readlink(f"/proc/self/fd/{arena.fd}").endswith("memfd:clipload-arena (deleted)")  # noqa: PTH115
        assert not os.get_inheritable(arena.fd)
        assert bodies_of(arena, 2).payload(0)
    with pytest.raises(HostError):
        Arena.build(pairs(3), PAIR, Size(10))
    with pytest.raises(DatasetError):
        Arena.build([], PAIR, ROOM)
    assert descriptors() == before
    assert list(tmp_path.iterdir()) == []
    assert not [name for name in os.listdir("/dev/shm") if "clipload" in name]  # noqa: PTH208


def test_a_draw_that_fails_closes_the_arena() -> None:
    def broken() -> Iterator[Sample]:
        yield pairs(1)[0]
        raise DatasetError("is broken")

    before = descriptors()
    with pytest.raises(DatasetError, match="broken"):
        Arena.build(broken(), PAIR, ROOM)
    assert descriptors() == before


def test_a_worker_cannot_write_into_it() -> None:
    with arena_of(pairs(3, 9000)) as arena:
        views = bodies_of(arena, 2).views(0)
        assert all(view.readonly for view in views)
        with pytest.raises(TypeError):
            views[1][0] = 0


def test_a_map_outlives_the_descriptor_of_the_builder() -> None:
    arena = Arena.build(pairs(2), PAIR, ROOM)
    bodies = bodies_of(arena, 2)
    arena.close()
    assert read(bodies.payload(0)) == [item for sample in pairs(2) for item in sample.items]


def test_two_maps_are_one_memory() -> None:
    with arena_of(pairs(5)) as arena:
        one, two = bodies_of(arena, 3), bodies_of(arena, 3)
        assert [one.payload(b) for b in range(one.count)] == [two.payload(b) for b in range(two.count)]
        with mmap.mmap(arena.fd, arena.map.size, prot=mmap.PROT_READ) as memory:
            assert PAIR.encode_item(picture(0))[0] + b"," in bytes(memory)


def test_progress_is_told_sample_by_sample() -> None:
    told: list[int] = []
    Arena.build(pairs(4), PAIR, ROOM, told.append).close()
    assert told == [1, 2, 3, 4]


def test_more_than_one_step_of_reserved_memory() -> None:
    samples = [Sample((Image(os.urandom(3_000_000), "image/png"),)) for _ in range(6)]  # 24 MB as base64
    with arena_of(samples, limit=Size(2**25)) as arena:
        bodies = bodies_of(arena, 1)
        for b in (0, 5):
            assert read(bodies.payload(b)) == list(samples[b].items)


@pytest.mark.parametrize(("pool", "batch_size"), [(1, 1), (12, 8), (8, 12), (7, 5), (256, 64), (5, 5)])
def test_the_number_of_bodies(pool: int, batch_size: int) -> None:
    count = count_bodies(pool, batch_size)
    assert count * batch_size % pool == 0
    assert all(n * batch_size % pool for n in range(1, count))
    assert count == pool // gcd(pool, batch_size)


def test_the_repr() -> None:
    with arena_of(pairs(3)) as arena:
        assert repr(arena).startswith("Arena(3 Samples, 6 Items, ")


def test_an_item_alone_is_what_the_dialect_makes_of_it() -> None:
    for dialect, api in ((PAIR, "v1"), (TWO_COLUMNS, "native")):
        with arena_of(pairs(3), dialect) as arena:
            bodies = bodies_of(arena, 2, dialect)
            said = [read(bodies.alone(item), api) for item in bodies.items(1)]
            together = read(bodies.payload(1), api)
            assert [each for [each] in said] == together
            assert len(together) == 4
