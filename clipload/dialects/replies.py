"""What the dialects' replies have in common: marks that are counted, rows that are read, vectors, and errors of every shape."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import orjson

from clipload.dialects import EncodingFormat, ReplyError, Vectors

MESSAGE_LIMIT: Final = 300  # characters; SGLang may echo the whole input several times over (126 kB seen)
LITTLE_F32: Final = np.dtype("<f4")

# ---- marks


def count_keys(body: bytes) -> int:
    """How often the key `"embedding":` stands there. A value such as `"object":"embedding"` has no colon after it, and inside
    a JSON string the quotes would be escaped, so nothing else looks like the key."""
    return body.count(b'"embedding":')


def count_arrays(reply: list[bytes]) -> int:
    """How many arrays begin in a reply. Looking for a bracket is a memchr over the digits, five times as fast as looking for
    a key."""
    arrays = 0
    for piece in reply:
        at = piece.find(b"[")
        while at >= 0:
            arrays += 1
            at = piece.find(b"[", at + 1)
    return arrays


# ---- reading


def document_of(body: bytes) -> Any:
    """The JSON of a body; ReplyError when it is none."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ReplyError("not_json", str(error)) from None


def rows_of(rows: Any, where: str) -> list[dict[str, Any]]:
    """`rows` if it is a list of objects; `where` says in which place there should have been one."""
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ReplyError("shape", f"no list of objects {where}")
    return rows


def check_count(rows: Sequence[Any], expected: int | None) -> None:
    if expected is not None and len(rows) != expected:
        raise ReplyError("count", f"{len(rows)} vectors for {expected} items")


def by_index(rows: list[dict[str, Any]], expected: int | None) -> list[dict[str, Any]]:
    """The `expected` rows ordered by `index`, which must be 0..n-1, each once."""
    check_count(rows, expected)
    placed = {index: row for row in rows if type(index := row.get("index")) is int}
    if set(placed) != set(range(len(rows))):
        raise ReplyError("index", f"the indices of {len(rows)} vectors are not 0..{len(rows) - 1}, each once")
    return [placed[index] for index in range(len(rows))]


def vector_of(row: dict[str, Any]) -> Vectors:
    """One row's embedding, floats or base64, shape [dim], dim ≥ 1."""
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


def stacked(vectors: list[Vectors]) -> Vectors:
    """Vectors of one length as rows; ReplyError when the lengths differ."""
    if len({len(vector) for vector in vectors}) > 1:
        raise ReplyError("shape", "vectors of different lengths")
    return np.stack(vectors) if vectors else np.empty((0, 0), np.float32)


def error_message(status: int, body: bytes) -> str:
    """What an error reply says, in ≤ MESSAGE_LIMIT characters."""
    return _message(body)[:MESSAGE_LIMIT] or f"HTTP {status} with an empty body"


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


# ---- printing


def printable(vectors: Vectors, encoding_format: EncodingFormat) -> list[Any]:
    """Each vector as orjson shall print it: base64 of little-endian float32, or float32 widened to double, as SGLang does."""
    if encoding_format == "base64":
        return [b64encode(row.tobytes()).decode() for row in np.ascontiguousarray(vectors, LITTLE_F32)]
    return list(np.ascontiguousarray(vectors, np.float64))
