"""The text summary of a Run, for people; it ends with the older tool's four lines, which scripts read."""

from __future__ import annotations

from typing import Any

from clipload.estimate import LEVEL
from clipload.figures import Quantiles
from clipload.plan import Plan
from clipload.reports.canary import canary_lines
from clipload.reports.capacity import describe_capacity
from clipload.reports.descriptions import describe_load, describe_requests, plural
from clipload.reports.each import targets_text, workers_text
from clipload.reports.integrity import integrity_lines
from clipload.reports.limits import describe_limit
from clipload.reports.payload import describe_payload
from clipload.reports.percentiles import time_said, two_lines
from clipload.reports.preflight import preflight_lines
from clipload.run import PRECISE, Run
from clipload.tally import Tally
from clipload.units import format_bytes, format_cores
from clipload.verdict import Verdict

_LABELS = ("p50", "p90", "p99", "p99.9")
_CELL = 16  # columns of one of them: with its interval a row is 100 wide
_ROWS = (
    ("latency", "latency", "done − due"),
    ("service", "service", "done − sent"),
    ("first byte", "first_byte", "first byte − sent"),
    ("server", "server_time", "as the target told it"),
    ("  queue", "server_queue", "waiting in its queue"),
    ("delay", "delay", "sent − due"),
    ("  lag", "lag", "the generator was late"),
    ("  wait", "wait", "no connection was free"),
    ("failed", "failed", "errors and time-outs"),
    ("no answer", "bound", "at least this long"),
)
_FETCHES = (  # counts of the image server that are told when there are any
    ("errors", "failed on purpose"),
    ("missing", "asked for that do not exist"),
    ("cut", "given up by the target"),
    ("slow", "slow to leave"),
    ("other", "of another kind"),
)


def summary(run: Run, verdict: Verdict, directory: str, *, grey: bool = False) -> str:
    """Everything a reader needs to believe its figures, or not to; and the four lines."""
    return f"{details(run, verdict, directory, grey=grey)}\n\n{four_lines(run)}"


def details(run: Run, verdict: Verdict, directory: str, *, grey: bool = False) -> str:
    """The summary without the four lines. `grey` (on a terminal): what is insufficient is pale."""
    blocks = [
        _heading(run),
        _ledger(run.measure),
        _rates(run),
        _latencies(run, grey=grey),
        targets_text(run, grey=grey),
        workers_text(run, grey=grey),
        canary_lines(run, grey=grey),
        integrity_lines(run),
        describe_capacity(run, directory),
        describe_payload(run),
        describe_limit(run),
        _findings(verdict),
        f"saved       {directory}",
    ]
    return "\n\n".join(block for block in blocks if block)


def _way(plan: Plan) -> list[str]:
    """How requests got there, where it is not the usual way."""
    said = [f"the {plan.transport} transport"] if plan.transport != "stream" else []
    said += [f"through the proxy {plan.proxy}"] if plan.proxy else []
    said += ["TLS WITHOUT VERIFICATION (--insecure)"] if plan.insecure else []
    return [f"            {', '.join(said)}"] if said else []


def _heading(run: Run) -> str:
    plan, facts = run.plan, run.facts
    lines = [
        f"clipload    {describe_load(plan)}",
        f"requests    {describe_requests(plan)}; pool of {plan.pool} Sample{plural(plan.pool)}",
        f"target      {plan.base_url[0]} ({plan.api}, model {plan.model!r}, {plan.encoding_format} vectors)",
        *(f"            {url}" for url in plan.base_url[1:]),
        *_way(plan),
        *preflight_lines(facts.get("preflight", []), skipped=plan.no_preflight),
    ]
    if facts.get("arena", {}).get("texts") == 1:
        lines.insert(2, "            all texts are the same one: a server that keeps answers is flattered")
    if "placement" in facts:
        where = facts["placement"]
        shared = (
            ", shared with the supervisor" if where["shared"] else f"; supervisor on {format_cores(tuple(where['supervisor']))}"
        )
        cores = format_cores(tuple(where["workers"]))
        lines.append(f"workers     {plan.workers}, on core{plural(plan.workers)} {cores}{shared}")
    if facts.get("skipped"):
        lines.append(f"skipped     {len(facts['skipped'])} of the dataset, first: {facts['skipped'][0]}")
    if "images" in facts:
        lines.append(f"images      {describe_images(facts['images'])}")
    early = f" of at most {plan.duration}" if run.ended == PRECISE else ""
    lines.append(f"ended       {run.ended}, measured for {run.measured_ns / 1e9:.3f} s{early}")
    return "\n".join(lines)


def describe_images(facts: dict[str, Any]) -> str:
    """Where the images were, and what was fetched of them while the load was on."""
    if facts["transport"] == "path":
        return f"{facts['own']} by their own paths, {facts['written']} written to {facts['folder']}"
    counts = ", ".join(f"{facts[name]} {label}" for name, label in _FETCHES if facts[name])
    core = "" if facts["core"] is None else f", on core {facts['core']}{' (shared with a worker)' if facts['shared'] else ''}"
    fetched = f"{facts['fetched']} fetched ({format_bytes(facts['bytes'])})"
    return f"{fetched}{', ' if counts else ''}{counts}; served at {facts['at']}{core}"


def _ledger(tally: Tally) -> str:
    book = tally.ledger()
    blank = " " * 12
    errors = "".join(f" + {name} {count}" for name, count in book.errors.items())
    return "\n".join(
        [
            f"ledger      planned {book.planned} = scheduled {book.scheduled} + not due {book.not_due}",
            f"{blank}scheduled {book.scheduled} = attempted {book.attempted} + unsent {book.unsent} + lost {book.lost}",
            f"{blank}attempted {book.attempted} = ok {book.ok}{errors} + timeout {book.timeout} + censored {book.censored}",
        ]
    )


def _rates(run: Run) -> str:
    seconds = run.measured_ns / 1e9
    lines = [f"throughput  {run.throughput:.2f} samples/s in {run.requests_per_s:.2f} requests/s"]
    if run.plan.open_loop and seconds:
        lines[0] += f" done ok; {run.measure['scheduled'] / seconds:.2f} requests/s were due"
    elif run.plan.requests is not None and run.steady_per_s is not None:
        steady = run.steady_per_s * run.plan.batch_size
        lines.append(f"            {steady:.2f} samples/s while every slot was busy (the tail is not in it)")
    span = run.figures.throughput.span.replace("/s", " samples/s")
    lines.insert(1, f"            {100 * LEVEL:g} % interval: {span}")
    if run.figures.errors is not None:
        lines.append(f"not ok      {run.figures.errors.said} of all requests ({run.figures.errors.span})")
    if seconds:
        sent, received = run.measure["bytes_sent"], run.measure["bytes_received"]
        lines.append(f"bytes       {format_bytes(sent / seconds)}/s up, {format_bytes(received / seconds)}/s down")
    return "\n".join(lines)


def _latencies(run: Run, *, grey: bool) -> str:
    """Two lines a row: the figures, and below each its interval."""
    loop = "open loop" if run.plan.open_loop else "closed loop: not to be set beside an open loop's"
    lines = [
        f"times of ok requests, {loop}; below each its {100 * LEVEL:g} % interval",
        " " * 12 + "".join(f"{label:>{_CELL}}" for label in _LABELS) + f"{'max':>10}",
    ]
    for label, name, meaning in _ROWS:
        histogram = run.measure.histogram(name)
        if histogram.total and (histogram.max or name != "server_queue"):  # SGLang may print 0 whatever the queue
            lines += _row(label, run.figures.quantiles[name], f"{time_said(histogram.max):>10}", meaning, grey=grey)
    if run.measure.not_ok:
        lines += _row(
            "of all", run.figures.with_failures["latency"], "", f"{run.measure.not_ok} not ok are infinite", grey=grey
        )
    return "\n".join(lines) if len(lines) > 2 else ""


def _row(label: str, quantiles: Quantiles, largest: str, meaning: str, *, grey: bool) -> list[str]:
    pairs = [two_lines(quantiles, name, _CELL, grey=grey) for name in _LABELS]
    figures, intervals = ("".join(pair[line] for pair in pairs) for line in (0, 1))
    return [f"{label:<12}{figures}{largest}", f"{'':<12}{intervals}  {meaning}"]


def _findings(verdict: Verdict) -> str:
    lines = [
        f"generator   {verdict.generator}"
        + (": no statement is made about the target" if verdict.generator == "unsound" else "")
    ]
    for finding in verdict.findings:
        remedy = f" ({finding.remedy})" if finding.remedy else ""
        lines.append(f"  {finding.about:<10}{finding.sentence}{remedy}")
    if verdict.objectives:
        lines.append(f"objective   {verdict.objective}")
        lines.extend(f"  {judged.sentence}" for judged in verdict.objectives)
    return "\n".join(lines)


def four_lines(run: Run, asked: int | None = None) -> str:
    """The older tool's summary, line for line. num_samples: what was `asked` for, else the Plan's, else the ok Samples."""
    samples = run.measure["samples"]
    asked = run.plan.num_samples if asked is None else asked
    return _four(run, samples if asked is None else asked, samples, run.measured_ns, run.throughput)


def worker_lines(run: Run, worker: int, asked: int) -> str:
    """The same of one worker of a counted closed loop, from its own start to its own last reply."""
    account, begin_ns = run.workers[worker], run.start_ns + run.bounds[1] + worker * run.plan.stagger
    samples, took_ns = account.phases["measure"]["samples"], max(0, account.last_done_ns - begin_ns)
    return _four(run, asked, samples, took_ns, samples * 1e9 / took_ns if took_ns else 0.0)


def _four(run: Run, asked: int, samples: int, took_ns: int, throughput: float) -> str:
    plan, dim = run.plan, run.facts.get("target", {}).get("dim", 0)
    return "\n".join(
        [
            "==== Summary ====",
            f"mode={plan.mode}, data_source={plan.data_source}, num_samples={asked}, batch_size={plan.batch_size}",
            f"shape=({samples}, {dim}) (dim={dim})",
            f"time(s)={took_ns / 1e9:.4f}, throughput(samples/s)={throughput:.2f}",
        ]
    )
