"""The text tables of each worker and of each target: two lines a row, below each percentile its interval.

Law: a row's figures are its own (`own`); those of all together are never among them, nor made of them.
"""

from __future__ import annotations

from clipload.figures import Quantiles
from clipload.outliers import outliers
from clipload.own import LOOP_LAG
from clipload.reports.percentiles import two_lines
from clipload.run import Run
from clipload.units import format_ns

_CELL = 16  # columns of a percentile: with its interval a worker's row is 100 wide
_SHOWN = (("latency", "p50"), ("latency", "p99"), ("lag", "p99"), (LOOP_LAG, "p99"))


def workers_text(run: Run, *, grey: bool) -> str:
    departing = {outlier.worker: outlier.sentence for outlier in outliers(run)}
    heads = "".join(f"{head:>{_CELL}}" for head in ("p50 latency", "p99 latency", "p99 lag", "p99 loop lag"))
    lines = [f"worker{'ok':>8}{heads}{'core':>6}{'wait for core':>16}"]
    for number, account in run.workers.items():
        found = [(run.own.of_worker(number, name), label) for name, label in _SHOWN]
        above, below = _pairs(found, grey=grey)
        load = run.load(number)
        share = f"{load.cpu_ns / 1e7 / load.seconds:.0f} %" if load.seconds else "-"
        waited = format_ns(load.starved_ns) if load.seconds else "-"
        said = f"   outlier: {departing[number]}" if number in departing else ""
        lines.append(f"{number:>6}{account.phases['measure']['ok']:>8}{above}{share:>6}{waited:>16}{said}")
        lines += [f"{'':>14}{below}".rstrip()] if below.strip() else []
    return "\n".join(lines)


def targets_text(run: Run, *, grey: bool) -> str:
    """What each of several base URLs did."""
    if not run.targets:
        return ""
    lines = [f"{'ok':>16}{'not ok':>10}{'samples/s':>12}{'p50 latency':>{_CELL}}{'p99 latency':>{_CELL}}   target"]
    for number, target in enumerate(run.targets):
        latency = run.own.of_target(number, "latency")
        above, below = _pairs([(latency, "p50"), (latency, "p99")], grey=grey)
        rate = target.requests_per_s * run.plan.batch_size
        lines.append(f"{target.tally['ok']:>16}{target.tally.not_ok:>10}{rate:>12.2f}{above}   {target.url}")
        lines += [f"{'':>38}{below}".rstrip()] if below.strip() else []
    return "\n".join(lines)


def _pairs(found: list[tuple[Quantiles, str]], *, grey: bool) -> tuple[str, str]:
    pairs = [two_lines(quantiles, label, _CELL, grey=grey) for quantiles, label in found]
    return "".join(above for above, _ in pairs), "".join(below for _, below in pairs)
