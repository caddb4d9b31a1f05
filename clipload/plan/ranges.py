"""The ranges of single fields. PlanError names the flag and the remedy."""

from __future__ import annotations

from dataclasses import fields

from clipload.errors import PlanError
from clipload.kinds import TIME
from clipload.plan.schema import Fields
from clipload.plan.spec import flag_of, kind_of
from clipload.rates import HIGHEST_RATE, LOWEST_RATE
from clipload.units import Duration

LONGEST = Duration.seconds(30 * 24 * 3600)
LONGEST_NAME = 100  # bytes: it is part of a folder's name


_AT_LEAST = {
    "concurrency": 1,
    "num_samples": 1,
    "batch_size": 1,
    "pool": 1,
    "workers": 1,
    "max_connections": 1,
    "max_backlog": 1,
    "server_pid": 1,
    "warmup_requests": 0,
    "image_threads": 1,
}


def check_ranges(plan: Fields) -> None:
    for name, least in _AT_LEAST.items():
        value = getattr(plan, name)
        if value is not None and value < least:
            raise PlanError(f"{value} is too small", flag=flag_of(name), remedy=f"use at least {least}")
    for name in ("duration", "timeout"):
        if getattr(plan, name) == 0:
            raise PlanError("must be longer than nothing", flag=flag_of(name), remedy="write 10s, 1.5s or 2m")
    for spec in fields(plan):
        if kind_of(spec) is TIME and (getattr(plan, spec.name) or 0) > LONGEST:
            raise PlanError(f"longer than {LONGEST}", flag=flag_of(spec.name), remedy="split the run")
    if not 0 <= plan.seed < 2**63:
        raise PlanError(f"{plan.seed} cannot be a seed", flag="--seed", remedy="use a whole number from 0 to 2^63 - 1")
    if plan.rate is not None and not LOWEST_RATE <= plan.rate <= HIGHEST_RATE:
        remedy = f"use a number from {LOWEST_RATE:g} to {HIGHEST_RATE:.0f}"
        raise PlanError(f"{plan.rate:g} requests/s cannot be", flag="--rate", remedy=remedy)
    if not plan.arena_limit:
        raise PlanError("holds no Sample", flag="--arena-limit", remedy="use 64MiB or more")
    if len(plan.name.encode()) > LONGEST_NAME:
        raise PlanError(f"longer than {LONGEST_NAME} bytes", flag="--name", remedy="use a word or two")
    if not plan.name or set(plan.name) & set("/\\\0\n") or plan.name.startswith("."):
        raise PlanError(
            f"{plan.name!r} cannot be part of a folder's name", flag="--name", remedy="use letters, digits and dashes"
        )
