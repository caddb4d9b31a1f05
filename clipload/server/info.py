"""The reference server's control plane: who it is, and the profiler that it pretends to have."""

from __future__ import annotations

import time
from typing import Any

import orjson
from aiohttp import web

from clipload import __version__
from clipload.dialects import RequestRefused, server_dialect_for
from clipload.server.engines import INTERNAL_ERROR, Engine
from clipload.server.options import ServerOptions

CONTEXT = 77
STEPS = ("start_step", "num_steps")


def reply(status: int, document: bytes | dict[str, Any]) -> web.Response:
    """JSON; what is none, as SGLang's last words are not, goes as plain text."""
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    kind = "application/json" if body[:1] in (b"{", b"[") else "text/plain"
    return web.Response(status=status, body=body, content_type=kind)


class Profiler:
    """When a profile was asked for, and until when; nothing is profiled.

    As SGLang 0.5.23 answers: a start during a profile is fine and changes nothing, a stop without one is its error 500.
    """

    def __init__(self) -> None:
        self.profiles: list[dict[str, int | None]] = []  # ns of CLOCK_MONOTONIC

    @property
    def _open(self) -> bool:
        return bool(self.profiles) and self.profiles[-1]["stop_ns"] is None

    async def start(self, request: web.Request) -> web.Response:
        try:
            _check_options(await request.read())
        except RequestRefused as refused:
            return reply(refused.status, refused.body)
        if not self._open:
            self.profiles.append({"start_ns": time.monotonic_ns(), "stop_ns": None})
        return web.Response(text="Start profiling.\n")

    async def stop(self, _: web.Request) -> web.Response:
        if not self._open:
            return reply(INTERNAL_ERROR, b"Internal Server Error")
        self.profiles[-1]["stop_ns"] = time.monotonic_ns()
        return web.Response(text="Stop profiling. This will take some time.\n")


def _check_options(body: bytes) -> None:
    """A profile's options are optional, but must be an object, and its steps whole numbers."""
    refuse = server_dialect_for("v1").malformed
    if not body:
        return
    try:
        options = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise refuse(f"1 validation error: json_invalid: JSON decode error: {error}") from None
    if not isinstance(options, dict):
        raise refuse("1 validation error: dict_type: ('body',): Input should be a valid dictionary")
    for name in STEPS:
        if not isinstance(options.get(name), int | None):
            raise refuse(f"1 validation error: int_parsing: ('body', '{name}'): Input should be a valid integer")


class Info:
    """The control plane: who the server is."""

    def __init__(self, options: ServerOptions, engine: Engine, profiler: Profiler) -> None:
        self._options, self._engine, self._profiler = options, engine, profiler
        self._name = options.served_model_name or engine.model
        self._created = int(time.time())

    def _card(self) -> dict[str, Any]:
        card = {"id": self._name, "object": "model", "created": self._created, "owned_by": "sglang"}
        return card | {"root": self._name, "parent": None, "max_model_len": CONTEXT}

    async def models(self, _: web.Request) -> web.Response:
        return reply(200, {"object": "list", "data": [self._card()]})

    async def model(self, request: web.Request) -> web.Response:
        wanted = request.match_info["model"]
        if wanted == self._name:
            return reply(200, self._card())
        message = f"The model '{wanted}' does not exist"
        error = {"message": message, "type": "invalid_request_error", "param": "model", "code": "model_not_found"}
        return reply(404, {"error": error})

    async def model_info(self, _: web.Request) -> web.Response:
        cache = {"radix_cache_disabled": True}
        embedding = {"family": "clip", "pooling": "last", "normalize": True, "supports_dimensions": False}
        document: dict[str, Any] = {"model_path": self._engine.model, "served_model_name": self._name}
        document |= {"tokenizer_path": self._engine.model, "is_generation": False, "weight_version": "default"}
        document |= {"has_image_understanding": True, "has_audio_understanding": False}
        document |= {"model_type": "clip", "architectures": ["CLIPModel"]}
        document["embedding"] = embedding | {"supports_multimodal": True, "cache": cache}
        return reply(200, document)

    async def server_info(self, _: web.Request) -> web.Response:
        document: dict[str, Any] = {"model_path": self._engine.model, "served_model_name": self._name}
        document |= {"version": f"clipload {__version__}", "engine": self._options.engine}
        document |= {"context_length": CONTEXT, "disable_radix_cache": True}
        document["profiles"] = self._profiler.profiles
        return reply(200, document | self._engine.facts())
