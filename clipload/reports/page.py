"""`report.html`: one file that needs nothing else, neither a network nor this program."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import vl_convert
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from clipload import __version__
from clipload.reports.answers import Head
from clipload.reports.descriptions import describe_load, describe_requests
from clipload.reports.pairs import ShownPairs
from clipload.reports.plots import Plot
from clipload.reports.plots.palette import inked
from clipload.reports.points import between, flaw
from clipload.reports.tables import Table
from clipload.run import Run
from clipload.spread import QUANTILES, estimates
from clipload.units import format_ns
from clipload.verdict import judge

_STATEMENTS = {
    "sound": "The generator was sound. The figures are the target's.",
    "degraded": "The generator was degraded. Read the figures with its findings in mind.",
    "unsound": "The generator was unsound. No statement is made about the target.",
}
_UNIT = re.compile(r"([\d)]) ((?:ns|µs|ms|s|B|kB|MB|GB)\b|%)")
_AGAIN = Markup(
    "Every figure can be computed again from the run directory; <code>clipload run --config plan.toml</code> repeats the load."
)
_VEGA = "window.vegaEmbed = vegaEmbed;"


def head_of(run: Run) -> Head:
    verdict = judge(run)
    ended = "" if run.ended == "complete" else f" It ended early: {run.ended}."
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(run.start_wall_s))
    lines = (
        f"{describe_requests(run.plan)}; pool of {run.plan.pool} Samples.",
        f"Target {', '.join(run.plan.base_url)} ({run.plan.api}, model {run.plan.model!r}).",
        f"{when}, measured for {run.measured_ns / 1e9:.4g} s by {run.plan.workers} worker{'s' * (run.plan.workers != 1)}.",
    )
    title = describe_load(run.plan)
    return Head(
        title[:1].upper() + title[1:],
        verdict.generator,
        _STATEMENTS[verdict.generator] + ended,
        lines,
        tuple(_figures(run)),
        verdict.findings,
    )


def _figures(run: Run) -> list[tuple[str, str, str]]:
    found = estimates(run)
    rate, errors = found["throughput"], found.get("errors")
    figures = [("samples/s", f"{run.throughput:.4g}", f"{rate.low:.4g} … {rate.high:.4g}")]
    if run.plan.open_loop and run.measured_ns:
        figures.append(
            (
                "requests/s due",
                f"{run.measure['scheduled'] * 1e9 / run.measured_ns:.4g}",
                f"{run.requests_per_s:.4g} came back ok",
            )
        )
    figures += [
        (f"{name} of latency", format_ns(found[name].value), between(found[name])) for name in QUANTILES if name in found
    ]
    if errors is not None:
        figures.append(
            (
                "not ok",
                f"{100 * errors.value:.3g} %",
                f"{run.measure.not_ok} of {run.measure['scheduled']}, each counted as infinitely slow",
            )
        )
    return figures


def head_of_many(runs: Sequence[Run]) -> Head:
    """The worst generator gives the tone; which Runs do not count is said."""
    words = [judge(run).generator for run in runs]
    tone = next(word for word in ("unsound", "degraded", "sound") if word in words)
    out = sum(bool(flaw(run)) for run in runs)
    verdict = f"{len(runs) - out} of {len(runs)} Runs count; the others are grey." if out else f"All {len(runs)} Runs count."
    if "degraded" in words:
        verdict += f" The generator of {words.count('degraded')} was degraded."
    urls = sorted({url for run in runs for url in run.plan.base_url})
    requests = sorted({describe_requests(run.plan) for run in runs})
    lines = (*([f"{requests[0]}."] if len(requests) == 1 else []), f"Target {', '.join(urls)}.")
    return Head(f"{len(runs)} Runs", "unsound" if out == len(runs) else "degraded" if out else tone, verdict, lines, (), ())


def page(
    head: Head,
    plots: Sequence[Plot],
    tables: Sequence[Table],
    made_from: Sequence[str],
    *,
    pairs: ShownPairs | None = None,
    undrawn: str = "no request came back ok",
    again: str = _AGAIN,
) -> str:
    """The HTML. `made_from`: the run directories, for the foot; `again`: how its figures can be had again; `undrawn`: why there
    is no plot, where there is none."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["tied"] = tied
    template = environment.from_string(_part("page.html"))
    return template.render(
        head=head,
        plots=plots,
        tables=tables,
        made_from=made_from,
        pairs=pairs,
        undrawn=undrawn,
        again=again,
        version=__version__,
        style=Markup(_part("page.css")),
        program=Markup(_part("page.js")),
        vega=Markup(vl_convert.javascript_bundle(_VEGA)),
        specs=Markup(_specs(plots)),
    )


def tied(text: str) -> str:
    """A figure and its unit stay on one line."""
    return _UNIT.sub("\\1\u00a0\\2", text)


def _part(name: str) -> str:
    return (files("clipload.reports") / name).read_text(encoding="utf-8")


def _specs(plots: Sequence[Plot]) -> str:
    """As JSON in which nothing can end the script element that holds it."""
    specs: dict[str, Any] = {plot.name: inked(plot.chart) | {"description": plot.sentence} for plot in plots}
    return json.dumps(specs, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
