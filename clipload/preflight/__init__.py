"""The preflight: who is the target, and does it tell the truth? A few small requests, one at a time, before any load.

Law: what is known to kill a server is not sent to it, and Items go together in one request only to a server that survives it or
shows that it is idle. What was not probed is said to be so. The outcome is fit or unfit, with reasons.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from time import monotonic_ns
from typing import Any

from clipload.credentials import Credentials
from clipload.errors import TargetError
from clipload.plan import Plan
from clipload.preflight.asking import Conversation
from clipload.preflight.examination import Examination, documents, readiness
from clipload.preflight.fitness import Fitness, Line, Outcome
from clipload.preflight.identity import Identity, identify
from clipload.transports import Endpoint

__all__ = ["Fitness", "Identity", "Line", "Outcome", "before_a_load", "examine", "examine_all"]

NULL = "null"


async def examine_all(plan: Plan, endpoints: Sequence[Endpoint], credentials: Credentials) -> list[Fitness]:
    """One after the other."""
    return [await examine(plan, endpoint, credentials) for endpoint in endpoints]


async def examine(plan: Plan, endpoint: Endpoint, credentials: Credentials) -> Fitness:
    """One target. What it does wrong is in the Fitness; nothing is raised for it."""
    began = monotonic_ns()
    async with Conversation(plan, endpoint, credentials, secrets.token_hex(2)) as talk:
        told = await documents(talk)
        who = identify(told)
        lines = [await readiness(talk, told=bool(told))]
        if lines[0].outcome != "unfit":
            lines += await _probed(plan, talk, who)
        return Fitness(endpoint.url, who, tuple(lines), talk.requests, monotonic_ns() - began)


async def _probed(plan: Plan, talk: Conversation, who: Identity) -> list[Line]:
    if who.engine == NULL:
        return [Line("truth", "not probed", "a reference server of engine null: its vectors mean nothing")]
    return await Examination(plan, talk, who).lines()


def before_a_load(
    plan: Plan, endpoints: Sequence[Endpoint], credentials: Credentials, said: Callable[[str], None]
) -> dict[str, Any]:
    """What goes into the Run's facts: nothing with --no-preflight. TargetError when a target is unfit and that is not allowed.

    To be called outside of any event loop.
    """
    if plan.no_preflight:
        return {}
    found = asyncio.run(examine_all(plan, endpoints, credentials))
    if not plan.allow_unfit:
        _refuse_unfit(found)
    for one in found:
        said(f"preflight: {one.url} is {'fit' if one.fit else 'UNFIT'} ({one.identity})")
        for line in one.lines:
            if line.outcome in ("unfit", "warning"):
                said(f"preflight: {line.name}: {line.sentence}" + (f" → {line.remedy}" if line.remedy else ""))
    return {"preflight": [one.document() for one in found]}


def _refuse_unfit(found: Sequence[Fitness]) -> None:
    reasons = [f"{one.url}: {line.name}: {line.sentence}" for one in found for line in one.reasons]
    if not reasons:
        return
    remedies = [line.remedy for one in found if not one.fit for line in one.lines if line.outcome in ("unfit", "note")]
    more = "clipload preflight URL shows all that was looked at; --allow-unfit runs on and brands the Run"
    remedy = "\n  or: ".join([*filter(None, dict.fromkeys(remedies)), more])
    raise TargetError("\n  ".join(["the target is unfit", *reasons]), remedy=remedy)
