"""How a socket gets to its target, and what is said when it does not."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl

from clipload.transports import Endpoint

AGAIN_S = 0.01
PATIENT, PAUSE_S = 50, 0.05
"""After so many refusals in a row a request waits so long before it ends by one, or asks again if others got through
meanwhile: a closed loop would spin."""
_OURS = {errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM, errno.EADDRINUSE}


def is_ours(error: OSError) -> bool:
    """Whether this host, and not the target, had no room for a connection. An SSLError's number is none of the kernel's."""
    return error.errno in _OURS and not isinstance(error, ssl.SSLError)


def said(error: OSError) -> str:
    """The reason in words."""
    return str(error) if isinstance(error, ssl.SSLError) or not error.errno else os.strerror(error.errno)


def open_socket(endpoint: Endpoint) -> socket.socket:
    """Not connected yet; writes of its own go out at once."""
    sock = socket.socket(endpoint.family, socket.SOCK_STREAM)
    sock.setblocking(False)
    if endpoint.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


async def connect(loop: asyncio.AbstractEventLoop, sock: socket.socket, endpoint: Endpoint) -> None:
    """A Unix socket whose queue is full says so at once instead of letting us wait: it is asked again."""
    if endpoint.family != socket.AF_UNIX:
        await loop.sock_connect(sock, endpoint.socket_address)
        return
    while True:
        try:
            sock.connect(endpoint.socket_address)
        except BlockingIOError:
            await asyncio.sleep(AGAIN_S)
        else:
            return
