"""SGLang's /encode: bodies and replies as SGLang takes and prints them, times wherever they stand, refusals in its shapes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from clipload.dialects import NOT_TOLD, EmbeddingRequest, ReplyError, RequestRefused, ServerItem, Times, dialect_for
from clipload.dialects.native import Native, NativeServer
from clipload.values import Image, Sample, Text

PICTURE = Image(b"\x89PNG", "image/png")
URI = "data:image/png;base64,iVBORw=="
PAIR = Sample((Text("a dog"), PICTURE))

# As SGLang 0.5.23 printed it, the vector shortened.
REAL = (
    b'{"embedding":[0.1,-0.2],"meta_info":{"id":"e2ddc00a35d5467d85966bbe93befec9","finish_reason":{"type":"length","length":0},'
    b'"prompt_tokens":5,"weight_version":"default","num_retractions":0,"queue_time":0.0,"e2e_latency":0.014253211999971427,'
    b'"request_received_ts":1795600976.02252,"first_token_latency":0.014253211999971427,'
    b'"api_server_dispatch_finish_ts":1795600976.031497,"request_finished_ts":1795600976.0367732,'
    b'"response_sent_to_client_ts":1795600976.037041}}'
)


@pytest.mark.parametrize(
    ("mode", "items", "samples", "body"),
    [
        ("text", 1, [Sample((Text('say "é"'),))], {"text": 'say "é"'}),
        ("text", 2, [Sample((Text("a"),)), Sample((Text("b"),))], {"text": ["a", "b"]}),
        ("text", None, [Sample((Text("a"),))], {"text": ["a"]}),
        ("image", 1, [Sample((PICTURE,))], {"text": "padding", "image_data": URI}),
        ("image", 1, [Sample((Text("a"),))], {"text": "a", "image_data": None}),
        ("multimodal", 2, [PAIR], {"text": ["a dog", "padding"], "image_data": [None, URI]}),
        ("multimodal", 4, [PAIR] * 2, {"text": ["a dog", "padding"] * 2, "image_data": [None, URI] * 2}),
    ],
)
def test_bodies(mode: Any, items: int | None, samples: list[Sample], body: dict[str, Any]) -> None:
    encoded = dialect_for("native", "default", "float", mode, items).encode(samples)
    assert json.loads(encoded) == body
    assert b": " not in encoded.replace(b"say ", b"")


def test_sglangs_own_reply_is_read() -> None:
    single, batch = Native(single=True), Native()
    assert (
        single.decode(REAL, expected=1).tolist()
        == batch.decode(b"[" + REAL + b"]").tolist()
        == [[np.float32(0.1), np.float32(-0.2)]]
    )
    assert single.looks_whole([REAL], 1)
    assert not batch.looks_whole([REAL], 1)
    assert batch.looks_whole([b"[" + REAL, b"," + REAL + b"]"], 2)
    assert single.server_times([REAL]) == (0, 14253212)
    assert single.server_times([REAL[:200], REAL[200:330], REAL[330:]]) == (0, 14253212)


def _reply(*times: str) -> bytes:
    rows = [f'{{"embedding":[1.5,2],"meta_info":{{"id":"x",{one}}}}}' for one in times]
    return f"[{','.join(rows)}]".encode()


@pytest.mark.parametrize(
    ("times", "told"),
    [
        (['"queue_time":0.001,"e2e_latency":0.02'], (1_000_000, 20_000_000)),
        (['"queue_time": 0.001, "e2e_latency": 0.02'], (1_000_000, 20_000_000)),
        (['"queue_time":1.5e-05,"e2e_latency":2e-3'], (15_000, 2_000_000)),
        (['"queue_time":0.001,"e2e_latency":0.02', '"queue_time":0.003,"e2e_latency":0.01'], (3_000_000, 20_000_000)),
        (['"queue_time":null,"e2e_latency":0.02'], (0, 20_000_000)),
        (['"queue_time":null,"e2e_latency":null'], NOT_TOLD),
        (['"queue_time":-1.0,"e2e_latency":1e300'], NOT_TOLD),
        (['"queue_time":"0.1","e2e_latency":12345678901'], NOT_TOLD),
        (['"e2e_latency":999999999.9,"arrays":[1],"queue_time":0.25'], (250_000_000, 999_999_999_900_000_000)),
        (['"prompt_tokens":5'], NOT_TOLD),
    ],
)
def test_times_are_the_longest_of_the_items(times: list[str], told: tuple[int, int]) -> None:
    assert Native().server_times([_reply(*times)]) == told


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "not_json"),
        (b"3", "shape"),
        (b"[3]", "shape"),
        (b"{}", "shape"),
        (b'{"embedding":[]}', "shape"),
        (b'[{"embedding":[1]},{"embedding":[1,2]}]', "shape"),
        (b"[]", "count"),
        (REAL, "count"),
    ],
)
def test_what_is_not_a_reply_is_named(body: bytes, kind: str) -> None:
    with pytest.raises(ReplyError) as caught:
        Native().decode(body, expected=2 if kind == "count" else None)
    assert caught.value.kind == kind


def test_replies_have_sglangs_keys_in_sglangs_order() -> None:
    server = NativeServer()
    request = EmbeddingRequest((ServerItem(text="a"),), "default", "float", single=True)
    body = server.timed(server.reply(request, np.array([[0.1, -0.2]], np.float32), [5], "m"), Times(1e9, 1, 2, 3))
    mine, real = json.loads(body), json.loads(REAL)
    assert list(mine) == list(real)
    assert list(mine["meta_info"]) == list(real["meta_info"])
    assert [type(value) for value in mine["meta_info"].values()] == [type(value) for value in real["meta_info"].values()]


def test_each_item_has_its_own_tokens_and_an_id_that_does_not_change() -> None:
    request = EmbeddingRequest((ServerItem(text="a"),) * 2, "default", "float")
    rows = json.loads(NativeServer().reply(request, np.eye(2, dtype=np.float32), [5, 7], "m"))
    again = json.loads(NativeServer().reply(request, np.eye(2, dtype=np.float32), [5, 7], "m"))
    assert [row["meta_info"]["prompt_tokens"] for row in rows] == [5, 7]
    assert rows == again
    assert len({row["meta_info"]["id"] for row in rows}) == 2


def test_the_instants_follow_from_the_times() -> None:
    request = EmbeddingRequest((ServerItem(text="a"),), "default", "float", single=True)
    server = NativeServer()
    body = server.reply(request, np.ones((1, 2), np.float32), [5], "m")
    told = json.loads(server.timed(body, Times(1000.0, 250_000_000, 500_000_000, 2_000_000_000)))["meta_info"]
    assert (told["queue_time"], told["e2e_latency"], told["first_token_latency"]) == (0.5, 2.0, 2.0)
    assert (told["request_received_ts"], told["api_server_dispatch_finish_ts"]) == (1000.0, 1000.25)
    assert told["request_finished_ts"] == told["response_sent_to_client_ts"] == 1002.0


@pytest.mark.parametrize(
    ("body", "items", "single"),
    [
        ({"text": "a"}, [("a", None, None)], True),
        ({"text": ["a"]}, [("a", None, None)], False),
        ({"text": "", "model": "m", "unknown": 1}, [("", None, None)], True),
        ({"text": []}, [], False),
        ({"text": "a", "image_data": None}, [("a", None, None)], True),
        ({"text": "padding", "image_data": "u"}, [("padding", "u", None)], True),
        ({"text": "padding", "image_data": ["u", "v"]}, [("padding", "u", None)], True),
        ({"text": ["a", "padding"], "image_data": [None, "u"]}, [("a", None, None), ("padding", "u", None)], False),
        ({"text": ["a", "b"], "image_data": "u"}, [("a", "u", None), ("b", "u", None)], False),
        ({"text": ["a", "b"], "image_data": [["u"], ["v", "w"]]}, [("a", "u", None), ("b", "v", None)], False),
        ({"image_data": "u"}, [(None, "u", None)], True),
        ({"image_data": ["u", "v"]}, [(None, "u", None)], True),
        ({"image_data": [["u"], ["v"]]}, [(None, "u", None), (None, "v", None)], False),
        ({"input_ids": [3, 4]}, [(None, None, (3, 4))], True),
        ({"input_ids": [[3], [4, 5]]}, [(None, None, (3,)), (None, None, (4, 5))], False),
    ],
)
def test_what_sglang_accepts_is_accepted(body: dict[str, Any], items: list[tuple[Any, ...]], single: bool) -> None:
    request = NativeServer().parse(json.dumps(body).encode())
    assert [(item.text, item.image, item.tokens) for item in request.items] == items
    assert (request.single, request.encoding_format) == (single, "float")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "At least one of text"),
        ({"text": None}, "At least one of text"),
        ({"text": "a", "input_ids": [1]}, "text and input_ids cannot be provided at the same time"),
        ({"text": ["a", "b"], "image_data": ["u"]}, "image_data has 1 entries but the batch has 2 requests"),
        ({"text": ["a"], "image_data": ["u", "v"]}, "image_data has 2 entries but the batch has 1 requests"),
        ({"text": "a", "image_data": 3}, "Invalid image: 3"),
        ({"text": ["a"], "image_data": [3]}, "Invalid image: 3"),
        ({"text": "a", "dimensions": 8}, "does not support matryoshka representation"),
    ],
)
def test_refusals_have_sglangs_shape(body: dict[str, Any], says: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        NativeServer().parse(json.dumps(body).encode())
    said = json.loads(caught.value.body)
    assert (caught.value.status, list(said), list(said["error"])) == (400, ["error"], ["message"])
    assert says in said["error"]["message"]


@pytest.mark.parametrize(
    "body",
    ["", "{", "[1]", "3", '{"text":3}', '{"text":["a",3]}', '{"input_ids":3}', '{"input_ids":[1,[2]]}', '{"input_ids":["a"]}'],
)
def test_what_the_schema_refuses_has_the_shape_of_v1(body: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        NativeServer().parse(body.encode())
    said = json.loads(caught.value.body)
    assert list(said) == ["object", "message", "type", "param", "code"]
    assert (caught.value.status, said["type"], said["code"]) == (400, "Bad Request", 400)
