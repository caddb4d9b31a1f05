"""SGLang's own `POST /encode`; both directions.

Client: two parallel lists, `{"text":[t₀,"padding",…],"image_data":[null,u₁,…]}`, and one Item outside of any list. An image
stands beside the text "padding", because SGLang as published answers 500 to one that is alone; a load of texts has no
`image_data`.
Replies: `{"embedding":[…],"meta_info":{…}}`, one or a list of them, floats only; `meta_info` tells the server's own times.
Server: SGLang 0.5.23's checks, messages and key order.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

import orjson

from clipload.dialects import (
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
    check_count,
    count_arrays,
    count_keys,
    document_of,
    error_message,
    printable,
    rows_of,
    stacked,
    vector_of,
)
from clipload.dialects.v1 import BAD_REQUEST, NO_DIMENSIONS, V1Server
from clipload.values import Item, Sample, Text

INTERNAL_ERROR, UNAVAILABLE = 500, 503
PADDING: Final = b'"padding"'  # what SGLang itself puts in the place of a missing text
TIMES: Final = (
    *("queue_time", "e2e_latency", "request_received_ts", "first_token_latency"),
    *("api_server_dispatch_finish_ts", "request_finished_ts", "response_sent_to_client_ts"),
)
UNTOLD: Final = orjson.dumps(dict.fromkeys(TIMES))[1:-1]

# At most nine digits before the point, so that the ns of any match fit into 64 bits.
_TOLD = re.compile(rb'"(queue_time|e2e_latency)": ?(\d{1,9}(?:\.\d+)?(?:[eE]-\d{1,3})?)(?=[,}\s])')


@dataclass(frozen=True, slots=True)
class Native:
    """The client's direction. No model is named: a server has one. `single`: each request is one Item, outside of any list."""

    model: str = "default"
    encoding_format: EncodingFormat = "float"
    plain_text: bool = True
    single: bool = False

    @property
    def path(self) -> str:
        return "/encode"

    @property
    def tells_times(self) -> bool:
        return True

    def encode_item(self, item: Item) -> tuple[bytes, ...]:
        if not isinstance(item, Text):
            return PADDING, orjson.dumps(image_text(item))
        text = orjson.dumps(item.text)
        return (text,) if self.plain_text else (text, b"null")

    def frame(self) -> tuple[bytes, ...]:
        begin, end = (b"", b"") if self.single else (b"[", b"]")
        images = () if self.plain_text else (end + b',"image_data":' + begin,)
        return (b'{"text":' + begin, *images, end + b"}")

    def encode(self, samples: Sequence[Sample]) -> bytes:
        return encode_body(self, samples)

    def count_vectors(self, body: bytes) -> int:
        return count_keys(body)

    def looks_whole(self, reply: list[bytes], vectors: int) -> bool:
        """One array for each vector, and one that holds them all unless there is just one; `meta_info` has none."""
        return reply[0].find(b'"embedding"', 0, 4096) >= 0 and count_arrays(reply) == vectors + (not self.single)

    def server_times(self, reply: list[bytes]) -> Told:
        """Looks only where an array has ended and none has begun: between the vectors."""
        whole = reply[0] if len(reply) == 1 else b"".join(reply)
        longest = {b"queue_time": 0.0, b"e2e_latency": 0.0}
        end = whole.find(b"]")
        while end >= 0:
            begin = whole.find(b"[", end)
            for name, seconds in _TOLD.findall(whole, end, begin if begin >= 0 else len(whole)):
                longest[name] = max(longest[name], float(seconds))
            end = whole.find(b"]", begin) if begin >= 0 else -1
        return round(1e9 * longest[b"queue_time"]), round(1e9 * longest[b"e2e_latency"])

    def decode(self, body: bytes, expected: int | None = None) -> Vectors:
        """Vectors stand in the order of the Items; finiteness is the caller's concern."""
        document = document_of(body)
        rows = [document] if isinstance(document, dict) else rows_of(document, "at the top")
        check_count(rows, expected)
        return stacked([vector_of(row) for row in rows])

    def error_message(self, status: int, body: bytes) -> str:
        return error_message(status, body)


@dataclass(frozen=True, slots=True)
class NativeServer:
    """The server's direction. What the schema refuses is said in the shape of /v1/embeddings: SGLang has one place for that."""

    @property
    def path(self) -> str:
        return "/encode"

    @property
    def methods(self) -> tuple[str, ...]:
        return ("POST", "PUT")

    def parse(self, body: bytes) -> EmbeddingRequest:
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise self.malformed(f"1 validation error: json_invalid: JSON decode error: {error}") from None
        if not isinstance(document, dict):
            raise self.malformed("1 validation error: dataclass_type: ('body',): Input should be a dictionary")
        text, ids, image = (document.get(key) for key in ("text", "input_ids", "image_data"))
        self._check_types(text, ids)
        if text is None and ids is None and image is None:
            raise self._invalid("At least one of text, input_ids, image, video, or audio should be provided")
        if text is not None and ids is not None:
            raise self._invalid("text and input_ids cannot be provided at the same time")
        request = self._request(text, ids, image)
        if document.get("dimensions") is not None:
            raise self._invalid(NO_DIMENSIONS.format("default"))
        return request

    def reply(self, request: EmbeddingRequest, vectors: Vectors, tokens: Sequence[int], model: str) -> bytes:  # noqa: ARG002
        """SGLang's key order; `id` is a function of the vector. Floats are printed as on /v1/embeddings."""
        rows = [
            {"embedding": row, "meta_info": _meta(blake2b(row.tobytes(), digest_size=16).hexdigest(), count)}
            for row, count in zip(printable(vectors, "float"), tokens)
        ]
        return orjson.dumps(rows[0] if request.single else rows, option=orjson.OPT_SERIALIZE_NUMPY)

    def timed(self, reply: bytes, times: Times) -> bytes:
        received, total = times.received_s, times.total_ns / 1e9
        finished = received + total
        told = (times.queue_ns / 1e9, total, received, total, received + times.prepared_ns / 1e9, finished, finished)
        return reply.replace(UNTOLD, orjson.dumps(dict(zip(TIMES, told)))[1:-1])

    def refusal(self, status: int, message: str, kind: str = "BadRequestError") -> bytes:
        """A full queue is refused as on /v1/embeddings; what SGLang did not foresee is no JSON."""
        if status == INTERNAL_ERROR:
            return b"Internal Server Error"
        if status == UNAVAILABLE:
            return V1Server().refusal(status, message, kind)
        return orjson.dumps({"error": {"message": message}})

    def malformed(self, message: str) -> RequestRefused:
        return V1Server().malformed(message)

    def unauthorized(self) -> bytes:
        return V1Server().unauthorized()

    def _invalid(self, message: str) -> RequestRefused:
        return RequestRefused(BAD_REQUEST, self.refusal(BAD_REQUEST, message))

    def _check_types(self, text: Any, ids: Any) -> None:
        if not (text is None or isinstance(text, str) or _all_of(str, text)):
            raise self.malformed(
                f"2 validation errors: ('body', 'text'): Input should be a valid string or list, input: {text!r}"
            )
        if not (ids is None or _all_of(int, ids) or (_all_of(list, ids) and all(_all_of(int, one) for one in ids))):
            raise self.malformed(f"2 validation errors: ('body', 'input_ids'): Input should be a valid list, input: {ids!r}")

    def _request(self, text: Any, ids: Any, image: Any) -> EmbeddingRequest:
        """One text, one list of ids, or images alone that are not lists of lists, make a single request."""
        if text is None and ids is None:
            batch = [None] * len(image) if _all_of(list, image) else None
        else:
            batch = text if isinstance(text, list) else ids if _all_of(list, ids) else None
        if batch is None:
            return self._made([text if ids is None else ids], [image], single=True)
        if not isinstance(image, list):  # a scalar stands for all
            image = [image] * len(batch)
        if len(image) != len(batch):
            raise self._invalid(
                f"image_data has {len(image)} entries but the batch has {len(batch)} requests; "
                "pass one entry (or None) per request."
            )
        return self._made(batch, image, single=False)

    def _made(self, prompts: Sequence[Any], images: Sequence[Any], *, single: bool) -> EmbeddingRequest:
        items = []
        for prompt, given in zip(prompts, images):
            image = (given or [None])[0] if isinstance(given, list) else given  # CLIP embeds the first of several
            if not isinstance(image, str | None):
                why = f"Error while loading data {image}: Invalid image: {image}"
                raise self._invalid(f"An exception occurred while loading multimodal data: {why}")
            text, ids = (None, tuple(prompt)) if isinstance(prompt, list) else (prompt, None)
            items.append(ServerItem(text, image, ids))
        return EmbeddingRequest(tuple(items), "default", "float", single)


def _all_of(kind: type, given: Any) -> bool:
    return isinstance(given, list) and all(type(item) is kind for item in given)


def _meta(number: str, tokens: int) -> dict[str, Any]:
    meta: dict[str, Any] = {"id": number, "finish_reason": {"type": "length", "length": 0}, "prompt_tokens": tokens}
    return meta | {"weight_version": "default", "num_retractions": 0} | dict.fromkeys(TIMES)
