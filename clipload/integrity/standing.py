"""What is known before a load: the references, or why nothing will be compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clipload.agreement import Agreement, Apart
from clipload.arena import ArenaMap
from clipload.credentials import Credentials
from clipload.dialects import dialect_of
from clipload.integrity.kept import Kept, those_asked
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
    kept: Kept,
    said: Callable[[str], None],
) -> Standing:
    """Takes the references, where there is any sense in it. `examined`: what the preflight found; `kept`: what earlier loads
    have left."""
    servers = [one["server"] for one in examined.get("preflight", [])]
    why = _why_not(plan, servers)
    if why:
        return Standing(Agreement(skipped=why))
    dtype = _dtype(servers)
    limit = limit_for(dtype)
    whom = those_asked(plan, dialect_of(plan).path, endpoints, servers)
    taken = await take(plan, arena, endpoints, credentials, [kept.of(one) for one in whom], limit)
    if not taken.bodies:
        reasons = ", ".join(f"{count} × {reason}" for reason, count in taken.without.items())
        return Standing(Agreement(skipped=f"no Item had a vector alone: {reasons}", without=taken.without))
    agreement = _known(taken, dtype, limit, [endpoint.url for endpoint in endpoints])
    if agreement.earlier < agreement.items:
        said(_sentence(agreement, taken))
    return Standing(agreement, taken)


def _known(taken: Taken, dtype: str, limit: float, urls: Sequence[str]) -> Agreement:
    with np.errstate(invalid="ignore"):
        first, *others = (References(rows, limit) for rows in taken.rows)
    return Agreement(
        items=taken.rows.shape[1],
        bodies=len(taken.bodies),
        took_ns=taken.took_ns,
        dtype=dtype,
        limit=limit,
        without=taken.without,
        alike=max(one.alike() for one in (first, *others)),
        targets=len(urls),
        earlier=taken.earlier,
        age_ns=taken.age_ns,
        again=taken.again,
        changed=[urls[number] for number in taken.changed],
        apart=[Apart(url, *first.apart(other)) for url, other in zip(urls[1:], others, strict=True)],
    )


def _sentence(agreement: Agreement, taken: Taken) -> str:
    if not agreement.earlier:
        return f"integrity: {agreement.items} Items asked for alone in {format_ns(taken.took_ns)}"
    what = f"{agreement.earlier} of {agreement.items} Items are known from before an earlier load"
    return f"integrity: {what}; {taken.asked} requests for Items alone in {format_ns(taken.took_ns)}"


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
