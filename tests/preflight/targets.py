"""Targets within the test's own process: the reference server on loopback, or a fake that is told what to say."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from clipload.credentials import Credentials
from clipload.dialects import ServerItem
from clipload.plan import Plan
from clipload.preflight import Fitness, examine
from clipload.preflight.asking import Ask, Reply
from clipload.preflight.examination import Examination
from clipload.preflight.fitness import Line
from clipload.preflight.identity import Identity
from clipload.server.app import listening
from clipload.server.engines import engine_for
from clipload.server.lies import Lie
from clipload.server.options import ServerOptions
from clipload.target import resolve
from clipload.units import Duration
from clipload.values import Text

QUICK = {"engine": "sim", "law": "constant(1us)", "dim": 32}


def examined(*, key: str = "", times: int = 1, options: Mapping[str, Any] = QUICK, **plan: Any) -> Fitness:
    """The whole preflight of a reference server with `options`; of several, the last."""

    async def talk() -> Fitness:
        given = ServerOptions(**options)
        engine = engine_for(given)
        await engine.start()
        listener = socket.create_server(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            async with listening(given, engine, listener, 16):
                asked = Plan(base_url=(url,), timeout=Duration.seconds(10), **plan)
                return [await examine(asked, resolve(asked, url), Credentials(key)) for _ in range(times)][-1]
        finally:
            await engine.close()

    return asyncio.run(talk())


def lines_of(fitness: Fitness | Iterable[Line]) -> dict[str, str]:
    """Name → outcome."""
    return {line.name: line.outcome for line in getattr(fitness, "lines", fitness)}


def true_vector(item: ServerItem) -> np.ndarray:
    seed = list(f"{item.text} {item.image}".encode())
    return np.random.default_rng(seed).standard_normal(16).astype(np.float32)


class Scripted:
    """A Conversation with nobody. `loads`: what /v1/loads says, one after another, the last for ever."""

    def __init__(
        self, lie: Lie | None = None, loads: Iterable[Any] = (), faults: Callable[[Ask], Reply | None] | None = None
    ) -> None:
        self.asked: list[Ask] = []
        self._lie, self._loads, self._faults = lie, list(loads), faults
        self._replies: dict[Ask, Reply] = {}

    async def document(self, path: str) -> Any:
        if path != "/v1/loads" or not self._loads:
            return None
        return self._loads.pop(0) if len(self._loads) > 1 else self._loads[0]

    async def alive(self) -> bool:
        return False

    async def reply(self, ask: Ask) -> Reply:
        if ask not in self._replies:
            self.asked.append(ask)
            self._replies[ask] = (self._faults(ask) if self._faults else None) or self._honest(ask)
        return self._replies[ask]

    def _honest(self, ask: Ask) -> Reply:
        items = [
            ServerItem(text=item.text) if isinstance(item, Text) else ServerItem(image=item.data.hex()) for item in ask.items
        ]
        rows = [true_vector(item) for item in items] if self._lie is None else self._lie(items, (), true_vector)
        return Reply(np.array(rows), ask.encoding or "float", status=200)

    @property
    def together(self) -> list[Ask]:
        """What was sent with several Items."""
        return [ask for ask in self.asked if len(ask.items) > 1]


def scripted(talk: Scripted, who: Identity, **plan: Any) -> list[Line]:
    """The checklist of an Examination that talks to `talk`."""
    return asyncio.run(Examination(Plan(**plan), talk, who).lines())  # type: ignore[arg-type]
