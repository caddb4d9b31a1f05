"""Engines: what stands behind the reference server's API. One interface, so that they can be exchanged.

| engine | vectors | time |
|---|---|---|
| `clip` | a CLIP model's (transformers), batched | what the model takes |
| `sim`  | unit vectors drawn from a hash of the item | a queue in virtual time: scripted, seeded, exact |

(`--engine null` is no engine but a server of its own, `clipload.server.null`: it answers before anything is understood.)
To add one write a file here with `make(options) -> Engine` and one line in `ENGINES`; it is imported when asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import NamedTuple, Protocol, cast

from clipload.dialects import ServerDialect, Times
from clipload.server.options import ServerOptions

BAD_REQUEST, INTERNAL_ERROR, UNAVAILABLE = 400, 500, 503


class Refusal(Exception):  # noqa: N818 - it is an answer, not a failure
    """An engine's refusal, still without the words of a dialect: status, message and SGLang's error type."""

    def __init__(self, status: int, message: str, kind: str = "BadRequestError") -> None:
        self.status, self.message, self.kind = status, message, kind
        super().__init__(message)


def queue_full() -> Refusal:
    return Refusal(UNAVAILABLE, "The request queue is full.", "503")


def too_long(tokens: int, limit: int) -> Refusal:
    """SGLang refuses at its context length, so that one token less than `limit` is the most."""
    return Refusal(BAD_REQUEST, f"The input ({tokens} tokens) is longer than the model's context length ({limit} tokens).")


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply whose times are still to be told, the tokens of each item, and the times."""

    reply: bytes
    tokens: tuple[int, ...]
    times: Times


class Load(NamedTuple):
    """Items that are being served, and items that wait for it."""

    running: int
    queued: int


class Engine(Protocol):
    """`model` is the name printed in replies, `facts` go into /server_info. `answer` may be called many times at once."""

    model: str

    async def start(self) -> None:
        """Gets ready (loads the model, ...); the server announces itself afterwards."""

    async def answer(self, dialect: ServerDialect, body: bytes) -> Answer:
        """The answer to a request body, at the moment at which it shall be sent.

        RequestRefused when the dialect cannot read the body, Refusal when the engine cannot serve it.
        """

    def load(self) -> Load:
        """How much it has to do at this moment."""

    def facts(self) -> dict[str, object]:
        """What a client may want to know of the engine, JSON."""

    async def close(self) -> bool:
        """Stops within 1 s. False when a thread is still at work."""


ENGINES = {"clip": "clipload.server.engines.clip:make", "sim": "clipload.server.engines.sim:make"}


def engine_for(options: ServerOptions) -> Engine:
    module, _, name = ENGINES[options.engine].partition(":")
    return cast(Callable[[ServerOptions], Engine], getattr(import_module(module), name))(options)
