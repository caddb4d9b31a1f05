"""Images by reference, opened as SGLang opens them, and refused in its words: `clipload serve --open-images`.

A path begins with `/` or `file://` and one that cannot be read is the server's error (500). A URL may take 3 s in all, 5
redirects and 64 MiB, and one that cannot be fetched is the client's (400). Whatever else is no reference.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

import aiohttp

from clipload.dialects import ServerItem
from clipload.server.engines import BAD_REQUEST, INTERNAL_ERROR, Refusal
from clipload.server.images import cannot_load, shown

FETCH_S, REDIRECTS, LARGEST = 3.0, 5, 64 * 2**20
_URLS, _FILES = ("http://", "https://"), ("file://", "/")
_REFERENCES = _URLS + _FILES

Opened = tuple[bytes | None, ...]


def references(items: Sequence[ServerItem]) -> tuple[str, ...]:
    """The paths and URLs among the images, in order."""
    return tuple(item.image for item in items if item.image is not None and item.image.startswith(_REFERENCES))


class Opener:
    """Made within a running loop. `allowed`: without it nothing is opened."""

    def __init__(self, *, allowed: bool) -> None:
        self.allowed = allowed
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=FETCH_S)) if allowed else None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def open_all(self, items: Sequence[ServerItem]) -> Opened:
        """One after another, as SGLang does; None for an item whose bytes are in the request."""
        return tuple([None if item.image is None else await self.open(item.image) for item in items])

    async def open(self, reference: str) -> bytes | None:
        """Refusal when it is a reference and cannot be opened."""
        if self._session is None:
            return None
        if reference.startswith(_URLS):
            return await self._fetch(self._session, reference)
        if reference.startswith(_FILES):
            path = Path(unquote(urlsplit(reference).path)) if reference.startswith("file://") else Path(reference)
            try:
                return await asyncio.to_thread(path.read_bytes)
            except (OSError, ValueError) as error:
                said = f"Internal server error: Error while loading data {shown(reference)}: {error}"
                raise Refusal(INTERNAL_ERROR, said, "InternalServerError") from None
        return None

    async def _fetch(self, session: aiohttp.ClientSession, url: str) -> bytes:
        try:
            async with session.get(url, max_redirects=REDIRECTS + 1) as reply:
                if reply.status >= 400:
                    whose = "Client" if reply.status < 500 else "Server"
                    raise _refused(url, f"{reply.status} {whose} Error: {reply.reason} for url: {url}")
                data = b"".join([chunk async for chunk in _up_to(LARGEST, reply)])
        except TimeoutError:
            raise _refused(url, f"timed out after {FETCH_S:g} s") from None
        except (aiohttp.ClientError, ValueError) as error:
            raise _refused(url, str(error)) from None
        return data


async def _up_to(limit: int, reply: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """The body in pieces. ValueError when it is longer."""
    async for chunk in reply.content.iter_any():
        limit -= len(chunk)
        if limit < 0:
            raise ValueError(f"Remote media exceeds the {LARGEST} byte download limit")
        yield chunk


def _refused(reference: str, why: str) -> Refusal:
    return Refusal(BAD_REQUEST, cannot_load(reference, why), "BadRequestError")
