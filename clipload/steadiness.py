"""Was there a steady state to measure: drift of the level in flight, leftover warm-up, and Little's law. Pure arithmetic.

Laws: a constant more in flight changes no drift, time reversed turns its sign; a warm-up's cut does not depend on the
unit or the zero of the series; Little's law holds for any stable system, whatever its arrivals and service.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clipload.distributions import student_quantile
from clipload.estimate import LEVEL
from clipload.series import Reals, dispersion

DRIFT_BATCHES, DRIFT_FEWEST = 10, 5
DRIFT_LEVEL = 0.99  # one-sided
DRIFT_GROWTH = 0.01  # of the arrivals: what grows less is no overload worth naming
LITTLE_TOLERANCE = 0.05


def _finite(values: Sequence[float] | Reals, least: int) -> Reals:
    """As an array. ValueError when there are fewer than `least`, or one is not a number."""
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or len(array) < least or not np.isfinite(array).all():
        raise ValueError(f"needs at least {least} finite values in a row")
    return array


@dataclass(frozen=True, slots=True, repr=False)
class Drift:
    """Growth of the level in flight over the window, in requests and against the `arrivals` of that time.

    `t`: slope / its standard error; `critical`: what chance alone exceeds once in a hundred steady windows.
    None when the window is too short to tell.
    """

    growth: float
    arrivals: float
    t: float | None
    critical: float | None

    @property
    def drifting(self) -> bool:
        """Significant, and more than a hundredth of what arrived: the queue grows."""
        if self.t is None or self.critical is None:
            return False
        return self.t > self.critical and self.growth > DRIFT_GROWTH * self.arrivals

    def __repr__(self) -> str:
        said = "too short to tell" if self.t is None else f"t {self.t:.3g}, {'drifting' if self.drifting else 'steady'}"
        return f"Drift({self.growth:+.4g} in flight of {self.arrivals:.4g} arrivals, {said})"


def drift(level: Sequence[float] | Reals, arrivals: float) -> Drift:
    """The slope of the level in flight (waiting included) over 10 batch means, fewer when there are fewer values, at least 5.

    Batch means, since neighbouring readings of a queue are alike: on single readings the test calls every queue a drift.
    `level`: readings at equal distances over the window in which `arrivals` came; the later half of a phase is best.
    ValueError without two finite readings.
    """
    readings = _finite(level, 2)
    batches = min(DRIFT_BATCHES, len(readings))
    edges = np.arange(batches) * len(readings) // batches
    sizes = np.diff(edges, append=len(readings))
    means = np.add.reduceat(readings, edges) / sizes
    at = edges + (sizes - 1) / 2
    centred = at - at.mean()
    spread = float((centred**2).sum())
    slope = float((centred * means).sum()) / spread
    growth = slope * len(readings)
    if batches < DRIFT_FEWEST:
        return Drift(growth, arrivals, None, None)
    rest = means - means.mean() - slope * centred
    error = math.sqrt(float((rest**2).sum()) / (batches - 2) / spread)
    t = slope / error if error else math.copysign(math.inf, slope) if slope else 0.0
    return Drift(growth, arrivals, t, student_quantile(DRIFT_LEVEL, batches - 2))


@dataclass(frozen=True, slots=True, repr=False)
class WarmUp:
    """`cut` of `values` belong to a transient. Not `settled`: the best cut lies at half of them or beyond."""

    cut: int
    values: int
    settled: bool

    def __repr__(self) -> str:
        return f"WarmUp(cut {self.cut} of {self.values}{'' if self.settled else ', not settled'})"


def warm_up(values: Sequence[float] | Reals, batch: int = 5) -> WarmUp:
    """MSER-`batch` (White, Simulation 69, 1997; White, Cobb and Spratt, WSC 2000): where the mean of what remains is surest.

    z: means of `batch` values each (a rest at the end is left out). The cut is the d ≤ n/2 that minimises
    Σ_{j ≥ d} (z_j − z̄_d)² / (n − d)², the earliest of equals. A check of an explicit warm-up, not its replacement, and blind to
    slow drift. ValueError when there are no four batches of finite values.
    """
    if batch < 1:
        raise ValueError(f"batches of {batch}")
    series = _finite(values, 4 * batch)
    n = len(series) // batch
    z = series[: n * batch].reshape(n, batch).mean(axis=1)
    z = z - z.mean()  # the sums of squares below lose no digits to a large mean
    left = n - np.arange(n // 2 + 1)
    sums = np.cumsum(z[::-1])[::-1][: len(left)]
    squares = np.cumsum(z[::-1] ** 2)[::-1][: len(left)]
    d = int(np.argmin(np.maximum(0.0, squares - sums**2 / left) / left.astype(np.float64) ** 2))
    return WarmUp(d * batch, len(series), d < n // 2)


@dataclass(frozen=True, slots=True, repr=False)
class Little:
    """Requests in flight as read, and as `expected` of rate × mean latency. A failure means our clocks or counters are wrong.

    `margin`: how far apart they may be.
    """

    level: float
    expected: float
    margin: float
    holds: bool

    def __repr__(self) -> str:
        said = "holds" if self.holds else "fails"
        return f"Little({self.level:.4g} in flight, {self.expected:.4g} expected ± {self.margin:.2g}: {said})"


def little(
    level: Sequence[float] | Reals, per_s: float, mean_ns: float, *, averages: bool = False, tolerance: float = LITTLE_TOLERANCE
) -> Little:
    """L = λW: mean in flight (waiting included) = requests ended per second × their mean latency, failed ones included.

    `level`: one reading a second over the window, or with `averages` the mean level of each second. |L − λW| may be
    `tolerance` · λW, plus W · max(first, last) / T for requests that reach over an edge, plus the interval of a mean of
    readings (averages belong to the same sample path as λW, and chance has no part in their difference).
    Theory: Little, Operations Research 9, 1961. ValueError without two readings.
    """
    readings = _finite(level, 2)
    seconds, mean, expected = len(readings), float(readings.mean()), per_s * mean_ns / 1e9
    chance = 0.0 if averages else dispersion(readings, np.ones(seconds), LEVEL).reach / seconds
    edge = float(max(readings[0], readings[-1])) * mean_ns / 1e9 / seconds
    margin = tolerance * expected + chance + edge
    return Little(mean, expected, margin, abs(mean - expected) <= margin)
