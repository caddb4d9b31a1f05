"""What a Find is to find, how finely and in how much time; hence how long a probe is and when it may be ended early."""

from __future__ import annotations

import math
from dataclasses import dataclass

from clipload.errors import PlanError

TRIAL_TAIL = 100  # requests beyond the judged quantile that a probe ought to hold
LEAST = 30  # requests: fewer bound no p90 at all (0.9^29 < 5 %), so where a target does few a second probes are longer
LONG_PROBES = 8  # whole trials of that kind that a budget is divided by
CONFIRM_TIMES = 5  # as long as a trial: short runs hold few busy periods, and flatter the target
CONFIRM_LEAST, CONFIRM_LEAST_S = 10_000, 60.0  # requests, seconds
PROBES = 20  # whole trials that a budget is divided by
NARROW = 0.15  # half of an interval, relative to its quantile
SHORTEST_S = 3.0
EARLY_RISK = 1e-3  # of ending a lawful probe early


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """`quantile` is the judged one, `objective_s` its limit (None: errors or throughput alone are judged).

    `precision`: the highest rate that passes and the lowest that fails are to lie that close. `start`: begin at this rate and
    leave the closed-loop ceiling out. `lowest` and `highest` bound the rates: by default a twentieth of the ceiling, and none.
    """

    quantile: float = 0.99
    objective_s: float | None = None
    precision: float = 0.02
    start: float | None = None
    lowest: float | None = None
    highest: float | None = None
    concurrency: int = 1
    most_concurrency: int = 1024
    shortest_s: float = 10.0
    longest_s: float = 120.0
    ceiling_s: float = 5.0
    settle_s: float = 5.0
    rest_s: float = 1.0
    budget_s: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.quantile < 1:
            raise PlanError("no percentile between 0 and 100 is judged", flag="--slo", remedy="write --slo 'p99<200ms'")
        if self.objective_s is not None and not 0 < self.objective_s < math.inf:
            raise PlanError("a latency of 0 cannot be met", flag="--slo", remedy="write --slo 'p99<200ms'")
        if not 0.001 <= self.precision <= 0.5:
            raise PlanError(f"{self.precision:g} cannot be", flag="--precision", remedy="use 0.001 to 0.5; 0.02 is 2 %")
        lowest, highest = self.lowest or 0.0, math.inf if self.highest is None else self.highest
        if not 0 <= lowest < highest:
            raise PlanError(f"{lowest:g} is not below {highest:g}", flag="--lowest", remedy="leave a range to search")
        if self.start is not None and not max(lowest, 1e-9) <= self.start <= highest:
            raise PlanError(f"{self.start:g} is not a rate within the range", flag="--start", remedy="leave it out")
        if not 1 <= self.concurrency <= self.most_concurrency:
            raise PlanError(f"{self.concurrency} cannot be", flag="--concurrency", remedy="use a number from 1")
        if self.budget_s is not None and self.budget_s < self.least_s:
            remedy = f"give at least {math.ceil(self.least_s)}s"
            raise PlanError(f"{self.budget_s:g} s hold no search", flag="--budget", remedy=remedy)

    @property
    def least_s(self) -> float:
        """A search needs a few probes of the shortest length."""
        return 10 * (SHORTEST_S + self.rest_s)

    @property
    def unit_s(self) -> float:
        """The longest trial that the budget allows."""
        return math.inf if self.budget_s is None else max(SHORTEST_S, 0.8 * self.budget_s / PROBES)

    def unit(self, rate: float) -> float:
        """The longest trial at `rate` that the budget allows: longer than `unit_s` where a few requests need that."""
        if self.budget_s is None:
            return math.inf
        return max(self.unit_s, min(LEAST / rate, self.budget_s / LONG_PROBES))

    @property
    def tellable(self) -> float:
        """The lowest rate of which the longest trial holds enough requests to say anything."""
        return LEAST / (self.longest_s if self.budget_s is None else min(self.longest_s, self.budget_s / LONG_PROBES))

    def settle(self, response_s: float, seconds: float) -> float:
        """Load before a measured part of `seconds`: ten responses at least, and a tenth of it."""
        return min(max(self.settle_s, 10 * response_s, seconds / 10), self.unit_s / 4)

    def trial(self, rate: float) -> float:
        """Measured seconds of one probe at `rate`."""
        tail = TRIAL_TAIL / (1 - self.quantile) / rate
        return min(max(self.shortest_s, min(tail, self.longest_s)), self.unit(rate))

    def confirmation(self, rate: float, scatter: float = 0.0) -> float:
        """Measured seconds of one confirmation, were there time enough: such that its interval is as narrow as `NARROW`."""
        longest = CONFIRM_TIMES * self.longest_s
        needed = (CONFIRM_LEAST_S, CONFIRM_LEAST / rate, CONFIRM_TIMES * self.trial(rate), scatter / NARROW**2)
        return min(max(needed), longest)

    def backlog(self, rate: float, seconds: float) -> int | None:
        """Requests outstanding that no load within the objective shows in that time, at a risk of `EARLY_RISK`.

        A queue's tail is exponential: where 1 − p of the requests take longer than the objective, (1 − p)^k take longer than k
        times that; and by Little's law a backlog of k · rate · objective is a latency of k objectives.
        """
        if self.objective_s is None:
            return None
        times = math.log(max(1.0, rate * seconds) / EARLY_RISK) / -math.log(1 - self.quantile)
        return max(100, math.ceil(max(2.0, times) * rate * self.objective_s))
