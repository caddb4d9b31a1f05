"""Which `--api` fits the server that was recognised, and what else of the Plan has to change for it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from clipload.errors import PlanError
from clipload.plan import Plan
from clipload.preflight.identity import NAMES
from clipload.preflight.needs import images

OWN: Final[Mapping[str, tuple[str, ...]]] = {
    NAMES["sglang"]: ("v1", "native"),
    NAMES["infinity"]: ("infinity",),
    NAMES["vllm"]: ("vllm",),
}
"""A server's name → the dialects that are its own, the plainest first. Others it may take in part."""

_INSTEAD: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("", {}),
    (" --mode mixed", {"mode": "mixed"}),
)  # a pair's Items can go apart
_ALONE: Final[tuple[tuple[str, dict[str, Any]], ...]] = (("", {}), (" --batch-size 1", {"batch_size": 1}))


def own(name: str) -> str:
    """The flags of a server's own dialects, as a sentence ends; "" when it is not known by name."""
    apis = OWN.get(name, ())
    return f"; for {name}, --api {' or '.join(apis)} fits" if apis else ""


def foreign(name: str, plan: Plan) -> bool:
    """Whether the Plan has images and says so in words that are another server's: one that ignores them would read texts."""
    return images(plan) and plan.api in ("infinity", "vllm") and plan.api not in OWN.get(name, (plan.api,))


def advice(name: str, plan: Plan) -> str:
    """What to write instead, so that the Plan speaks the server's own dialect: as little as possible, and never a Plan that
    cannot be. "" when it speaks it already, or nothing fits."""
    apis = OWN.get(name, ())
    if not apis or plan.api in apis:
        return ""
    for words, mode in _INSTEAD:
        for more, batch in _ALONE:
            try:
                plan.replace(api=apis[0], **mode, **batch)
            except PlanError:
                continue
            return f"use --api {apis[0]}{words}{more}"
    return ""
