"""OpenAI's `POST /v1/embeddings`, to the letter; both directions.

Client: texts only, as JSON strings; a reply that OpenAI's own could not be is none, where v1 takes all that resembles it.
Server: strings and token ids, at most 2048 of them, a model must be named, nothing unknown may be said; refusals are
`{"error":{"message","type","param","code"}}`. The path is v1's too: `clipload serve --api` says who answers there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from clipload.dialects import EmbeddingRequest, ReplyError, RequestRefused, ServerItem, Times, Vectors
from clipload.dialects.replies import by_index, count_arrays, document_of, printable, rows_of, stacked, vector_of
from clipload.dialects.v1 import BAD_REQUEST, V1

MOST_INPUTS: Final = 2048
FIELDS: Final = frozenset({"input", "model", "encoding_format", "dimensions", "user"})
USAGE: Final = ("prompt_tokens", "total_tokens")
END: Final = 512  # bytes of a reply's end in which its usage stands

_TYPES = {401: "invalid_request_error", 429: "rate_limit_error", 500: "server_error", 503: "server_error"}


@dataclass(frozen=True, slots=True)
class OpenAI(V1):
    """The client's direction: v1's bodies, a stricter eye for replies."""

    def looks_whole(self, reply: list[bytes], vectors: int) -> bool:
        if b'"total_tokens"' not in reply[-1][-END:] or not V1.looks_whole(self, reply, vectors):
            return False
        return self.encoding_format == "float" or count_arrays(reply) == 1

    def decode(self, body: bytes, expected: int | None = None) -> Vectors:
        """In the format that was asked for, ordered by `index`; finiteness is the caller's concern."""
        document = document_of(body)
        if not isinstance(document, dict) or document.get("object") != "list":
            raise ReplyError("shape", 'no "object":"list" at the top')
        usage = document.get("usage")
        if not isinstance(document.get("model"), str):
            raise ReplyError("shape", "no model is named")
        if not isinstance(usage, dict) or not all(type(usage.get(name)) is int for name in USAGE):
            raise ReplyError("shape", f"no usage with {' and '.join(USAGE)}")
        rows = by_index(rows_of(document.get("data"), 'under "data"'), expected)
        wanted = str if self.encoding_format == "base64" else list
        for row in rows:
            if row.get("object") != "embedding":
                raise ReplyError("shape", 'a row of data has no "object":"embedding"')
            if not isinstance(row.get("embedding"), wanted):
                raise ReplyError("shape", f"an embedding is not in the format asked for, {self.encoding_format}")
        return stacked([vector_of(row) for row in rows])


@dataclass(frozen=True, slots=True)
class OpenAIServer:
    """The server's direction."""

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
            raise self.malformed(f"The body is not JSON: {error}") from None
        if not isinstance(document, dict):
            raise self.malformed("The body is not a JSON object.")
        self._check_fields(document)
        encoding_format = document.get("encoding_format", "float")
        return EmbeddingRequest(self._items(document["input"]), document["model"], encoding_format)

    def reply(self, request: EmbeddingRequest, vectors: Vectors, tokens: Sequence[int], model: str) -> bytes:
        """OpenAI's key order."""
        printed = printable(vectors, request.encoding_format)
        data = [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(printed)]
        document = {"object": "list", "data": data, "model": model, "usage": dict.fromkeys(USAGE, sum(tokens))}
        return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)

    def timed(self, reply: bytes, times: Times) -> bytes:  # noqa: ARG002 - the interface
        return reply

    def refusal(self, status: int, message: str, kind: str = "") -> bytes:  # noqa: ARG002 - OpenAI's types follow the status
        return _error(message, _TYPES.get(status, "invalid_request_error"))

    def malformed(self, message: str) -> RequestRefused:
        return self._refused(message)

    def unauthorized(self) -> bytes:
        return _error("Incorrect API key provided.", "invalid_request_error", code="invalid_api_key")

    def _refused(self, message: str, param: str | None = None, code: str | None = None) -> RequestRefused:
        return RequestRefused(BAD_REQUEST, _error(message, "invalid_request_error", param, code))

    def _check_fields(self, document: dict[str, Any]) -> None:
        unknown = sorted(document.keys() - FIELDS)
        if unknown:
            raise self._refused(f"Unrecognized request argument supplied: {', '.join(unknown)}")
        for name in ("model", "input"):
            if document.get(name) is None:
                raise self._refused(f"Missing required parameter: '{name}'.", name, "missing_required_parameter")
        for name in ("model", "user"):
            if not isinstance(document.get(name, ""), str):
                raise self._refused(f"Invalid type for '{name}': expected a string.", name, "invalid_type")
        if document.get("encoding_format", "float") not in ("float", "base64"):
            raise self._refused("Invalid value for 'encoding_format': 'float' or 'base64'.", "encoding_format", "invalid_value")
        if document.get("dimensions") is not None:
            raise self._refused("This model does not support specifying dimensions.", "dimensions")

    def _items(self, given: Any) -> tuple[ServerItem, ...]:
        """str | [str] | [int] | [[int]], nothing of it empty."""
        inputs = [given] if isinstance(given, str) or (isinstance(given, list) and given and type(given[0]) is int) else given
        if not isinstance(inputs, list) or not inputs:
            raise self._refused("Invalid 'input': expected a string, or an array that is not empty.", "input", "invalid_type")
        if len(inputs) > MOST_INPUTS:
            message = f"Invalid 'input': at most {MOST_INPUTS} inputs are allowed, there are {len(inputs)}."
            raise self._refused(message, "input", "array_above_max_length")
        return tuple(self._item(one, type(inputs[0])) for one in inputs)

    def _item(self, one: Any, kind: type) -> ServerItem:
        if isinstance(one, str) and one and kind is str:
            return ServerItem(text=one)
        if isinstance(one, list) and one and kind is list and all(type(token) is int and token >= 0 for token in one):
            return ServerItem(tokens=tuple(one))
        message = "Invalid 'input': each is a string or a list of token ids, all of one kind, and none is empty."
        raise self._refused(message, "input", "invalid_type")


def _error(message: str, kind: str, param: str | None = None, code: str | None = None) -> bytes:
    return orjson.dumps({"error": {"message": message, "type": kind, "param": param, "code": code}})
