"""Dialects: an API's wire format, read forwards by the client and backwards by the reference server.

Law, for every entry: `parse(encode(samples))` gives the Items back, and `decode(reply(vectors))` gives the vectors back.
To add an API write one file with both directions and one line in each of the two tables below. Entries are imported when
asked for, so an unused dialect costs nothing.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Literal, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from clipload.errors import PlanError
from clipload.values import Image, ImageRef, Item, Sample

Vectors = NDArray[np.float32]
"""Shape [n, dim], float32, one row per Item in the order in which the Items were sent."""

EncodingFormat = Literal["float", "base64"]
Mode = Literal["text", "image", "multimodal", "mixed"]
ReplyFault = Literal["not_json", "shape", "index", "count"]


class ReplyError(ValueError):
    """A reply that is not what its dialect promises.

    `kind` is `not_json` (not JSON at all), `shape` (JSON, but no list of equally long vectors), `index` (the indices are
    not 0..n-1, each once) or `count` (n differs from the number of Items sent).
    """

    def __init__(self, kind: ReplyFault, what: str) -> None:
        self.kind = kind
        super().__init__(f"{kind}: {what}")


class RequestRefused(Exception):  # noqa: N818 - it is an answer, not a failure: the status and the body to send
    """The server's refusal of a body that it cannot serve, ready to be sent: `status` and the JSON `body`."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.body = body
        super().__init__(f"HTTP {status}: {body[:200].decode(errors='replace')}")


@dataclass(frozen=True, slots=True)
class ServerItem:
    """One input item as it stood on the wire: exactly one vector is owed for it.

    `image` is the reference as sent (a data URI, ...), not yet decoded. With both set, the vector is the image's. `tokens`
    excludes the other two.
    """

    text: str | None = None
    image: str | None = None
    tokens: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """A parsed request: ≥ 1 items of one kind, and how the vectors shall be printed."""

    items: tuple[ServerItem, ...]
    model: str
    encoding_format: EncodingFormat


class Dialect(Protocol):
    """The client's direction. A body is prefix + b",".join(encoded Items) + suffix, so that bodies can be views of Items."""

    @property
    def path(self) -> str:
        """Where requests are posted, from the root of the base URL: `/v1/embeddings`."""

    def encode_item(self, item: Item) -> bytes:
        """One Item as it stands in a body."""

    def frame(self) -> tuple[bytes, bytes]:
        """What stands before and after the Items."""

    def encode(self, samples: Sequence[Sample]) -> bytes:
        """The whole body; the Samples' Items stand in order."""

    def count_vectors(self, body: bytes) -> int:
        """How many vectors a reply holds, without decoding it."""

    def looks_whole(self, reply: list[bytes], vectors: int) -> bool:
        """Whether a reply, in the pieces in which it came and its head included, has the marks of `vectors` vectors: right for
        every known server, in well under a microsecond for a small reply. False says nothing: decode it then."""

    def decode(self, body: bytes, expected: int | None = None) -> Vectors:
        """The vectors of a reply in the order of the Items. ReplyError when it is not one."""

    def error_message(self, status: int, body: bytes) -> str:
        """What an error reply says, in ≤ 300 characters; never raises."""


class ServerDialect(Protocol):
    """The server's direction."""

    @property
    def path(self) -> str:
        """Where requests arrive."""

    def parse(self, body: bytes) -> EmbeddingRequest:
        """The request in a body. RequestRefused, with the answer to send, when it cannot be served."""

    def reply(self, request: EmbeddingRequest, vectors: Vectors, prompt_tokens: int, model: str) -> bytes:
        """The body of a 200: one vector for each item of `request`, in order."""

    def refusal(self, status: int, message: str, kind: str) -> bytes:
        """The body of an error reply."""


DIALECTS = {"v1": "clipload.dialects.v1:V1"}
SERVER_DIALECTS = {"v1": "clipload.dialects.v1:V1Server"}


def image_text(item: Image | ImageRef) -> str:
    """An image as every known API takes it: a data URI, or the reference as it stands."""
    if isinstance(item, ImageRef):
        return item.reference
    return f"data:{item.media_type};base64,{b64encode(item.data).decode()}"


def _entry(table: dict[str, str], api: str) -> object:
    if api not in table:
        raise PlanError(f"no dialect is called {api!r}", flag="--api", remedy=f"choose one of: {', '.join(table)}")
    module, _, name = table[api].partition(":")
    return getattr(import_module(module), name)


class _MakeDialect(Protocol):
    def __call__(self, *, model: str, encoding_format: EncodingFormat, plain_text: bool) -> Dialect: ...


class _MakeServerDialect(Protocol):
    def __call__(self) -> ServerDialect: ...


def dialect_for(api: str, model: str, encoding_format: EncodingFormat, mode: Mode) -> Dialect:
    """The client's direction of `api`. Texts go as plain strings only when nothing but texts is sent (`mode` "text")."""
    make = cast(_MakeDialect, _entry(DIALECTS, api))
    return make(model=model, encoding_format=encoding_format, plain_text=mode == "text")


def server_dialect_for(api: str) -> ServerDialect:
    """The server's direction of `api`."""
    return cast(_MakeServerDialect, _entry(SERVER_DIALECTS, api))()
