"""SGLang's shapes over real sockets: statuses, bodies, key order, auth, keep-alive."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from tests.server.wire import JSON, ask, connect, embed, once, picture, vectors
from tests.servers import Server, running_server

KEY = "open sesame"
BEARER = JSON | {"authorization": f"Bearer {KEY}"}
ERROR_KEYS = ["object", "message", "type", "param", "code"]


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    file = tmp_path_factory.mktemp("key") / "key"
    file.write_text(KEY + "\n")
    with running_server(
        "sim", "--api-key-file", str(file), "--served-model-name", "my/clip", "--keep-alive", "300ms"
    ) as server:
        yield server


def test_a_reply_has_sglangs_keys_in_sglangs_order(sim: Server) -> None:
    answer = embed(sim.url, ["a dog", "a cat"])
    assert (answer.status, answer.headers["content-type"].split(";")[0]) == (200, "application/json")
    reply = answer.json
    assert list(reply) == ["data", "model", "object", "usage"]
    assert [list(row) for row in reply["data"]] == [["embedding", "index", "object"]] * 2
    assert [(row["index"], row["object"]) for row in reply["data"]] == [(0, "embedding"), (1, "embedding")]
    tokens = ["prompt_tokens", "total_tokens", "completion_tokens", "prompt_tokens_details", "reasoning_tokens"]
    assert list(reply["usage"]) == [*tokens, "completion_tokens_details"]
    assert reply["usage"]["prompt_tokens"] == reply["usage"]["total_tokens"] == 8
    assert 9_000 < len(answer.body) / 2 < 12_000


def test_vectors_are_functions_of_the_item(sim: Server) -> None:
    pictures = [picture(1), picture(2)]
    together = vectors(embed(sim.url, [{"text": "a"}, {"image": pictures[0]}, {"image": pictures[1]}, {"text": "a"}, {}]))
    assert together.shape == (5, 512)
    assert np.linalg.norm(together, axis=1) == pytest.approx(1, abs=1e-6)
    assert np.array_equal(together[0], together[3])
    gram = together[:3] @ together[:3].T
    assert np.abs(gram - np.eye(3)).max() < 0.3
    alone = [vectors(embed(sim.url, given))[0] for given in ("a", [{"image": pictures[0]}], "padding")]
    assert np.array_equal(together[[0, 1, 4]], alone)
    assert np.array_equal(vectors(embed(sim.url, [{"text": "other", "image": pictures[0]}]))[0], together[1])
    assert vectors(embed(sim.url, [[1, 2], [3]])).shape == (2, 512)


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [
        (b'{"input":', "Bad Request", "json"),
        (b"", "Bad Request", "json"),
        (b'{"model":"m"}', "Bad Request", "input"),
        (b'{"input":["a",{"text":"b"}]}', "Bad Request", "one kind per list"),
        (b'{"input":[]}', "BadRequestError", "Input cannot be empty"),
        (b'{"input":"a","dimensions":8}', "BadRequestError", "matryoshka"),
        (b'{"input":"a","encoding_format":"x"}', "BadRequestError", "encoding_format must be either"),
        (
            json.dumps({"input": "a " * 75}).encode(),
            "BadRequestError",
            "(77 tokens) is longer than the model's context length (77",
        ),
    ],
)
def test_refusals(sim: Server, body: bytes, kind: str, says: str) -> None:
    answer = once(sim.url, "POST", "/v1/embeddings", body)
    assert (answer.status, list(answer.json), answer.json["type"]) == (400, ERROR_KEYS, kind)
    assert says in answer.json["message"]


def test_one_token_less_is_served(sim: Server) -> None:
    assert vectors(embed(sim.url, "a " * 74)).shape == (1, 512)


def test_a_wrong_content_type_is_refused(sim: Server) -> None:
    for headers in ({"content-type": "text/plain"}, {}):
        answer = once(sim.url, "POST", "/v1/embeddings", b'{"input":"a"}', headers)
        assert (answer.status, list(answer.json), answer.json["type"]) == (400, ERROR_KEYS, "Bad Request")
    assert (
        once(sim.url, "POST", "/v1/embeddings", b'{"input":"a"}', {"content-type": "application/json; charset=utf-8"}).status
        == 200
    )


@pytest.mark.parametrize(
    ("method", "path", "status", "says"),
    [("GET", "/nowhere", 404, "Not Found"), ("GET", "/v1/embeddings", 405, "Method Not Allowed")],
)
def test_unknown_paths_and_methods(sim: Server, method: str, path: str, status: int, says: str) -> None:
    answer = once(sim.url, method, path)
    assert (answer.status, answer.json) == (status, {"detail": says})


@pytest.mark.parametrize("path", ["/health", "/health_generate", "/ready"])
def test_health_has_an_empty_body(sim: Server, path: str) -> None:
    answer = once(sim.url, "GET", path)
    assert (answer.status, answer.body) == (200, b"")


def test_the_server_says_who_it_is(sim: Server) -> None:
    models = once(sim.url, "GET", "/v1/models").json
    (card,) = models["data"]
    assert list(card) == ["id", "object", "created", "owned_by", "root", "parent", "max_model_len"]
    assert (models["object"], card["id"], card["owned_by"], card["max_model_len"]) == ("list", "clipload/sim", "sglang", 77)
    assert once(sim.url, "GET", "/v1/models/clipload/sim").json == card
    for path in ("/model_info", "/get_model_info"):
        info = once(sim.url, "GET", path).json
        assert (info["is_generation"], info["model_type"], info["embedding"]["cache"]["radix_cache_disabled"]) == (
            False,
            "clip",
            True,
        )
    for path in ("/server_info", "/get_server_info"):
        info = once(sim.url, "GET", path).json
        assert (info["engine"], info["law"], info["servers"]) == ("sim", "constant(1us)", 1)


def test_a_model_that_does_not_exist(sim: Server) -> None:
    answer = once(sim.url, "GET", "/v1/models/other")
    error = answer.json["error"]
    assert (answer.status, list(answer.json), list(error)) == (404, ["error"], ["message", "type", "param", "code"])
    assert (error["message"], error["code"]) == ("The model 'other' does not exist", "model_not_found")


def test_large_bodies_have_no_limit(sim: Server) -> None:
    body = json.dumps({"input": [{"image": "data:image/png;base64," + "A" * 3_000_000}] * 2}).encode()
    assert vectors(once(sim.url, "POST", "/v1/embeddings", body)).shape == (2, 512)


def test_the_key_opens_and_nothing_else_does(locked: Server) -> None:
    for headers in (
        JSON,
        JSON | {"authorization": f"Bearer {KEY}x"},
        JSON | {"authorization": KEY},
        JSON | {"authorization": "Bearer é"},
    ):
        answer = once(locked.url, "POST", "/v1/embeddings", b'{"input":"a"}', headers)
        assert (answer.status, answer.body) == (401, b'{"error":"Unauthorized"}')
    assert once(locked.url, "GET", "/v1/models").status == 401
    assert once(locked.url, "POST", "/v1/embeddings", b'{"input":"a"}', BEARER).json["model"] == "my/clip"
    assert once(locked.url, "GET", "/v1/models", headers=BEARER).json["data"][0]["id"] == "my/clip"


@pytest.mark.parametrize("path", ["/health", "/health_generate", "/ready"])
def test_health_needs_no_key(locked: Server, path: str) -> None:
    assert once(locked.url, "GET", path).status == 200


def test_the_key_also_comes_from_the_environment() -> None:
    with running_server("sim", env={"CLIPLOAD_SERVE_API_KEY": KEY}) as server:
        assert once(server.url, "GET", "/v1/models").status == 401
        assert once(server.url, "GET", "/v1/models", headers=BEARER).status == 200
        assert KEY not in Path(f"/proc/{server.pid}/cmdline").read_text()


def test_connections_are_kept_and_closed_when_idle(locked: Server) -> None:
    connection = connect(locked.url)
    for _ in range(3):
        assert ask(connection, "POST", "/v1/embeddings", {"input": "a"}, BEARER).status == 200
    address = urlsplit(locked.url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as idle:
        idle.sendall(b"GET /ready HTTP/1.1\r\nhost: x\r\n\r\n")
        received = b""
        while piece := idle.recv(4096):  # ends when the server closes; the time-out above is the failure
            received += piece
    assert received.startswith(b"HTTP/1.1 200")
    connection.close()
