"""The law of the family: what one direction writes, the other reads, for every entry and any content."""

from __future__ import annotations

import base64
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipload.dialects import (
    DIALECTS,
    NOT_TOLD,
    SERVER_DIALECTS,
    EncodingFormat,
    Mode,
    ReplyError,
    ServerItem,
    Times,
    dialect_for,
    dialects_served,
    encode_body,
    server_dialect_for,
)
from clipload.errors import PlanError
from clipload.plan import Plan
from clipload.values import Image, ImageRef, Item, Sample, Text

APIS = sorted(DIALECTS)
EACH = pytest.mark.parametrize("api", APIS)
texts = st.builds(Text, st.text(min_size=1).filter(lambda text: text.strip()))
images = st.one_of(
    st.builds(Image, st.binary(max_size=200), st.sampled_from(["image/png", "image/jpeg", "image/webp"])),
    st.builds(ImageRef, st.sampled_from(["/data/a b.png", "file:///x.jpg", "http://h:1/é.png?a=1&b=2"])),
)


def _samples(*items: st.SearchStrategy[Item]) -> st.SearchStrategy[list[Sample]]:
    return st.lists(st.builds(Sample, st.tuples(*items)), min_size=1, max_size=5)


# The last: one text or one image each, in any order.
LOADS: list[tuple[Mode, st.SearchStrategy[list[Sample]]]] = [
    ("text", _samples(texts)),
    ("image", _samples(images)),
    ("multimodal", _samples(texts, images)),
    ("mixed", _samples(texts | images)),
]
matrices = st.tuples(st.integers(1, 5), st.integers(1, 40), st.integers(0, 2**32 - 1))
nanoseconds = st.integers(0, 10**15)


def _can(api: str, mode: Mode, encoding_format: EncodingFormat = "float", batch_size: int = 1) -> bool:
    """What an API has no words for, no Plan asks of it."""
    try:
        Plan(api=api, mode=mode, encoding_format=encoding_format, batch_size=batch_size)  # type: ignore[arg-type]
    except PlanError:
        return False
    return True


def _formats(api: str) -> st.SearchStrategy[EncodingFormat]:
    every: tuple[EncodingFormat, ...] = ("float", "base64")
    return st.sampled_from([one for one in every if _can(api, "text", one)])


def _loads(api: str) -> st.SearchStrategy[tuple[Mode, list[Sample]]]:
    """Where several Items do not go together, one."""
    most = {mode: 5 if _can(api, mode, batch_size=2) else 1 for mode, _ in LOADS}
    return st.one_of(
        [
            st.tuples(st.just(mode), samples.map(lambda many, n=most[mode]: many[:n]))
            for mode, samples in LOADS
            if _can(api, mode)
        ]
    )


def _read(item: ServerItem) -> Item:
    if item.image is None:
        assert item.text is not None
        return Text(item.text)
    assert item.text in (None, "padding")
    if not item.image.startswith("data:"):
        return ImageRef(item.image)
    head, _, payload = item.image.partition(";base64,")
    return Image(base64.b64decode(payload), head.removeprefix("data:"))


def _vectors(shape: tuple[int, int, int]) -> np.ndarray:
    """Every magnitude there is."""
    n, dim, seed = shape
    bits = np.random.default_rng(seed).integers(0, 2**32, (n, dim), np.uint32)
    return np.where(np.isfinite(bits.view(np.float32)), bits.view(np.float32), np.float32(0))


def test_every_entry_has_both_directions_and_something_that_it_can() -> None:
    assert DIALECTS.keys() == SERVER_DIALECTS.keys()
    assert all(_can(api, "text", "float") for api in APIS)


@EACH
def test_every_path_has_one_owner_and_the_one_named_has_its_own(api: str) -> None:
    served = dialects_served(api)
    assert served.keys() == {server_dialect_for(name).path for name in APIS}
    assert served[server_dialect_for(api).path] == server_dialect_for(api)


@EACH
@given(data=st.data(), model=st.text(min_size=1, max_size=20), known=st.booleans())
@settings(deadline=None)
def test_the_server_reads_what_the_client_wrote(api: str, data: st.DataObject, model: str, known: bool) -> None:
    (mode, samples), encoding_format = data.draw(_loads(api)), data.draw(_formats(api))
    items = [item for sample in samples for item in sample.items]
    known = known or not _can(api, mode, batch_size=2)
    dialect, server = dialect_for(api, model, encoding_format, mode, len(items) if known else None), server_dialect_for(api)
    body = dialect.encode(samples)
    assert body == encode_body(dialect, samples)
    assert {len(dialect.encode_item(item)) for item in items} == {len(dialect.frame()) - 1}
    request = server.parse(body)
    assert [_read(item) for item in request.items] == items
    assert (request.encoding_format, server.path) == (encoding_format, dialect.path)
    assert request.model in (model, "default")
    assert "POST" in server.methods
    assert not request.single or (known and len(items) == 1)


@EACH
@given(data=st.data(), shape=matrices, tokens=st.integers(0, 10**6), model=st.text(max_size=20), known=st.booleans())
@settings(max_examples=50, deadline=None)
def test_the_client_reads_what_the_server_wrote(
    api: str, data: st.DataObject, shape: tuple[int, int, int], tokens: int, model: str, known: bool
) -> None:
    encoding_format = data.draw(_formats(api))
    n, vectors = shape[0], _vectors(shape)
    dialect = dialect_for(api, "m", encoding_format, "text", n if known else None)
    server = server_dialect_for(api)
    request = server.parse(dialect.encode([Sample((Text("a"),))] * n))
    body = server.reply(request, vectors, [tokens] * n, model)
    assert np.array_equal(dialect.decode(body, expected=n), vectors)
    assert dialect.count_vectors(body) == n
    assert dialect.decode(body).dtype == np.float32
    with pytest.raises(ReplyError) as caught:
        dialect.decode(body, expected=n + 1)
    assert caught.value.kind == "count"


@EACH
@given(data=st.data(), shape=matrices, cut=st.lists(st.integers(0, 10**4), max_size=3), asked=st.integers(1, 6))
@settings(max_examples=50, deadline=None)
def test_what_looks_whole_can_be_decoded(
    api: str, data: st.DataObject, shape: tuple[int, int, int], cut: list[int], asked: int
) -> None:
    """In any pieces; a reply with another number of vectors never looks so, and in one piece the right one always does."""
    encoding_format = data.draw(_formats(api))
    n = shape[0]
    dialect, server = dialect_for(api, "m", encoding_format, "text", asked), server_dialect_for(api)
    request = server.parse(dialect_for(api, "m", encoding_format, "text", n).encode([Sample((Text("a"),))] * n))
    body = server.reply(request, _vectors(shape), [3] * n, "m")
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    places = sorted({0, *(place for place in cut if place < len(reply)), len(reply)})
    pieces = [reply[a:b] for a, b in pairwise(places)]
    whole = dialect.looks_whole(pieces, asked)
    assert not whole or len(dialect.decode(body)) == asked
    assert dialect.looks_whole([reply], asked) is (n == asked)


@EACH
@given(
    shape=matrices,
    queue_ns=nanoseconds,
    rest_ns=nanoseconds,
    cut=st.lists(st.integers(0, 10**4), max_size=3),
    known=st.booleans(),
)
@settings(max_examples=50, deadline=None)
def test_the_times_that_were_told_are_heard(
    api: str, shape: tuple[int, int, int], queue_ns: int, rest_ns: int, cut: list[int], known: bool
) -> None:
    n = shape[0]
    dialect, server = dialect_for(api, "m", "float", "text", n if known else None), server_dialect_for(api)
    request = server.parse(dialect.encode([Sample((Text("a"),))] * n))
    body = server.reply(request, _vectors(shape), [3] * n, "m")
    times = Times(1.7e9, 0, queue_ns, queue_ns + rest_ns)
    timed = server.timed(body, times)
    places = sorted({0, *(place for place in cut if place < len(timed)), len(timed)})
    told = dialect.server_times([timed[a:b] for a, b in pairwise(places)])
    assert dialect.server_times([body]) == NOT_TOLD
    assert told == ((queue_ns, queue_ns + rest_ns) if dialect.tells_times else NOT_TOLD)
    assert np.array_equal(dialect.decode(timed), dialect.decode(body))
    assert dialect.looks_whole([timed], n)


@EACH
@given(garbage=st.lists(st.binary(max_size=60), min_size=1, max_size=3))
@settings(deadline=None)
def test_nothing_that_comes_makes_the_client_fail(api: str, garbage: list[bytes]) -> None:
    dialect = dialect_for(api, "m", "float", "text", 1)
    assert dialect.server_times(garbage) == NOT_TOLD
    assert dialect.error_message(500, b"".join(garbage))
    assert isinstance(dialect.looks_whole(garbage, 1), bool)


@EACH
@pytest.mark.parametrize("status", [400, 401, 404, 500, 503])
def test_a_refusal_says_what_it_was_told(api: str, status: int) -> None:
    """Save that SGLang's /encode keeps its own failures to itself."""
    server = server_dialect_for(api)
    said = dialect_for(api, "m", "float", "text").error_message(status, server.refusal(status, "it is so", "BadRequestError"))
    assert said in ("it is so", "Internal Server Error")
    assert said == "it is so" or (api, status) == ("native", 500)
