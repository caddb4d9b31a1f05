"""`clipload sweep`: many loads, one for each point of its axes."""

from __future__ import annotations

import inspect
import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter

from clipload import archive
from clipload.campaign import Campaign, remaining_s, resumable
from clipload.cli.axes import axes_from
from clipload.cli.flags import AsJson, Config, HeaderFile, KeyFile, Out, parameters, read_credentials, seconds_of, values_from
from clipload.cli.launching import launcher, show
from clipload.credentials import Credentials
from clipload.errors import EXIT_OK, CliploadError, PlanError
from clipload.plan import Plan, flag_of
from clipload.reports.campaigns import as_json, heading, row, sweep_table
from clipload.reports.descriptions import plural
from clipload.search import Ask, Grid
from clipload.searches import of_record, sweep_of
from clipload.trials import plan_for
from clipload.units import Duration

_SWEEP = Group("Sweep", sort_key=0)


Axis = Annotated[
    tuple[str, ...],
    Parameter(help="FIELD=VALUES: an axis of any field, such as image_size=224x224,336x336.", group=_SWEEP, negative=()),
]
Zipped = Annotated[
    bool,
    Parameter(help="The first values of all axes, then the second ones; else every combination.", group=_SWEEP, negative=()),
]
Order = Annotated[
    Literal["random", "given"],
    Parameter(help="random (by --seed) keeps a drift of the target's out of the picture.", group=_SWEEP),
]
Rest = Annotated[str, Parameter(help="Quiet time between two points.", group=_SWEEP)]
Resume = Annotated[
    Path | None, Parameter(help="A sweep's directory: measure what is missing in it. No other flag is needed.", group=_SWEEP)
]
DryRun = Annotated[
    bool, Parameter(help="Show the points and the time that they need; start nothing.", group=_SWEEP, negative=())
]


def sweep(
    *,
    axis: Axis = (),
    zip: Zipped = False,  # noqa: A002 - the flag's name
    order: Order = "random",
    rest: Rest = "1s",
    resume: Resume = None,
    config: Config = None,
    api_key_file: KeyFile = None,
    secret_header_file: HeaderFile = None,
    out: Out = Path("runs"),
    json: AsJson = False,
    dry_run: DryRun = False,
    **flags: Any,
) -> int:
    """Measure many loads: any number, duration or choice may be a list (1,2,4) or a range (50..800x1.5).

    Each point is a run of its own, saved as always, in one directory. An interrupted sweep is gone on with by --resume.
    """
    if resume is not None:
        campaign = resumed(resume, {name: value for name, value in flags.items() if value is not None}, axis)
    else:
        base, axes = axes_from(values_from(flags, config), axis)
        if not axes:
            raise PlanError("no flag is a list or a range", flag="--axis", remedy="write --concurrency 1,2,4,8, or see --help")
        rest_s = seconds_of(rest, "--rest")
        campaign = sweep_of(base, {"axes": axes, "zip": zip, "order": order, "rest_s": rest_s, "seed": _seed(base)}, Path())
    plans = _plans(campaign)
    credentials = read_credentials(plans[0], api_key_file, secret_header_file)
    if dry_run:
        print(_rehearse(campaign, plans))
        return EXIT_OK
    if resume is None:
        campaign.directory = archive.create_directory(out, f"{plans[0].name}-sweep", time.time())
    return _pursue(campaign, credentials, json=json)


def _seed(base: Mapping[str, Any]) -> int:
    return int(base.get("seed", 0))


def resumed(directory: Path, flags: Mapping[str, Any], axis: tuple[str, ...]) -> Campaign[Grid]:
    """The sweep of a directory, told what its Runs say. PlanError when flags would make another of it."""
    given = [flag_of(name) for name in flags] + (["--axis"] if axis else [])
    document = resumable(directory, "sweep", given)
    return of_record(document, directory)


def _plans(campaign: Campaign[Grid]) -> list[Plan]:
    """All of them, so that an impossible point is found before the first begins."""
    plans = []
    for ask in campaign.search.points:
        try:
            plans.append(plan_for(campaign.base, ask))
        except CliploadError as error:
            raise PlanError(f"{error.what} (at {_place(ask)})", flag=error.flag, remedy=error.remedy) from error
    return plans


def _place(ask: Ask) -> str:
    return ", ".join(f"{name}={value}" for name, value in ask.values.items())


def _rehearse(campaign: Campaign[Grid], plans: list[Plan]) -> str:
    told = [one.ask for one in campaign.points]
    left = [(ask, plan) for ask, plan in zip(campaign.search.points, plans, strict=True) if ask not in told]
    seconds = remaining_s([plan for _, plan in left], campaign.described["rest_s"] * (len(left) - 1))
    time_ = "as long as their samples take" if math.isinf(seconds) else f"some {Duration.seconds(math.ceil(seconds))}"
    lines = [f"# {len(left)} point{plural(len(left))}, {time_} besides starting and draining"]
    return "\n".join([*lines, *(_place(ask) for ask, _ in left)])


def _pursue(campaign: Campaign[Grid], credentials: Credentials, *, json: bool) -> int:
    """The table as it goes on stderr, the whole of it in the end, also when a point could not begin."""
    stream = sys.stderr
    show(heading(campaign), stream)
    try:
        for point in campaign.pursue(launcher(campaign.directory, credentials)):
            show(row(campaign, point), stream)
    finally:
        if campaign.saved:
            show(f"\n{sweep_table(campaign)}\n\nsaved       {campaign.directory}", sys.stderr if json else sys.stdout)
            if json:
                show(as_json(campaign), sys.stdout)
    return campaign.exit_code


_own = [p for p in inspect.signature(sweep).parameters.values() if p.kind is inspect.Parameter.KEYWORD_ONLY]
sweep.__signature__ = inspect.Signature([*_own, *parameters()], return_annotation=int)  # type: ignore[attr-defined]
sweep.__annotations__ |= {p.name: p.annotation for p in parameters()}
