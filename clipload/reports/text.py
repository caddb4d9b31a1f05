"""The text summary of a Run, for people; it ends with the older tool's four lines, which scripts read."""

from __future__ import annotations

from typing import Any

from clipload.plan import Plan
from clipload.rates import parse_burst, parse_ramp, parse_steps
from clipload.reports.preflight import preflight_lines
from clipload.run import Run
from clipload.tally import Tally
from clipload.units import format_bytes, format_cores, format_ns
from clipload.verdict import Verdict

_QUANTILES = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999))
_ROWS = (
    ("latency", "latency", "done − due"),
    ("service", "service", "done − sent"),
    ("first byte", "first_byte", "first byte − sent"),
    ("server", "server_time", "received to done, as the target told"),
    ("  queue", "server_queue", "of it waiting in its queue"),
    ("delay", "delay", "sent − due"),
    ("  lag", "lag", "the generator was late"),
    ("  wait", "wait", "no connection was free"),
    ("failed", "failed", "errors and time-outs, done − due"),
    ("no answer", "bound", "censored and unsent: at least this long"),
)
_FETCHES = (  # counts of the image server that are told when there are any
    ("errors", "failed on purpose"),
    ("missing", "asked for that do not exist"),
    ("cut", "given up by the target"),
    ("slow", "slow to leave"),
    ("other", "of another kind"),
)


def summary(run: Run, verdict: Verdict, directory: str) -> str:
    """Everything a reader needs to believe, or not to believe, the figures; and the four lines."""
    return f"{details(run, verdict, directory)}\n\n{four_lines(run)}"


def details(run: Run, verdict: Verdict, directory: str) -> str:
    """The summary without the four lines."""
    blocks = [
        _heading(run),
        _ledger(run.measure),
        _rates(run),
        _latencies(run),
        _targets(run),
        _workers(run),
        _findings(verdict),
        f"saved       {directory}",
    ]
    return "\n\n".join(block for block in blocks if block)


def describe_load(plan: Plan) -> str:
    """One line: the loop, the length, the request."""
    loop = f"open loop, {describe_arrivals(plan)}" if plan.open_loop else f"closed loop, {plan.concurrency} requests in flight"
    length = f"{plan.num_samples} samples" if plan.num_samples is not None else f"{plan.duration}"
    warmup = f" after {plan.warmup} of warm-up" if plan.warmup else ""
    return f"{loop}, {length}{warmup}"


def describe_arrivals(plan: Plan) -> str:
    """The law of the gaps, and the rate as it changes."""
    law = plan.arrival if plan.cv is None else f"{plan.arrival} (cv {plan.cv:g})"
    if plan.trace is not None:
        return f"arrivals of the trace {plan.trace}" + (f", {plan.speedup:g} times as fast" if plan.speedup else "")
    if plan.ramp is not None:
        first, last = parse_ramp(plan.ramp)
        return f"{law} arrivals, from {first:g} to {last:g} requests/s"
    if plan.steps is not None:
        return f"{law} arrivals in steps of {', '.join(f'{rate:g}' for rate in parse_steps(plan.steps))} requests/s"
    burst = ""
    if plan.burst is not None:
        each = parse_burst(plan.burst)
        burst = f", {each.rate:g} for {each.length} in every {each.period}"
    return f"{law} arrivals at {plan.rate:g} requests/s{burst}"


def describe_requests(plan: Plan) -> str:
    vectors = plan.vectors_per_request
    share = f"texts ({50 if plan.text_share is None else 100 * plan.text_share:g} %) and images"
    pairs = {"text": "text", "image": "image", "multimodal": "(text, image) pair"}
    what = share if plan.mode == "mixed" else pairs[plan.mode] + _plural(plan.batch_size)
    body = f"{plan.batch_size} {what} = {vectors} vector{_plural(vectors)}"
    source = f"{plan.data_source} {plan.data}".strip() + (", none sent twice" if plan.unique else "")
    by = "" if plan.image_transport == "data-url" or not plan.images_per_request else f", images by {plan.image_transport}"
    return f"{body} a request, from {source}{by}"


def _way(plan: Plan) -> list[str]:
    """How requests got there, where it is not the usual way."""
    said = [f"the {plan.transport} transport"] if plan.transport != "stream" else []
    said += [f"through the proxy {plan.proxy}"] if plan.proxy else []
    said += ["TLS WITHOUT VERIFICATION (--insecure)"] if plan.insecure else []
    return [f"            {', '.join(said)}"] if said else []


def _plural(count: int) -> str:
    return "" if count == 1 else "s"


def _heading(run: Run) -> str:
    plan, facts = run.plan, run.facts
    lines = [
        f"clipload    {describe_load(plan)}",
        f"requests    {describe_requests(plan)}; pool of {plan.pool} Samples",
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
        lines.append(f"workers     {plan.workers}, on core{_plural(plan.workers)} {cores}{shared}")
    if facts.get("skipped"):
        lines.append(f"skipped     {len(facts['skipped'])} of the dataset, first: {facts['skipped'][0]}")
    if "images" in facts:
        lines.append(f"images      {describe_images(facts['images'])}")
    lines.append(f"ended       {run.ended}, measured for {run.measured_ns / 1e9:.3f} s")
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
    if seconds:
        sent, received = run.measure["bytes_sent"], run.measure["bytes_received"]
        lines.append(f"bytes       {format_bytes(sent / seconds)}/s up, {format_bytes(received / seconds)}/s down")
    return "\n".join(lines)


def _latencies(run: Run) -> str:
    loop = "open loop" if run.plan.open_loop else "closed loop: not to be set beside an open loop's"
    header = f"{loop:<12}".ljust(14)
    lines = [
        f"times of ok requests, {header.strip()}",
        " " * 12 + "".join(f"{label:>10}" for label, _ in _QUANTILES) + f"{'max':>10}",
    ]
    for label, name, meaning in _ROWS:
        histogram = run.measure.histogram(name)
        if histogram.total and (histogram.max or name != "server_queue"):  # SGLang may print 0 whatever the queue
            values = [*histogram.quantiles([q for _, q in _QUANTILES]), histogram.max]
            lines.append(f"{label:<12}" + "".join(f"{_time(value):>10}" for value in values) + f"   {meaning}")
    if run.measure.not_ok:
        objective = run.measure.histogram("latency").quantile_with_infinite(0.99, run.measure.not_ok)
        lines.append(
            f"{'p99 of all':<12}{format_ns(objective):>30}   {run.measure.not_ok} requests that were not ok count as infinite"
        )
    return "\n".join(lines) if len(lines) > 2 else ""


def _time(value: int) -> str:
    """Below a microsecond the histogram does not resolve."""
    return format_ns(value) if value >= 1000 else "< 1 µs"


def _workers(run: Run) -> str:
    lines = ["worker        ok   p50 latency   p99 latency   p99 lag    core   waited for core"]
    for number, account in run.workers.items():
        tally = account.phases["measure"]
        latency, lag = tally.histogram("latency"), tally.histogram("lag")
        p50, p99 = (format_ns(value) for value in latency.quantiles([0.5, 0.99])) if latency.total else ("-", "-")
        late = format_ns(lag.quantile(0.99)) if lag.total else "-"
        load = run.load(number)
        share = f"{load.cpu_ns / 1e7 / load.seconds:.0f} %" if load.seconds else "-"
        waited = format_ns(load.starved_ns) if load.seconds else "-"
        lines.append(f"{number:>6}{tally['ok']:>10}{p50:>14}{p99:>14}{late:>10}{share:>8}{waited:>18}")
    return "\n".join(lines)


def _targets(run: Run) -> str:
    """What each of several base URLs did."""
    if not run.targets:
        return ""
    lines = [f"{'ok':>16}{'not ok':>10}{'samples/s':>12}{'p50 latency':>14}{'p99 latency':>14}   target"]
    for target in run.targets:
        latency = target.tally.histogram("latency")
        p50, p99 = (format_ns(value) for value in latency.quantiles([0.5, 0.99])) if latency.total else ("-", "-")
        rate = target.requests_per_s * run.plan.batch_size
        figures = f"{target.tally['ok']:>16}{target.tally.not_ok:>10}{rate:>12.2f}{p50:>14}{p99:>14}"
        lines.append(f"{figures}   {target.url}")
    return "\n".join(lines)


def _findings(verdict: Verdict) -> str:
    lines = [
        f"generator   {verdict.generator}"
        + (": no statement is made about the target" if verdict.generator == "unsound" else "")
    ]
    for finding in verdict.findings:
        remedy = f" ({finding.remedy})" if finding.remedy else ""
        lines.append(f"  {finding.about:<10}{finding.sentence}{remedy}")
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
