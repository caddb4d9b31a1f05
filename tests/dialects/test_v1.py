"""The client's direction against replies as SGLang, OpenAI and others print them; the server's against SGLang's refusals."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest

from clipload.dialects import ReplyError, RequestRefused, dialect_for, server_dialect_for
from clipload.dialects.replies import MESSAGE_LIMIT
from clipload.dialects.v1 import V1, V1Server
from clipload.errors import PlanError
from clipload.values import Image, Sample, Text

PAIR = Sample((Text("a dog"), Image(b"\x89PNG", "image/png")))


def test_texts_alone_go_as_plain_strings() -> None:
    dialect = dialect_for("v1", "m", "float", "text")
    assert dialect.encode([Sample((Text('say "é"'),)), Sample((Text("b"),))]) == (
        '{"model":"m","encoding_format":"float","input":["say \\"é\\"","b"]}'.encode()
    )


def test_pairs_interleave_and_the_frame_joins_items() -> None:
    dialect = dialect_for("v1", "m", "base64", "multimodal")
    items = [piece for item in PAIR.items for piece in dialect.encode_item(item)]
    assert items == [b'{"text":"a dog"}', b'{"image":"data:image/png;base64,iVBORw=="}']
    prefix, suffix = dialect.frame()
    assert dialect.encode([PAIR, PAIR]) == prefix + b",".join(items + items) + suffix


def _sglang(n: int) -> bytes:
    return V1Server().reply(_request(n), np.ones((n, 3), np.float32), [9] * n, "embedding")


def _request(n: int, encoding_format: str = "float"):
    body = {"input": ["a"] * n, "encoding_format": encoding_format}
    return V1Server().parse(json.dumps(body).encode())


@pytest.mark.parametrize("n", [1, 2, 7])
@pytest.mark.parametrize("spaces", [True, False])
def test_count_vectors_counts_the_key_and_nothing_else(n: int, spaces: bool) -> None:
    rows = [{"object": "embedding", "embedding": [1.0, 2.0], "index": i} for i in range(n)]
    reply = {"object": "list", "data": rows, "model": 'an "embedding": model'}
    openai_like = json.dumps(reply, separators=None if spaces else (",", ":")).encode()
    assert V1("m").count_vectors(openai_like) == n
    assert V1("m").count_vectors(_sglang(n)) == n


def test_decode_orders_by_index_and_accepts_both_formats() -> None:
    second = base64.b64encode(np.array([3, 4], "<f4").tobytes()).decode()
    body = {"data": [{"embedding": second, "index": 1}, {"embedding": [1, 2.5], "index": 0}]}
    assert V1("m").decode(json.dumps(body).encode()).tolist() == [[1.0, 2.5], [3.0, 4.0]]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "not_json"),
        (b"<html>", "not_json"),
        (b'{"data":[{"embedding":[NaN],"index":0}]}', "not_json"),
        (b"[]", "shape"),
        (b'{"data":3}', "shape"),
        (b'{"data":[3]}', "shape"),
        (b'{"data":[{"embedding":null,"index":0}]}', "shape"),
        (b'{"data":[{"embedding":[],"index":0}]}', "shape"),
        (b'{"data":[{"embedding":[1,null],"index":0}]}', "shape"),
        (b'{"data":[{"embedding":[true],"index":0}]}', "shape"),
        (b'{"data":[{"embedding":"AAA","index":0}]}', "shape"),
        (b'{"data":[{"embedding":"AAAAAAA=","index":0}]}', "shape"),
        (b'{"data":[{"embedding":[1],"index":0},{"embedding":[1,2],"index":1}]}', "shape"),
        (b'{"data":[{"embedding":[1],"index":1}]}', "index"),
        (b'{"data":[{"embedding":[1]}]}', "index"),
        (b'{"data":[{"embedding":[1],"index":0},{"embedding":[1],"index":0}]}', "index"),
        (b'{"data":[{"embedding":[1],"index":0}]}', "count"),
        (b'{"data":[]}', "count"),
    ],
)
def test_what_is_not_a_reply_is_named(body: bytes, kind: str) -> None:
    with pytest.raises(ReplyError) as caught:
        V1("m").decode(body, expected=2 if kind == "count" else None)
    assert caught.value.kind == kind


def test_a_number_beyond_float32_is_infinite_not_an_error() -> None:
    assert np.isinf(V1("m").decode(b'{"data":[{"embedding":[1e300],"index":0}]}')).all()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"object":"error","message":"too long","code":400}', "too long"),
        (b'{"error":{"message":"no such model"}}', "no such model"),
        (b'{"error":"Unauthorized"}', "Unauthorized"),
        (b'{"detail":"Not Found"}', "Not Found"),
        (b'{"detail":[{"msg":"field required"}]}', '[{"msg":"field required"}]'),
        (b"Internal Server Error", "Internal Server Error"),
        (b'"nope"', "nope"),
        (b"{}", "{}"),
        (b"", "HTTP 500 with an empty body"),
        (b"\xff\xfe", "��"),
    ],
)
def test_error_messages_are_found_wherever_they_stand(body: bytes, says: str) -> None:
    assert V1("m").error_message(500, body) == says


@pytest.mark.parametrize("body", [b"x" * 126_000, json.dumps({"message": "é" * 126_000}).encode()])
def test_error_messages_are_cut(body: bytes) -> None:
    assert len(V1("m").error_message(400, body)) == MESSAGE_LIMIT


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [
        ("{", "Bad Request", "json"),
        ('{"model":"m"}', "Bad Request", "Field required"),
        ('{"input":null}', "Bad Request", "one kind per list"),
        ('{"input":["a",{"text":"b"}]}', "Bad Request", "one kind per list"),
        ('{"input":["a",1]}', "Bad Request", "one kind per list"),
        ('{"input":[{"image":{"url":"x"}}]}', "Bad Request", "{'url': 'x'}"),
        ('{"input":"a","encoding_format":null}', "Bad Request", "valid string"),
        ('{"input":"a","encoding_format":"int8"}', "BadRequestError", "got 'int8'"),
        ('{"input":""}', "BadRequestError", "Input cannot be empty"),
        ('{"input":[]}', "BadRequestError", "Input cannot be empty"),
        ('{"input":"  "}', "BadRequestError", "Input cannot be empty or whitespace only"),
        ('{"input":["a"," "]}', "BadRequestError", "Input at index 1 cannot be empty or whitespace only"),
        ('{"input":[1,-1]}', "BadRequestError", "Token ID at index 1 must be non-negative"),
        ('{"input":[[1],[]]}', "BadRequestError", "Input at index 1"),
        ('{"input":"a","dimensions":64}', "BadRequestError", "does not support matryoshka representation"),
    ],
)
def test_refusals_have_sglangs_shape(body: str, kind: str, says: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        V1Server().parse(body.encode())
    said = json.loads(caught.value.body)
    assert list(said) == ["object", "message", "type", "param", "code"]
    assert (caught.value.status, said["object"], said["type"], said["param"], said["code"]) == (400, "error", kind, None, 400)
    assert says in said["message"]


def test_what_sglang_accepts_is_accepted() -> None:
    parse = server_dialect_for("v1").parse
    assert [item.text for item in parse(b'{"input":["a","b"]}').items] == ["a", "b"]
    assert parse(b'{"input":[3,4]}').items[0].tokens == (3, 4)
    assert [item.tokens for item in parse(b'{"input":[[3],[4]]}').items] == [(3,), (4,)]
    both = parse(b'{"input":[{"text":"t","image":"data:,x","unknown":1},{}],"user":"u","model":"m"}')
    assert [(item.text, item.image) for item in both.items] == [("t", "data:,x"), (None, None)]
    assert (both.model, both.encoding_format, parse(b'{"input":"a"}').model) == ("m", "float", "default")


def test_replies_have_sglangs_key_order() -> None:
    body = V1Server().reply(_request(1), np.array([[0.5]], np.float32), [3], "/models/clip")
    assert body == (
        b'{"data":[{"embedding":[0.5],"index":0,"object":"embedding"}],"model":"/models/clip","object":"list",'
        b'"usage":{"prompt_tokens":3,"total_tokens":3,"completion_tokens":0,"prompt_tokens_details":null,'
        b'"reasoning_tokens":0,"completion_tokens_details":null}}'
    )


def test_an_unknown_dialect_names_the_flag() -> None:
    with pytest.raises(PlanError, match="--api: no dialect is called 'v2'"):
        dialect_for("v2", "m", "float", "text")
