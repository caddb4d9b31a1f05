"""The reference server: a dialect read backwards over an engine (clip, sim, null), with scripted faults.

It stands in for SGLang where there is none: to try clipload, to test it, and to measure what it costs itself.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from clipload.errors import EXIT_OK, HostError
from clipload.server.options import DEFAULT_HOST, DEFAULT_PORT, ServerOptions

__all__ = ["ServerOptions", "run_server"]

BACKLOG = 4096
Announce = Callable[[str], None]


def run_server(options: ServerOptions, announce: Announce) -> int:
    """Serves until SIGTERM or SIGINT, then returns 0 within 2 s. Call it from the main thread.

    `announce` is given one line, `listening on http://127.0.0.1:PORT (engine sim, pid N)`, once connections are accepted;
    `https://…` and `unix:/PATH` stand there as --base-url takes them.
    HostError, before anything is loaded, when the address or the cores cannot be had.
    """
    _pin(options)
    listener = _bind(options)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            quiet = runner.run(_serve(options, listener, announce))
    finally:
        listener.close()  # an engine that would not start leaves it open
        if options.unix is not None:
            Path(options.unix).unlink(missing_ok=True)
    if not quiet:
        # A model thread is still inside a batch. Joining it could take seconds, and torch does not survive
        # the interpreter's end under a running thread.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(EXIT_OK)
    return EXIT_OK


def _pin(options: ServerOptions) -> None:
    if options.core_list is None:
        return
    import psutil

    try:
        psutil.Process().cpu_affinity(list(options.core_list))
    except (ValueError, OSError, AttributeError):
        have = os.cpu_count() or 1
        remedy = f"name cores from 0 to {have - 1}, or leave it out"
        raise HostError(f"cannot run on cores {options.cores}", flag="--cores", remedy=remedy) from None


def _bind(options: ServerOptions) -> socket.socket:
    """The address is taken before anything is loaded, and listened to only afterwards."""
    if options.unix is not None:
        return _bind_path(options.unix)
    host, port = options.host or DEFAULT_HOST, DEFAULT_PORT if options.port is None else options.port
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise HostError(f"{host!r} is no address: {error}", flag="--host", remedy="--host 127.0.0.1") from None
    listener = socket.socket(family, kind, proto)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        what = f"cannot bind {host}:{port}: {error.strerror}"
        if error.errno == errno.EADDRNOTAVAIL:
            raise HostError(what, flag="--host", remedy="choose an address of this machine, such as 127.0.0.1") from None
        remedy = "stop what listens there, or choose another port (0: any free one)"
        raise HostError(what, flag="--port", remedy=remedy) from None
    return listener


def _bind_path(path: str) -> socket.socket:
    """The file goes with the server."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(path)
    except OSError as error:
        listener.close()
        remedy = "remove the file if no server listens there, or choose another"
        raise HostError(f"cannot bind {path}: {error.strerror}", flag="--unix", remedy=remedy) from None
    return listener


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def _serve(options: ServerOptions, listener: socket.socket, announce: Announce) -> bool:
    """True when nothing is left running."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if options.engine == "null":
        from clipload.server import null

        async with null.listening(options, listener, BACKLOG):
            announce(_line(options, listener))
            await stop.wait()
        return True
    from clipload.server import app, engines

    engine = engines.engine_for(options)
    await engine.start()
    async with app.listening(options, engine, listener, BACKLOG):
        announce(_line(options, listener))
        await stop.wait()
    return await engine.close()


def _line(options: ServerOptions, listener: socket.socket) -> str:
    if options.unix is not None:
        where = f"unix:{Path(options.unix).absolute()}"
    else:
        host, port = listener.getsockname()[:2]
        where = f"http{'s' if options.tls_cert else ''}://{f'[{host}]' if ':' in host else host}:{port}"
    return f"listening on {where} (engine {options.engine}, pid {os.getpid()})"
