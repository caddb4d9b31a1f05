"""How near Find comes to the true capacity: many seeds on simulated queues, in virtual time.

    python -m benchmarks.find_accuracy [SEEDS]

Each row is a queue and an objective, with what goes wrong in it and the time that was allowed. *steady*: finite runs and 1 %
of run-to-run scatter of the target's speed. *rough*: besides, 3 % of the probes stall, 2 % look three times as fast as they
are, 3 % are unsound, the first below the capacity fails for nothing and the first above it passes for nothing. *holds*: the
share of the intervals that hold the truth. Nothing here waits: 200 seeds take minutes of CPU.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from benchmarks.probing import Probing, Roughness
from benchmarks.queues import MM1, Batches, MDc, Queue
from clipload.search.aim import Aim
from clipload.search.answer import Answer
from clipload.search.find import Find

SEEDS = 200
TOLERANCE = 0.03
STEADY = Roughness()
ROUGH = Roughness(hiccups=0.03, lucky=0.02, unsound=0.03, false_fail=(0.6, 0.97), false_pass=(1.05, 1.5))


@dataclass(frozen=True)
class Case:
    """`objective` in seconds, of the p-quantile.

    `promised`: ±3 % is. It is not where latency rises so slowly with the rate that noise of a few percent in the one is as much
    in the other: longer probes were needed than anybody waits for.
    """

    name: str
    queue: Queue
    p: float
    objective: float
    promised: bool = True

    def truth(self) -> float:
        return _truth(self.queue, self.p, self.objective)


@cache
def _truth(queue: Queue, p: float, objective: float) -> float:
    return queue.capacity(p, objective)


CASES = (
    Case("M/M/1, 1 ms, p99 < 50 ms", MM1(0.001), 0.99, 0.050),
    Case("M/M/1, 10 ms, p90 < 250 ms", MM1(0.010), 0.90, 0.250),
    Case("M/M/1, 10 ms, p90 < 100 ms", MM1(0.010), 0.90, 0.100, promised=False),
    Case("M/D/8, 5 ms, p99 < 20 ms", MDc(0.005, 8), 0.99, 0.020),
    Case("batches of 64, p99 < 50 ms", Batches(0.008, 0.0005, 64), 0.99, 0.050),
)


@dataclass(frozen=True)
class Score:
    """Answers over the truth, one for each seed."""

    ratios: np.ndarray
    holding: float  # share of the intervals that hold the truth
    seconds: float
    probes: float

    @property
    def near(self) -> float:
        return float(np.mean(np.abs(self.ratios - 1) <= TOLERANCE))

    @property
    def beyond(self) -> float:
        """Share of the answers above the tolerance."""
        return float(np.mean(self.ratios > 1 + TOLERANCE))


def found(case: Case, rough: Roughness, budget_s: float | None, seed: int) -> Answer:
    search = Find(Aim(quantile=case.p, objective_s=case.objective, budget_s=budget_s))
    draws = np.random.default_rng([seed, 6])
    Probing(case.queue, case.p, case.objective, draws, rough, case.truth()).run(search)
    return search.answer


def score(case: Case, rough: Roughness, budget_s: float | None, seeds: int) -> Score:
    answers = [found(case, rough, budget_s, seed) for seed in range(seeds)]
    truth = case.truth()
    return Score(
        ratios=np.array([answer.rate for answer in answers]) / truth,
        holding=float(np.mean([answer.low <= truth <= answer.high for answer in answers])),
        seconds=float(np.median([answer.seconds for answer in answers])),
        probes=float(np.median([answer.probes for answer in answers])),
    )


def rows(seeds: int) -> Iterator[str]:
    ratios = "found/true p5 · p50 · p95 | most | within ±3 % | above +3 %"
    yield f"| queue, objective | target | budget | true /s | {ratios} | holds | time | probes |"
    yield "|" + "---|" * 11
    for case in CASES:
        for name, rough, budget_s in (("steady", STEADY, None), ("rough", ROUGH, None), ("steady", STEADY, 300.0)):
            result = score(case, rough, budget_s, seeds)
            low, middle, high = np.quantile(result.ratios, (0.05, 0.5, 0.95))
            allowed = "none" if budget_s is None else f"{budget_s:.0f} s"
            yield (
                f"| {case.name} | {name} | {allowed} | {case.truth():.1f} | {low:.3f} · {middle:.3f} · {high:.3f} "
                f"| {result.ratios.max():.3f} | {result.near:.1%} | {result.beyond:.1%} | {result.holding:.0%} "
                f"| {result.seconds:.0f} s | {result.probes:.0f} |"
            )


def main() -> None:
    for row in rows(int(sys.argv[1]) if len(sys.argv) > 1 else SEEDS):
        print(row, flush=True)


if __name__ == "__main__":
    main()
