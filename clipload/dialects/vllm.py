"""vLLM's `POST /v1/embeddings` for a pooling model of CLIP's kind; both directions.

Client: texts as `{"input":["…",…]}`, any number; an image as chat, one a request: `{"messages":[{"role":"user","content":
[{"type":"image_url","image_url":{"url":"data:…"}}]}]}`, since a conversation has one vector. Texts never go as chat: vLLM's
default is to put no special tokens around a conversation, and CLIP's vector of a text is that of its end token.
Server: both forms, refusals `{"error":{"message","type","param","code"}}`, vLLM's key order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

import orjson

from clipload.dialects import EmbeddingRequest, RequestRefused, ServerItem, Times, Vectors, image_text
from clipload.dialects.replies import printable
from clipload.dialects.v1 import BAD_REQUEST, V1
from clipload.errors import PlanError
from clipload.values import Item, Text

NOT_BOTH: Final = "CLIP accepts text-only or image-only inputs, not both! You must pass an image with an empty text prompt."
CREATED: Final = b'"object":"list","created":0,'
ROLES: Final = ("system", "user", "assistant")
_BEFORE, _AFTER = b'"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":', b"}}]}]"
_TYPES = {400: "BadRequestError", 401: "UnauthorizedError", 404: "NotFoundError", 503: "ServiceUnavailableError"}


@dataclass(frozen=True, slots=True)
class VLLM(V1):
    """The client's direction. Texts alone (`plain_text`), or, `single`, one Item a request of either kind."""

    def encode_item(self, item: Item) -> tuple[bytes, ...]:
        if not isinstance(item, Text):
            return (_BEFORE + orjson.dumps(image_text(item)) + _AFTER,)
        text = orjson.dumps(item.text)
        return (b'"input":[' + text + b"]" if self.single else text,)

    def frame(self) -> tuple[bytes, ...]:
        """PlanError for several Items that are not all texts."""
        head = orjson.dumps({"model": self.model, "encoding_format": self.encoding_format})[:-1] + b","
        if self.single:
            return head, b"}"
        if not self.plain_text:
            remedy = "use --batch-size 1, with --mode image or mixed"
            raise PlanError("vllm takes one image a request", flag="--api", remedy=remedy)
        return head + b'"input":[', b"]}"


@dataclass(frozen=True, slots=True)
class VLLMServer:
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
            raise self.malformed(f"[{{'type': 'json_invalid', 'msg': 'JSON decode error: {error}'}}]") from None
        if not isinstance(document, dict):
            raise self.malformed("the body is not an object")
        model, encoding_format = document.get("model") or "default", document.get("encoding_format", "float")
        if not isinstance(model, str):
            raise self.malformed("model: Input should be a valid string")
        if encoding_format not in ("float", "base64"):
            raise self.malformed(f"encoding_format: Input should be 'float' or 'base64', got {encoding_format!r}")
        if document.get("dimensions") is not None:
            raise self.malformed(f'Model "{model}" does not support matryoshka representation')
        if "messages" in document:
            return EmbeddingRequest((self._conversation(document["messages"]),), model, encoding_format)
        if "input" not in document:
            raise self.malformed("input: Field required")
        return EmbeddingRequest(self._inputs(document["input"]), model, encoding_format)

    def reply(self, request: EmbeddingRequest, vectors: Vectors, tokens: Sequence[int], model: str) -> bytes:
        """vLLM's key order; `id` is a function of the vectors."""
        printed = printable(vectors, request.encoding_format)
        name = f"embd-{blake2b(vectors.tobytes(), digest_size=16).hexdigest()}"
        data = [{"index": index, "object": "embedding", "embedding": row} for index, row in enumerate(printed)]
        usage: dict[str, Any] = {"prompt_tokens": sum(tokens), "total_tokens": sum(tokens)}
        usage |= {"completion_tokens": 0, "prompt_tokens_details": None}
        document = {"id": name, "object": "list", "created": 0, "model": model, "data": data, "usage": usage}
        return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)

    def timed(self, reply: bytes, times: Times) -> bytes:
        """No time but that of the clock, near the reply's beginning."""
        return reply.replace(CREATED, CREATED.replace(b"0", b"%d" % int(times.received_s)), 1)

    def refusal(self, status: int, message: str, kind: str = "") -> bytes:  # noqa: ARG002 - its types follow the status
        said = {"message": message, "type": _TYPES.get(status, "InternalServerError"), "param": None, "code": status}
        return orjson.dumps({"error": said})

    def malformed(self, message: str) -> RequestRefused:
        return RequestRefused(BAD_REQUEST, self.refusal(BAD_REQUEST, message))

    def unauthorized(self) -> bytes:
        return b'{"error":"Unauthorized"}'

    def _inputs(self, given: Any) -> tuple[ServerItem, ...]:
        """str | [str] | [int] | [[int]], at least one. A text of no characters is one."""
        if isinstance(given, str):
            return (ServerItem(text=given),)
        if not isinstance(given, list) or not given:
            raise self.malformed("input: please provide at least one prompt")
        if all(isinstance(one, str) for one in given):
            return tuple(ServerItem(text=one) for one in given)
        for tokens in ([given], given):
            if all(isinstance(one, list) and one and all(type(token) is int and token >= 0 for token in one) for one in tokens):
                return tuple(ServerItem(tokens=tuple(one)) for one in tokens)
        raise self.malformed("input: Input should be strings or lists of token ids, all of one kind")

    def _conversation(self, messages: Any) -> ServerItem:
        """The one Item that all messages are: their texts, or one image."""
        if not isinstance(messages, list) or not messages:
            raise self.malformed("messages: Input should be a list that is not empty")
        texts: list[str] = []
        images: list[str] = []
        for message in messages:
            if not isinstance(message, dict) or message.get("role") not in ROLES:
                raise self.malformed("messages: each is an object with a role")
            content = message.get("content")
            for part in [{"type": "text", "text": content}] if isinstance(content, str) else content or []:
                self._take(part, texts, images)
        if len(images) > 1:
            raise self.malformed("At most 1 image(s) may be provided in one prompt.")
        if images and any(texts):
            raise self.malformed(NOT_BOTH)
        return ServerItem(image=images[0]) if images else ServerItem(text="\n".join(texts))

    def _take(self, part: Any, texts: list[str], images: list[str]) -> None:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text" and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif kind == "image_url" and isinstance(part.get("image_url"), dict) and isinstance(part["image_url"].get("url"), str):
            images.append(part["image_url"]["url"])
        else:
            raise self.malformed("messages: a part is a text or an image_url")
