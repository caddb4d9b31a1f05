"""A signal: one figure of a Run by which its generator is judged, and the words for it."""

from __future__ import annotations

import msgspec


class Signal(msgspec.Struct, frozen=True):
    """`value`: a share, ns or a count, as its rule says; `words` fill the rule's sentence."""

    value: float
    words: dict[str, str] = {}
