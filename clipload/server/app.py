"""The reference server's HTTP: SGLang's paths, shapes and errors (aiohttp) around an engine.

What differs from SGLang on purpose: /health answers at once (SGLang's takes ≥ 1 s, for it runs a request), and images come as
data URIs or raw base64: a server for tests opens files and fetches URLs only when it is told to (--open-images).
"""

from __future__ import annotations

import secrets
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.typedefs import Middleware

from clipload.dialects import RequestRefused, ServerDialect, dialects_served
from clipload.server.engines import INTERNAL_ERROR, Engine, Refusal
from clipload.server.faults import Lottery
from clipload.server.info import Info, Profiler, reply
from clipload.server.metrics import Metrics
from clipload.server.options import ServerOptions

OPEN_PATHS = ("/health", "/ready", "/metrics")  # prefixes that need no key, as in SGLang
SHUTDOWN_S = 0.3
WRONG_TYPE = (
    "1 validation error: {'loc': ['header', 'content-type'], "
    "'msg': \"Unsupported Media Type: Only 'application/json' is allowed\"}"
)

Respond = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(options: ServerOptions, engine: Engine) -> web.Application:
    """No limit on bodies, SGLang's errors for what has no route, bearer auth when there is a key."""
    dialects = dialects_served(options.api)
    metrics = Metrics(options.served_model_name or engine.model, engine) if options.enable_metrics else None
    counting = [metrics.count_http] if metrics is not None else []
    app = web.Application(client_max_size=0, middlewares=[*counting, _auth(options.api_key, dialects), _sglang_errors])
    lottery = Lottery(options.seed, options.error_rate or 0, options.reset_rate or 0)
    for path, dialect in dialects.items():
        respond = Embeddings(dialect, engine, lottery, metrics).respond
        for method in dialect.methods:
            app.router.add_route(method, path, respond)
    if metrics is not None:
        app.router.add_route("*", "/metrics", metrics.respond)
    _add_control_plane(app, options, engine)
    return app


def _add_control_plane(app: web.Application, options: ServerOptions, engine: Engine) -> None:
    profiler = Profiler()
    info = Info(options, engine, profiler)
    for method in ("GET", "POST"):
        app.router.add_route(method, "/start_profile", profiler.start)
        app.router.add_route(method, "/stop_profile", profiler.stop)
    for path in ("/health", "/health_generate", "/ready"):
        app.router.add_get(path, _empty)
    app.router.add_get("/v1/models", info.models)
    app.router.add_get("/v1/models/{model:.*}", info.model)
    for path in ("/model_info", "/get_model_info"):
        app.router.add_get(path, info.model_info)
    for path in ("/server_info", "/get_server_info"):
        app.router.add_get(path, info.server_info)


class Embeddings:
    """Requests of a dialect: fate first, then the dialect's checks, then the engine."""

    def __init__(self, dialect: ServerDialect, engine: Engine, lottery: Lottery, metrics: Metrics | None) -> None:
        self._dialect, self._engine, self._lottery, self._metrics = dialect, engine, lottery, metrics

    async def respond(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        try:
            if request.content_type != "application/json":
                raise self._dialect.malformed(WRONG_TYPE)
            fate = self._lottery.draw()
            if fate == "reset":
                return _reset(request)
            if fate == "error":
                raise Refusal(INTERNAL_ERROR, "Internal server error: scripted by --error-rate", "InternalServerError")
            answer = await self._engine.answer(self._dialect, body)
        except RequestRefused as refused:
            return reply(refused.status, refused.body)
        except Refusal as refused:
            return reply(refused.status, self._dialect.refusal(refused.status, refused.message, refused.kind))
        if self._metrics is not None:
            self._metrics.answered(answer)
        return reply(200, self._dialect.timed(answer.reply, answer.times))


async def _empty(_: web.Request) -> web.Response:
    return web.Response()


def _reset(request: web.Request) -> web.Response:
    """Cuts the connection with RST (linger of 0 s) and without a reply; what is returned goes nowhere."""
    if request.transport is not None:
        sock = request.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
    return web.Response()


@web.middleware
async def _sglang_errors(request: web.Request, handler: Respond) -> web.StreamResponse:
    try:
        return await handler(request)
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as error:
        response = reply(error.status, {"detail": error.reason})
        if isinstance(error, web.HTTPMethodNotAllowed):
            response.headers["Allow"] = ", ".join(sorted(error.allowed_methods))
        return response


def _auth(api_key: str | None, dialects: Mapping[str, ServerDialect]) -> Middleware:
    """A middleware that asks for `Authorization: Bearer <api_key>`, when there is one; who has none hears it in SGLang's words,
    or in those of the dialect asked for."""

    @web.middleware
    async def check(request: web.Request, handler: Respond) -> web.StreamResponse:
        exempt = api_key is None or request.method == "OPTIONS" or request.path.startswith(OPEN_PATHS)
        if exempt or authorised(request.headers.get("Authorization", ""), str(api_key)):
            return await handler(request)
        return reply(401, dialects.get(request.path, dialects["/encode"]).unauthorized())

    return check


def authorised(header: str, api_key: str) -> bool:
    scheme, _, given = header.partition(" ")
    return scheme.lower() == "bearer" and secrets.compare_digest(given.encode(errors="replace"), api_key.encode())


@asynccontextmanager
async def listening(options: ServerOptions, engine: Engine, listener: socket.socket, backlog: int) -> AsyncIterator[None]:
    """Accepts connections on `listener`, and closes it in the end; requests in hand then have `SHUTDOWN_S`."""
    runner = web.AppRunner(
        make_app(options, engine),
        access_log=None,
        keepalive_timeout=options.keep_alive_s,
        shutdown_timeout=SHUTDOWN_S,
        handle_signals=False,
    )
    await runner.setup()
    await web.SockSite(runner, listener, backlog=backlog, ssl_context=options.tls).start()
    try:
        yield
    finally:
        await runner.cleanup()
