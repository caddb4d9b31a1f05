"""SGLang's /encode over real sockets, of every engine: shapes, statuses, vectors, and the times that replies tell."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from tests.server.wire import JSON, Answer, connect, embed, once, picture, vectors
from tests.servers import Server, running_server

ERROR_KEYS = ["object", "message", "type", "param", "code"]
PICTURE = picture(1)


@pytest.fixture(scope="module")
def slow() -> Iterator[Server]:
    """The sim engine, one request at a time, 30 ms each."""
    with running_server("sim", "--law", "constant(30ms)", "--dim", "8") as server:
        yield server


def encode(url: str, method: str = "POST", **body: Any) -> Answer:
    return once(url, method, "/encode", body)


def rows(answer: Answer) -> list[dict[str, Any]]:
    assert answer.status == 200, answer.body[:500]
    return answer.json if isinstance(answer.json, list) else [answer.json]


def found(answer: Answer) -> np.ndarray:
    return np.array([row["embedding"] for row in rows(answer)])


@pytest.mark.parametrize("engine", ["sim", "clip"])
def test_encode_and_embeddings_give_the_same_vectors(engine: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue(engine).url
    native = found(encode(url, text=["a dog", "padding"], image_data=[None, PICTURE]))
    assert native == pytest.approx(vectors(embed(url, [{"text": "a dog"}, {"image": PICTURE}])), abs=1e-5)
    assert found(encode(url, image_data=PICTURE))[0] == pytest.approx(native[1], abs=1e-5)


@pytest.mark.parametrize("engine", ["sim", "clip"])
def test_each_item_has_its_tokens_and_times(engine: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue(engine).url
    sent = time.monotonic()
    told = [row["meta_info"] for row in rows(encode(url, text=["a", "a dog runs"]))]
    took = time.monotonic() - sent
    assert [meta["prompt_tokens"] for meta in told] == [3, 5]
    for meta in told:
        assert 0 <= meta["queue_time"] <= meta["e2e_latency"] <= took
        assert meta["request_received_ts"] <= meta["api_server_dispatch_finish_ts"] <= meta["request_finished_ts"]


def test_one_item_alone_is_answered_by_an_object(sim: Server) -> None:
    assert list(encode(sim.url, text="a").json) == ["embedding", "meta_info"]
    for method in ("POST", "PUT"):
        assert [list(row) for row in encode(sim.url, method, text=["a"]).json] == [["embedding", "meta_info"]]
    assert encode(sim.url, text=[]).json == []
    assert encode(sim.url, text=["a"]).headers["content-type"].split(";")[0] == "application/json"


def test_the_clip_engine_answers_nothing_with_nothing(clip: Server) -> None:
    assert encode(clip.url, text=[]).json == []


@pytest.mark.parametrize(
    ("body", "keys", "says"),
    [
        (b"{", ERROR_KEYS, "json"),
        (b'{"text":3}', ERROR_KEYS, "valid string"),
        (b"{}", ["error"], "At least one of"),
        (b'{"text":["a","b"],"image_data":["u"]}', ["error"], "1 entries but the batch has 2"),
        (json.dumps({"text": "a " * 75}).encode(), ["error"], "(77 tokens) is longer than the model's context length (77"),
    ],
)
def test_refusals(sim: Server, body: bytes, keys: list[str], says: str) -> None:
    answer = once(sim.url, "POST", "/encode", body)
    assert (answer.status, list(answer.json)) == (400, keys)
    assert says in (answer.json["message"] if keys == ERROR_KEYS else answer.json["error"]["message"])


def test_a_wrong_content_type_and_a_wrong_method(sim: Server) -> None:
    refused = once(sim.url, "POST", "/encode", b'{"text":"a"}', {"content-type": "text/plain"})
    assert (refused.status, list(refused.json), refused.json["type"]) == (400, ERROR_KEYS, "Bad Request")
    answer = once(sim.url, "GET", "/encode")
    assert (answer.status, answer.json) == (405, {"detail": "Method Not Allowed"})
    assert set(answer.headers["allow"].split(", ")) == {"POST", "PUT"}


def test_an_image_that_is_none_is_refused(clip: Server) -> None:
    answer = encode(clip.url, text="padding", image_data="junk")
    assert (answer.status, list(answer.json), list(answer.json["error"])) == (400, ["error"], ["message"])


def test_the_simulated_times_are_those_of_the_queue(slow: Server) -> None:
    """To the nanosecond: every request is served for 30 ms, and the n-th of those that met waited for the ones before it."""
    with ThreadPoolExecutor(5) as pool:
        told = [rows(answer)[0]["meta_info"] for answer in pool.map(lambda _: encode(slow.url, text="a"), range(5))]
    assert [meta["e2e_latency"] - meta["queue_time"] for meta in told] == pytest.approx([0.03] * 5, abs=1e-9)
    waits = sorted(meta["queue_time"] for meta in told)
    assert waits[0] < 0.03
    assert waits[-1] > 0.0


def test_the_same_text_in_two_dialects_is_two_bodies(sim: Server) -> None:
    """A body that both understand is answered by the one that was asked, though replies are kept by body."""
    both = {"input": "a", "model": "m", "text": "b"}
    for _ in range(2):
        assert "data" in once(sim.url, "POST", "/v1/embeddings", both).json
        assert "meta_info" in once(sim.url, "POST", "/encode", both).json


def test_a_full_queue_and_a_failure() -> None:
    with running_server("sim", "--law", "constant(5s)", "--max-queue", "0") as server:
        first = connect(server.url)
        first.request("POST", "/encode", b'{"text":"a"}', JSON)
        time.sleep(0.1)
        answer = encode(server.url, text="a")
        first.close()
    assert (answer.status, list(answer.json), answer.json["code"]) == (503, ERROR_KEYS, 503)
    with running_server("sim", "--error-rate", "1") as server:
        answer = encode(server.url, text="a")
        assert (answer.status, answer.body) == (500, b"Internal Server Error")
        assert answer.headers["content-type"].split(";")[0] == "text/plain"
        assert embed(server.url, "a").json["type"] == "InternalServerError"


def test_the_null_server_speaks_it_too() -> None:
    with running_server("null", "--dim", "8") as server:
        for _ in range(2):  # read once, remembered once
            assert found(encode(server.url, text="a")).shape == (1, 8)
            assert isinstance(encode(server.url, text="a").json, dict)
            assert isinstance(encode(server.url, text=["a"]).json, list)
            assert found(encode(server.url, "PUT", text=["a", "b"])).shape == (2, 8)
            assert found(encode(server.url, text=["a"] * 2, image_data=["x" * 9000] * 2)).shape == (2, 8)
            assert vectors(embed(server.url, ["a", "b", "c"])).shape == (3, 8)
        assert rows(encode(server.url, text="a"))[0]["meta_info"]["e2e_latency"] is None, "nobody waited, nothing is told"
        assert encode(server.url).status == 400
        assert once(server.url, "GET", "/encode").status == 405
