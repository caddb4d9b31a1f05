"""How images may not travel. PlanError names the flag and the remedy."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from clipload.errors import PlanError
from clipload.plan.schema import Fields
from clipload.plan.spec import flag_of
from clipload.plan.target import UNIX

ADDRESS = "127.0.0.1:30080"  # fixed, because it stands in the bodies
_ON_ADDRESS = "--serve-images-on"
_ONLY_FOR = {  # field -> the transports that it means something to
    "images_dir": ("path", "path/url"),
    "serve_images_on": ("url",),
    "image_delay": ("url",),
    "image_error_rate": ("url",),
}


def check_images(plan: Fields) -> None:
    for name, transports in _ONLY_FOR.items():
        if getattr(plan, name) and plan.image_transport not in transports:
            remedy = f"use --image-transport {transports[0]}, or leave it out"
            raise PlanError(f"means nothing with --image-transport {plan.image_transport}", flag=flag_of(name), remedy=remedy)
    if plan.mode == "text" and plan.image_transport in ("path", "url"):  # path/url stood in older command lines of any mode
        raise PlanError(
            "there is no image in --mode text", flag="--image-transport", remedy="leave it out, or use another --mode"
        )
    if plan.images_dir and not plan.images_dir.startswith("/"):
        remedy = "write it from / on: the target opens it from wherever it stands"
        raise PlanError(f"{plan.images_dir!r} is not absolute", flag="--images-dir", remedy=remedy)
    if not 0 <= plan.image_error_rate <= 1:
        raise PlanError(f"{plan.image_error_rate:g} is no share", flag="--image-error-rate", remedy="use a number from 0 to 1")
    if plan.serve_images_on:
        _check_address(plan)


def _check_address(plan: Fields) -> None:
    host, _ = image_address(plan.serve_images_on)
    if _says(host, "is_unspecified"):
        raise PlanError(
            f"{host} is no address that a target could ask",
            flag=_ON_ADDRESS,
            remedy="name the address of this machine that the target reaches: it stands in the images' URLs",
        )
    far = [url for url in plan.base_url if not url.startswith(UNIX) and not is_loopback(urlsplit(url).hostname or "")]
    if far and is_loopback(host):
        raise PlanError(
            f"{far[0]} cannot fetch images from {host}: that is the target's own machine",
            flag=_ON_ADDRESS,
            remedy="write HOST:PORT with the address of this machine that the target reaches",
        )


def image_address(text: str) -> tuple[str, int]:
    """(host, port) of `HOST:PORT`. PlanError when it is none, or the port is one that nobody could know in advance."""
    try:
        url = urlsplit(f"//{text}")
        host, port = url.hostname, url.port
    except ValueError:
        host = port = None
    if not host or not port or not text.isascii() or " " in text or set(text) & set("/?#@\\"):
        raise PlanError(f"{text!r} is not HOST:PORT", flag=_ON_ADDRESS, remedy=f"write {ADDRESS}, with a port from 1 to 65535")
    return host, port


def is_loopback(host: str) -> bool:
    """Whether a name or an address says "this machine". Other names are not looked up: a Plan does no I/O."""
    return _says(host, "is_loopback") or host == "localhost" or host.endswith(".localhost")


def _says(host: str, what: str) -> bool:
    try:
        return bool(getattr(ip_address(host), what))
    except ValueError:
        return False
