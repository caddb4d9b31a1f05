"""What limits a target: rules over what was seen of it within the measured phase; the first that holds is the limit.

A rule says what is full, never what is slow: a core, all its cores, a GPU, or a queue while nothing is full. Of a target of
which nothing could be seen nothing is said. Several targets: the one whose rule stands highest is the limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any

from clipload.outages import outages
from clipload.payload import Link, network_limited
from clipload.run import Run
from clipload.sightings import DETOKENIZER, QUEUED, ROLES, SCHEDULER, SERVER, TOKENIZER, Sight, between, sight_document, sights

FULL = 0.90  # of a core, of all cores: what is left is the loss of the measurement itself
ONE_THREAD = 1.15  # cores: who takes more runs in several threads, and a full core says nothing of it
IDLE_GPU = 0.50
LEAST_SHOWN = 0.005
LOOKING_NS = 300_000_000  # by how much a Sighting may miss the phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Holds when `figure` is known and lies in [`least`, `below`). `what` names the limit in a few words, with the process that
    was busiest where that is not plain; it, `sentence` and `remedy` are filled with the words of the Sight."""

    name: str
    figure: str
    least: float
    below: float = inf
    what: str
    sentence: str
    remedy: str

    def holds(self, figures: dict[str, float]) -> bool:
        value = figures.get(self.figure)
        return value is not None and self.least <= value < self.below


RULES = (
    Rule(
        name="cores",
        figure="cores",
        least=FULL,
        what="cores full{busiest}",
        sentence="the server has {cores}, {all} full ({roles}){gpu}: the CPU is the limit",
        remedy="give it more cores, or send smaller images",
    ),
    Rule(
        name="tokenizer",
        figure=TOKENIZER,
        least=FULL,
        what="tokenizer full",
        sentence="the tokenizer process sits at {tokenizer} of a core{gpu}{others}: the front-end is the limit",
        remedy="try --tokenizer-worker-num {more} or smaller images",
    ),
    Rule(
        name="detokenizer",
        figure=DETOKENIZER,
        least=FULL,
        what="detokenizer full",
        sentence="the detokenizer process sits at {detokenizer} of a core{gpu}{others}: vectors on their way out are the limit",
        remedy="try --dp-size 2 behind a router, or ask for base64",
    ),
    Rule(
        name="server",
        figure=SERVER,
        least=FULL,
        below=ONE_THREAD,
        what="process full",
        sentence="the server's process sits at {server} of a core{gpu}{others}: it is the limit if it works in one thread",
        remedy="run more of its processes, or send smaller requests",
    ),
    Rule(
        name="gpu",
        figure="gpu",
        least=FULL,
        what="GPU full",
        sentence="a kernel ran on the GPU for {gpu_share} of the time{others}: the model is the limit",
        remedy="a faster GPU, more of them (--dp-size), or a smaller model",
    ),
    Rule(
        name="scheduler",
        figure=SCHEDULER,
        least=FULL,
        what="scheduler full",
        sentence="the scheduler process works for {scheduler} of a core{gpu}{others}: it, or the model behind it, is the limit",
        remedy="more items in a request (--batch-size), or --dp-size",
    ),
    Rule(
        name="others",
        figure="taken",
        least=FULL,
        what="cores taken by others{busiest}",
        sentence="the server has {cores}, busy for {taken} of the time, but with it for only {own} ({roles}): who shares its "
        "cores is the limit",
        remedy="stop what else runs there, or give the server cores of its own",
    ),
    Rule(
        name="queue",
        figure=QUEUED,
        least=1.0,
        what="queue full",
        sentence="{queued} requests waited in its queue while nothing that was seen was full: a limit that it was given is met",
        remedy="look at --max-running-requests and --prefill-max-requests",
    ),
    Rule(
        name="room",
        figure="seen",
        least=0.0,
        what="",
        sentence="nothing that was seen of the server was full ({roles}{gpu_too}): it has room, as far as can be seen",
        remedy="a higher load",
    ),
)
NETWORK = "network"
_RANK = {NETWORK: -1} | {rule.name: number for number, rule in enumerate(RULES)}


@dataclass(frozen=True, slots=True)
class Limit:
    """What limits one target. `what`: "tokenizer full", "cores full, the tokenizer busiest of its own", nothing while it has
    room."""

    rule: str
    target: int
    what: str
    sentence: str
    remedy: str
    sight: Sight


def limits(run: Run) -> list[Limit]:
    """One for each target of which anything was seen in the measured phase; a link that is full comes before all. Of one that
    died nothing counts after its last ok reply: what did not run was limited by nobody."""
    link = network_limited(run)
    if link is not None:
        return [_network(link)]
    begin = run.start_ns + run.bounds[1]
    lived = {one.target: one.begin_ns for one in outages(run) if one.end_ns is None}
    end = begin + run.measured_ns
    found = [
        judge_sight(sight)
        for target in sorted({target for sighting in run.sightings for target in sighting.targets})
        for sight in sights(between(run.sightings, begin - LOOKING_NS, min(end, lived.get(target, end)) + LOOKING_NS))
        if sight.target == target
    ]
    return [limit for limit in found if limit is not None]


def _network(link: Link) -> Limit:
    sentence = f"{link.name} is {_percent(link.used or 0.0)} full ({link.mbit_per_s / 1000:g} Gbit/s): the network is the limit"
    remedy = "smaller images, base64 vectors, or a faster link"
    return Limit(NETWORK, 0, "", sentence, remedy, Sight(0, 0.0))


def limit_of(run: Run) -> Limit | None:
    """The one that limits the whole."""
    return min(limits(run), key=lambda limit: _RANK[limit.rule], default=None)


def judge_sight(sight: Sight) -> Limit | None:
    """The first rule that holds; None when nothing that a rule speaks of was seen."""
    figures = figures_of(sight)
    for rule in RULES:
        if rule.holds(figures):
            words = _words(sight, rule.figure)
            sentence, remedy = rule.sentence.format(**words), rule.remedy.format(**words)
            return Limit(rule.name, sight.target, rule.what.format(**words), sentence, remedy, sight)
    return None


def figures_of(sight: Sight) -> dict[str, float]:
    """What the rules look at, as far as it is known."""
    known = {role: sight.busiest(role) for role in (TOKENIZER, DETOKENIZER, SERVER)}
    known |= {SCHEDULER: sight.scheduler, "gpu": sight.gpu, QUEUED: sight.gauges.get(QUEUED)}
    known["cores"] = sight.total / sight.cores if sight.cores and sight.processes else None
    known["taken"] = sight.taken if sight.processes else None
    known["seen"] = max((share for role in ROLES if (share := sight.busiest(role)) is not None), default=sight.gpu)
    return {name: value for name, value in known.items() if value is not None}


def _words(sight: Sight, full: str) -> dict[str, str]:
    shares = {role: share for role in ROLES if (share := sight.busiest(role)) is not None}
    words = {role: _percent(share) for role, share in shares.items()}
    gpu = sight.gpu
    words |= {"gpu": "", "gpu_share": "", "gpu_too": ""}
    if gpu is not None:
        how = f"idles ({_percent(gpu)})" if gpu < IDLE_GPU else f"is at {_percent(gpu)}"
        words |= {"gpu": f" while the GPU {how}", "gpu_share": _percent(gpu), "gpu_too": f", GPU {_percent(gpu)}"}
    words["others"] = _others(shares, full) if gpu is None else ""
    together = _together(sight)
    words["roles"] = ", ".join(f"{role} {_percent(share)}" for role, share in together.items()) or "its processes idle"
    words["busiest"] = f", the {next(iter(together))} busiest of its own" if together else ""
    words["cores"] = "one core" if sight.cores == 1 else f"{sight.cores} cores"
    words["all"] = "which is" if sight.cores == 1 else "which are"
    words["taken"], words["own"] = _percent(sight.taken or 0.0), _percent(sight.total / sight.cores if sight.cores else 0.0)
    words["queued"] = f"{sight.gauges.get(QUEUED, 0.0):.1f}"
    words["more"] = str(max(2, 1 + sum(process.role == TOKENIZER for process in sight.processes)))
    return words


def _others(shares: dict[str, float], full: str) -> str:
    """What the busiest of the rest did meanwhile."""
    rest = sorted(((role, share) for role, share in shares.items() if role != full), key=lambda pair: -pair[1])[:1]
    return "".join(f" while the {role} process takes {_percent(share)}" for role, share in rest)


def _together(sight: Sight) -> dict[str, float]:
    """Role -> the sum over its processes, busiest first; idle ones are left out."""
    sums = {role: sum(one.share for one in sight.processes if one.role == role) for role in ROLES}
    shown = {role: share for role, share in sums.items() if share >= LEAST_SHOWN}
    return dict(sorted(shown.items(), key=lambda pair: -pair[1]))


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def limit_document(run: Run) -> dict[str, Any] | None:
    """For run.json: the limit of each target, the first that of all."""
    found = sorted(limits(run), key=lambda limit: _RANK[limit.rule])
    if not found:
        return None
    documents = [
        {
            "target": one.target,
            "rule": one.rule,
            "sentence": one.sentence,
            "remedy": one.remedy,
            "seen": sight_document(one.sight),
        }
        for one in found
    ]
    return {"sentence": found[0].sentence, "remedy": found[0].remedy, "targets": documents}
