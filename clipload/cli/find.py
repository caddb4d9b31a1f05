"""`clipload find`: the highest load that meets the objectives."""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Group, Parameter

from clipload import archive
from clipload.campaign import Campaign, resumable
from clipload.cli.flags import AsJson, Config, HeaderFile, KeyFile, Out, parameters, read_credentials, seconds_of, values_from
from clipload.cli.launching import launcher, show
from clipload.credentials import Credentials
from clipload.errors import (
    EXIT_INCONCLUSIVE,
    EXIT_INTERRUPTED,
    EXIT_MISSED,
    EXIT_OK,
    EXIT_TARGET,
    EXIT_UNSOUND,
    PlanError,
    worst,
)
from clipload.plan import LOADS, Plan, flag_of, plain
from clipload.reports.campaigns import answer_text, as_json, heading, row
from clipload.search import Over, parse_over
from clipload.search.over import Branch
from clipload.searches import any_plan, find_of, of_record

_FIND = Group("Find", sort_key=0)
CHOSEN = (*LOADS, "burst", "speedup", "duration", "num_samples", "warmup", "cooldown", "max_backlog", "until")
"""Fields that the search fills in."""
UNBOUNDED = "none"


Budget = Annotated[
    str, Parameter(help="All the time it may take; less leaves out confirmations, and says so. none: no end.", group=_FIND)
]
Precision = Annotated[str, Parameter(help="How near the highest rate that passes is to the lowest that fails.", group=_FIND)]
Dimension = Annotated[
    tuple[str, ...],
    Parameter(help="FIELD=VALUES: find the capacity at each, such as batch_size=1,8,32.", group=_FIND, negative=()),
]
Start = Annotated[
    float | None, Parameter(help="Begin at this rate in requests/s; else a closed loop finds one first.", group=_FIND)
]
Lowest = Annotated[float | None, Parameter(help="No rate below it is tried. Default: a twentieth of the ceiling.", group=_FIND)]
Highest = Annotated[float | None, Parameter(help="No rate above it is tried.", group=_FIND)]
MostInFlight = Annotated[int, Parameter(help="The closed loop before the search goes no higher.", group=_FIND)]
Resume = Annotated[Path | None, Parameter(help="A find's directory: go on with it, with its own flags.", group=_FIND)]


def find(
    *,
    budget: Budget = "10m",
    precision: Precision = "2%",
    over: Dimension = (),
    start: Start = None,
    lowest: Lowest = None,
    highest: Highest = None,
    most_in_flight: MostInFlight = 1024,
    resume: Resume = None,
    config: Config = None,
    api_key_file: KeyFile = None,
    secret_header_file: HeaderFile = None,
    out: Out = Path("runs"),
    json: AsJson = False,
    **flags: Any,
) -> int:
    """Find the highest rate at which the objectives (--slo) are met, with an interval and what gives first.

    Each probe is a run of its own, saved as always, in one directory. An interrupted find is gone on with by --resume.
    """
    if resume is not None:
        campaign = resumed(resume, {name: value for name, value in flags.items() if value is not None})
    else:
        base = _base(values_from(flags, config))
        aim: dict[str, Any] = {"start": start, "lowest": lowest, "highest": highest, "most_concurrency": most_in_flight}
        aim |= {"budget_s": None if budget == UNBOUNDED else seconds_of(budget, "--budget"), "precision": _share(precision)}
        campaign = find_of(base, {"aim": aim, "over": _over(over)}, Path())
    plan = any_plan(campaign.base)
    credentials = read_credentials(plan, api_key_file, secret_header_file)
    if resume is None:
        campaign.directory = archive.create_directory(out, f"{plan.name}-find", time.time())
    return _pursue(campaign, credentials, json=json)


def _base(values: Mapping[str, Any]) -> dict[str, Any]:
    """The Plan's values without a load. PlanError when one was given, or no objective."""
    for name in CHOSEN:
        if name in values:
            remedy = "leave it out; --lowest, --highest and --budget bound the search"
            raise PlanError("is chosen by the search", flag=flag_of(name), remedy=remedy)
    if not values.get("slo"):
        raise PlanError("is needed: what shall the load meet?", flag="--slo", remedy="write --slo 'p99<200ms'")
    return plain(values)


def _share(text: str) -> float:
    try:
        return float(text.strip().removesuffix("%")) / 100
    except ValueError as error:
        raise PlanError(f"{text!r} is no share", flag="--precision", remedy="write 2%") from error


def _over(texts: Sequence[str]) -> dict[str, list[Any]]:
    """Field -> its values, as TOML has them."""
    known = {spec.name: spec for spec in fields(Plan)}
    found: dict[str, list[Any]] = {}
    for name, values in map(parse_over, texts):
        Plan.check_names({name: None}, flag="--over")
        if name in CHOSEN or name in found:
            what = "is chosen by the search" if name in CHOSEN else "is given twice"
            raise PlanError(f"{known[name].name} {what}", flag="--over", remedy="write --over batch_size=1,8,32")
        found[name] = [plain({name: value})[name] for value in values]
    return found


def resumed(directory: Path, given: Mapping[str, Any]) -> Campaign[Over]:
    """The find of a directory, told what its Runs say. PlanError when flags would make another of it."""
    document = resumable(directory, "find", [flag_of(name) for name in given])
    return of_record(document, directory)


def _pursue(campaign: Campaign[Over], credentials: Credentials, *, json: bool) -> int:
    """Each probe as it ends on stderr, then the answer, also when a probe could not begin."""
    show(heading(campaign), sys.stderr)
    try:
        for point in campaign.pursue(launcher(campaign.directory, credentials)):
            show(row(campaign, point), sys.stderr)
    finally:
        if campaign.saved:
            campaign.answer = [msgspec.to_builtins(branch) for branch in campaign.search.branches]
            campaign.save()
            show(f"\n{answer_text(campaign)}\n\nsaved       {campaign.directory}", sys.stderr if json else sys.stdout)
            if json:
                show(as_json(campaign), sys.stdout)
    if campaign.ended == "interrupted":
        return EXIT_INTERRUPTED
    return worst(_exit_code(branch) for branch in campaign.search.branches)


def _exit_code(branch: Branch) -> int:
    """Of one search. *at least* is an answer: the objectives are met there."""
    answer = branch.answer
    if answer.outcome != "doomed":
        return EXIT_INCONCLUSIVE if answer.outcome == "inconclusive" else EXIT_OK
    if answer.binding == "generator":
        return EXIT_UNSOUND
    return EXIT_TARGET if answer.died else EXIT_MISSED


_own = [p for p in inspect.signature(find).parameters.values() if p.kind is inspect.Parameter.KEYWORD_ONLY]
_taken = parameters(hidden=CHOSEN)
find.__signature__ = inspect.Signature([*_own, *_taken], return_annotation=int)  # type: ignore[attr-defined]
find.__annotations__ |= {p.name: p.annotation for p in _taken}
