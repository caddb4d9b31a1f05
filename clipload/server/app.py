"""The reference server's HTTP: SGLang's paths, shapes and errors (aiohttp) around an engine.

What differs from SGLang on purpose: /health answers at once (SGLang's takes ≥ 1 s, for it runs a request), and images come as
data URIs or raw base64 only: a server for tests opens no files and fetches no URLs.
"""

from __future__ import annotations

import secrets
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
from aiohttp import web
from aiohttp.typedefs import Middleware

from clipload import __version__
from clipload.dialects import RequestRefused, ServerDialect, server_dialect_for
from clipload.server.engines import BAD_REQUEST, INTERNAL_ERROR, Engine, Refusal
from clipload.server.faults import Lottery
from clipload.server.options import ServerOptions

CONTEXT = 77
OPEN_PATHS = ("/health", "/ready", "/metrics")  # prefixes that need no key, as in SGLang
SHUTDOWN_S = 0.3

Respond = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(options: ServerOptions, engine: Engine) -> web.Application:
    """No limit on bodies, SGLang's errors for what has no route, bearer auth when there is a key."""
    app = web.Application(client_max_size=0, middlewares=[_auth(options.api_key), _sglang_errors])
    dialect = server_dialect_for("v1")
    lottery = Lottery(options.seed, options.error_rate or 0, options.reset_rate or 0)
    info = Info(options, engine)
    app.router.add_post(dialect.path, Embeddings(dialect, engine, lottery).respond)
    for path in ("/health", "/health_generate", "/ready"):
        app.router.add_get(path, _empty)
    app.router.add_get("/v1/models", info.models)
    app.router.add_get("/v1/models/{model:.*}", info.model)
    for path in ("/model_info", "/get_model_info"):
        app.router.add_get(path, info.model_info)
    for path in ("/server_info", "/get_server_info"):
        app.router.add_get(path, info.server_info)
    return app


class Embeddings:
    """POST of a dialect: fate first, then the dialect's checks, then the engine."""

    def __init__(self, dialect: ServerDialect, engine: Engine, lottery: Lottery) -> None:
        self._dialect, self._engine, self._lottery = dialect, engine, lottery

    async def respond(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if request.content_type != "application/json":
            said = "{'loc': ['header', 'content-type'], 'msg': \"Unsupported Media Type: Only 'application/json' is allowed\"}"
            return self._refuse(BAD_REQUEST, f"1 validation error: {said}", "Bad Request")
        fate = self._lottery.draw()
        if fate == "reset":
            return _reset(request)
        if fate == "error":
            return self._refuse(INTERNAL_ERROR, "Internal server error: scripted by --error-rate", "InternalServerError")
        try:
            return _json(200, await self._engine.answer(self._dialect, body))
        except RequestRefused as refused:
            return _json(refused.status, refused.body)
        except Refusal as refused:
            return self._refuse(refused.status, refused.message, refused.kind)

    def _refuse(self, status: int, message: str, kind: str) -> web.Response:
        return _json(status, self._dialect.refusal(status, message, kind))


class Info:
    """The control plane: who the server is."""

    def __init__(self, options: ServerOptions, engine: Engine) -> None:
        self._options, self._engine = options, engine
        self._name = options.served_model_name or engine.model
        self._created = int(time.time())

    def _card(self) -> dict[str, Any]:
        card = {"id": self._name, "object": "model", "created": self._created, "owned_by": "sglang"}
        return card | {"root": self._name, "parent": None, "max_model_len": CONTEXT}

    async def models(self, _: web.Request) -> web.Response:
        return _json(200, {"object": "list", "data": [self._card()]})

    async def model(self, request: web.Request) -> web.Response:
        wanted = request.match_info["model"]
        if wanted == self._name:
            return _json(200, self._card())
        message = f"The model '{wanted}' does not exist"
        error = {"message": message, "type": "invalid_request_error", "param": "model", "code": "model_not_found"}
        return _json(404, {"error": error})

    async def model_info(self, _: web.Request) -> web.Response:
        cache = {"radix_cache_disabled": True}
        embedding = {"family": "clip", "pooling": "last", "normalize": True, "supports_dimensions": False}
        document: dict[str, Any] = {"model_path": self._engine.model, "served_model_name": self._name}
        document |= {"tokenizer_path": self._engine.model, "is_generation": False, "weight_version": "default"}
        document |= {"has_image_understanding": True, "has_audio_understanding": False}
        document |= {"model_type": "clip", "architectures": ["CLIPModel"]}
        document["embedding"] = embedding | {"supports_multimodal": True, "cache": cache}
        return _json(200, document)

    async def server_info(self, _: web.Request) -> web.Response:
        document: dict[str, Any] = {"model_path": self._engine.model, "served_model_name": self._name}
        document |= {"version": f"clipload {__version__}", "engine": self._options.engine}
        document |= {"context_length": CONTEXT, "disable_radix_cache": True}
        return _json(200, document | self._engine.facts())


async def _empty(_: web.Request) -> web.Response:
    return web.Response()


def _json(status: int, document: bytes | dict[str, Any]) -> web.Response:
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    return web.Response(status=status, body=body, content_type="application/json")


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
        response = _json(error.status, {"detail": error.reason})
        if isinstance(error, web.HTTPMethodNotAllowed):
            response.headers["Allow"] = ", ".join(sorted(error.allowed_methods))
        return response


def _auth(api_key: str | None) -> Middleware:
    """A middleware that asks for `Authorization: Bearer <api_key>`, when there is one."""

    @web.middleware
    async def check(request: web.Request, handler: Respond) -> web.StreamResponse:
        exempt = api_key is None or request.method == "OPTIONS" or request.path.startswith(OPEN_PATHS)
        if exempt or authorised(request.headers.get("Authorization", ""), str(api_key)):
            return await handler(request)
        return _json(401, {"error": "Unauthorized"})

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
