"""Talking to a target politely: one request at a time, one connection, each reply read whole and decoded here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import aiohttp
import numpy as np
import orjson

from clipload.arena import JSON
from clipload.credentials import Credentials
from clipload.dialects import EncodingFormat, ReplyError, Vectors, dialect_for
from clipload.plan import Mode, Plan
from clipload.target import open_session
from clipload.transports import Endpoint
from clipload.values import Item, Sample, Text

NONCE = "{nonce}"  # stands in a text for a word that no earlier preflight has sent: a cache may know the others
DOCUMENT_S = 5.0  # /server_info asks the scheduler, and hangs when that is stuck
TRIES, PAUSE_S = 3, 0.2  # a busy server may say so once or twice
LONGEST = 120  # characters of an error
ONE_KIND = ("infinity", "vllm")  # the dialects whose several texts are not written as they are beside images
_RETRIED = (429, 500, 502, 503, 504)
_NO_VECTORS: Vectors = np.empty((0, 0), np.float32)


@dataclass(frozen=True, slots=True)
class Ask:
    """One request; equal ones are sent once. `api`, `encoding`: the Plan's when empty. `again` makes a second one of it."""

    items: tuple[Item, ...]
    api: str = ""
    encoding: EncodingFormat | Literal[""] = ""
    again: int = 0

    @property
    def has_image(self) -> bool:
        return any(not isinstance(item, Text) for item in self.items)

    def body(self, plan: Plan, nonce: str) -> tuple[str, bytes]:
        """The path, and the body in the form in which the Plan's own requests will be written."""
        mode: Mode = "text" if self.api else plan.mode  # another API is asked in its plainest form
        if self.has_image and mode == "text":
            mode = "image"
        if mode == "image" and not self.has_image and plan.canary is not None:
            mode = "text"  # as the canary's are
        if mode == "mixed" and not self.has_image and (self.api or plan.api) in ONE_KIND:
            mode = "text"
        dialect = dialect_for(
            self.api or plan.api, plan.model, self.encoding or plan.encoding_format, mode, items=len(self.items)
        )
        items = tuple(Text(item.text.replace(NONCE, nonce)) if isinstance(item, Text) else item for item in self.items)
        return dialect.path, dialect.encode([Sample(items)])


@dataclass(frozen=True, slots=True)
class Reply:
    """`fault` says in words why there are no vectors; `broke`: the connection ended instead of an answer."""

    vectors: Vectors = field(default_factory=lambda: _NO_VECTORS, repr=False)
    encoding: EncodingFormat = "float"
    fault: str = ""
    status: int = 0
    broke: bool = False


def shortened(said: str) -> str:
    """What an error says, without the input that many servers repeat."""
    return said if len(said) <= LONGEST else f"{said[:LONGEST]}…"


class Conversation:
    """With one Endpoint. `requests` counts all that was asked, documents too."""

    def __init__(self, plan: Plan, endpoint: Endpoint, credentials: Credentials, nonce: str) -> None:
        self._plan, self._credentials, self._nonce = plan, credentials, nonce
        self._session = open_session(plan, endpoint, credentials)
        self._replies: dict[Ask, Reply] = {}
        self.requests = 0

    async def __aenter__(self) -> Conversation:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def document(self, path: str) -> Any:
        """The JSON at `path`, or None: it is not there, not JSON, or takes longer than DOCUMENT_S."""
        status, body = await self.get(path)
        try:
            return orjson.loads(body) if status == 200 else None
        except orjson.JSONDecodeError:
            return None

    async def documents(self, paths: Iterable[str]) -> dict[str, Any]:
        found = {path: await self.document(path) for path in paths}
        return {path: document for path, document in found.items() if document is not None}

    async def get(self, path: str) -> tuple[int, bytes]:
        """Status and body; (0, why) when nothing came."""
        self.requests += 1
        limit = aiohttp.ClientTimeout(total=min(DOCUMENT_S, self._plan.timeout / 1e9))
        try:
            async with self._session.get(path, timeout=limit, allow_redirects=False) as reply:
                return reply.status, await reply.read()
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            return 0, self._credentials.mask(str(error) or type(error).__name__).encode()

    async def reply(self, ask: Ask) -> Reply:
        """The reply to `ask`, sent if it was not yet. What failed in passing is tried again, unless the connection broke."""
        for attempt in range(TRIES):
            if ask not in self._replies or (attempt and self._replies[ask].status in _RETRIED):
                await asyncio.sleep(PAUSE_S if attempt else 0)
                self._replies[ask] = await self._send(ask)
        return self._replies[ask]

    async def alive(self) -> bool:
        """Whether anything at all still answers."""
        return (await self.get("/ready"))[0] > 0

    async def _send(self, ask: Ask) -> Reply:
        path, body = ask.body(self._plan, self._nonce)
        self.requests += 1
        try:
            async with self._session.post(path, data=body, headers=dict(JSON), allow_redirects=False) as answer:
                status, data = answer.status, await answer.read()
        except TimeoutError:
            return Reply(fault=f"no answer within {self._plan.timeout}")
        except (aiohttp.ClientError, OSError) as error:
            said = self._credentials.mask(str(error) or type(error).__name__)
            return Reply(fault=f"the connection broke: {said}", broke=True)
        return self._decoded(ask, status, data)

    def _decoded(self, ask: Ask, status: int, data: bytes) -> Reply:
        api, encoding = ask.api or self._plan.api, ask.encoding or self._plan.encoding_format
        dialect = dialect_for(api, self._plan.model, encoding, self._plan.mode, items=len(ask.items))
        if status != 200:
            said = shortened(self._credentials.mask(dialect.error_message(status, data)))
            return Reply(fault=f"answered {status}: {said}", status=status)
        try:
            vectors = dialect.decode(data, expected=len(ask.items))
        except ReplyError as error:
            not_finite = error.kind == "shape" and b"null" in data[: data.rfind(b"]")]
            why = "a vector is not finite: it holds null, which is how JSON prints NaN" if not_finite else str(error)
            return Reply(fault=f"answered 200, but {why}", status=status)
        return Reply(vectors, "base64" if b'"embedding":"' in data.replace(b" ", b"") else "float", status=status)
