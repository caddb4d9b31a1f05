"""What is known before a load: the references, or why nothing will be compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clipload.agreement import Agreement
from clipload.arena import ArenaMap
from clipload.credentials import Credentials
from clipload.integrity.references import Taken, take
from clipload.likeness import References, limit_for
from clipload.plan import Plan
from clipload.transports import Endpoint
from clipload.units import format_ns

NULL = "null"


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known before the load. `taken` is None when nothing will be compared; `agreement.skipped` then says why."""

    agreement: Agreement
    taken: Taken | None = None


async def before_a_load(
    plan: Plan,
    arena: ArenaMap,
    endpoints: Sequence[Endpoint],
    credentials: Credentials,
    examined: dict[str, Any],
    said: Callable[[str], None],
) -> Standing:
    """Takes the references, where there is any sense in it. `examined`: what the preflight found."""
    servers = [one["server"] for one in examined.get("preflight", [])]
    why = _why_not(plan, servers)
    if why:
        return Standing(Agreement(skipped=why))
    taken = await take(plan, arena, endpoints[0], credentials)
    if not taken.bodies:
        reasons = ", ".join(f"{count} × {reason}" for reason, count in taken.without.items())
        return Standing(Agreement(skipped=f"no Item had a vector alone: {reasons}", without=taken.without))
    dtype = _dtype(servers)
    limit = limit_for(dtype)
    with np.errstate(invalid="ignore"):
        alike = References(taken.rows, limit).alike()
    said(f"integrity: {len(taken.rows)} Items asked for alone in {format_ns(taken.took_ns)}")
    agreement = Agreement(
        items=len(taken.rows),
        bodies=len(taken.bodies),
        took_ns=taken.took_ns,
        dtype=dtype,
        limit=limit,
        without=taken.without,
        alike=alike,
    )
    return Standing(agreement, taken)


def _why_not(plan: Plan, servers: Sequence[dict[str, Any]]) -> str:
    if plan.no_integrity:
        return "--no-integrity"
    if plan.unique:
        return "--unique sends nothing twice"
    return "the vectors of engine null mean nothing" if any(server["engine"] == NULL for server in servers) else ""


def _dtype(servers: Sequence[dict[str, Any]]) -> str:
    """What all of them say that they compute in; "" when they do not, or are quantised."""
    facts = [server["facts"] for server in servers]
    said = {"" if one.get("quantization") else str(one.get("dtype", "")).removeprefix("torch.") for one in facts}
    return said.pop() if len(said) == 1 else ""
