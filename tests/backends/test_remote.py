"""The remote backend: a server's vectors, through its dialects and the stream transport, and servers that do not give them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipload.backends import Backend, BackendOptions, backend_for
from clipload.credentials import Credentials
from clipload.errors import CliploadError, PlanError, TargetError
from clipload.plan import Plan
from clipload.units import Duration
from clipload.values import Image, Text
from tests.servers import Server
from tests.validation.liars import DIM, Liar, honest, lying


@pytest.fixture
def liar() -> Iterator[Liar]:
    with lying() as server:
        yield server


def remote(url: str, key: str = "", model: str = "", **plan: Any) -> Backend:
    target = Plan(base_url=url, mode="text", **plan)
    return backend_for("remote", BackendOptions(target=target, model=model, credentials=Credentials(key)))


@pytest.fixture
def asking(liar: Liar) -> Iterator[Backend]:
    backend = remote(liar.url, concurrency=4)
    yield backend
    backend.close()


@pytest.mark.parametrize("api", ["v1", pytest.param("native", marks=pytest.mark.slow)])
def test_parity_with_transformers(api: str, served: Server, tiny_checkpoint: Path) -> None:
    """The suite of the local backends; a server's vectors may be of any length, so directions are what is compared."""
    pytest.importorskip("torch", reason="the extra `local` is not installed")
    from tests.backends.parity import PICTURES, TEXTS, cosines, reference

    pictures = [picture for picture in PICTURES if picture.media_type != "image/tiff"]
    texts, images = reference(tiny_checkpoint, TEXTS, pictures)
    expected = np.concatenate([texts, images])
    backend = remote(served.url, api=api)
    try:
        items = [*map(Text, TEXTS), *pictures]
        order = np.random.default_rng(1).permutation(len(items))
        found = backend.encode([backend.prepare(items[place]) for place in order])
        assert backend.encode([]).shape[0] == 0
        assert (backend.facts()["model"], backend.facts()["dtype"]) == (str(tiny_checkpoint), "fp32")
    finally:
        backend.close()
    assert found.dtype == np.float32
    assert cosines(found, expected[order]).min() >= 0.99999
    assert ((found @ (expected / np.linalg.norm(expected, axis=1, keepdims=True)).T).argmax(axis=1) == order).all()


@pytest.mark.parametrize("encoding_format", ["float", "base64"])
def test_texts_by_openai(encoding_format: str, served: Server) -> None:
    """Both ways in which vectors are printed."""
    openai, v1 = remote(served.url, api="openai", encoding_format=encoding_format), remote(served.url)
    try:
        assert openai.encode([Text("a dog")]) == pytest.approx(v1.encode([Text("a dog")]), abs=1e-6)
        with pytest.raises(PlanError, match="text only"):
            openai.encode([Image(b"", "image/png")])
    finally:
        openai.close()
        v1.close()


def test_so_many_are_in_flight_and_each_vector_finds_its_item(liar: Liar, asking: Backend) -> None:
    liar.pause_s = 0.01
    items = [Text(f"text {i % 37}") for i in range(60)]
    found = asking.encode(items)
    assert found == pytest.approx(np.array([honest(item.text) for item in items], np.float32))
    assert liar.most == 4
    assert all(len(request) == 1 for request in liar.asked)
    assert asking.encode([Text("again")]).shape == (1, DIM)


def test_the_model_and_the_key_are_sent(liar: Liar) -> None:
    liar.info = {"model_path": "/models/clip", "dtype": "bfloat16"}
    backend = remote(liar.url, key="s3cret", model="clip")
    try:
        backend.encode([Text("a")])
        assert {head["Authorization"] for head in liar.heads} == {"Bearer s3cret"}
        facts = backend.facts()
        assert (facts["model"], facts["dtype"], facts["server"]) == ("/models/clip", "bf16", liar.url)
        assert "s3cret" not in repr(facts)
        liar.lie = lambda _: (500, "no s3cret here")
        with pytest.raises(TargetError, match=r"no \*\*\* here"):
            backend.encode([Text("b")])
    finally:
        backend.close()


def test_what_a_server_does_not_say_is_not_guessed(asking: Backend) -> None:
    assert (asking.facts()["model"], asking.facts()["dtype"]) == ("default", "unknown")


def test_one_failure_ends_it_and_names_the_item(liar: Liar, asking: Backend) -> None:
    def lie(items: list[Any]) -> Any:
        return (503, "the queue is full") if items[0] == "text 7" else [honest(item) for item in items]

    liar.lie = lie
    with pytest.raises(TargetError, match=r"answered 503 to request 8 of 30 \('text 7'\): the queue is full") as caught:
        asking.encode([Text(f"text {i}") for i in range(30)])
    assert "--concurrency 1" in caught.value.remedy
    assert len(liar.asked) < 30, "nothing more is asked"
    assert asking.encode([Text("text 8")]).shape == (1, DIM), "and it can be asked again"


@pytest.mark.parametrize(
    ("lie", "says"),
    [
        (lambda items: [honest(item) for item in items] * 2, "2 vectors"),
        (lambda items: [["no"] for _ in items], "neither a list of numbers"),
        (lambda items: [honest(item)[: 8 + (item == "b")] for item in items], "different lengths"),
        (lambda _: (404, "no such path"), "404"),
        (lambda _: (401, "who are you"), "401"),
    ],
)
def test_a_server_that_is_none(lie: Any, says: str, liar: Liar, asking: Backend) -> None:
    liar.lie = lie
    with pytest.raises(TargetError, match=says) as caught:
        asking.encode([Text("a"), Text("b"), Text("c")])
    assert (caught.value.exit_code, bool(caught.value.remedy)) == (3, True)


def test_a_server_that_is_too_slow(liar: Liar) -> None:
    backend = remote(liar.url, timeout=Duration.parse("300ms"), concurrency=2)
    try:
        backend.encode([Text("a")])
        liar.pause_s = 1.0
        with pytest.raises(TargetError, match=r"did not answer request \d of 2 \('.'\) within 300ms") as caught:
            backend.encode([Text("b"), Text("c")])
        assert caught.value.flag == "--timeout"
    finally:
        backend.close()


def test_nobody_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(TargetError, match="cannot be reached") as caught:
            remote(f"http://127.0.0.1:{free.getsockname()[1]}")
    assert (caught.value.flag, caught.value.exit_code) == ("--base-url", 3)


def test_one_server_at_a_time() -> None:
    with pytest.raises(CliploadError, match="one server at a time"):
        remote("http://127.0.0.1:1,http://127.0.0.1:2")


def test_a_broken_picture_is_found_here(asking: Backend) -> None:
    with pytest.raises(OSError, match="cannot identify"):
        asking.prepare(Image(b"no picture", "image/png"))
