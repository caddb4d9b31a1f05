"""What the figures say of a run beyond themselves: whether it was steady, and how well it came to know what it was to know.

Each remark is a sentence and a remedy.
"""

from __future__ import annotations

from clipload.agreement import Agreement, Apart, agreement_in
from clipload.figures import precision
from clipload.judgement import precise
from clipload.objectives import factor, more
from clipload.run import PRECISE, Run
from clipload.slo import Precision
from clipload.units import Duration

_NO_FIGURE = "no figure of it means anything: see its log"
_ONE_BY_ONE = "requests disturb each other: have it serve one at a time (SGLang: --prefill-max-requests 1), and measure again"
_CHANGED = "an Item asked for alone again had another vector than before an earlier load, so all were asked for anew"
_APART = 2.0  # margins, within which chance explains it: one run in twenty lies beyond one
Remark = tuple[str, str]


def unsteady(run: Run) -> list[Remark]:
    """The queue that grew, and the warm-up that was too short."""
    remarks, drift, warming = [], run.figures.drift, run.figures.warming
    if drift is not None and drift.drifting:
        sentence = f"the queue grew throughout: by {drift.growth:.0f} while {drift.arrivals:.0f} requests came"
        remarks.append((sentence, "lower --rate: beyond this the latency is that of a growing queue"))
    if warming is not None and warming.falling:
        cut = warming.warm_up.cut
        sentence = f"latency was still falling: in the first {cut} s it was {100 * warming.excess:.0f} % above that of the rest"
        remarks.append((sentence, f"a longer --warmup, {Duration(run.plan.warmup + cut * 10**9)} or more"))
    return remarks


def contradiction(run: Run) -> list[Remark]:
    """Little's law holds for any stable system: where it fails, a clock or a counter of ours is wrong."""
    little = run.figures.little
    if little is None or abs(little.level - little.expected) <= _APART * little.margin:
        return []
    sentence = (
        f"the figures contradict each other: {little.level:.1f} requests were in flight, "
        f"{little.expected:.1f} follow from their rate and latency"
    )
    return [(sentence, "a clock or a counter is wrong: keep journal.bin, and report it")]


def unknown(run: Run) -> bool:
    """Whether the Plan asked for a precision that the whole duration did not bring."""
    asked = precision(run.plan)
    return asked is not None and run.ended == "complete" and not _reached(run, asked)


def _reached(run: Run, asked: Precision) -> bool:
    estimate, drift = run.figures.of(asked.subject), run.figures.drift
    steady = drift is None or not drift.drifting
    return run.ended == PRECISE or (estimate is not None and precise(estimate, asked.width) and steady)


def knowledge(run: Run) -> list[Remark]:
    """How well the figure of --until is known in the end."""
    asked = precision(run.plan)
    if asked is None or run.ended not in ("complete", PRECISE):
        return []
    estimate, after = run.figures.of(asked.subject), f"{run.measured_ns / 1e9:.1f} s"
    if estimate is None:
        return [(f"{asked} was not reached: nothing was measured", "see what the target answered")]
    known = f"{asked.subject} is {estimate.said}, " + (
        f"±{100 * estimate.half_width:.1f} %" if estimate.bounded else estimate.span
    )
    if _reached(run, asked):
        return [(f"{asked} was reached after {after}: {known}", "")]
    if estimate.sufficient and estimate.half_width <= asked.width:
        return [(f"{asked} was not reached in {after}: {known}, but the queue grew throughout", "lower --rate")]
    needed = (estimate.half_width / asked.width) ** 2 if estimate.sufficient else factor(estimate, 0.0)
    return [(f"{asked} was not reached in {after}: {known}; {more(run, needed)}", "a longer --duration")]


def integrity(run: Run) -> list[Remark]:
    """What is wrong with the vectors under load, and with those that Items had alone."""
    found = agreement_in(run.facts)
    if found is None:
        return []
    remarks = [(f"vectors were not compared to the end: {found.error}", "see checker.err")] if found.error else []
    if found.wrong:
        remarks.append(_wrong(found))
    remarks += [_apart(run.plan.base_url[0], one) for one in found.apart if one.differ]
    remarks += [
        (f"{url}: {_CHANGED}", "compare its loads only if it is the same server; SGLang: --disable-radix-cache")
        for url in found.changed
    ]
    if found.merged:
        what = f"{found.merged} different Items had one and the same vector, asked for alone"
        remarks.append((what, "images are ignored, or look the same to the model: clipload preflight"))
    failed = {name: n for name in ("nan", "zero", "dimension", "unreadable") if (n := found.without.get(name))}
    asked = f"{found.items} Items" if found.targets == 1 else f"{found.items} Items at {found.targets} targets"
    remarks += [(f"{n} of {asked} had no vector even alone: {name}", _NO_FIGURE) for name, n in failed.items()]
    return remarks


def _apart(first: str, one: Apart) -> Remark:
    said = f"{one.url} gave other vectors than {first} for {one.differ} of {one.both} Items, asked for alone"
    what = f"targets disagree: {said} (1 − cosine up to {one.distance:.2g}); each was held against its own"
    return what, "serve one model, in one version and dtype, behind every --base-url"


def _wrong(found: Agreement) -> Remark:
    """The share, the classes, and the load from which on."""
    share, classes = found.share, ", ".join(f"{n} × {name}" for name, n in found.classes.items())
    least = next(level.in_flight for level in found.levels if level.wrong)
    below = sum(level.sampled for level in found.levels if level.in_flight < least)
    where = f"from {least} in flight on" + (f", none of {below} below" if below else "")
    sentence = f"{found.wrong} of {found.sampled} sampled replies had wrong vectors"
    said = "" if share is None else f" ({share.said}, {share.span})"
    together = {"order", "swapped", "different"} & found.classes.keys()
    return f"{sentence}{said}: {classes}; {where}", _ONE_BY_ONE if together and least > 1 else _NO_FIGURE
