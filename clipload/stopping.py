"""The stopping rule: a run may end once the figure of --until is known well enough, and the load was steady.

Looked at a few times only, at instants that each lie half as far again from the beginning of the measured phase as the one
before: who looks often stops at a lucky interval.
"""

from __future__ import annotations

from clipload.figures import drift_of, one_figure, precision
from clipload.folding import Folding
from clipload.frames import SECOND_NS, Interval
from clipload.judgement import checkpoints, precise
from clipload.plan import Plan
from clipload.seconds import Seconds

FIRST_S = 5  # of the measured phase, before which nothing is looked at


class Stopping:
    """Asked at each Interval; `reached` says so in one sentence, at most once."""

    def __init__(self, plan: Plan, bounds: tuple[int, int, int, int]) -> None:
        self._plan, self._precision, self._begin_ns = plan, precision(plan), bounds[1]
        first = -(-bounds[1] // SECOND_NS)
        last = bounds[2] // SECOND_NS
        asked = self._precision is not None and last - first > FIRST_S
        self._ahead = [first + seconds for seconds in checkpoints(FIRST_S, last - first)[:-1]] if asked else []
        self._told: dict[int, int] = {}

    def reached(self, folding: Folding, interval: Interval) -> str:
        """Why the run may end now; nothing while it may not.

        A checkpoint is a number of whole seconds since the start, and is looked at when every worker has told of all of them.
        """
        self._told[interval.worker] = max(self._told.get(interval.worker, 0), interval.index + 1)
        if not self._ahead or len(self._told) < self._plan.workers or min(self._told.values()) < self._ahead[0]:
            return ""
        return self._look(folding, self._ahead.pop(0))

    def _look(self, folding: Folding, until: int) -> str:
        asked = self._precision
        seconds = [second for index, second in folding.seconds.items() if index < until]
        known = Seconds(seconds, self._begin_ns, until * SECOND_NS)
        estimate = None if asked is None else one_figure(self._plan, known, asked.subject)
        if asked is None or estimate is None or not precise(estimate, asked.width):
            return ""
        drift = drift_of(self._plan, known)
        if drift is not None and drift.drifting:
            return ""
        return f"{asked.subject} is {estimate.said}, ±{100 * estimate.half_width:.1f} %: known well enough for --until {asked}"
