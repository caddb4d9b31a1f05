"""The payload ledger: what a request costs in bytes, what of that is image, base64 and numbers, and how full it makes the link.

Bytes are those of HTTP, heads included; what TCP, IP and TLS add is not in them. The link's share is the greater of two: what
the load itself moved in the measured phase, and what the kernel counted on that link (all else that used it, fetched images
too). A pure function of the Run.
"""

from __future__ import annotations

from typing import Any

import msgspec

from clipload.run import Run
from clipload.signals.host import HOST

FULL = 0.70  # of a link's speed as its driver tells it: above that replies wait for the wire


class Way(msgspec.Struct, frozen=True):
    """One direction: bytes of each request that was sent, and Mbit/s in the measured phase."""

    bytes_per_request: float
    mbit_per_s: float


class Link(msgspec.Struct, frozen=True):
    """The interface to the target: its speed in Mbit/s (0: not known), and the share that was used (None: not known)."""

    name: str
    mbit_per_s: float
    used: float | None


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """None: there are no images, or nobody weighed them; no numbers came; the target is on this host, or has several links."""

    up: Way
    down: Way
    image_bytes: float | None  # each, as a file
    bytes_per_pixel: float | None
    base64_overhead: float | None  # what text adds to the files, relative
    image_share: float | None  # of what goes up
    bytes_per_number: float | None  # of a vector, reply's head and keys included
    link: Link | None
    link_note: str = ""  # why there is none


def payload(run: Run) -> Payload | None:
    """None when nothing was sent."""
    tally, seconds = run.measure, run.measured_ns / 1e9
    sent = tally.histogram("delay").total  # of every request that went out
    if not sent or not seconds:
        return None
    up, down = (Way(n / sent, 8 * n / 1e6 / seconds) for n in (tally["bytes_sent"], tally["bytes_received"]))
    numbers = tally["ok"] * run.plan.vectors_per_request * run.facts.get("target", {}).get("dim", 0)
    link, note = _link(run, max(up.mbit_per_s, down.mbit_per_s))
    return Payload(
        up=up,
        down=down,
        bytes_per_number=tally["bytes_received"] / numbers if numbers else None,
        link=link,
        link_note=note,
        **_images(run, up),
    )


def _images(run: Run, up: Way) -> dict[str, float | None]:
    weighed = run.facts.get("payload", {})
    count, size = weighed.get("images", 0), weighed.get("bytes", 0)
    if not count or not size:
        return dict.fromkeys(("image_bytes", "bytes_per_pixel", "base64_overhead", "image_share"))
    inside = run.plan.image_transport == "data-url"
    in_each = weighed["text_bytes"] / count * run.plan.images_per_request
    told = inside and run.plan.mode != "mixed"  # how many of a request's Samples are images is not known
    return {
        "image_bytes": size / count,
        "bytes_per_pixel": weighed["sized_bytes"] / weighed["pixels"] if weighed["pixels"] else None,
        "base64_overhead": weighed["text_bytes"] / size - 1 if inside else None,
        "image_share": min(1.0, in_each / up.bytes_per_request) if told else None,
    }


def _link(run: Run, mbit_per_s: float) -> tuple[Link | None, str]:
    links: dict[str, int] | None = run.facts.get("limits", {}).get("links")
    if links is None:
        return None, "nobody looked at it"
    if len(links) != 1:
        return None, "the targets are reached by several" if links else "none: this host itself, or a way that cannot be told"
    ((name, bits),) = links.items()
    counted = HOST["link"](run)
    used = max(mbit_per_s * 1e6 / bits, 0.0 if counted is None else counted.value) if bits else None
    return Link(name, bits / 1e6, used), "" if bits else "its driver does not tell its speed"


def network_limited(run: Run) -> Link | None:
    """The link, when it is full."""
    found = payload(run)
    link = None if found is None else found.link
    return link if link is not None and link.used is not None and link.used >= FULL else None


def payload_document(run: Run) -> dict[str, Any] | None:
    found = payload(run)
    return None if found is None else msgspec.to_builtins(found)
