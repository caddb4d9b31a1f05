"""The null server over real sockets: framing is all it does, so framing is what is tested."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from clipload.dialects import dialect_for
from tests.server.wire import JSON, ask, connect, embed, once, picture, vectors
from tests.servers import Server, running_server


@pytest.fixture(scope="module")
def null() -> Iterator[Server]:
    with running_server("null") as server:
        yield server


@contextmanager
def stream(server: Server) -> Iterator[socket.socket]:
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connection


def request(given: object, fields: str = "", **more: object) -> bytes:
    body = json.dumps({"input": given} | more).encode()
    return f"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\n{fields}content-length: {len(body)}\r\n\r\n".encode() + body


def read(connection: socket.socket, replies: int) -> list[bytes]:
    """The bodies of so many replies, which must be all there is."""
    data, bodies = b"", []
    while len(bodies) < replies:
        head, end, rest = data.partition(b"\r\n\r\n")
        length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0]) if end else 0
        if not end or len(rest) < length:
            piece = connection.recv(1 << 20)
            assert piece, f"closed after {len(bodies)} replies and {data[:200]!r}"
            data += piece
            continue
        bodies.append(rest[:length])
        data = rest[length:]
    assert data == b""
    return bodies


def count(body: bytes) -> int:
    return dialect_for("v1", "m", "float", "text").count_vectors(body)


def test_as_many_vectors_as_items_in_either_format(null: Server) -> None:
    connection = connect(null.url)
    for items in (1, 3, 2, 3, 1):
        answer = ask(connection, "POST", "/v1/embeddings", {"input": ["a"] * items}, JSON)
        assert vectors(answer).shape == (items, 512)
        assert 9_000 < len(answer.body) / items < 12_000
    coded = embed(null.url, ["a", "b"], encoding_format="base64")
    assert dialect_for("v1", "m", "base64", "text").decode(coded.body, expected=2).shape == (2, 512)
    connection.close()


def test_small_bodies_of_one_length_are_told_apart(null: Server) -> None:
    for body, items in ((b'{"input":["a","b"]}', 2), (b'{"input":["a, b"]}', 1), (b'{"input":["b","a"]}', 2)):
        assert count(once(null.url, "POST", "/v1/embeddings", body).body) == items


def test_requests_cut_anywhere_are_understood(null: Server) -> None:
    raw = request(["a", "b"]) + request("c") + b"GET /ready HTTP/1.1\r\nhost: x\r\n\r\n"
    for step in (1, 7, 50):
        with stream(null) as connection:
            for start in range(0, len(raw), step):
                connection.sendall(raw[start : start + step])
            assert [count(body) for body in read(connection, 3)] == [2, 1, 0]


def test_pipelined_requests_are_answered_in_order(null: Server) -> None:
    with stream(null) as connection:
        connection.sendall(b"".join(request(["a"] * items) for items in (1, 4, 2, 4, 1)))
        assert [count(body) for body in read(connection, 5)] == [1, 4, 2, 4, 1]


def test_large_bodies_are_counted_to_their_end(null: Server) -> None:
    large = [{"image": "data:image/png;base64," + "A" * 1_500_000}] * 2
    with stream(null) as connection:
        for given, items in ((large, 2), ("a", 1), (large, 2), (large, 2), (["a"] * 3, 3)):
            connection.sendall(request(given))
            assert [count(body) for body in read(connection, 1)] == [items]


def test_a_length_once_known_is_answered_without_reading(null: Server) -> None:
    first = json.dumps({"input": [{"image": picture(1)}] * 2}).encode()
    assert len(first) > 4096
    assert vectors(once(null.url, "POST", "/v1/embeddings", first)).shape[0] == 2
    assert vectors(once(null.url, "POST", "/v1/embeddings", b"x" * len(first))).shape[0] == 2


def test_a_fixed_number_of_items_needs_no_reading() -> None:
    with running_server("null", "--items", "3", "--dim", "8") as server:
        assert vectors(once(server.url, "POST", "/v1/embeddings", b"anything")).shape == (3, 8)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/ready", 200),
        ("GET", "/health", 200),
        ("GET", "/v1/models", 200),
        ("GET", "/x", 404),
        ("GET", "/v1/embeddings", 405),
    ],
)
def test_the_control_plane(null: Server, method: str, path: str, status: int) -> None:
    answer = once(null.url, method, path)
    assert answer.status == status
    if path == "/v1/models":
        assert answer.json["data"][0]["id"] == "clipload/null"


def test_what_is_no_request_gets_sglangs_refusal(null: Server) -> None:
    answer = once(null.url, "POST", "/v1/embeddings", b"{}")
    assert (answer.status, answer.json["type"]) == (400, "Bad Request")
    assert embed(null.url, []).status == 400
    assert once(null.url, "POST", "/v1/embeddings", b"").status == 400


def test_connection_close_is_obeyed(null: Server) -> None:
    with stream(null) as connection:
        connection.sendall(request("a", "Connection: close\r\n"))
        assert count(read(connection, 1)[0]) == 1
        assert connection.recv(1) == b""


def test_a_client_that_waits_for_100_is_told_to_go_on(null: Server) -> None:
    head, _, body = request("a", "Expect: 100-continue\r\n").partition(b"\r\n\r\n")
    with stream(null) as connection:
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert count(read(connection, 1)[0]) == 1


def test_chunked_bodies_are_refused_not_misread(null: Server) -> None:
    with stream(null) as connection:
        connection.sendall(b"POST /v1/embeddings HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 400"


def test_idle_connections_are_closed_and_the_key_is_asked_for() -> None:
    with running_server("null", "--keep-alive", "100ms", env={"CLIPLOAD_SERVE_API_KEY": "k"}) as server:
        assert once(server.url, "POST", "/v1/embeddings", b'{"input":"a"}').body == b'{"error":"Unauthorized"}'
        assert once(server.url, "POST", "/v1/embeddings", b'{"input":"a"}', {"authorization": "Bearer k"}).status == 200
        with stream(server) as connection:
            connection.sendall(b"GET /ready HTTP/1.1\r\n\r\n")
            read(connection, 1)
            assert connection.recv(1) == b""
