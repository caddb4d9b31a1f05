"""The lies themselves: what each says of a request, alone and beside others that are being served; and over HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from clipload.dialects import ServerItem, Vectors
from clipload.server.lies import LIES, Cache, Radix, die_on_mixed, ignore_images, leak, nan, swap
from clipload.server.options import LieName
from tests.server.wire import embed, picture, vectors
from tests.servers import Server, running_server

A, B, C = (ServerItem(text=text) for text in "abc")
ONE, TWO, TITLED = ServerItem(image="1"), ServerItem(image="2"), ServerItem(text="a", image="1")


def name(item: ServerItem) -> Vectors:
    """A vector that says whose it is."""
    letters = f"image {item.image}" if item.image is not None else item.text or ""
    return np.array([float(ord(letter)) for letter in letters.ljust(12)], np.float32)


def said(found: list[Vectors]) -> list[str]:
    return ["".join(chr(int(number)) for number in vector).strip() for vector in found]


def test_images_are_ignored_for_their_text_or_for_padding() -> None:
    assert said(ignore_images([A, ONE, TITLED], [], name)) == ["a", "padding", "a"]


def test_texts_see_those_before_them_and_those_in_hand() -> None:
    assert said(leak([A, B, ONE, C], [], name)) == ["a", "a b", "image 1", "a b c"]
    assert said(leak([C], [A, ONE, B], name)) == ["a b c"]
    assert said(leak([C], [ONE], name)) == ["c"], "images do not leak"


def test_vectors_change_places() -> None:
    assert said(swap([A, B, C], [ONE], name)) == ["b", "c", "a"]
    assert said(swap([A], [B, TWO], name)) == ["image 2"]
    assert said(swap([A], [], name)) == ["a"]


def test_one_number_is_none() -> None:
    found = nan([A, ONE], [], name)
    assert [int(np.isnan(vector).sum()) for vector in found] == [1, 1]
    assert np.isfinite(name(A)).all(), "the true vector is untouched"


def test_a_text_is_remembered_wrongly() -> None:
    radix = Radix()
    assert said(radix([A, B, ONE, ONE], [], name)) == ["a", "b", "image 1", "image 1"]
    assert said(radix([A, C], [], name)) == ["a (cached)", "c"]


def test_what_was_answered_is_known_and_nothing_else() -> None:
    cache = Cache()
    assert said(cache([A, ONE], [B], name)) == ["a", "image 1"]
    assert not cache.knows([A]), "it was asked, and not yet answered"
    cache.answered([A, ONE])
    assert cache.knows([ONE, A])
    assert not any(map(cache.knows, ([A, B], [TWO], [TITLED])))


def test_texts_alone_and_images_alone_do_not_kill() -> None:
    assert said(die_on_mixed([A, B], [C], name)) == ["a", "b"]
    assert said(die_on_mixed([ONE], [TWO, TITLED], name)) == ["image 1"]


def test_every_lie_has_a_name_and_every_name_a_lie() -> None:
    assert set(LIES) == set(LieName.__args__)


@pytest.fixture(scope="module")
def leaking() -> Iterator[Server]:
    with running_server("sim", "--law", "constant(300ms)", "--servers", "4", "--dim", "16", "--lie", "leak") as server:
        yield server


def test_what_meets_leaks_and_what_is_alone_does_not(leaking: Server) -> None:
    """The vectors of one text: alone twice, and four at once."""
    alone = [vectors(embed(leaking.url, ["a"]))[0] for _ in range(2)]
    np.testing.assert_array_equal(*alone)
    with ThreadPoolExecutor(4) as pool:
        met = list(pool.map(lambda _: vectors(embed(leaking.url, ["a"]))[0], range(4)))
    wrong = sum(not np.array_equal(vector, alone[0]) for vector in met)
    assert 0 < wrong < 4, "the first has nobody before it"


@pytest.mark.clock
def test_what_comes_again_takes_no_service_time() -> None:
    """One server that takes 300 ms a request; what it knows passes those that wait, with the same vector."""
    with running_server("sim", "--law", "constant(300ms)", "--dim", "16", "--lie", "cache") as server:
        first = vectors(embed(server.url, ["a"]))
        with ThreadPoolExecutor(1) as pool:
            new = pool.submit(embed, server.url, ["b"])
            begun = time.monotonic()
            again = vectors(embed(server.url, ["a"]))
            assert time.monotonic() - begun < 0.25
            assert new.result().status == 200
        assert time.monotonic() - begun > 0.25
    np.testing.assert_array_equal(first, again)


def test_text_and_image_at_once_end_the_process() -> None:
    with running_server("sim", "--law", "constant(1us)", "--dim", "16", "--lie", "die-on-mixed") as server:
        assert embed(server.url, ["a", "b"]).status == embed(server.url, [{"image": picture(1)}]).status == 200
        with pytest.raises(OSError):  # noqa: PT011 - reset or closed, as the kernel sees fit
            embed(server.url, [{"text": "a"}, {"image": picture(1)}])
        assert server.process.wait(5) == -9
