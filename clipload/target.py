"""The control plane: one request before the load, to learn that the target is there, lets us in, and speaks the dialect.

Everything here may be slow and polite (aiohttp); nothing here runs under load.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic_ns
from urllib.parse import urlsplit

from clipload.dialects import Dialect, ReplyError
from clipload.errors import TargetError
from clipload.plan import Plan
from clipload.transports import Endpoint

_NO_API = "is this an embedding server? --base-url is its root, without /v1; --api names the dialect"
_HINTS = {
    401: "set CLIPLOAD_API_KEY, or name a file with --api-key-file",
    403: "the key is known but not allowed: check CLIPLOAD_API_KEY",
    404: _NO_API,
    405: _NO_API,
    307: "--base-url must name the server itself: a load follows no redirects",
    503: "the server is starting, shutting down or full: try again when GET /health answers 200",
}
_ABSENT = (404, 405)
_NO_NATIVE = "--api native is SGLang's own; other servers, and routers before SGLang, speak v1 or openai"
_NOT_LIKE = {
    "v1": "check --api and --base-url",
    "native": "only SGLang's /encode answers so: check --base-url, or use --api v1",
    "openai": "--api openai takes nothing but OpenAI's own shape; --api v1 takes all that resembles it",
}
_BY_REFERENCE = {  # image_transport -> what a refused probe may be about
    "path": "images go by path, which the server looks up on its own machine: has it that file, readable? Else use "
    "--image-transport data-url or url",
    "url": "images go by URL: can the server fetch from {0}, past firewalls and its list of domains? See --serve-images-on",
}
_CONNECT_S = 5.0


@dataclass(frozen=True, slots=True)
class Probe:
    """What the first reply told: the vectors' dimension and how long one request took on an idle path."""

    dim: int
    latency_ns: int


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request of the probe and its reply, whole."""

    url: str
    body: bytes
    status: int
    answer: bytes


Heard = Callable[[Exchange], None]
"""Is told what the probe sent and got, whatever it was."""


def nobody(exchange: Exchange) -> None:
    """Nobody asked."""


def resolve(base_url: str) -> Endpoint:
    """The first address of the base URL that accepts a connection, found once, so that nothing is encoded for a target
    that is not there and nobody asks a name server under load."""
    url = urlsplit(base_url)
    try:
        found = socket.getaddrinfo(url.hostname, url.port or 80, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise TargetError(
            f"the name {url.hostname!r} cannot be resolved: {getattr(error, 'strerror', None) or error}",
            flag="--base-url",
            remedy="check the spelling, or use an address",
        ) from error
    for family, kind, number, _, address in found:  # a name may stand for several addresses, not all of them served
        with socket.socket(family, kind, number) as sock:
            sock.settimeout(_CONNECT_S)
            try:
                sock.connect(address)
            except OSError as error:
                refused = error
            else:
                return Endpoint(url=base_url, host=url.netloc, family=int(family), address=tuple(address))
    raise TargetError(
        f"{base_url} cannot be reached: {refused.strerror or refused}",
        flag="--base-url",
        remedy="is the server running, and is this its port?",
    ) from refused


async def probe_all(plan: Plan, dialect: Dialect, body: bytes, key: str, heard: Heard = nobody) -> list[Probe]:
    """One after the other, then the Plan's warm-up requests. TargetError, too, when their vectors differ in length: these are
    not the same model."""
    probes = [await probe(plan, base_url, dialect, body, key, heard) for base_url in plan.base_url]
    for base_url, one in zip(plan.base_url, probes, strict=True):
        if one.dim != probes[0].dim:
            raise TargetError(
                f"{base_url} sends vectors of {one.dim}, {plan.base_url[0]} of {probes[0].dim}: not the same model",
                flag="--base-url",
                remedy="name servers of one model",
            )
    for _ in range(plan.warmup_requests):
        for base_url in plan.base_url:
            await probe(plan, base_url, dialect, body, key)
    return probes


async def probe(plan: Plan, base_url: str, dialect: Dialect, body: bytes, key: str, heard: Heard = nobody) -> Probe:
    """Sends one planned request. TargetError, with a hint, when it is refused, not found, not JSON or not enough vectors."""
    import aiohttp

    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    url = base_url + dialect.path
    began = monotonic_ns()
    try:
        timeout = aiohttp.ClientTimeout(total=plan.timeout / 1e9)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(url, data=body, headers=headers, allow_redirects=False) as reply,
        ):
            status, answer = reply.status, await reply.read()
    except TimeoutError as error:
        raise TargetError(
            f"{url} did not answer within {plan.timeout}",
            flag="--timeout",
            remedy="is the server stuck, or the time-out too short?",
        ) from error
    except (aiohttp.ClientError, OSError) as error:
        raise TargetError(
            f"{url} cannot be reached: {error}", flag="--base-url", remedy="is the server running, and is this its port?"
        ) from error
    latency_ns = monotonic_ns() - began
    heard(Exchange(url, body, status, answer))
    return Probe(_dimension(plan, dialect, status, answer, url, key), latency_ns)


def _dimension(plan: Plan, dialect: Dialect, status: int, answer: bytes, url: str, key: str) -> int:
    if status != 200:
        native_only = plan.api == "native" and status in _ABSENT
        said = dialect.error_message(status, answer).replace(key or "\0", "***")  # a target may repeat the key, we must not
        raise TargetError(
            f"{url} answered {status}: {said}",
            flag="--api" if native_only else "--base-url",
            remedy=_NO_NATIVE if native_only else _HINTS.get(status) or _by_reference(plan) or "the server's log may say more",
        )
    try:
        vectors = dialect.decode(answer)
    except ReplyError as error:
        raise TargetError(
            f"{url} answered 200, but not as an embedding server does: {error}",
            flag="--api",
            remedy=_NOT_LIKE[plan.api],
        ) from error
    if len(vectors) != plan.vectors_per_request:
        raise TargetError(
            f"{url} sent {len(vectors)} vectors for a request of {plan.vectors_per_request}",
            flag="--api",
            remedy="check --api and --mode",
        )
    return int(vectors.shape[1])


def _by_reference(plan: Plan) -> str:
    """What to look at when images are not in the request; nothing when they are."""
    if not plan.images_per_request:
        return ""
    return _BY_REFERENCE.get(plan.image_transport.removesuffix("/url"), "").format(plan.serve_images_on)
