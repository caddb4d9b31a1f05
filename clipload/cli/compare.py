"""`clipload compare`: two loads against each other, saved or measured in turn, with a gate against regressions."""

from __future__ import annotations

import json as json_format
import re
import sys
import time
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from clipload import archive
from clipload.changes import LIMIT
from clipload.cli.flags import Config, HeaderFile, KeyFile, plan_from, read_credentials
from clipload.cli.launching import launcher, show
from clipload.compare import CompareError, Comparison, document
from clipload.compare import compare as compared
from clipload.errors import EXIT_INTERRUPTED
from clipload.interleaving import Interleaved, check, interleave, order
from clipload.paired import paired as pairwise
from clipload.plan import Plan
from clipload.reports.comparison import comparison_markdown, comparison_text
from clipload.run import Run
from clipload.verdict import judge

_TURN = Group("In turn", sort_key=1)
SIDES = ("before", "after")


def compare(
    before: Annotated[
        str, Parameter(help="A run directory, or a folder of repeats of one load; with --interleave a Plan in TOML or a URL.")
    ],
    after: Annotated[str, Parameter(help="Another.")],
    /,
    *,
    limit: Annotated[
        str, Parameter(help="A change that matters: what is surely worse by more is a regression.")
    ] = f"{LIMIT:.0%}",
    paired: Annotated[
        bool, Parameter(help="Runs of the two folders with the same seed are pairs, as --interleave made them.", negative=())
    ] = False,
    interleave: Annotated[
        bool,
        Parameter(help="Measure both now, in turn (A B B A ...), and compare them pair by pair.", group=_TURN, negative=()),
    ] = False,
    pairs: Annotated[int, Parameter(help="How many pairs.", group=_TURN)] = 4,
    config: Annotated[Config, Parameter(help="The Plan of both, where two URLs are compared.", group=_TURN)] = None,
    out: Annotated[Path, Parameter(help="Folder for the runs.", group=_TURN)] = Path("runs"),
    api_key_file: Annotated[KeyFile, Parameter(group=_TURN)] = None,
    secret_header_file: Annotated[HeaderFile, Parameter(group=_TURN)] = None,
    md: Annotated[bool, Parameter(help="As Markdown, for a pull request.", negative=())] = False,
    json: Annotated[bool, Parameter(help="As JSON.", negative=())] = False,
) -> int:
    """Say what changed from one load to another: exit 1 for a regression, 4 when it can be neither seen nor excluded."""
    if md and json:
        raise CompareError("there is one answer", flag="--md", remedy="leave out --md or --json")
    share = parse_limit(limit)
    if not interleave:
        first, second = ([run for _, run in archive.load_all([Path(path)])] for path in (before, after))
        return _told((pairwise if paired else compared)(first, second, share), (before, after), md=md, json=json, more={})
    plans = _plans((before, after), config)
    check(plans, pairs)
    directory = archive.create_directory(out, f"{plans[0].name}-interleave", time.time())
    try:
        found = _measured(plans, pairs, directory, api_key_file, secret_header_file)
    finally:
        if not any(directory.glob("*/*")):
            archive.discard(directory)
    if not found.whole:
        show(f"no pair is whole; saved {directory}", sys.stderr)
        return EXIT_INTERRUPTED
    comparison = pairwise(found.before, found.after, share)
    code = _told(comparison, (before, after), md=md, json=json, more={"directory": str(directory), "ended": found.ended})
    show(f"\nsaved       {directory}", sys.stderr if json or md else sys.stdout)
    return EXIT_INTERRUPTED if found.ended == "interrupted" else code


def _told(comparison: Comparison, names: tuple[str, str], *, md: bool, json: bool, more: dict[str, Any]) -> int:
    if json:
        print(json_format.dumps({"before": names[0], "after": names[1], **more, **document(comparison)}))
    else:
        print(comparison_markdown(comparison, names) if md else comparison_text(comparison, names))
    return comparison.exit_code


def _plans(sides: tuple[str, str], config: Path | None) -> tuple[Plan, Plan]:
    """Of two TOML files, or of two URLs with the Plan of `config`. CompareError when it is one of each."""
    urls = ["://" in side or side.startswith("unix:") for side in sides]
    if len(set(urls)) > 1:
        raise CompareError(
            "one is a URL and one is not", flag="--interleave", remedy="name two URLs with --config, or two Plans"
        )
    if urls[0]:
        return plan_from({"base_url": (sides[0],)}, config), plan_from({"base_url": (sides[1],)}, config)
    for side in sides:
        if not Path(side).is_file():
            remedy = "name a TOML Plan, such as a run's plan.toml, or a URL like http://HOST:PORT"
            raise CompareError(f"there is no Plan {side}", flag="--interleave", remedy=remedy)
    if config is not None:
        raise CompareError("is for two URLs", flag="--config", remedy="leave it out: each Plan says its own")
    return plan_from({}, Path(sides[0])), plan_from({}, Path(sides[1]))


def _measured(
    plans: tuple[Plan, Plan], pairs: int, directory: Path, key_file: Path | None, header_file: Path | None
) -> Interleaved:
    """Each run as it ends on stderr."""
    keys = [read_credentials(plan, key_file, header_file) for plan in plans]
    launchers = [launcher(directory / side, key) for side, key in zip(SIDES, keys)]
    places = iter(range(1, len(order(pairs)) + 1))

    def launch(side: int, plan: Plan) -> Run:
        place = next(places)
        show(f"run {place} of {2 * pairs}: {SIDES[side]}, seed {plan.seed}", sys.stderr)
        run, _ = launchers[side](plan)
        latency = run.figures.with_failures.get("latency", {})
        p99 = f", p99 {latency['p99'].said}" if "p99" in latency else ""
        show(f"  {run.throughput:.2f} samples/s{p99}; generator {judge(run).generator}", sys.stderr)
        return run

    return interleave(plans, pairs, launch)


def parse_limit(text: str) -> float:
    """`5%` → 0.05. CompareError unless it is a percentage from 0 to below 100."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", text)
    if match is None or not float(match[1]) < 100:
        raise CompareError(f"{text!r} is not a limit", flag="--limit", remedy="write a percentage, like 5%")
    return float(match[1]) / 100
