"""The law of the family: what one direction writes, the other reads, for every entry and any content."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipload.dialects import DIALECTS, SERVER_DIALECTS, EncodingFormat, ServerItem, dialect_for, server_dialect_for
from clipload.values import Image, ImageRef, Item, Sample, Text

APIS = sorted(DIALECTS)
texts = st.builds(Text, st.text(min_size=1).filter(lambda text: text.strip()))
images = st.one_of(
    st.builds(Image, st.binary(max_size=200), st.sampled_from(["image/png", "image/jpeg", "image/webp"])),
    st.builds(ImageRef, st.sampled_from(["/data/a b.png", "file:///x.jpg", "http://h:1/é.png?a=1&b=2"])),
)
loads = st.one_of(
    st.tuples(st.just("text"), st.lists(st.builds(lambda t: Sample((t,)), texts), min_size=1, max_size=5)),
    st.tuples(st.just("image"), st.lists(st.builds(lambda i: Sample((i,)), images), min_size=1, max_size=5)),
    st.tuples(st.just("multimodal"), st.lists(st.builds(lambda t, i: Sample((t, i)), texts, images), min_size=1, max_size=5)),
)
formats = st.sampled_from(["float", "base64"])
matrices = st.tuples(st.integers(1, 5), st.integers(1, 40), st.integers(0, 2**32 - 1))


def _read(item: ServerItem) -> Item:
    if item.image is None:
        assert item.text is not None
        return Text(item.text)
    if not item.image.startswith("data:"):
        return ImageRef(item.image)
    head, _, payload = item.image.partition(";base64,")
    return Image(base64.b64decode(payload), head.removeprefix("data:"))


def test_every_entry_has_both_directions() -> None:
    assert DIALECTS.keys() == SERVER_DIALECTS.keys()


@pytest.mark.parametrize("api", APIS)
@given(load=loads, encoding_format=formats, model=st.text(max_size=20))
def test_the_server_reads_what_the_client_wrote(
    api: str,
    load: tuple[Literal["text", "image", "multimodal"], list[Sample]],
    encoding_format: EncodingFormat,
    model: str,
) -> None:
    mode, samples = load
    dialect, server = dialect_for(api, model, encoding_format, mode), server_dialect_for(api)
    request = server.parse(dialect.encode(samples))
    assert [_read(item) for item in request.items] == [item for sample in samples for item in sample.items]
    assert (request.model, request.encoding_format, server.path) == (model, encoding_format, dialect.path)


@pytest.mark.parametrize("api", APIS)
@given(shape=matrices, encoding_format=formats, tokens=st.integers(0, 10**6), model=st.text(max_size=20))
@settings(max_examples=50)
def test_the_client_reads_what_the_server_wrote(
    api: str, shape: tuple[int, int, int], encoding_format: EncodingFormat, tokens: int, model: str
) -> None:
    n, dim, seed = shape
    bits = np.random.default_rng(seed).integers(0, 2**32, (n, dim), np.uint32)
    vectors = np.where(np.isfinite(bits.view(np.float32)), bits.view(np.float32), np.float32(0))  # every magnitude there is
    dialect, server = dialect_for(api, "m", encoding_format, "text"), server_dialect_for(api)
    request = server.parse(dialect.encode([Sample((Text("a"),))] * n))
    body = server.reply(request, vectors, tokens, model)
    assert np.array_equal(dialect.decode(body, expected=n), vectors)
    assert dialect.count_vectors(body) == n
    assert dialect.decode(body).dtype == np.float32
    other = server.reply(replace(request, encoding_format="float"), vectors, tokens, model)
    assert np.array_equal(dialect.decode(other), vectors)  # a server that ignores the wish for base64 is read all the same
