"""The Verdict: is the generator sound, is the target, are the objectives met, in that order; of a Run, or of repeats of one.

Nothing is claimed of a target through an unsound generator. A finding is fatal only when it could change the stated answer.
The judged percentiles are those of the objectives, else p99.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from clipload.errors import EXIT_INCONCLUSIVE, EXIT_INTERRUPTED, EXIT_MISSED, EXIT_OK, EXIT_TARGET, EXIT_UNSOUND, worst
from clipload.figures import objectives, precision
from clipload.health import Finding as Finding
from clipload.health import judge_generator
from clipload.objectives import Judged, Overall, judge_objectives, judge_over_runs, judged_document, overall
from clipload.outages import deaths, returns
from clipload.plan import Plan
from clipload.remarks import contradiction, integrity, knowledge, unknown, unsteady
from clipload.run import KILLED, PRECISE, Run
from clipload.signals import JUDGED
from clipload.units import format_ns

SLOW_SHARE, SLOW_LEAST = 0.05, 20  # replies that are missing when an open loop ends, as a share and in number

CUT = ("interrupted", "aborted", KILLED)  # how Runs ended that were not let to their end
_SEVERE = (EXIT_INTERRUPTED, EXIT_TARGET, EXIT_UNSOUND)
_BY_OBJECTIVE = {"missed": EXIT_MISSED, "inconclusive": EXIT_INCONCLUSIVE, "met": EXIT_OK}

Soundness = Literal["sound", "degraded", "unsound"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """`exit_code` follows DESIGN's table: the first that applies."""

    findings: tuple[Finding, ...]
    exit_code: int
    objectives: tuple[Judged, ...] = ()  # none is stated through an unsound generator, or of a target that died

    @property
    def objective(self) -> Overall:
        return overall(self.objectives)

    @property
    def generator(self) -> Soundness:
        weights = {f.weight for f in self.findings if f.about == "generator"}
        return "unsound" if "fatal" in weights else "degraded" if "degrading" in weights else "sound"

    @property
    def limited(self) -> bool:
        """A closed loop whose worker had no core left: the server does at least this much."""
        return any(f.rule == "client_limited" for f in self.findings)

    @property
    def target_died(self) -> bool:
        return any(f.about == "target" and f.weight == "fatal" for f in self.findings)


def judge(run: Run) -> Verdict:
    """Judges a Run; a pure function of it."""
    brands = _unfit(run)
    findings = (*_generator(run), *brands, *_target(run))
    if Verdict(findings, EXIT_OK).generator == "unsound":  # then of the target only that it died, and what was known before
        findings = tuple(f for f in findings if f.about == "generator" or f.weight == "fatal" or f in brands)
    verdict = Verdict(findings, EXIT_OK)
    if verdict.generator != "unsound" and not verdict.target_died and run.ended not in ("aborted", KILLED):
        verdict = Verdict(findings, EXIT_OK, judge_objectives(run, limited=verdict.limited))
    return Verdict(findings, _exit_code(run, verdict), verdict.objectives)


def judge_repeats(runs: Sequence[Run]) -> Verdict:
    """Judges repeats of one load as one: what weighs in any of them weighs, and objectives are judged over those that count.

    Law: the exit code is the first of DESIGN's table that applies to any of them, save that an objective is missed or
    inconclusive over the runs alone, whatever it is in each. Findings name the run by its seed; notes are left out.
    """
    verdicts = [judge(run) for run in runs]
    findings = tuple(
        replace(finding, sentence=f"seed {run.plan.seed}: {finding.sentence}")
        for run, verdict in zip(runs, verdicts, strict=True)
        for finding in verdict.findings
        if finding.weight != "note"
    )
    codes = [verdict.exit_code for verdict in verdicts]
    whole = Verdict(findings, worst(codes))
    if whole.generator == "unsound" or whole.target_died:
        return whole
    stated = judge_over_runs([run for run in runs if counts(run)], limited=any(verdict.limited for verdict in verdicts))
    if not stated:
        return whole
    severe = [code for code in codes if code in _SEVERE]
    return Verdict(findings, worst([*severe, _BY_OBJECTIVE[overall(stated)]]), stated)


def counts(run: Run) -> bool:
    """Whether figures over repeats have it: nothing is claimed through an unsound generator, nor of a load that was cut off."""
    return run.ended not in CUT and judge(run).generator != "unsound"


def verdict_document(verdict: Verdict) -> dict[str, Any]:
    """The Verdict for programs; null is ∞."""
    findings = [asdict(finding) for finding in verdict.findings]
    return {
        "generator": verdict.generator,
        "objective": verdict.objective,
        "objectives": [judged_document(judged) for judged in verdict.objectives],
        "findings": findings,
        "exit_code": verdict.exit_code,
    }


def _exit_code(run: Run, verdict: Verdict) -> int:
    if run.ended in CUT:
        return EXIT_INTERRUPTED
    if verdict.target_died:
        return EXIT_TARGET
    if verdict.generator == "unsound":
        return EXIT_UNSOUND
    if verdict.objective == "missed":
        return EXIT_MISSED
    undecided = verdict.objective == "inconclusive" or (verdict.objective == "none" and unknown(run))
    return EXIT_INCONCLUSIVE if undecided else EXIT_OK


def judged_quantiles(plan: Plan) -> tuple[float, ...]:
    """Those that the answer rests on: of the objectives and of --until, else p99."""
    asked = [objective.subject for objective in objectives(plan)] + [p.subject for p in [precision(plan)] if p]
    return tuple(sorted({subject.q for subject in asked if subject.percent is not None})) or JUDGED


def _generator(run: Run) -> list[Finding]:
    """What moves only a quantile that nobody asked for degrades, and is never fatal."""
    findings = judge_generator(run, judged_quantiles(run.plan))
    named = {finding.rule for finding in findings}
    others = [finding for finding in judge_generator(run) if finding.rule not in named]
    findings += [replace(finding, weight="degrading") if finding.weight == "fatal" else finding for finding in others]
    return [*findings, *_noted("generator", contradiction(run))]


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


def _noted(about: Literal["generator", "target"], remarks: list[tuple[str, str]]) -> list[Finding]:
    return [Finding("note", about, sentence, remedy) for sentence, remedy in remarks]


def _pace(run: Run) -> list[Finding]:
    """An open loop whose replies come slower than its requests are due is beyond what the target can do."""
    seconds = run.measured_ns / 1e9
    if not run.plan.open_loop or not seconds or run.ended not in ("complete", PRECISE):
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
    tally, findings = run.measure, list[Finding]()
    findings.extend(Finding("fatal", "target", sentence, "see its log") for sentence in deaths(run))
    findings.extend(Finding("note", "target", sentence, "see its log") for sentence in returns(run))
    if run.ended == "overload":
        findings.append(
            Finding(
                "note",
                "target",
                "overload: more requests were due and unanswered than --max-backlog allows, so the run ended early",
                "lower --rate",
            )
        )
    findings.extend(
        [*_pace(run), *_noted("target", [*integrity(run), *unsteady(run), *knowledge(run)]), *_fetches(run), *_profile(run)]
    )
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
