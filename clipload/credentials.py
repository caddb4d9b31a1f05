"""What opens the target's door: a bearer key and header fields that hold secrets.

Law: they come from the environment or a file, travel down the workers' pipes, and stand in no argv, Plan, Run, log or report.
`repr` shows none, and `mask` takes them out of whatever a target says.
"""

from __future__ import annotations

import re

import msgspec

from clipload.errors import PlanError

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# What clipload itself says of each request, and what would change how requests are framed or replies are read.
_OURS = {
    *("host", "content-length", "content-type", "content-encoding", "transfer-encoding", "accept", "accept-encoding"),
    *("connection", "keep-alive", "proxy-connection", "expect", "te", "trailer", "upgrade"),
}
_SECRET = re.compile(r"auth(orization|entication)?|key|apikey|cookie|.*(token|secret|passw|credential|signature).*")


def field_fault(name: str, value: str) -> str:
    """Why no request can have this header field; "" when it can. The value is never repeated."""
    if not _TOKEN.fullmatch(name):
        return "a header's name is made of letters, digits and dashes"
    if name.lower() in _OURS:
        return f"{name} is said by clipload itself"
    if not value or not value.isascii() or not value.isprintable() or value != value.strip():
        return f"the value of {name} is empty, or holds what no header can"
    return ""


def looks_secret(name: str) -> bool:
    """Whether a header of this name usually holds a secret: Authorization, X-Api-Key, Cookie, anything with token, …"""
    return any(_SECRET.fullmatch(word) for word in re.split(r"[-_.]", name.lower()))


class Credentials(msgspec.Struct, frozen=True):
    """`key` becomes `Authorization: Bearer`, "" means none; `fields` are (name, value), as they go over the wire."""

    key: str = ""
    fields: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        return f"Credentials({'a key' if self.key else 'no key'}, {len(self.fields)} secret headers)"

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        return ((("Authorization", f"Bearer {self.key}"),) if self.key else ()) + self.fields

    def mask(self, text: str) -> str:
        """A target may repeat them, we must not."""
        for secret in sorted({self.key, *(value for _, value in self.fields)} - {""}, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text


def parse_fields(text: str, where: str, flag: str) -> tuple[tuple[str, str], ...]:
    """The fields of a file: lines of `Name: value`. PlanError names the flag and the line, never what stands in it."""
    found: dict[str, tuple[str, str]] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        name, colon, value = line.partition(":")
        name, value = name.strip(), value.strip()
        fault = field_fault(name, value) if colon else "no `Name: value`"
        if not fault and name.lower() in found:
            fault = "a name that was given before"
        if fault:
            raise PlanError(f"{where}, line {number}: {fault}", flag=flag, remedy="one field a line, like X-Api-Key: …")
        found[name.lower()] = (name, value)
    if not found:
        raise PlanError(f"{where} holds no header", flag=flag, remedy="one field a line, like X-Api-Key: …")
    return tuple(found.values())
