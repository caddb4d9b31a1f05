"""Dialects: an API's wire format, read forwards by the client and backwards by the reference server.

Laws, for every entry: `parse(encode(samples))` gives the Items back; `decode(reply(vectors))` gives the vectors back; what
`looks_whole`, `decode` takes; `server_times(timed(reply, times))` gives the times back, when they are told at all.
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
from clipload.plan import Mode, Plan
from clipload.values import Image, ImageRef, Item, Sample

Vectors = NDArray[np.float32]
"""Shape [n, dim], float32, one row per Item in the order in which the Items were sent."""

EncodingFormat = Literal["float", "base64"]
ReplyFault = Literal["not_json", "shape", "index", "count"]

Told = tuple[int, int]
"""What a server says of its own time for a request: (waiting in its queue, from received to done), ns."""
NOT_TOLD: Told = (0, 0)


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
    """A parsed request: its items, and how the vectors shall be printed. `single`: one item that stood outside of any list, in
    an API whose answer to it does so too."""

    items: tuple[ServerItem, ...]
    model: str
    encoding_format: EncodingFormat
    single: bool = False


@dataclass(frozen=True, slots=True)
class Times:
    """What became of a request: received at (s since 1970); until ready for the queue, in the queue, until done, each in ns."""

    received_s: float
    prepared_ns: int
    queue_ns: int
    total_ns: int


class Dialect(Protocol):
    """The client's direction.

    A body is made of columns, each a list of the Items' pieces: with the frame f, f₀ + column₀ + f₁ + column₁ + … + fₙ, the
    pieces of a column joined by commas. So the pieces can be stored once, and a body be a list of views of them.
    """

    @property
    def path(self) -> str:
        """Where requests are posted, from the root of the base URL: `/v1/embeddings`."""

    @property
    def tells_times(self) -> bool:
        """Whether replies say how long the server took. When not, nobody asks."""

    def encode_item(self, item: Item) -> tuple[bytes, ...]:
        """One Item as it stands in a body: a piece for each column."""

    def frame(self) -> tuple[bytes, ...]:
        """What stands before, between and after the columns: one piece more than there are columns."""

    def encode(self, samples: Sequence[Sample]) -> bytes:
        """The whole body; the Samples' Items stand in order."""

    def count_vectors(self, body: bytes) -> int:
        """How many vectors a reply holds, without decoding it."""

    def looks_whole(self, reply: list[bytes], vectors: int) -> bool:
        """Whether a reply, in the pieces in which it came and its head included, has the marks of `vectors` vectors: right for
        every known server, in well under a microsecond for a small reply. False says nothing: decode it then."""

    def server_times(self, reply: list[bytes]) -> Told:
        """What a reply says of the server's time, of several Items the longest; `NOT_TOLD` if nothing. Never raises."""

    def decode(self, body: bytes, expected: int | None = None) -> Vectors:
        """The vectors of a reply in the order of the Items. ReplyError when it is not one."""

    def error_message(self, status: int, body: bytes) -> str:
        """What an error reply says, in ≤ 300 characters; never raises."""


class ServerDialect(Protocol):
    """The server's direction."""

    @property
    def path(self) -> str:
        """Where requests arrive."""

    @property
    def methods(self) -> tuple[str, ...]:
        """How they come: POST, and whatever else the API takes."""

    def parse(self, body: bytes) -> EmbeddingRequest:
        """The request in a body. RequestRefused, with the answer to send, when it cannot be served."""

    def reply(self, request: EmbeddingRequest, vectors: Vectors, tokens: Sequence[int], model: str) -> bytes:
        """The body of a 200, its times not told: for each item of `request`, in order, its vector and its tokens."""

    def timed(self, reply: bytes, times: Times) -> bytes:
        """`reply` with the times told, if the API tells any; so cheap that it can be left for the moment of departure."""

    def refusal(self, status: int, message: str, kind: str) -> bytes:
        """The body of an error reply. `kind` is SGLang's word for it; APIs with words of their own go by the status."""

    def malformed(self, message: str) -> RequestRefused:
        """What the API answers to something that is no request at all."""

    def unauthorized(self) -> bytes:
        """The body of a 401."""


DIALECTS = {
    "v1": "clipload.dialects.v1:V1",
    "native": "clipload.dialects.native:Native",
    "openai": "clipload.dialects.openai:OpenAI",
    "infinity": "clipload.dialects.infinity:Infinity",
    "vllm": "clipload.dialects.vllm:VLLM",
}
SERVER_DIALECTS = {
    "v1": "clipload.dialects.v1:V1Server",
    "native": "clipload.dialects.native:NativeServer",
    "openai": "clipload.dialects.openai:OpenAIServer",
    "infinity": "clipload.dialects.infinity:InfinityServer",
    "vllm": "clipload.dialects.vllm:VLLMServer",
}


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


def encode_body(dialect: Dialect, samples: Sequence[Sample]) -> bytes:
    """The body that the dialect's frame and pieces make: what every `encode` is."""
    columns = zip(*(dialect.encode_item(item) for sample in samples for item in sample.items))
    first, *others = dialect.frame()
    return first + b"".join(b",".join(column) + after for column, after in zip(columns, others))


class _MakeDialect(Protocol):
    def __call__(self, *, model: str, encoding_format: EncodingFormat, plain_text: bool, single: bool) -> Dialect: ...


class _MakeServerDialect(Protocol):
    def __call__(self) -> ServerDialect: ...


def dialect_for(api: str, model: str, encoding_format: EncodingFormat, mode: Mode, items: int | None = None) -> Dialect:
    """The client's direction of `api`. Texts go as plain strings only when nothing but texts is sent (`mode` "text").

    `items`: how many each request holds, when that is known; an API with a form for one Item then uses it.
    """
    make = cast(_MakeDialect, _entry(DIALECTS, api))
    return make(model=model, encoding_format=encoding_format, plain_text=mode == "text", single=items == 1)


def dialect_of(plan: Plan) -> Dialect:
    """What the Plan's requests are written in."""
    return dialect_for(plan.api, plan.model, plan.encoding_format, plan.mode, plan.vectors_per_request)


def server_dialect_for(api: str) -> ServerDialect:
    """The server's direction of `api`."""
    return cast(_MakeServerDialect, _entry(SERVER_DIALECTS, api))()


def dialects_served(api: str) -> dict[str, ServerDialect]:
    """path → the dialect that answers there. Where several share a path, as all but native do, it is the one named `api`, or
    else the first of the table."""
    served: dict[str, ServerDialect] = {}
    for name in sorted(SERVER_DIALECTS, key=lambda name: name != api):
        dialect = server_dialect_for(name)
        served.setdefault(dialect.path, dialect)
    return served
