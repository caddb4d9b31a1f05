"""SGLang's `POST /v1/embeddings`, which OpenAI's and most others' resemble; both directions.

Client: `{"model":…,"encoding_format":…,"input":[item,…]}`; an item is a string, `{"text":…}` or `{"image":"data:…;base64,…"}`,
one kind per list. Server: SGLang 0.5.23's checks, messages and key order, so that a client cannot tell the difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from clipload.dialects import (
    NOT_TOLD,
    EmbeddingRequest,
    EncodingFormat,
    RequestRefused,
    ServerItem,
    Times,
    Told,
    Vectors,
    encode_body,
    image_text,
)
from clipload.dialects.replies import (
    by_index,
    count_arrays,
    count_keys,
    document_of,
    error_message,
    printable,
    rows_of,
    stacked,
    vector_of,
)
from clipload.values import Item, Sample, Text

BAD_REQUEST: Final = 400
NO_DIMENSIONS: Final = (
    "Model '{}' does not support matryoshka representation, changing output dimensions will lead to poor results."
)


@dataclass(frozen=True, slots=True)
class V1:
    """The client's direction. `plain_text` sends texts as JSON strings, which every server knows, instead of `{"text":…}`."""

    model: str
    encoding_format: EncodingFormat = "float"
    plain_text: bool = True
    single: bool = False  # one Item stands in a list like any number

    @property
    def path(self) -> str:
        return "/v1/embeddings"

    @property
    def tells_times(self) -> bool:
        return False

    def encode_item(self, item: Item) -> tuple[bytes, ...]:
        if isinstance(item, Text):
            return (orjson.dumps(item.text if self.plain_text else {"text": item.text}),)
        return (orjson.dumps({"image": image_text(item)}),)

    def frame(self) -> tuple[bytes, ...]:
        head = orjson.dumps({"model": self.model, "encoding_format": self.encoding_format})
        return head[:-1] + b',"input":[', b"]}"

    def encode(self, samples: Sequence[Sample]) -> bytes:
        return encode_body(self, samples)

    def count_vectors(self, body: bytes) -> int:
        return count_keys(body)

    def looks_whole(self, reply: list[bytes], vectors: int) -> bool:
        """Floats: one array for each vector and one that holds them all; base64 has no brackets, but is a quarter as long."""
        if self.encoding_format == "base64":
            return count_keys(b"".join(reply)) == vectors
        return reply[0].find(b'"embedding"', 0, 4096) >= 0 and count_arrays(reply) == vectors + 1

    def server_times(self, reply: list[bytes]) -> Told:  # noqa: ARG002 - the interface
        return NOT_TOLD

    def decode(self, body: bytes, expected: int | None = None) -> Vectors:
        """Floats and base64 little-endian float32 alike, ordered by `index`; finiteness is the caller's concern."""
        document = document_of(body)
        rows = document.get("data") if isinstance(document, dict) else None
        return stacked([vector_of(row) for row in by_index(rows_of(rows, 'under "data"'), expected)])

    def error_message(self, status: int, body: bytes) -> str:
        return error_message(status, body)


@dataclass(frozen=True, slots=True)
class V1Server:
    """The server's direction: SGLang's checks in SGLang's order."""

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
            raise self.malformed(f"1 validation error: json_invalid: JSON decode error: {error}") from None
        if not isinstance(document, dict) or "input" not in document:
            raise self.malformed("1 validation error: missing: ('body', 'input'): Field required")
        model, encoding_format = document.get("model", "default"), document.get("encoding_format", "float")
        for field, value in (("model", model), ("encoding_format", encoding_format)):
            if not isinstance(value, str):
                raise self.malformed(f"1 validation error: string_type: ('body', '{field}'): Input should be a valid string")
        items = self._items(document["input"])
        if encoding_format not in ("float", "base64"):
            raise self._invalid(f"encoding_format must be either 'float' or 'base64', got {encoding_format!r}")
        self._check(document["input"])
        if document.get("dimensions") is not None:
            raise self._invalid(NO_DIMENSIONS.format(model))
        return EmbeddingRequest(items, model, encoding_format)

    def reply(self, request: EmbeddingRequest, vectors: Vectors, tokens: Sequence[int], model: str) -> bytes:
        """SGLang's key order. Floats are printed as float32 widened to double, as SGLang does: some 20 bytes each."""
        printed = printable(vectors, request.encoding_format)
        data = [{"embedding": row, "index": index, "object": "embedding"} for index, row in enumerate(printed)]
        prompt_tokens = sum(tokens)
        usage = {
            "prompt_tokens": prompt_tokens,
            "total_tokens": prompt_tokens,
            "completion_tokens": 0,
            "prompt_tokens_details": None,
            "reasoning_tokens": 0,
            "completion_tokens_details": None,
        }
        document = {"data": data, "model": model, "object": "list", "usage": usage}
        return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)

    def timed(self, reply: bytes, times: Times) -> bytes:  # noqa: ARG002 - the interface
        return reply

    def refusal(self, status: int, message: str, kind: str = "BadRequestError") -> bytes:
        return orjson.dumps({"object": "error", "message": message, "type": kind, "param": None, "code": status})

    def malformed(self, message: str) -> RequestRefused:
        """What the schema refuses: SGLang turns FastAPI's 422 into 400, type "Bad Request"."""
        return RequestRefused(BAD_REQUEST, self.refusal(BAD_REQUEST, message, "Bad Request"))

    def unauthorized(self) -> bytes:
        return b'{"error":"Unauthorized"}'

    def _invalid(self, message: str) -> RequestRefused:
        """What the schema lets pass and SGLang's own checks refuse."""
        return RequestRefused(BAD_REQUEST, self.refusal(BAD_REQUEST, message))

    def _items(self, given: Any) -> tuple[ServerItem, ...]:
        """One kind per list: str | [str] | [int] | [[int]] | [{"text","image"}]."""
        if isinstance(given, str):
            return (ServerItem(text=given),)
        if isinstance(given, list):
            if all(isinstance(item, str) for item in given):
                return tuple(ServerItem(text=item) for item in given)
            if all(type(item) is int for item in given):
                return (ServerItem(tokens=tuple(given)),)
            if all(isinstance(item, list) and all(type(token) is int for token in item) for item in given):
                return tuple(ServerItem(tokens=tuple(item)) for item in given)
            if all(_is_multimodal(item) for item in given):
                return tuple(ServerItem(text=item.get("text"), image=item.get("image")) for item in given)
        raise self.malformed(f"5 validation errors: ('body', 'input'): Input should be one kind per list, input: {given!r}")

    def _check(self, given: Any) -> None:
        if not given:
            raise self._invalid("Input cannot be empty")
        if isinstance(given, str):
            if not given.strip():
                raise self._invalid("Input cannot be empty or whitespace only")
            return
        for index, item in enumerate(given):
            if isinstance(item, str) and not item.strip():
                raise self._invalid(f"Input at index {index} cannot be empty or whitespace only")
            if isinstance(item, int) and item < 0:
                raise self._invalid(f"Token ID at index {index} must be non-negative")
            if isinstance(item, list) and (not item or min(item) < 0):
                raise self._invalid(f"Input at index {index} must be a list of non-negative token IDs")


def _is_multimodal(item: Any) -> bool:
    """`video` is known to SGLang, but no CLIP has one."""
    return isinstance(item, dict) and all(isinstance(item.get(key), str | None) for key in ("text", "image"))
