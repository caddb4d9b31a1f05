"""The Verdict: is the generator sound, is the target, in that order.

Nothing is claimed of a target through an unsound generator. A finding is fatal only when it could change the stated answer.
The judged percentile is p99 of latency.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from clipload.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_TARGET, EXIT_UNSOUND
from clipload.frames import SECOND_NS
from clipload.run import KILLED, Run
from clipload.units import format_ns

UNSOUND_SHIFT, DEGRADED_SHIFT = 0.20, 0.05  # of p99, were the generator's lag taken away
CEILING = 0.90  # share of its core above which a worker is at its ceiling
STARVED = 0.05  # share of the time that a worker waits for its core, above which its figures are degraded
JUDGED = 0.99
SLOW_SHARE, SLOW_LEAST = 0.05, 20  # replies that are missing when an open loop ends, as a share and in number

Soundness = Literal["sound", "degraded", "unsound"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence about the run, and what to do about it."""

    weight: Literal["fatal", "degrading", "note"]
    about: Literal["generator", "target"]
    sentence: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`exit_code` follows DESIGN's table: the first that applies."""

    findings: tuple[Finding, ...]
    exit_code: int

    @property
    def generator(self) -> Soundness:
        weights = {f.weight for f in self.findings if f.about == "generator"}
        return "unsound" if "fatal" in weights else "degraded" if "degrading" in weights else "sound"

    @property
    def target_died(self) -> bool:
        return any(f.about == "target" and f.weight == "fatal" for f in self.findings)


def judge(run: Run) -> Verdict:
    """Judges a Run; a pure function of it."""
    findings = (*_generator(run), *_target(run))
    if Verdict(findings, EXIT_OK).generator == "unsound":  # then nothing is said of the target, save that it died
        findings = tuple(f for f in findings if f.about == "generator" or f.weight == "fatal")
    verdict = Verdict(findings, EXIT_OK)
    if run.ended in ("interrupted", "aborted", KILLED):
        return Verdict(findings, EXIT_INTERRUPTED)
    if verdict.target_died:
        return Verdict(findings, EXIT_TARGET)
    return Verdict(findings, EXIT_UNSOUND if verdict.generator == "unsound" else EXIT_OK)


def _generator(run: Run) -> list[Finding]:
    findings = []
    dead = run.facts.get("dead_workers") or []
    if dead and run.ended != "aborted":  # an aborted run's workers were ended, and say nothing of the generator
        names = ", ".join(map(str, dead))
        findings.append(
            Finding(
                "fatal",
                "generator",
                f"worker {names} died: its share of the load is lost",
                "see worker_<i>.err in the run directory",
            )
        )
    starved = run.measure.errors.get("local", 0)
    if starved:
        findings.append(
            Finding(
                "fatal",
                "generator",
                f"{starved} requests found no port or descriptor here",
                "use --max-connections, or raise ulimit -n",
            )
        )
    if run.ended == "disk full":
        findings.append(
            Finding("fatal", "generator", "the disk is full: the journal is cut short", "free some disk, or name another --out")
        )
    if run.plan.insecure:
        said = "who answered was not verified (--insecure): it may have been anybody"
        findings.append(Finding("note", "generator", said, "name those you trust with --cacert"))
    return [*findings, *_lag(run), *_own_limit(run), *_starvation(run), *_ceiling(run), *_image_server(run)]


def _lag(run: Run) -> list[Finding]:
    """How far the judged percentile would move without the time between due and dispatched."""
    latency, unlagged = run.measure.histogram("latency"), run.measure.histogram("unlagged")
    if not latency.total:
        return []
    with_lag, without = latency.quantile(JUDGED), unlagged.quantile(JUDGED)
    shift = (with_lag - without) / max(1, without)
    weight: Literal["fatal", "degrading"] = "fatal" if shift > UNSOUND_SHIFT else "degrading"
    if shift <= DEGRADED_SHIFT:
        return []
    sentence = (
        f"the generator itself was late: p99 is {format_ns(with_lag)} with its lag, {format_ns(without)} without ({shift:+.0%})"
    )
    return [Finding(weight, "generator", sentence, "give the workers cores of their own (--cores), or add --workers")]


def _own_limit(run: Run) -> list[Finding]:
    """Requests that waited because this host gave no more connections: by how much that moves the judged percentile."""
    met, refused = run.lacked()
    capped = met and run.facts.get("connections", {}).get("ours", False)
    waited, service = run.measure.histogram("unlagged"), run.measure.histogram("service")
    if not (refused or capped) or not waited.total:
        return []
    with_wait, without = waited.quantile(JUDGED), service.quantile(JUDGED)
    shift = (with_wait - without) / max(1, without)
    weight: Literal["fatal", "degrading", "note"] = (
        "fatal" if shift > UNSOUND_SHIFT else "degrading" if shift > DEGRADED_SHIFT else "note"
    )
    why = f"{refused} connections were refused by this host" if refused else "this host has descriptors for no more connections"
    sentence = f"{why}: p99 is {format_ns(with_wait)} with the wait for one, {format_ns(without)} without ({shift:+.0%})"
    return [Finding(weight, "generator", sentence, "raise ulimit -n, or set --max-connections to say that the limit is meant")]


def _starvation(run: Run) -> list[Finding]:
    """A competitor on a worker's core delays the reading of replies, which no histogram tells from a slow target.

    Never fatal: an open loop's lag meets the same competitor, and is judged by what it does to the percentile.
    """
    shares = {number: run.load(number).starved for number in run.workers}
    starved = {number: share for number, share in shares.items() if share > STARVED}
    if not starved:
        return []
    names = ", ".join(f"{number} ({share:.0%} of the time)" for number, share in starved.items())
    sentence = f"others had the core while worker {names} wanted it: replies were read late"
    return [
        Finding("degrading", "generator", sentence, "give the workers cores of their own (--cores), or stop what runs there")
    ]


def _ceiling(run: Run) -> list[Finding]:
    """A closed loop whose worker has no core left measures the client: the server does at least this much."""
    busy = [number for number in run.workers if run.load(number).busy > CEILING]
    if not busy or run.plan.open_loop:
        return []
    names = ", ".join(map(str, busy))
    return [
        Finding(
            "note",
            "generator",
            f"client-limited: worker {names} had no core left; the server does at least this much",
            "add --workers on more cores",
        )
    ]


def _image_server(run: Run) -> list[Finding]:
    """Images that we serve are part of the generator: a target that waits for them is not the slow one."""
    images = run.facts.get("images", {})
    if images.get("transport") != "url":
        return []
    findings = []
    if images["died"]:
        said = f": {images['said']}" if images["said"] else ""
        findings.append(Finding("fatal", "generator", f"the image server died{said}", "run it again"))
    if images["span_ns"] >= SECOND_NS and images["cpu_ns"] > CEILING * images["span_ns"]:
        sentence = "the image server had no core left: replies waited for images"
        findings.append(Finding("degrading", "generator", sentence, "use --image-transport path or data-url, or a lower load"))
    return findings


def _fetches(run: Run) -> list[Finding]:
    """An ok reply whose images were not all fetched since the load began was made without looking at one of them."""
    images = run.facts.get("images", {})
    unknown = run.plan.mode == "mixed"  # how many of a request's Samples were images
    if images.get("transport") != "url" or images["died"] or images["foreign"] or unknown:
        return []
    implied = run.plan.images_per_request * sum(tally["ok"] for tally in run.phases.values())
    if images["fetched"] >= implied:
        return []
    sentence = f"the server fetched {images['fetched']} of the {implied} images in its ok replies: it ignores or caches some"
    return [Finding("note", "target", sentence, "look at its vectors, and at a proxy or cache between the two")]


def _profile(run: Run) -> list[Finding]:
    """A profiled target is a slower one; one that was to be profiled and was not is to be known."""
    profile = run.facts.get("profile")
    if profile is None:
        return []
    findings = []
    if profile["started_ns"] is not None:
        begin = format_ns(profile["started_ns"] - run.start_ns)
        until = f"to {format_ns(profile['stopped_ns'] - run.start_ns)}" if profile["stopped_ns"] else "on, as far as is known"
        sentence = f"it profiled itself from {begin} {until}: that takes time from it"
        findings.append(Finding("note", "target", sentence, "take figures from a run without --profile"))
    if profile["error"]:
        findings.append(Finding("note", "target", f"the profile failed: {profile['error']}", "see the server's log"))
    return findings


def _pace(run: Run) -> list[Finding]:
    """An open loop whose replies come slower than its requests are due is beyond what the target can do."""
    seconds = run.measured_ns / 1e9
    if not run.plan.open_loop or not seconds or run.ended != "complete":
        return []
    due = run.measure["scheduled"] / seconds
    behind = (due - run.requests_per_s) * seconds
    if behind <= SLOW_SHARE * run.measure["scheduled"] or behind < SLOW_LEAST:
        return []
    sentence = f"the target did not keep up: {due:.1f} requests/s were due, {run.requests_per_s:.1f} came back ok in that time"
    return [Finding("note", "target", sentence, "lower --rate: beyond this the latency is that of a growing queue")]


def _unfit(run: Run) -> list[Finding]:
    """What the preflight found and --allow-unfit let pass."""
    return [
        Finding("note", "target", f"UNFIT ({line['name']}): {line['sentence']}", line["remedy"])
        for target in run.facts.get("preflight", [])
        for line in target["lines"]
        if line["outcome"] == "unfit"
    ]


def _target(run: Run) -> list[Finding]:
    tally, findings = run.measure, _unfit(run)
    if run.ended == "target died":
        findings.append(
            Finding("fatal", "target", "the target refused every connection: it died or was stopped", "see the server's log")
        )
    findings.extend(
        Finding("fatal", "target", f"{target.url} refused every connection in the end: it died or was stopped", "see its log")
        for target in run.targets
        if target.gone and run.ended != "target died"
    )
    if run.ended == "overload":
        findings.append(
            Finding(
                "note",
                "target",
                "overload: more requests were due and unanswered than --max-backlog allows, so the run ended early",
                "lower --rate",
            )
        )
    findings.extend([*_pace(run), *_fetches(run), *_profile(run)])
    for name, count in tally.errors.items():
        if name == "local":  # ours, and said there
            continue
        said = run.examples.get(name, "")
        findings.append(Finding("note", "target", f"{count} × {name}" + (f": {said}" if said else "")))
    silent = [name for name in ("timeout", "censored", "unsent") if tally[name]]
    findings.extend(Finding("note", "target", f"{tally[name]} × {name}") for name in silent)
    if tally["retried"]:
        findings.append(
            Finding("note", "target", f"{tally['retried']} stale keep-alive connections: sent again on a fresh one")
        )
    return findings
