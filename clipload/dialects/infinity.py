"""Infinity's `POST /v1/embeddings` with its field `modality`; both directions. The server is started with `--url-prefix /v1`.

Client: `{"model":…,"encoding_format":…,"modality":"text"|"image","input":[…]}`; an image is a data URI or a URL, a string as a
text is. All of a request is of one kind, which the frame names; where each request is one Item, the Item names its own kind, so
texts and images may then take turns.
Server: Infinity 0.0.78's limits (2048 texts, 32 images), refusals (422 as FastAPI prints it) and key order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

import orjson

from clipload.dialects import EmbeddingRequest, RequestRefused, ServerItem, Times, Vectors, image_text
from clipload.dialects.replies import printable
from clipload.dialects.v1 import V1
from clipload.values import Item, Text

MOST: Final = {"text": 2048, "image": 32}  # Items of a request
LONGEST: Final = 122_880  # characters of a text
UNPROCESSABLE: Final = 422
CREATED: Final = b',"created":0}'


@dataclass(frozen=True, slots=True)
class Infinity(V1):
    """The client's direction. Texts alone (`plain_text`), images alone, or, `single`, one Item a request of either kind."""

    def encode_item(self, item: Item) -> tuple[bytes, ...]:
        said = orjson.dumps(item.text if isinstance(item, Text) else image_text(item))
        if not self.single:
            return (said,)
        return (_modality(text=isinstance(item, Text)) + b',"input":[' + said + b"]",)

    def frame(self) -> tuple[bytes, ...]:
        head = orjson.dumps({"model": self.model, "encoding_format": self.encoding_format})[:-1] + b","
        if self.single:
            return head, b"}"
        return head + _modality(text=self.plain_text) + b',"input":[', b"]}"


def _modality(*, text: bool) -> bytes:
    return b'"modality":"text"' if text else b'"modality":"image"'


@dataclass(frozen=True, slots=True)
class InfinityServer:
    """The server's direction. What a field may not be is said as FastAPI says it, the input repeated."""

    @property
    def path(self) -> str:
        return "/v1/embeddings"

    @property
    def methods(self) -> tuple[str, ...]:
        return ("POST",)

    def parse(self, body: bytes) -> EmbeddingRequest:
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise _refused("json_invalid", ["body", error.pos], "JSON decode error", {}) from None
        if not isinstance(document, dict):
            raise _refused("model_attributes_type", ["body", "text"], "Input should be a valid dictionary", document)
        kind = document.get("modality", "text")
        if kind not in MOST:
            raise _refused("union_tag_invalid", ["body"], "Input tag found using get_modality() is not a modality", document)
        model = _string(document, kind, "model", "default/not-specified")
        encoding_format = document.get("encoding_format", "float")
        if encoding_format not in ("float", "base64"):
            raise _refused("enum", ["body", kind, "encoding_format"], "Input should be 'float' or 'base64'", encoding_format)
        inputs = _inputs(document, kind)
        items = tuple(ServerItem(text=one) if kind == "text" else ServerItem(image=one) for one in inputs)
        return EmbeddingRequest(items, model, encoding_format)

    def reply(self, request: EmbeddingRequest, vectors: Vectors, tokens: Sequence[int], model: str) -> bytes:
        """Infinity's key order; `id` is a function of the vectors. Tokens are the engine's: Infinity counts characters."""
        printed = printable(vectors, request.encoding_format)
        data = [{"object": "embedding", "embedding": row, "index": index} for index, row in enumerate(printed)]
        usage = {"prompt_tokens": sum(tokens), "total_tokens": sum(tokens)}
        name = f"infinity-{blake2b(vectors.tobytes(), digest_size=16).hexdigest()}"
        document = {"object": "list", "data": data, "model": model, "usage": usage, "id": name, "created": 0}
        return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)

    def timed(self, reply: bytes, times: Times) -> bytes:
        """No time but that of the clock, at the reply's end."""
        return reply.removesuffix(CREATED) + CREATED.replace(b"0", b"%d" % int(times.received_s))

    def refusal(self, status: int, message: str, kind: str = "") -> bytes:  # noqa: ARG002 - it has no types
        return orjson.dumps({"error": {"message": message, "type": None, "param": None, "code": status}})

    def malformed(self, message: str) -> RequestRefused:
        return _refused("value_error", ["body"], message, {})

    def unauthorized(self) -> bytes:
        return b'{"detail":"Unauthorized"}'


def _string(document: dict[str, Any], kind: str, name: str, unsaid: str) -> str:
    value = document.get(name, unsaid)
    if not isinstance(value, str):
        raise _refused("string_type", ["body", kind, name], "Input should be a valid string", value)
    return value


def _inputs(document: dict[str, Any], kind: str) -> list[str]:
    """str | [str], from 1 to so many. A text of spaces alone is one."""
    where: list[Any] = ["body", kind, "input"]
    if "input" not in document:
        raise _refused("missing", where, "Field required", document)
    given = document["input"]
    inputs = [given] if isinstance(given, str) else given
    if not isinstance(inputs, list):
        raise _refused("list_type", where, "Input should be a valid list", given)
    for place, one in enumerate(inputs):
        if not isinstance(one, str):
            raise _refused("string_type", [*where, place], "Input should be a valid string", one)
        if kind == "text" and len(one) > LONGEST:
            raise _refused("string_too_long", [*where, place], f"String should have at most {LONGEST} characters", one)
    if not 1 <= len(inputs) <= MOST[kind]:
        what, bound = ("too_short", "at least 1 item") if not inputs else ("too_long", f"at most {MOST[kind]} items")
        raise _refused(what, where, f"List should have {bound} after validation, not {len(inputs)}", given)
    return inputs


def _refused(kind: str, where: list[Any], message: str, given: Any) -> RequestRefused:
    """FastAPI's 422, which repeats the input."""
    detail = {"type": kind, "loc": where, "msg": message, "input": given}
    return RequestRefused(UNPROCESSABLE, orjson.dumps({"detail": [detail]}))
