"""Campaigns from their records: the search that `base` and `search` of campaign.json describe, told what the Runs say.

Law: the same record and the same Runs make the same campaign, whether it is gone on with or reported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from clipload import repeats
from clipload.campaign import BESIDE, DOCUMENT, Campaign, Document, known, read
from clipload.errors import ArchiveError, CliploadError
from clipload.plan import Plan
from clipload.search import Aim, Ask, Grid, Over, cartesian, zipped
from clipload.search.grid import Axes
from clipload.trials import aimed, plan_for


def any_plan(base: Mapping[str, Any]) -> Plan:
    """One of those that a find will ask for: what they have in common can be read off it."""
    return plan_for(base, Ask({"rate": 1.0}))


def find_of(base: dict[str, Any], search: dict[str, Any], directory: Path) -> Campaign[Over]:
    """`search`: `aim` (fields of an Aim) and `over` (dimension -> its values). PlanError when they make no search."""
    plan = any_plan(base)
    objective = aimed(plan)
    aim = Aim(**search["aim"], concurrency=plan.workers)
    if objective is not None:
        aim = replace(aim, quantile=objective.subject.q, objective_s=objective.limit / 1e9)
    return Campaign("find", base, Over(aim, cartesian(search["over"]), plan.batch_size), search, directory, reseed=True)


def sweep_of(base: dict[str, Any], search: dict[str, Any], directory: Path) -> Campaign[Grid]:
    """`search`: `axes`, `zip`, `order`, `seed`, `rest_s`."""
    axes: Axes = search["axes"]
    points = zipped(axes) if search["zip"] else cartesian(axes)
    draws = np.random.default_rng(search["seed"]) if search["order"] == "random" else None
    return Campaign("sweep", base, Grid(points, draws=draws, rest_s=search["rest_s"]), search, directory)


def holds_campaign(directory: Path) -> bool:
    return (directory / DOCUMENT).is_file()


def recalled(directory: Path) -> Campaign[Any]:
    """The campaign of a directory, whatever its kind, as its Runs say it now; for a report, not to be gone on with.

    ArchiveError when campaign.json or a Run cannot be read, or was written by a newer clipload.
    """
    remedy = f"the Runs in it can still be reported: clipload report {directory}/*/"
    document = read(directory, remedy=remedy, flag="")
    campaign = of_record(document, directory, flag="", remedy=remedy)
    campaign.ended, campaign.answer = document.ended, answer_of(campaign)
    return campaign


def of_record(document: Document, directory: Path, *, flag: str = "--resume", remedy: str = BESIDE) -> Campaign[Any]:
    """What a record describes, told what its Runs say. ArchiveError when it describes no campaign of this clipload's."""
    made: dict[str, Callable[[dict[str, Any], dict[str, Any], Path], Campaign[Any]]]
    made = {"find": find_of, "sweep": sweep_of, "repeats": repeats.of_record}
    try:
        campaign = made[document.kind](document.base, document.search, directory)
    except (CliploadError, KeyError, TypeError, ValueError, AttributeError) as error:
        what = error.what if isinstance(error, CliploadError) else f"{type(error).__name__}: {error}"
        raise ArchiveError(f"{directory / DOCUMENT} describes no campaign: {what}", flag=flag, remedy=remedy) from error
    campaign.recall(known(directory, document))
    return campaign


def answer_of(campaign: Campaign[Any]) -> Any:
    """`answer` of campaign.json: a find's branches that have ended, a sweep's nothing, what repeats say together."""
    if campaign.kind == "find":
        return [msgspec.to_builtins(branch) for branch in campaign.search.branches]
    return repeats.answer(campaign) if campaign.kind == "repeats" else None
