"""Infinity's dialect: bodies that name their kind, the server's limits, and its refusals as FastAPI prints them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from clipload.dialects import RequestRefused, Times, dialect_for, server_dialect_for
from clipload.dialects.infinity import LONGEST, MOST, InfinityServer
from clipload.plan import Mode
from clipload.values import Image, ImageRef, Item, Sample, Text

DOG, SKY, DOT = Text("a dog"), Text("sky"), Image(b"dot", "image/png")
URI = "data:image/png;base64,ZG90"


def body(mode: Mode, *items: Item, known: bool = True) -> Any:
    dialect = dialect_for("infinity", "clip", "float", mode, len(items) if known else None)
    return json.loads(dialect.encode([Sample((item,)) for item in items]))


@pytest.mark.parametrize("known", [True, False])
def test_bodies_of_one_kind_say_which(known: bool) -> None:
    begin = {"model": "clip", "encoding_format": "float"}
    assert body("text", DOG, SKY, known=known) == begin | {"modality": "text", "input": ["a dog", "sky"]}
    assert body("image", DOT, ImageRef("http://h/a.png"), known=known) == begin | {
        "modality": "image",
        "input": [URI, "http://h/a.png"],
    }


def test_one_item_a_request_says_its_own() -> None:
    """So that texts and images can take turns in one load, whose frame is one."""
    assert body("mixed", DOG)["modality"] == "text"
    assert body("mixed", DOT) == {"model": "clip", "encoding_format": "float", "modality": "image", "input": [URI]}
    dialect = dialect_for("infinity", "clip", "float", "mixed", 1)
    assert dialect.frame() == dialect_for("infinity", "clip", "float", "text", 1).frame()


@pytest.mark.parametrize(
    "given",
    [{"input": "a"}, {"input": ["a", "b"]}, {"input": [" "], "model": "x", "user": "u"}, {"input": ["a"] * MOST["text"]}],
)
def test_what_is_taken(given: dict[str, Any]) -> None:
    request = InfinityServer().parse(json.dumps(given).encode())
    inputs = [given["input"]] if isinstance(given["input"], str) else given["input"]
    assert [item.text for item in request.items] == inputs
    assert (request.encoding_format, request.single) == ("float", False)


@pytest.mark.parametrize(
    ("given", "kind", "where"),
    [
        ("{", "json_invalid", ["body", 1]),
        ("[1]", "model_attributes_type", ["body", "text"]),
        ('{"modality":"video","input":"a"}', "union_tag_invalid", ["body"]),
        ("{}", "missing", ["body", "text", "input"]),
        ('{"input":3}', "list_type", ["body", "text", "input"]),
        ('{"input":[]}', "too_short", ["body", "text", "input"]),
        ('{"input":["a",{"text":"b"}]}', "string_type", ["body", "text", "input", 1]),
        ('{"input":[{"image":"x"}],"modality":"image"}', "string_type", ["body", "image", "input", 0]),
        ('{"input":"a","model":3}', "string_type", ["body", "text", "model"]),
        ('{"input":"a","encoding_format":"int8"}', "enum", ["body", "text", "encoding_format"]),
        (json.dumps({"input": ["x"] * (MOST["image"] + 1), "modality": "image"}), "too_long", ["body", "image", "input"]),
        (json.dumps({"input": ["a"] * (MOST["text"] + 1)}), "too_long", ["body", "text", "input"]),
        (json.dumps({"input": "a" * (LONGEST + 1)}), "string_too_long", ["body", "text", "input", 0]),
    ],
)
def test_refusals_are_fastapis(given: str, kind: str, where: list[Any]) -> None:
    with pytest.raises(RequestRefused) as caught:
        InfinityServer().parse(given.encode())
    said = json.loads(caught.value.body)
    assert (caught.value.status, list(said)) == (422, ["detail"])
    assert (said["detail"][0]["type"], said["detail"][0]["loc"]) == (kind, where)
    assert set(said["detail"][0]) == {"type", "loc", "msg", "input"}


def test_replies_have_infinitys_keys() -> None:
    server = server_dialect_for("infinity")
    request = server.parse(b'{"input":["a","b"]}')
    reply = server.reply(request, np.full((2, 2), 0.5, np.float32), [3, 5], 'm","created":0}')
    told = json.loads(server.timed(reply, Times(1.75e9, 0, 1, 2)))
    assert list(told) == ["object", "data", "model", "usage", "id", "created"]
    assert list(told["data"][1]) == ["object", "embedding", "index"]
    assert (told["model"], told["created"], told["usage"]) == (
        'm","created":0}',
        1_750_000_000,
        {"prompt_tokens": 8, "total_tokens": 8},
    )
    assert told["id"].startswith("infinity-")
