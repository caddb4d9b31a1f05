"""vLLM's dialect: texts as input, an image as a conversation, one vector for each; and the server's refusals."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from clipload.dialects import RequestRefused, Times, dialect_for, server_dialect_for
from clipload.dialects.vllm import NOT_BOTH, VLLMServer
from clipload.errors import PlanError
from clipload.plan import Mode
from clipload.values import Image, Item, Sample, Text

DOG, SKY, DOT = Text("a dog"), Text("sky"), Image(b"dot", "image/png")
PART = {"type": "image_url", "image_url": {"url": "data:image/png;base64,ZG90"}}


def body(mode: Mode, *items: Item) -> Any:
    dialect = dialect_for("vllm", "clip", "float", mode, len(items))
    return json.loads(dialect.encode([Sample((item,)) for item in items]))


def test_texts_are_input_and_an_image_is_a_conversation() -> None:
    begin = {"model": "clip", "encoding_format": "float"}
    assert body("text", DOG, SKY) == begin | {"input": ["a dog", "sky"]}
    assert body("mixed", DOG) == body("text", DOG) == begin | {"input": ["a dog"]}
    assert body("image", DOT) == body("mixed", DOT) == begin | {"messages": [{"role": "user", "content": [PART]}]}


@pytest.mark.parametrize("items", [2, None])
def test_several_images_are_not_one_request(items: int | None) -> None:
    """A conversation of two images would have one vector."""
    with pytest.raises(PlanError, match="one image a request") as caught:
        dialect_for("vllm", "clip", "float", "image", items).frame()
    assert "--batch-size 1" in caught.value.remedy


def conversation(*parts: Any, role: str = "user") -> dict[str, Any]:
    return {"messages": [{"role": role, "content": list(parts)}]}


@pytest.mark.parametrize(
    ("given", "items"),
    [
        ({"input": "a"}, ["a"]),
        ({"input": ["a", ""]}, ["a", ""]),
        ({"input": [1, 2]}, [(1, 2)]),
        ({"input": [[1], [2, 3]]}, [(1,), (2, 3)]),
        (conversation(PART), [PART["image_url"]["url"]]),  # type: ignore[index]
        (conversation(PART, {"type": "text", "text": ""}), [PART["image_url"]["url"]]),  # type: ignore[index]
        (conversation({"type": "text", "text": "a"}, {"type": "text", "text": "b"}), ["a\nb"]),
        ({"messages": [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}]}, ["a\nb"]),
    ],
)
def test_what_is_taken(given: dict[str, Any], items: list[Any]) -> None:
    request = VLLMServer().parse(json.dumps(given).encode())
    assert [item.image or item.tokens or item.text for item in request.items] == items
    assert (request.model, request.encoding_format) == ("default", "float")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("{", "json_invalid"),
        ("[1]", "not an object"),
        ("{}", "input: Field required"),
        ('{"input":[]}', "at least one prompt"),
        ('{"input":[{"text":"a"}]}', "all of one kind"),
        ('{"input":["a",[1]]}', "all of one kind"),
        ('{"input":[[-1]]}', "all of one kind"),
        ('{"input":[true]}', "all of one kind"),
        ('{"input":"a","model":3}', "valid string"),
        ('{"input":"a","encoding_format":"int8"}', "'float' or 'base64'"),
        ('{"input":"a","dimensions":8}', "matryoshka"),
        ('{"messages":[]}', "not empty"),
        ('{"messages":[{"content":"a"}]}', "a role"),
        (json.dumps(conversation(PART, PART)), "At most 1 image"),
        (json.dumps(conversation(PART, {"type": "text", "text": "a dog"})), NOT_BOTH),
        (json.dumps(conversation({"type": "audio_url"})), "a part is a text or an image_url"),
        (json.dumps(conversation({"type": "image_url", "image_url": "data:"})), "a part is a text or an image_url"),
    ],
)
def test_refusals_have_vllms_shape(given: str, says: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        VLLMServer().parse(given.encode())
    said = json.loads(caught.value.body)
    assert (caught.value.status, list(said), list(said["error"])) == (400, ["error"], ["message", "type", "param", "code"])
    assert (said["error"]["type"], said["error"]["code"]) == ("BadRequestError", 400)
    assert says in said["error"]["message"]


def test_replies_have_vllms_keys() -> None:
    server = server_dialect_for("vllm")
    request = server.parse(b'{"input":["a","b"]}')
    reply = server.reply(request, np.full((2, 2), 0.5, np.float32), [3, 5], '"object":"list","created":0,')
    told = json.loads(server.timed(reply, Times(1.75e9, 0, 1, 2)))
    assert list(told) == ["id", "object", "created", "model", "data", "usage"]
    assert list(told["data"][1]) == ["index", "object", "embedding"]
    assert (told["created"], told["model"]) == (1_750_000_000, '"object":"list","created":0,')
    assert told["usage"]["total_tokens"] == 8
    assert told["id"].startswith("embd-")
