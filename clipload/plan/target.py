"""What a target may not be. PlanError names the flag and the remedy."""

from __future__ import annotations

from urllib.parse import urlsplit

from clipload.errors import PlanError
from clipload.plan.schema import Fields


def roots(plan: Fields) -> tuple[str, ...]:
    """The roots of all servers that requests go to."""
    return (plan.base_url,)


def check_url(plan: Fields) -> None:
    flag = "--base-url"
    if "@" in plan.base_url:  # first of all: what follows repeats the URL
        raise PlanError("holds a user name or password", flag=flag, remedy="use CLIPLOAD_API_KEY or --api-key-file for a key")
    try:
        url = urlsplit(plan.base_url)
        good = url.scheme == "http" and url.hostname and url.port != 0
    except ValueError:
        good = False
    if not good or url.query or url.fragment or not plan.base_url.isascii() or " " in plan.base_url:
        remedy = "write http://127.0.0.1:30000 (TLS is not spoken yet)"
        raise PlanError(f"{plan.base_url!r} is not http://HOST:PORT", flag=flag, remedy=remedy)
    if url.path:
        raise PlanError(
            f"{plan.base_url!r} has a path", flag=flag, remedy="write the server's root, without /v1 or any other path"
        )
