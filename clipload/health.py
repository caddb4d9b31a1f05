"""The health of the generator: a table of rules over the signals of a Run.

A rule's finding is fatal only above a threshold beyond which the stated answer would be another: a judged quantile that would
move by more than 20 % without the generator's part in it (degraded: 5 %), a load that was not the one asked for. All else is
degrading, or named and no more. The thresholds that are not 20 % and 5 % are those at which a client was seen to distort.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal

from clipload.run import Run
from clipload.signals import JUDGED, Health, health_of
from clipload.signals.signal import Signal

UNSOUND_SHIFT, DEGRADED_SHIFT = 0.20, 0.05  # of a judged quantile, were the generator's part in it taken away

Weight = Literal["fatal", "degrading", "note"]
_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence about the run, and what to do about it."""

    weight: Weight
    about: Literal["generator", "target"]
    sentence: str
    remedy: str = ""
    rule: str = ""  # that of the generator's health, if it is one


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A signal above a threshold is a finding of that weight; ∞: never. `sentence` is filled with the signal's words."""

    signal: str
    note: float = inf
    degrading: float = inf
    fatal: float = inf
    sentence: str
    remedy: str

    def weight(self, value: float) -> Weight | None:
        if value > self.fatal:
            return "fatal"
        if value > self.degrading:
            return "degrading"
        return "note" if value > self.note else None


_OWN_CORES = "give the workers cores of their own (--cores), or add --workers"
_NO_NEIGHBOURS = "give the workers cores of their own (--cores), or stop what runs there"

RULES = (
    Rule(
        signal="died",
        fatal=0,
        sentence="worker {names} died: its share of the load is lost",
        remedy="see worker_<i>.err in the run directory",
    ),
    Rule(
        signal="without_room",
        fatal=0,
        sentence="{count} requests found no port or descriptor here{why}",
        remedy="use --max-connections, raise ulimit -n, or widen net.ipv4.ip_local_port_range",
    ),
    Rule(
        signal="cut_short",
        fatal=0,
        sentence="the disk is full: the journal is cut short",
        remedy="free some disk, or name another --out",
    ),
    Rule(
        signal="unverified",
        note=0,
        sentence="who answered was not verified (--insecure): it may have been anybody",
        remedy="name those you trust with --cacert",
    ),
    Rule(
        signal="lag",
        degrading=DEGRADED_SHIFT,
        fatal=UNSOUND_SHIFT,
        sentence="the generator itself was late: {p} is {with} with its lag, {without} without ({shift})",
        remedy=_OWN_CORES,
    ),
    Rule(
        signal="reading",
        degrading=DEGRADED_SHIFT,
        fatal=UNSOUND_SHIFT,
        sentence="replies were read late, for a worker could not run in {late} of the instants: {p} is {with}, and could be as "
        "low as {without} without ({shift})",
        remedy=_NO_NEIGHBOURS,
    ),
    Rule(
        signal="paused",
        degrading=DEGRADED_SHIFT,
        fatal=UNSOUND_SHIFT,
        sentence="replies were read late, for a worker could not run in {late} of the instants: without that the rate could be "
        "{shift} higher",
        remedy=_NO_NEIGHBOURS,
    ),
    Rule(
        signal="own_limit",
        note=-inf,
        degrading=DEGRADED_SHIFT,
        fatal=UNSOUND_SHIFT,
        sentence="{why}: {p} is {with} with the wait for one, {without} without ({shift})",
        remedy="raise ulimit -n, or set --max-connections to say that the limit is meant",
    ),
    Rule(
        signal="outliers",
        note=-inf,
        degrading=DEGRADED_SHIFT,
        fatal=UNSOUND_SHIFT,
        sentence="{names}, by more than chance: {p} of all is {with}, that of the rest {without} ({shift})",
        remedy="see what shares that worker's core; all have the same targets and schedule",
    ),
    Rule(
        signal="behind",
        degrading=0.005,
        fatal=0.05,
        sentence="the load was not the one asked for: {share} of what was due had not gone out when the phase ended",
        remedy=_OWN_CORES,
    ),
    Rule(
        signal="starved",
        note=0.01,
        degrading=0.05,
        sentence="others had the core while worker {names} wanted it: replies were read late",
        remedy=_NO_NEIGHBOURS,
    ),
    Rule(
        signal="client_limited",
        note=0.90,
        sentence="client-limited: worker {names} had no core left; the server does at least this much",
        remedy="add --workers on more cores",
    ),
    Rule(
        signal="busy",
        note=0.70,
        degrading=0.90,
        sentence="worker {names} was busy itself: what came meanwhile was read late",
        remedy="add --workers on more cores",
    ),
    Rule(
        signal="loop_lag",
        note=5 * _MS,
        sentence="the loop of worker {worker} was up to {p99} late (p99)",
        remedy=_OWN_CORES,
    ),
    Rule(
        signal="collection",
        degrading=5 * _MS,
        sentence="a garbage collection stopped a worker for {longest}",
        remedy="tell us: workers are not to make garbage",
    ),
    Rule(
        signal="stolen",
        degrading=0.01,
        sentence="the hypervisor took {share} of core {core} from its worker",
        remedy="use a machine whose cores are not shared",
    ),
    Rule(
        signal="interrupted",
        note=0.20,
        sentence="core {core} spent {share} of its time in soft interrupts, of the network above all",
        remedy="keep workers off the cores that serve the interrupts (--cores)",
    ),
    Rule(
        signal="throttled",
        degrading=0,
        sentence="the container's CPU quota held the generator back {times} times, for {held} together",
        remedy="raise the quota, or run without one",
    ),
    Rule(
        signal="sent_again",
        note=0.001,
        degrading=0.01,
        sentence="this host sent {again} TCP segments again ({share}), {connects} of them to ask for a connection",
        remedy="look at the network, and at the server's listen queue",
    ),
    Rule(
        signal="ports",
        note=0.50,
        sentence="{used} TCP sockets were in use or in TIME_WAIT here; there are {limit} local ports for each target",
        remedy="let the server keep connections alive, or widen net.ipv4.ip_local_port_range",
    ),
    Rule(
        signal="descriptors",
        note=0.90,
        sentence="a worker had {used} of {limit} descriptors open",
        remedy="raise ulimit -n, or add --workers",
    ),
    Rule(
        signal="link",
        degrading=0.70,
        sentence="{name} was {share} full ({speed}): replies waited for the wire",
        remedy="use a faster link, or a lower load",
    ),
    Rule(signal="images_died", fatal=0, sentence="the image server died{said}", remedy="run it again"),
    Rule(
        signal="images_busy",
        degrading=0.90,
        sentence="the image server had no core left: replies waited for images",
        remedy="use --image-transport path or data-url, or a lower load",
    ),
)


def findings_of(health: Health) -> list[Finding]:
    """What the rules say of the signals, in the order of the table."""
    found = []
    for rule in RULES:
        signal = health.get(rule.signal)
        weight = None if signal is None else rule.weight(signal.value)
        if signal is not None and weight is not None:
            found.append(Finding(weight, "generator", _sentence(rule, signal), rule.remedy, rule.signal))
    return found


def _sentence(rule: Rule, signal: Signal) -> str:
    names = [
        f"{number} ({100 * share:.0f} % of the time)" for number, share in signal.each.items() if rule.weight(share) is not None
    ]
    return rule.sentence.format(**({"names": ", ".join(names)} | signal.words))


def judge_generator(run: Run, judged: Sequence[float] = JUDGED) -> list[Finding]:
    """`judged`: the quantiles of latency on which the answer rests."""
    return findings_of(health_of(run, judged))
