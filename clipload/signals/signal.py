"""A signal: one figure of a Run by which its generator is judged, and the words for it."""

from __future__ import annotations

import msgspec


class Signal(msgspec.Struct, frozen=True):
    """`value`: a share, ns or a count, as its rule says; `words` fill the rule's sentence.

    `each`: that of every worker, when it is a share of its time; a rule names those that it finds.
    """

    value: float
    words: dict[str, str] = {}
    each: dict[int, float] = {}
