"""`clipload run --repeats`: one load measured several times, judged over its runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clipload import archive
from clipload.campaign import Campaign
from clipload.cli.launching import launcher, show
from clipload.credentials import Credentials
from clipload.plan import Plan, flag_of
from clipload.repeats import answer, check, repeats_of, seeds, verdict
from clipload.repeats import resumed as repeats_in
from clipload.reports.campaigns import as_json, heading, row
from clipload.reports.repeats import summary
from clipload.run import Run
from clipload.search import Grid

_NOWHERE = Path()  # until it is pursued


def begun(plan: Plan, times: int) -> Campaign[Grid] | None:
    """None when there is nothing to repeat. PlanError when the Plan cannot be repeated so often."""
    check(plan, times)
    return repeats_of(plan, times, _NOWHERE) if times > 1 else None


def resumed(directory: Path, given: Mapping[str, Any]) -> tuple[Plan, Campaign[Grid]]:
    """The Plan of a directory's repeats, and they themselves, told what its Runs say. `given`: flags, None for absent ones."""
    campaign = repeats_in(directory, [flag_of(name) for name, value in given.items() if value is not None])
    return Plan.from_dict(campaign.base), campaign


def describe(campaign: Campaign[Grid]) -> str:
    """How often, with which seeds, and which of them are left."""
    every, known = seeds(campaign), [point.ask.values["seed"] for point in campaign.points]
    left = ", ".join(str(seed) for seed in every if seed not in known)
    rest = f"; left: {left or 'none'}" if known else ""
    return f"{len(every)} times, seeds {every[0]} to {every[-1]}{rest}"


def go_on(campaign: Campaign[Grid], credentials: Credentials, out: Path, *, json: bool, debug: bool) -> int:
    """Each run as it ends on stderr, then what they say together, also when a later one could not begin."""
    if campaign.directory == _NOWHERE:
        campaign.directory = archive.create_directory(out, f"{campaign.base['name']}-repeats", time.time())
    measured, every = launcher(campaign.directory, credentials, debug=debug), seeds(campaign)

    def launch(plan: Plan) -> tuple[Run, Path]:
        show(f"run {every.index(plan.seed) + 1} of {len(every)}, seed {plan.seed}", sys.stderr)
        return measured(plan)

    show(heading(campaign), sys.stderr)
    try:
        for point in campaign.pursue(launch):
            show(row(campaign, point), sys.stderr)
    finally:
        if campaign.saved:
            campaign.answer = answer(campaign)
            campaign.save()
            show(f"\n{summary(campaign)}", sys.stderr if json else sys.stdout)
            if json:
                show(as_json(campaign), sys.stdout)
    return verdict(campaign).exit_code
