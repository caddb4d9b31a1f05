"""The schedule of a Plan: what of it stands in a file is read, and what follows from that is resolved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clipload.errors import PlanError
from clipload.pacing import PHASES, Offsets, Pacer, Trace, horizon
from clipload.plan import Plan
from clipload.traces import read_trace
from clipload.units import Duration


@dataclass(frozen=True, slots=True)
class Schedule:
    """When requests are due: the Plan with its length resolved, an open loop's pacer, and the highest rate to be expected."""

    plan: Plan
    pacer: Pacer | None
    trace: Offsets | None
    rate: float

    @property
    def requests(self) -> int:
        """All that will be sent, warm-up and cool-down too; of a closed loop, the counted ones."""
        plan = self.plan
        if self.pacer is None:
            return plan.requests or 0
        planned = horizon(self.pacer, plan.seed, plan.workers, plan.bounds(self.pacer))
        return sum(planned.total(phase) for phase in range(len(PHASES)))


def schedule(plan: Plan) -> Schedule:
    """Reads the trace, if there is one: without a length of its own the run lasts until the last recorded arrival."""
    if plan.trace is None:
        return Schedule(plan, plan.pacer if plan.open_loop else None, None, plan.peak_rate)
    offsets = read_trace(Path(plan.trace).expanduser(), plan.speedup or 1.0)
    if offsets[-1] < plan.warmup:
        raise PlanError(f"the trace is over after {Duration(offsets[-1])}", flag="--warmup", remedy="use a shorter one")
    rate = len(offsets) * 1e9 / max(10**9, int(offsets[-1]))  # a handful at one instant is no rate
    changes: dict[str, Any] = {}
    if plan.duration is None and plan.num_samples is None:
        changes["duration"] = Duration(int(offsets[-1]) + 1 - plan.warmup)
    if plan.max_backlog is None:
        changes["max_backlog"] = max(1000, round(10 * rate))
    return Schedule(plan.replace(**changes), Trace(offsets), offsets, rate)
