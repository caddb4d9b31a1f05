"""The control plane: one request before the load, to learn that the target is there, lets us in, and speaks the dialect.

Everything here may be slow and polite (aiohttp); nothing here runs under load.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic_ns
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from clipload.arena import JSON
from clipload.certificates import client_context
from clipload.credentials import Credentials
from clipload.dialects import Dialect, ReplyError
from clipload.errors import TargetError
from clipload.plan import Plan
from clipload.plan.target import UNIX
from clipload.transports import Endpoint

if TYPE_CHECKING:
    import aiohttp

_NO_API = "is this an embedding server? --base-url is its root, without /v1; --api names the dialect"
HINTS = {  # status -> remedy
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
    "infinity": "check --api and --base-url",
    "vllm": "check --api and --base-url",
    "openai": "--api openai takes nothing but OpenAI's own shape; --api v1 takes all that resembles it",
}
_BY_REFERENCE = {  # image_transport -> what a refused probe may be about
    "path": "images go by path, which the server looks up on its own machine: has it that file, readable? Else use "
    "--image-transport data-url or url",
    "url": "images go by URL: can the server fetch from {0}, past firewalls and its list of domains? See --serve-images-on",
}
_FOREIGN = "a URL in --data goes as it stands: can the server fetch it?"
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


def resolve_all(plan: Plan) -> tuple[Endpoint, ...]:
    """Every base URL's Endpoint. PlanError when a certificate cannot be used, TargetError when nobody listens."""
    tls = client_context(plan)
    return tuple(resolve(plan, base_url, tls) for base_url in plan.base_url)


def resolve(plan: Plan, base_url: str, tls: ssl.SSLContext | None = None) -> Endpoint:
    """The first address of the base URL that accepts a connection, found once, so that nothing is encoded for a target
    that is not there and nobody asks a name server under load. TLS is tried too; through a proxy only the proxy is."""
    if base_url.startswith(UNIX):
        return _at_path(base_url)
    url, where = urlsplit(base_url), urlsplit(plan.proxy or base_url)
    flag = "--proxy" if plan.proxy else "--base-url"
    name = str(url.hostname) if url.scheme == "https" else ""
    for family, kind, number, _, address in _addresses(where, flag):  # a name may stand for several, not all of them served
        with socket.socket(family, kind, number) as sock:
            sock.settimeout(_CONNECT_S)
            try:
                sock.connect(address)
            except OSError as error:
                refused = error
            else:
                if tls is not None and name and not plan.proxy:
                    _try_tls(sock, tls, name, base_url)
                found = tuple(address)
                return Endpoint(base_url, url.netloc, int(family), found, server_name=name, proxy=plan.proxy)
    raise TargetError(
        f"{plan.proxy or base_url} cannot be reached: {refused.strerror or refused}",
        flag=flag,
        remedy="is the server running, and is this its port?",
    ) from refused


def _addresses(where: SplitResult, flag: str) -> list[Any]:
    port = where.port or {"https": 443}.get(where.scheme, 80)
    try:
        return socket.getaddrinfo(where.hostname, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise TargetError(
            f"the name {where.hostname!r} cannot be resolved: {getattr(error, 'strerror', None) or error}",
            flag=flag,
            remedy="check the spelling, or use an address",
        ) from error


def _at_path(base_url: str) -> Endpoint:
    path = base_url.removeprefix(UNIX)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(_CONNECT_S)
        try:
            sock.connect(path)
        except OSError as error:
            raise TargetError(
                f"{base_url} cannot be reached: {error.strerror or error}",
                flag="--base-url",
                remedy="is the server running, and is this its socket?",
            ) from error
    return Endpoint(base_url, "localhost", int(socket.AF_UNIX), (path,))


def _try_tls(sock: socket.socket, tls: ssl.SSLContext, name: str, base_url: str) -> None:
    try:
        with tls.wrap_socket(sock, server_hostname=name):
            pass
    except OSError as error:
        raise _unsafe(base_url, error) from error


def _unsafe(url: str, error: Exception) -> TargetError:
    """What is said when TLS fails: whom we do not trust, who does not trust us, or nobody who speaks it."""
    what = f"{url} cannot be reached through TLS: {error}"
    if isinstance(error, ssl.SSLCertVerificationError):
        remedy = "name those you trust with --cacert FILE, or verify nobody with --insecure"
        return TargetError(what, flag="--base-url", remedy=remedy)
    if isinstance(error, ssl.SSLError) and "CERTIFICATE" in str(error).upper():  # an alert of the peer's
        return TargetError(what, flag="--cert", remedy="it asks for a certificate that it trusts: --cert FILE --cert-key FILE")
    remedy = "does it speak TLS? Else write http://. --cacert names those you trust, --insecure verifies nobody"
    return TargetError(what, flag="--base-url", remedy=remedy)


def open_session(plan: Plan, endpoint: Endpoint, credentials: Credentials) -> aiohttp.ClientSession:
    """A session of the control plane: paths are posted under the base URL, with the load's headers, its proxy and its TLS."""
    import aiohttp

    from clipload.transports.clients import session_for

    headers = {"Host": endpoint.host, **dict(plan.headers), **dict(credentials.headers)}

    async def say(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        request.headers.update(headers)  # the target's, and not the proxy's that is asked for a tunnel
        return await send(request)

    timeout = aiohttp.ClientTimeout(total=plan.timeout / 1e9)
    return session_for(endpoint, client_context(plan), timeout=timeout, middlewares=(say,))


async def probe_all(
    plan: Plan,
    endpoints: tuple[Endpoint, ...],
    dialect: Dialect,
    body: bytes,
    credentials: Credentials,
    heard: Heard = nobody,
) -> list[Probe]:
    """One after the other, then the Plan's warm-up requests. TargetError, too, when their vectors differ in length: these are
    not the same model."""
    probes = [await probe(plan, endpoint, dialect, body, credentials, heard) for endpoint in endpoints]
    for endpoint, one in zip(endpoints, probes, strict=True):
        if one.dim != probes[0].dim:
            raise TargetError(
                f"{endpoint.url} sends vectors of {one.dim}, {endpoints[0].url} of {probes[0].dim}: not the same model",
                flag="--base-url",
                remedy="name servers of one model",
            )
    for _ in range(plan.warmup_requests):
        for endpoint in endpoints:
            await probe(plan, endpoint, dialect, body, credentials)
    return probes


async def probe(
    plan: Plan, endpoint: Endpoint, dialect: Dialect, body: bytes, credentials: Credentials, heard: Heard = nobody
) -> Probe:
    """Sends one planned request. TargetError, with a hint, when it is refused, not found, not JSON or not enough vectors."""
    import aiohttp

    url = endpoint.url + dialect.path
    began = monotonic_ns()
    try:
        async with (
            open_session(plan, endpoint, credentials) as session,
            session.post(dialect.path, data=body, headers=dict(JSON), allow_redirects=False) as reply,
        ):
            status, answer = reply.status, await reply.read()
    except TimeoutError as error:
        raise TargetError(
            f"{url} did not answer within {plan.timeout}",
            flag="--timeout",
            remedy="is the server stuck, or the time-out too short?",
        ) from error
    except (aiohttp.ClientError, OSError) as error:
        raise _unanswered(url, endpoint, credentials, error) from error
    latency_ns = monotonic_ns() - began
    heard(Exchange(url, body, status, answer))
    return Probe(_dimension(plan, dialect, status, answer, url, credentials), latency_ns)


def _unanswered(url: str, endpoint: Endpoint, credentials: Credentials, error: Exception) -> TargetError:
    tls = _tls_cause(error)
    if tls is not None:
        return _unsafe(url, tls)
    proxied = f" through {endpoint.proxy}" if endpoint.proxy else ""
    remedy = "is the server running, and is this its port?"
    if endpoint.server_name:
        remedy += " Does it ask for a client certificate (--cert)?"
    return TargetError(
        credentials.mask(f"{url} cannot be reached{proxied}: {error or type(error).__name__}"), flag="--base-url", remedy=remedy
    )


def _tls_cause(error: BaseException | None) -> ssl.SSLError | None:
    """The TLS failure under what aiohttp says, if there is one."""
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error


def _dimension(plan: Plan, dialect: Dialect, status: int, answer: bytes, url: str, credentials: Credentials) -> int:
    if status != 200:
        native_only = plan.api == "native" and status in _ABSENT
        said = credentials.mask(dialect.error_message(status, answer))
        raise TargetError(
            f"{url} answered {status}: {said}",
            flag="--api" if native_only else "--base-url",
            remedy=_NO_NATIVE if native_only else HINTS.get(status) or _by_reference(plan) or "the server's log may say more",
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
    ours = _BY_REFERENCE.get(plan.image_transport.removesuffix("/url"), "").format(plan.serve_images_on)
    theirs = _FOREIGN if plan.data_source == "jsonl" else ""
    return "; ".join(filter(None, (ours, theirs)))
