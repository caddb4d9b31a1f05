"""SGLang's `POST /v1/embeddings`, which OpenAI's and most others' resemble; both directions.

Client: `{"model":…,"encoding_format":…,"input":[item,…]}`; an item is a string, `{"text":…}` or `{"image":"data:…;base64,…"}`,
one kind per list. Server: SGLang 0.5.23's checks, messages and key order, so that a client cannot tell the difference.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson

from clipload.dialects import EmbeddingRequest, EncodingFormat, ReplyError, RequestRefused, ServerItem, Vectors, image_text
from clipload.values import Item, Sample, Text

MESSAGE_LIMIT: Final = 300  # characters; SGLang may echo the whole input several times over (126 kB seen)
LITTLE_F32: Final = np.dtype("<f4")
BAD_REQUEST: Final = 400


@dataclass(frozen=True, slots=True)
class V1:
    """The client's direction. `plain_text` sends texts as JSON strings, which every server knows, instead of `{"text":…}`."""

    model: str
    encoding_format: EncodingFormat = "float"
    plain_text: bool = True

    @property
    def path(self) -> str:
        return "/v1/embeddings"

    def encode_item(self, item: Item) -> bytes:
        if isinstance(item, Text):
            return orjson.dumps(item.text if self.plain_text else {"text": item.text})
        return orjson.dumps({"image": image_text(item)})

    def frame(self) -> tuple[bytes, bytes]:
        head = orjson.dumps({"model": self.model, "encoding_format": self.encoding_format})
        return head[:-1] + b',"input":[', b"]}"

    def encode(self, samples: Sequence[Sample]) -> bytes:
        prefix, suffix = self.frame()
        return prefix + b",".join(self.encode_item(item) for sample in samples for item in sample.items) + suffix

    def count_vectors(self, body: bytes) -> int:
        """Counts the key `"embedding":`. A value such as `"object":"embedding"` has no colon after it, and inside a JSON
        string the quotes would be escaped, so nothing else looks like the key."""
        return body.count(b'"embedding":')

    def looks_whole(self, reply: list[bytes], vectors: int) -> bool:
        """Floats: one array for each vector and one that holds them all. Looking for a bracket is a memchr over the digits,
        five times as fast as looking for the key; base64 has no brackets, but is a quarter as long."""
        if self.encoding_format == "base64":
            return self.count_vectors(b"".join(reply)) == vectors
        if reply[0].find(b'"embedding"', 0, 4096) < 0:
            return False
        arrays = 0
        for piece in reply:
            at = piece.find(b"[")
            while at >= 0:
                arrays += 1
                at = piece.find(b"[", at + 1)
        return arrays == vectors + 1

    def decode(self, body: bytes, expected: int | None = None) -> Vectors:
        """Floats and base64 little-endian float32 alike, ordered by `index`; finiteness is the caller's concern."""
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise ReplyError("not_json", str(error)) from None
        rows = _rows(document)
        if expected is not None and len(rows) != expected:
            raise ReplyError("count", f"{len(rows)} vectors for {expected} items")
        vectors = [_vector(row) for row in _by_index(rows)]
        if len({len(vector) for vector in vectors}) > 1:
            raise ReplyError("shape", "vectors of different lengths")
        return np.stack(vectors) if vectors else np.empty((0, 0), np.float32)

    def error_message(self, status: int, body: bytes) -> str:
        return _message(body)[:MESSAGE_LIMIT] or f"HTTP {status} with an empty body"


def _rows(document: Any) -> list[dict[str, Any]]:
    rows = document.get("data") if isinstance(document, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ReplyError("shape", 'no list of objects under "data"')
    return rows


def _by_index(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows ordered by `index`, which must be 0..n-1, each once."""
    indices = [row.get("index") for row in rows]
    if indices == list(range(len(rows))):
        return rows
    placed = {index: row for index, row in zip(indices, rows) if type(index) is int}
    if set(placed) != set(range(len(rows))):
        raise ReplyError("index", f"the indices of {len(rows)} vectors are not 0..{len(rows) - 1}, each once")
    return [placed[index] for index in range(len(rows))]


def _vector(row: dict[str, Any]) -> Vectors:
    """One embedding, shape [dim], dim ≥ 1."""
    value = row.get("embedding")
    if not isinstance(value, str) and not (isinstance(value, list) and all(type(number) in (float, int) for number in value)):
        raise ReplyError("shape", "an embedding is neither a list of numbers nor base64")
    try:
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes inf, which the integrity checks name
            vector = _from_base64(value) if isinstance(value, str) else np.array(value, np.float32)
    except (ValueError, OverflowError) as error:
        raise ReplyError("shape", f"an embedding cannot be read: {error}") from None
    if not vector.size:
        raise ReplyError("shape", "an embedding is empty")
    return vector


def _from_base64(text: str) -> Vectors:
    return np.frombuffer(b64decode(text, validate=True), LITTLE_F32).astype(np.float32)


def _message(body: bytes) -> str:
    """What an error body says: `message`, `error.message`, `error`, `detail`, or the text as it stands."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body[: 4 * MESSAGE_LIMIT].decode(errors="replace").strip()
    if not isinstance(document, dict):
        return str(document)
    nested = document.get("error")
    inner = nested.get("message") if isinstance(nested, dict) else nested
    for said in (document.get("message"), inner, document.get("detail")):
        if said:
            return said if isinstance(said, str) else orjson.dumps(said).decode()
    return body[: 4 * MESSAGE_LIMIT].decode(errors="replace")


@dataclass(frozen=True, slots=True)
class V1Server:
    """The server's direction: SGLang's checks in SGLang's order."""

    @property
    def path(self) -> str:
        return "/v1/embeddings"

    def parse(self, body: bytes) -> EmbeddingRequest:
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise self._malformed(f"1 validation error: json_invalid: JSON decode error: {error}") from None
        if not isinstance(document, dict) or "input" not in document:
            raise self._malformed("1 validation error: missing: ('body', 'input'): Field required")
        model, encoding_format = document.get("model", "default"), document.get("encoding_format", "float")
        for field, value in (("model", model), ("encoding_format", encoding_format)):
            if not isinstance(value, str):
                raise self._malformed(f"1 validation error: string_type: ('body', '{field}'): Input should be a valid string")
        items = self._items(document["input"])
        if encoding_format not in ("float", "base64"):
            raise self._invalid(f"encoding_format must be either 'float' or 'base64', got {encoding_format!r}")
        self._check(document["input"])
        if document.get("dimensions") is not None:
            raise self._invalid(
                f"Model '{model}' does not support matryoshka representation, "
                "changing output dimensions will lead to poor results."
            )
        return EmbeddingRequest(items, model, encoding_format)

    def reply(self, request: EmbeddingRequest, vectors: Vectors, prompt_tokens: int, model: str) -> bytes:
        """SGLang's key order. Floats are printed as float32 widened to double, as SGLang does: some 20 bytes each."""
        if request.encoding_format == "base64":
            printed: list[Any] = [b64encode(row.tobytes()).decode() for row in np.ascontiguousarray(vectors, LITTLE_F32)]
        else:
            printed = list(np.ascontiguousarray(vectors, np.float64))
        data = [{"embedding": row, "index": index, "object": "embedding"} for index, row in enumerate(printed)]
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

    def refusal(self, status: int, message: str, kind: str = "BadRequestError") -> bytes:
        return orjson.dumps({"object": "error", "message": message, "type": kind, "param": None, "code": status})

    def _malformed(self, message: str) -> RequestRefused:
        """What the schema refuses: SGLang turns FastAPI's 422 into 400, type "Bad Request"."""
        return RequestRefused(BAD_REQUEST, self.refusal(BAD_REQUEST, message, "Bad Request"))

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
        raise self._malformed(f"5 validation errors: ('body', 'input'): Input should be one kind per list, input: {given!r}")

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
