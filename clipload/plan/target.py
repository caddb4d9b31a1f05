"""What a target may not be, or be asked for. PlanError names the flag and the remedy."""

from __future__ import annotations

from urllib.parse import urlsplit

from clipload.errors import PlanError
from clipload.plan.schema import DEFAULT_MODEL, Fields


def roots(plan: Fields) -> tuple[str, ...]:
    """The roots of all servers that requests go to."""
    return plan.base_url


def check_urls(plan: Fields) -> None:
    for url in plan.base_url:
        _check(url)
    if len(set(plan.base_url)) < len(plan.base_url):
        raise PlanError("names the same server twice", flag="--base-url", remedy="name each once")


def _check(base_url: str) -> None:
    flag = "--base-url"
    if "@" in base_url:  # first of all: what follows repeats the URL
        raise PlanError("holds a user name or password", flag=flag, remedy="use CLIPLOAD_API_KEY or --api-key-file for a key")
    try:
        url = urlsplit(base_url)
        good = url.scheme == "http" and url.hostname and url.port != 0
    except ValueError:
        good = False
    if not good or url.query or url.fragment or not base_url.isascii() or " " in base_url:
        remedy = "write http://127.0.0.1:30000 (TLS is not spoken yet)"
        raise PlanError(f"{base_url!r} is not http://HOST:PORT", flag=flag, remedy=remedy)
    if url.path:
        raise PlanError(f"{base_url!r} has a path", flag=flag, remedy="write the server's root, without /v1 or any other path")


def check_api(plan: Fields) -> None:
    """What an API has no words for."""
    if plan.api == "openai" and plan.mode != "text":
        raise PlanError("openai embeds text only", flag="--api", remedy="use --api v1, or --mode text")
    if plan.api == "native" and plan.encoding_format != "float":
        raise PlanError(
            "--api native prints floats only", flag="--encoding-format", remedy="use --encoding-format float, or --api v1"
        )
    if plan.api == "native" and plan.model != DEFAULT_MODEL:
        raise PlanError("--api native names no model", flag="--model", remedy="leave out --model and CLIPLOAD_MODEL")
