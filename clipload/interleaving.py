"""Two loads in turn, A B B A A B B A …: a target or a machine that drifts does so under both alike.

The two runs of a pair have the same seed, hence the same due instants and bodies; each pair has the next one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from clipload.errors import PlanError
from clipload.plan import Plan, flag_of
from clipload.run import Run
from clipload.trials import interrupted
from clipload.verdict import judge

MOST = 100


@dataclass
class Interleaved:
    """Runs of either side in the order in which they were measured. `ended`: complete, or interrupted."""

    before: list[Run] = field(default_factory=list)
    after: list[Run] = field(default_factory=list)
    ended: str = "under way"

    @property
    def whole(self) -> int:
        """Pairs of which both runs are there."""
        return len({run.plan.seed for run in self.before} & {run.plan.seed for run in self.after})


def check(plans: tuple[Plan, Plan], pairs: int) -> None:
    """PlanError when they cannot be measured in turn so often."""
    if not 1 <= pairs <= MOST:
        raise PlanError(
            f"{pairs} cannot be", flag="--pairs", remedy=f"use a whole number from 1 to {MOST}; an interval needs 3"
        )
    for plan in plans:
        if plan.data == "-":
            raise PlanError("stdin can be read but once", flag=flag_of("data"), remedy="name a file")
        plan.replace(seed=plans[0].seed + pairs - 1)


def order(pairs: int) -> list[tuple[int, int]]:
    """(side, number of the pair) of each run."""
    return [(side, pair) for pair in range(pairs) for side in ((0, 1) if pair % 2 == 0 else (1, 0))]


def interleave(
    plans: tuple[Plan, Plan],
    pairs: int,
    launch: Callable[[int, Plan], Run],
    rest_s: float = 1.0,
    rest: Callable[[float], None] = time.sleep,
) -> Interleaved:
    """`launch(side, plan)` measures one. An interruption ends it, what was measured stays. TargetError when a target goes."""
    found = Interleaved()
    try:
        for place, (side, pair) in enumerate(order(pairs)):
            if place:
                rest(rest_s)
            run = launch(side, plans[side].replace(seed=plans[0].seed + pair))
            if interrupted(judge(run)):
                found.ended = "interrupted"
                return found
            (found.after if side else found.before).append(run)
    except KeyboardInterrupt:
        found.ended = "interrupted"
        return found
    found.ended = "complete"
    return found
