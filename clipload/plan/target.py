"""What a target, and the way to it, may not be, or be asked for. PlanError names the flag and the remedy."""

from __future__ import annotations

from urllib.parse import urlsplit

from clipload.credentials import field_fault, looks_secret
from clipload.errors import PlanError
from clipload.plan.canary import parse_canary
from clipload.plan.schema import DEFAULT_MODEL, Fields
from clipload.plan.spec import flag_of

UNIX = "unix:"
_LONGEST_PATH = 107  # bytes: what a sockaddr_un holds


def check_urls(plan: Fields) -> None:
    for url in plan.base_url:
        if url.startswith(UNIX):
            _check_path(url)
        else:
            _check(url)
    if len(set(plan.base_url)) < len(plan.base_url):
        raise PlanError("names the same server twice", flag="--base-url", remedy="name each once")


def _check(base_url: str) -> None:
    flag = "--base-url"
    if "@" in base_url:  # first of all: what follows repeats the URL
        raise PlanError("holds a user name or password", flag=flag, remedy="use CLIPLOAD_API_KEY or --api-key-file for a key")
    if not _is_root(base_url, ("http", "https")):
        remedy = "write http://127.0.0.1:30000, https://HOST:PORT or unix:/path/of/a/socket"
        raise PlanError(f"{base_url!r} is no http://HOST:PORT", flag=flag, remedy=remedy)
    if urlsplit(base_url).path:
        raise PlanError(f"{base_url!r} has a path", flag=flag, remedy="write the server's root, without /v1 or any other path")


def check_api(plan: Fields) -> None:
    """What an API has no words for, and a preflight no use."""
    if plan.api == "openai" and plan.mode != "text":
        raise PlanError("openai embeds text only", flag="--api", remedy="use --api v1, or --mode text")
    _check_kinds(plan)
    if plan.api == "native" and plan.encoding_format != "float":
        raise PlanError(
            "--api native prints floats only", flag="--encoding-format", remedy="use --encoding-format float, or --api v1"
        )
    if plan.api == "native" and plan.model != DEFAULT_MODEL:
        raise PlanError("--api native names no model", flag="--model", remedy="leave out --model and CLIPLOAD_MODEL")
    _check_lookout(plan)
    if plan.canary is not None and plan.api == "openai" and parse_canary(plan.canary).kind == "image":
        raise PlanError("openai embeds text only", flag="--canary", remedy="use --canary text:2/s, or --api v1")
    if plan.no_preflight and plan.allow_unfit:
        raise PlanError("means nothing with --no-preflight", flag="--allow-unfit", remedy="leave out one of the two")


def _check_kinds(plan: Fields) -> None:
    """Infinity's and vLLM's requests hold one kind; of images, vLLM's hold one."""
    if plan.api not in ("infinity", "vllm"):
        return
    if plan.mode == "multimodal":
        what = f"a request of {plan.api}'s holds a text or an image, no pair"
        raise PlanError(what, flag="--api", remedy="use --mode mixed, text or image; or --api v1")
    if plan.batch_size > 1 and (plan.mode == "mixed" or (plan.api, plan.mode) == ("vllm", "image")):
        what = "a request of vllm's holds one image" if plan.api == "vllm" else "a request of infinity's holds one kind"
        raise PlanError(what, flag="--batch-size", remedy=f"use --batch-size 1 with --mode {plan.mode}")
    if plan.mode != "text" and plan.image_transport in ("path", "path/url"):
        remedy = "use --image-transport data-url or url"
        raise PlanError(f"{plan.api} opens no paths", flag="--image-transport", remedy=remedy)


def _check_lookout(plan: Fields) -> None:
    if plan.server_pid is None:
        return
    if plan.no_lookout:
        raise PlanError("means nothing with --no-lookout", flag="--server-pid", remedy="leave out one of the two")
    if len(plan.base_url) > 1:
        what = f"names one process, but there are {len(plan.base_url)} servers"
        raise PlanError(what, flag="--server-pid", remedy="leave it out: who listens at each --base-url is looked for")


def _is_root(text: str, schemes: tuple[str, ...]) -> bool:
    """A URL of a host, and of a port where it says one; whether it has a path is not asked."""
    try:
        url = urlsplit(text)
        good = url.scheme in schemes and url.hostname and url.port != 0
    except ValueError:
        return False
    return bool(good) and not (url.query or url.fragment or not text.isascii() or " " in text)


def _check_path(base_url: str) -> None:
    path = base_url.removeprefix(UNIX)
    if not path.startswith("/") or path.startswith("//") or len(path.encode()) > _LONGEST_PATH:
        what = f"{base_url!r} is no unix:/PATH, absolute and of at most {_LONGEST_PATH} bytes"
        raise PlanError(what, flag="--base-url", remedy="write unix:/run/server.sock")


def check_connections(plan: Fields) -> None:
    """TLS and proxy: what would be ignored in silence, or contradicts something else."""
    for name in ("cacert", "cert", "cert_key", "insecure"):
        if getattr(plan, name) and not plan.tls:
            raise PlanError("means nothing without TLS", flag=flag_of(name), remedy="write --base-url https://HOST:PORT")
    if plan.insecure and plan.cacert:
        raise PlanError("nothing is verified with --insecure", flag="--cacert", remedy="leave out one of the two")
    if plan.cert_key and not plan.cert:
        raise PlanError("is the key of --cert, which is not given", flag="--cert-key", remedy="give --cert as well")
    if plan.proxy:
        _check_proxy(plan)


def _check_proxy(plan: Fields) -> None:
    flag = "--proxy"
    if "@" in plan.proxy:
        raise PlanError("holds a user name or password", flag=flag, remedy="use a proxy that asks for none")
    if not _is_root(plan.proxy, ("http",)) or urlsplit(plan.proxy).path.strip("/"):
        raise PlanError(f"{plan.proxy!r} is no http://HOST:PORT", flag=flag, remedy="write http://127.0.0.1:3128")
    if plan.transport != "aiohttp":
        raise PlanError(f"the {plan.transport} transport knows none", flag=flag, remedy="add --transport aiohttp")
    if any(url.startswith(UNIX) for url in plan.base_url):
        raise PlanError("leads to no Unix socket", flag=flag, remedy="leave it out")


def check_headers(plan: Fields) -> None:
    seen = set()
    for name, value in plan.headers:
        fault = field_fault(name, value)
        if fault:
            raise PlanError(fault, flag="--header", remedy="write --header X-Trace=load")
        if looks_secret(name):
            remedy = "a bearer key: CLIPLOAD_API_KEY or --api-key-file; any other: --secret-header-file"
            raise PlanError(f"{name} looks like a secret, and a flag is seen by everybody", flag="--header", remedy=remedy)
        if name.lower() in seen:
            raise PlanError(f"{name} is given twice", flag="--header", remedy="give each name once")
        seen.add(name.lower())
