"""`clipload run`: one load, measured, judged, saved."""

from __future__ import annotations

import inspect
import json as json_format
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from clipload import archive, host
from clipload.certificates import client_context
from clipload.cli.flags import OUTPUT, AsJson, Config, HeaderFile, KeyFile, Out, parameters, plan_from, read_credentials
from clipload.cli.launching import saving, show, teller
from clipload.cli.repeats import begun, describe, go_on, resumed
from clipload.errors import EXIT_OK, PlanError
from clipload.measurement import View, measure
from clipload.pacing import NEVER
from clipload.plan import Plan
from clipload.reports.descriptions import describe_load, describe_requests
from clipload.reports.live import view_for
from clipload.reports.text import summary
from clipload.run import Run
from clipload.schedule import schedule
from clipload.target import nobody
from clipload.units import format_ns
from clipload.verdict import Verdict, judge, verdict_document

Prometheus = Annotated[
    int | None, Parameter(help="Serve the live run's /metrics on this port of 127.0.0.1; 0: any free one.", group=OUTPUT)
]
Resume = Annotated[
    Path | None, Parameter(help="A directory of --repeats: measure what is missing in it. No other flag is needed.")
]
_FIRST = 5  # due instants that a dry run shows


def run(
    *,
    config: Config = None,
    api_key_file: KeyFile = None,
    secret_header_file: HeaderFile = None,
    out: Out = Path("runs"),
    json: AsJson = False,
    dry_run: Annotated[
        bool, Parameter(help="Show the Plan, the cores and the first due instants; start nothing.", negative=())
    ] = False,
    debug: Annotated[
        bool,
        Parameter(
            help="Print the first request and its reply, images and vectors elided, on stderr.", group=OUTPUT, negative=()
        ),
    ] = False,
    prometheus: Prometheus = None,
    repeats: Annotated[
        int,
        Parameter(
            help="Measure it so many times, with new processes and connections each time, and judge it over the runs. "
            "Run i has --seed + i, so that each has arrivals and bodies of its own; the target is not restarted."
        ),
    ] = 1,
    resume: Resume = None,
    **flags: Any,
) -> int:
    """Measure one load and save the Run."""
    if prometheus is not None and (repeats != 1 or resume is not None):
        raise PlanError("shows one run", flag="--prometheus", remedy="leave out --repeats and --resume")
    if resume is None:
        plan = plan_from(flags, config)
        campaign = begun(plan, repeats)
    else:
        plan, campaign = resumed(resume, {"config": config, "repeats": repeats if repeats != 1 else None, **flags})
    credentials = read_credentials(plan, api_key_file, secret_header_file)
    if dry_run:
        show(_rehearse(plan, describe(campaign) if campaign else ""), sys.stdout)
        return EXIT_OK
    if campaign is not None:
        return go_on(campaign, credentials, out, json=json, debug=debug)
    with saving() as places:
        with _shown(plan, prometheus) as view:
            result, directory = measure(plan, credentials, out, view, teller(view, credentials) if debug else nobody)
            places.append(directory)
        return _judged(result, directory, json=json)


def _judged(result: Run, directory: Path, *, json: bool) -> int:
    """Shows it, and its verdict's exit code."""
    verdict = judge(result)
    stream = sys.stderr if json else sys.stdout
    show(summary(result, verdict, str(directory), grey=stream.isatty() and not os.environ.get("NO_COLOR")), stream)
    if json:
        show(_as_json(result, verdict, directory), sys.stdout)
    return verdict.exit_code


@contextmanager
def _shown(plan: Plan, port: int | None) -> Iterator[View]:
    """The live view; with a port Prometheus sees the run too."""
    view = view_for(plan)
    if port is None:
        yield view
        return
    from clipload.exposition import Exposed

    exposed = Exposed(view, plan, port)
    try:
        yield exposed
    finally:
        exposed.end()


def _as_json(result: Run, verdict: Verdict, directory: Path) -> str:
    document = archive.document(result) | {"verdict": verdict_document(verdict), "directory": str(directory)}
    return json_format.dumps(document, allow_nan=False)


def _rehearse(plan: Plan, often: str) -> str:
    """What would happen: the Plan, who runs where, and when the first requests would be due."""
    by_url = plan.image_transport == "url"
    placement = host.place(plan.workers, plan.cores, host.allowed_cores(), images=by_url, share=plan.share_cores)
    client_context(plan)
    due = schedule(plan)
    plan = due.plan
    lines = [f"# {describe_load(plan)}", f"# {describe_requests(plan)}", f"# {placement}"]
    if due.pacer is not None:
        first = [int(offset) for offset in next(due.pacer.blocks(plan.seed))[:_FIRST] if offset < NEVER]
        instants = ", ".join(f"{format_ns(offset)} (worker {i % plan.workers})" for i, offset in enumerate(first))
        lines.append(f"# first due after the start: {instants}")
    else:
        shares = ", ".join(str(plan.in_flight.share(worker, plan.workers)) for worker in range(plan.workers))
        lines.append(f"# due at the start: every slot at once; slots per worker: {shares}")
    if often:
        lines.append(f"# {often}")
    return "\n".join([*lines, "", plan.to_toml().rstrip()])


_own = [p for p in inspect.signature(run).parameters.values() if p.kind is inspect.Parameter.KEYWORD_ONLY]
run.__signature__ = inspect.Signature([*_own, *parameters()], return_annotation=int)  # type: ignore[attr-defined]
run.__annotations__ |= {p.name: p.annotation for p in parameters()}
