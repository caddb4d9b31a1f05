"""Each worker's and each target's own percentiles with their intervals.

Laws: a value is that of its own Tally of the measured phase, its interval that of its own seconds; nothing of another's, and
nothing of all together, is in it. Whoever recorded nothing has no percentile. The batches of time are those of all
(`series`): a second in which it had no request has no weight. Each interval is at `estimate.LEVEL` for itself, not for the
table as a whole. Requests that were not ok are in none of them: they are counted beside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from clipload.estimate import quantile
from clipload.figures import Quantiles
from clipload.frames import SECOND_NS
from clipload.histogram import Sparse
from clipload.seconds import Second, Seconds
from clipload.series import Series

QUANTILES = {"p50": 0.5, "p99": 0.99}
LOOP_LAG = "loop_lag"
_OF_WORKERS, _OF_TARGETS = ("latency", "lag"), ("latency",)


@dataclass(frozen=True, slots=True)
class Own:
    """Number -> `latency`, `lag`, `loop_lag` (ns) -> label -> Estimate. What was not recorded is absent."""

    workers: dict[int, dict[str, Quantiles]]
    targets: dict[int, dict[str, Quantiles]]

    def of_worker(self, number: int, name: str) -> Quantiles:
        return self.workers.get(number, {}).get(name, {})

    def of_target(self, number: int, name: str) -> Quantiles:
        return self.targets.get(number, {}).get(name, {})


def own(seconds: Seconds, known: Sequence[Second], planned_ns: range) -> Own:
    """`known`: every second of the run. `planned_ns`: the measured phase as planned, offsets; loops are watched in its whole
    seconds, whatever ended in them."""
    measured = seconds.measured
    watched = [s for s in known if planned_ns.start <= s.index * SECOND_NS and (s.index + 1) * SECOND_NS <= planned_ns.stop]
    workers: dict[int, dict[str, Quantiles]] = {}
    for number in _numbers(measured, lambda second: second.workers):
        workers[number] = {name: _quantiles(_recorded(measured, "workers", number, name)) for name in _OF_WORKERS}
    for number in _numbers(watched, lambda second: second.late):
        workers.setdefault(number, {})[LOOP_LAG] = _quantiles([second.late.get(number, ()) for second in watched])
    targets = {
        number: {name: _quantiles(_recorded(measured, "targets", number, name)) for name in _OF_TARGETS}
        for number in _numbers(measured, lambda second: second.targets)
    }
    return Own(workers, targets)


def _numbers(seconds: Iterable[Second], whose: Callable[[Second], Iterable[int]]) -> list[int]:
    return sorted({number for second in seconds for number in whose(second)})


def _recorded(seconds: Iterable[Second], whose: str, number: int, name: str) -> list[Sequence[Sparse]]:
    """Second by second what one of them recorded in a histogram."""
    parts = (getattr(second, whose).get(number, ()) for second in seconds)
    return [[part.histograms[name] for part in each if name in part.histograms] for each in parts]


def _quantiles(seconds: Sequence[Sequence[Sparse]]) -> Quantiles:
    series = Series.of_sparse(seconds, [0] * len(seconds))
    return {label: quantile(series, q) for label, q in QUANTILES.items()} if series.merged.total else {}
