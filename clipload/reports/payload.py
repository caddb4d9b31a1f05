"""The payload ledger for people: lines of the summary, rows of the page."""

from __future__ import annotations

from clipload.payload import Payload, payload
from clipload.run import Run
from clipload.units import format_bytes


def describe_payload(run: Run) -> str:
    """Up to four lines; nothing for a Run whose payload nobody weighed."""
    found = payload(run) if "payload" in run.facts else None
    if found is None:
        return ""
    lines = [f"{name}: {value}" for name, value in payload_rows(found)]
    return "\n".join(f"{'' if i else 'payload':<12}{line}" for i, line in enumerate(lines))


def payload_rows(found: Payload) -> list[tuple[str, str]]:
    """(what, how much)."""
    both = (found.up, found.down)
    rows = [
        ("a request", " up, ".join(format_bytes(way.bytes_per_request) for way in both) + " down"),
        ("on the wire", " up, ".join(f"{way.mbit_per_s:.3g} Mbit/s" for way in both) + " down"),
    ]
    rows += [("images", _images(found))] if found.image_bytes is not None else []
    rows += [("vectors", f"{found.bytes_per_number:.3g} bytes a number")] if found.bytes_per_number is not None else []
    rows.append(("link", _link(found)))
    return rows


def _images(found: Payload) -> str:
    said = [f"{format_bytes(found.image_bytes or 0.0)} each"]
    said += [f"{found.bytes_per_pixel:.3g} bytes a pixel"] if found.bytes_per_pixel is not None else []
    said += [f"base64 adds {100 * found.base64_overhead:.0f} %"] if found.base64_overhead is not None else []
    said += [f"{100 * found.image_share:.0f} % of what goes up"] if found.image_share is not None else []
    return ", ".join(said)


def _link(found: Payload) -> str:
    link = found.link
    if link is None or link.used is None:
        return found.link_note if link is None else f"{link.name}: {found.link_note}"
    return f"{100 * link.used:.1f} % of {link.name} ({link.mbit_per_s / 1000:g} Gbit/s)"
