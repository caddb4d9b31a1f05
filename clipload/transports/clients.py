"""aiohttp's sessions as clipload makes them, for the control plane and for the aiohttp transport: one way to a base URL."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from clipload.transports import Endpoint

_KEEP_S = 3600.0  # idle connections are the target's to close
_AUTOMATIC = ("User-Agent", "Accept", "Accept-Encoding")  # nothing is said that the ready-made head does not say


class Resolved(AbstractResolver):
    """The one address that was found before the load: nobody asks a name server under load."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def resolve(
        self,
        host: str,
        port: int = 0,  # noqa: ARG002 - the address has its own
        family: socket.AddressFamily = socket.AF_INET,  # noqa: ARG002
    ) -> list[ResolveResult]:
        found, found_port = self._endpoint.address[:2]
        number = socket.AddressFamily(self._endpoint.family)
        flags = socket.AI_NUMERICHOST
        return [ResolveResult(hostname=host, host=found, port=found_port, family=number, proto=0, flags=flags)]

    async def close(self) -> None:
        """Nothing is held."""


def connector_for(endpoint: Endpoint, tls: ssl.SSLContext | None, *, keep: bool = True) -> aiohttp.BaseConnector:
    """Connections to `endpoint`, as many as are asked for; `keep`: for later requests too."""
    held: dict[str, Any] = {"limit": 0, "keepalive_timeout": _KEEP_S} if keep else {"limit": 0, "force_close": True}
    if endpoint.family == socket.AF_UNIX:
        return aiohttp.UnixConnector(endpoint.socket_address, **held)
    return aiohttp.TCPConnector(resolver=Resolved(endpoint), ssl=tls or True, **held)


def session_for(endpoint: Endpoint, tls: ssl.SSLContext | None, *, keep: bool = True, **options: Any) -> aiohttp.ClientSession:
    """A session whose relative URLs stand under the base URL, through the proxy when there is one.

    Never give it `headers`: aiohttp shows a session's own headers to the proxy that it asks for a tunnel.
    """
    return aiohttp.ClientSession(
        endpoint.root,
        connector=connector_for(endpoint, tls, keep=keep),
        cookie_jar=aiohttp.DummyCookieJar(),
        proxy=endpoint.proxy or None,
        skip_auto_headers=_AUTOMATIC,
        auto_decompress=False,
        **options,
    )
