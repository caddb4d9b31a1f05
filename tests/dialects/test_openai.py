"""OpenAI's own API: what its published shape has is taken, everything less is named; the server refuses as strictly."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from clipload.dialects import ReplyError, RequestRefused, dialect_for, server_dialect_for
from clipload.dialects.openai import MOST_INPUTS, OpenAI, OpenAIServer
from clipload.values import Sample, Text

TWO = [Sample((Text("a"),)), Sample((Text("b"),))]


def published(n: int = 2, encoding_format: str = "float") -> dict[str, Any]:
    """A reply as OpenAI documents it."""
    code = base64.b64encode(np.array([0.5, 1.5], "<f4").tobytes()).decode()
    vector: Any = code if encoding_format == "base64" else [0.5, 1.5]
    rows = [{"object": "embedding", "index": i, "embedding": vector} for i in range(n)]
    return {"object": "list", "data": rows, "model": "m", "usage": {"prompt_tokens": 8, "total_tokens": 8}}


def test_bodies_are_those_of_v1() -> None:
    for encoding_format in ("float", "base64"):
        mine, theirs = (dialect_for(api, "m", encoding_format, "text").encode(TWO) for api in ("openai", "v1"))
        assert mine == theirs


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("encoding_format", ["float", "base64"])
def test_the_published_reply_is_read(encoding_format: Any, indent: int | None) -> None:
    dialect = OpenAI("m", encoding_format)
    body = json.dumps(published(2, encoding_format), indent=indent).encode()
    assert dialect.decode(body, expected=2).tolist() == [[0.5, 1.5]] * 2
    assert dialect.looks_whole([b"HTTP/1.1 200 OK\r\n\r\n" + body], 2)
    assert not dialect.looks_whole([body], 3)


def test_sglangs_reply_is_openais_too() -> None:
    server = server_dialect_for("v1")
    request = server.parse(OpenAI("m").encode(TWO))
    reply = server.reply(request, np.eye(2, dtype=np.float32), [3, 4], "m")
    assert OpenAI("m").decode(reply, expected=2).tolist() == [[1, 0], [0, 1]]
    assert OpenAI("m").looks_whole([reply], 2)


def _without(*path: Any) -> Callable[[dict[str, Any]], None]:
    def change(reply: dict[str, Any]) -> None:
        for key in path[:-1]:
            reply = reply[key]
        del reply[path[-1]]

    return change


def _with(value: Any, *path: Any) -> Callable[[dict[str, Any]], None]:
    def change(reply: dict[str, Any]) -> None:
        for key in path[:-1]:
            reply = reply[key]
        reply[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (_without("object"), "shape"),
        (_with("embedding", "object"), "shape"),
        (_without("model"), "shape"),
        (_without("usage"), "shape"),
        (_without("usage", "total_tokens"), "shape"),
        (_with(None, "usage", "prompt_tokens"), "shape"),
        (_with(1.5, "usage", "prompt_tokens"), "shape"),
        (_without("data"), "shape"),
        (_without("data", 0, "object"), "shape"),
        (_without("data", 1, "embedding"), "shape"),
        (_with("AACAPw==", "data", 1, "embedding"), "shape"),  # base64, where floats were asked for
        (_without("data", 1, "index"), "index"),
        (_with("1", "data", 1, "index"), "index"),
        (_with(True, "data", 1, "index"), "index"),
        (_with(0, "data", 1, "index"), "index"),
        (_without("data", 1), "count"),
    ],
)
def test_what_v1_forgives_is_named(change: Callable[[dict[str, Any]], None], kind: str) -> None:
    reply = published()
    change(reply)
    with pytest.raises(ReplyError) as caught:
        OpenAI("m").decode(json.dumps(reply).encode(), expected=2)
    assert caught.value.kind == kind


def test_floats_where_base64_was_asked_for_are_no_reply() -> None:
    body = json.dumps(published()).encode()
    assert not OpenAI("m", "base64").looks_whole([body], 2)
    with pytest.raises(ReplyError, match="not in the format asked for, base64"):
        OpenAI("m", "base64").decode(body)


@pytest.mark.parametrize("given", ["a", ["a", "b"], [1, 2], [[1], [2, 3]], ["a"] * MOST_INPUTS])
def test_what_openai_accepts_is_accepted(given: Any) -> None:
    request = OpenAIServer().parse(json.dumps({"model": "m", "input": given, "user": "u"}).encode())
    assert len(request.items) == (1 if isinstance(given, str) or given == [1, 2] else len(given))
    assert (request.model, request.encoding_format, request.single) == ("m", "float", False)


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        ("{", None, "not JSON"),
        ("[1]", None, "not a JSON object"),
        ('{"input":"a"}', "model", "Missing required parameter: 'model'"),
        ('{"model":"m"}', "input", "Missing required parameter: 'input'"),
        ('{"model":3,"input":"a"}', "model", "expected a string"),
        ('{"model":"m","input":"a","user":3}', "user", "expected a string"),
        ('{"model":"m","input":""}', "input", "none is empty"),
        ('{"model":"m","input":["a",""]}', "input", "none is empty"),
        ('{"model":"m","input":[]}', "input", "not empty"),
        ('{"model":"m","input":3}', "input", "expected a string"),
        ('{"model":"m","input":[{"text":"a"}]}', "input", "all of one kind"),
        ('{"model":"m","input":["a",[1]]}', "input", "all of one kind"),
        ('{"model":"m","input":[1,"a"]}', "input", "none is empty"),
        ('{"model":"m","input":[[1],[]]}', "input", "none is empty"),
        ('{"model":"m","input":[[-1]]}', "input", "none is empty"),
        ('{"model":"m","input":"a","encoding_format":"int8"}', "encoding_format", "Invalid value"),
        ('{"model":"m","input":"a","encoding_format":null}', "encoding_format", "Invalid value"),
        ('{"model":"m","input":"a","dimensions":8}', "dimensions", "does not support specifying dimensions"),
        ('{"model":"m","input":"a","rid":"x"}', None, "Unrecognized request argument supplied: rid"),
        (json.dumps({"model": "m", "input": ["a"] * (MOST_INPUTS + 1)}), "input", "at most 2048"),
    ],
)
def test_refusals_have_openais_shape(body: str, param: str | None, says: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        OpenAIServer().parse(body.encode())
    said = json.loads(caught.value.body)
    assert (caught.value.status, list(said)) == (400, ["error"])
    assert list(said["error"]) == ["message", "type", "param", "code"]
    assert (said["error"]["type"], said["error"]["param"]) == ("invalid_request_error", param)
    assert says in said["error"]["message"]


def test_a_servers_own_failure_has_another_type() -> None:
    kinds = {status: json.loads(OpenAIServer().refusal(status, "x"))["error"]["type"] for status in (400, 429, 500, 503)}
    assert kinds == {400: "invalid_request_error", 429: "rate_limit_error", 500: "server_error", 503: "server_error"}


def test_replies_have_openais_keys() -> None:
    server = OpenAIServer()
    request = server.parse(OpenAI("m").encode(TWO))
    reply = json.loads(server.reply(request, np.full((2, 2), (0.5, 1.5), np.float32), [3, 5], "m"))
    assert reply == published()
    assert json.dumps(reply) == json.dumps(published()), "in the same order"
