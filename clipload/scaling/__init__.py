"""How throughput grows with concurrency: the universal scalability law, the batch law, and the knee. Pure arithmetic.

    USL        X(N) = λN / (1 + σ(N − 1) + κN(N − 1))        contention σ, coherence κ, peak at N = √((1 − σ)/κ)
    batch law  X(N) = m / (α + βm), m = min(N, B)            α s a batch, β s an item, at most B at once; X_max = B/(α + βB)

Both are linear least squares on relative residuals, so that small throughputs count as much as large ones. Parameters have 95 %
intervals. A fit that the points cannot bear is a `Refusal` with its reasons: it is never drawn. What lies outside the
concurrencies that were tried is marked as extrapolated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipload.distributions import student_quantile
from clipload.scaling.squares import LEVEL, Interval, Least, nonnegative, ratio, spread

Reals = NDArray[np.float64]

LEAST_POINTS, LEAST_RANGE = 6, 16.0
SUPERLINEAR = 1.05  # X(N)/N over that of the smallest N
FLAT, FALLING = 1.05, 1.1  # the highest throughput over the first, and over the last
POOR = 0.15  # relative residual (root mean square) beyond which a law does not describe the points
PLATEAU = 2.0  # by how much the batch law's squares must be the smaller for a plateau to be seen


@dataclass(frozen=True, slots=True)
class Rung:
    """One load of a closed loop. `throughput` in requests/s (or samples/s, throughout); `flaw` says why it does not count."""

    concurrency: int
    throughput: float
    flaw: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why no law is fitted."""

    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return "no fit: " + "; ".join(self.reasons)


@dataclass(frozen=True, slots=True)
class Reading:
    """X at a concurrency; `extrapolated` where nothing that large, or that small, was tried."""

    concurrency: float
    throughput: float
    extrapolated: bool

    def __str__(self) -> str:
        return f"{self.throughput:.4g}/s at {self.concurrency:.4g} in flight" + " (extrapolated)" * self.extrapolated


@dataclass(frozen=True, slots=True)
class Usl:
    """`scale` is λ, the throughput of one in flight."""

    scale: Interval
    contention: Interval
    coherence: Interval
    tried: tuple[int, int]
    residual: float
    left_out: tuple[Rung, ...] = ()

    def reading(self, concurrency: float) -> Reading:
        n, sigma, kappa = concurrency, self.contention.value, self.coherence.value
        return _reading(n, self.scale.value * n / (1 + sigma * (n - 1) + kappa * n * (n - 1)), self.tried)

    @property
    def peak(self) -> Reading:
        """The concurrency of the highest throughput; beyond it there is less."""
        return self.reading(max(1.0, math.sqrt(max(0.0, 1 - self.contention.value) / self.coherence.value)))


@dataclass(frozen=True, slots=True)
class BatchLaw:
    """`most` is B; its interval is open above where no plateau was seen, and the peak is a lower bound. `reached`: one was."""

    fixed_s: Interval
    each_s: Interval
    most: Interval
    tried: tuple[int, int]
    residual: float
    left_out: tuple[Rung, ...] = ()

    @property
    def reached(self) -> bool:
        return math.isfinite(self.most.high)

    def reading(self, concurrency: float) -> Reading:
        m = min(concurrency, self.most.value)
        return _reading(concurrency, m / (self.fixed_s.value + self.each_s.value * m), self.tried)

    @property
    def peak(self) -> Reading:
        """X_max, that of a full batch."""
        return self.reading(self.most.value)

    @property
    def knee(self) -> Reading:
        """N* = X_max · R_min, where the asymptotes cross; what is to be expected there."""
        return self.reading(self.peak.throughput * (self.fixed_s.value + self.each_s.value))


@dataclass(frozen=True, slots=True)
class Knee:
    """N* = X_max · R_min, of what was measured: it does not depend on how far the sweep went, once a plateau was seen."""

    concurrency: float
    throughput: float
    response_s: float
    plateau: bool


def knee(rungs: Sequence[Rung]) -> Knee | None:
    """R_min is N/X of the smallest concurrency (Little's law). None without a sound rung. `plateau`: the last doubling brought
    less than 5 %; without it N* is a lower bound."""
    sound = _sound(rungs)
    if not sound:
        return None
    best = max(rung.throughput for rung in sound)
    response_s = min(rung.concurrency / rung.throughput for rung in sound)
    last = sound[-1].concurrency
    before = [rung.throughput for rung in sound if rung.concurrency <= last / 2]
    return Knee(best * response_s, best, response_s, bool(before) and best < 1.05 * max(before))


def fit_usl(rungs: Sequence[Rung]) -> Usl | Refusal:
    """N/X = a + b(N − 1) + cN(N − 1) with a, b, c > 0; λ = 1/a, σ = b/a, κ = c/a."""
    sound = _sound(rungs)
    reasons = _unfit(sound)
    if reasons:
        return Refusal(tuple(reasons))
    n, x = _columns(sound)
    columns = np.column_stack([np.ones_like(n), n - 1, n * (n - 1)]) * (x / n)[:, None]
    least = nonnegative(columns)
    if len(least.used) < 3:
        missing = "contention" if 1 not in least.used else "coherence"
        reasons.append(f"the points show no {missing}: it comes out at 0, and with it there is no peak to be told")
    reasons += _poor(least.residual)
    batch = fit_batch_law(rungs)
    if isinstance(batch, BatchLaw) and batch.reached and batch.residual * math.sqrt(PLATEAU) < least.residual:
        reasons.append(f"a plateau from {batch.most.value:g} in flight, where this law has a peak: see the batch law")
    if reasons:
        return Refusal(tuple(reasons))
    scale = spread(least, len(n))[0]
    contention, coherence = (ratio(least, over, len(n)) for over in (1, 2))
    lost = [name for name, span in (("contention", contention), ("coherence", coherence)) if span.low <= 0]
    if lost:
        why = f"the interval of {' and '.join(lost)} reaches 0, and with it there is no peak to be told"
        return Refusal((why,))
    inverse = Interval(1 / scale.high, 1 / scale.value, 1 / scale.low if scale.low > 0 else math.inf)
    return Usl(inverse, contention, coherence, (int(n[0]), int(n[-1])), least.residual, _flawed(rungs))


def fit_batch_law(rungs: Sequence[Rung]) -> BatchLaw | Refusal:
    """The B with the least squares, whole numbers tried; its interval is every B that an F test does not tell from it."""
    sound = _sound(rungs)
    if reasons := [*_unfit(sound, superlinear=False), *_unlike_batches(sound)]:
        return Refusal(tuple(reasons))
    n, x = _columns(sound)
    tried = [(most, _batch_squares(n, x, most)) for most in _candidates(n)]
    best, least = min(tried, key=lambda pair: (pair[1].squares, pair[0]))
    if reasons := _poor(least.residual):
        return Refusal(tuple(reasons))
    freedom = len(n) - 3
    limit = least.squares * (1 + student_quantile(LEVEL, freedom) ** 2 / freedom) + 1e-18
    likely = [(most, fit) for most, fit in tried if fit.squares <= limit]
    spans = [spread(fit, len(n)) for _, fit in likely]
    fixed_s, each_s = (
        Interval(max(0.0, min(span[i].low for span in spans)), float(least.values[i]), max(span[i].high for span in spans))
        for i in (0, 1)
    )
    most = Interval(likely[0][0], best, math.inf if likely[-1][0] >= n[-1] else likely[-1][0])
    return BatchLaw(fixed_s, each_s, most, (int(n[0]), int(n[-1])), least.residual, _flawed(rungs))


def _batch_squares(n: Reals, x: Reals, most: int) -> Least:
    m = np.minimum(n, most)
    return nonnegative(np.column_stack([x / m, x]), free=1)


def _candidates(n: Reals) -> list[int]:
    """Whole numbers from the smallest N to the largest: all, or some 500 in geometric steps, and those tried."""
    first, last = int(n[0]), int(n[-1])
    if last - first <= 500:
        return list(range(first, last + 1))
    return sorted({*np.geomspace(first, last, 500).round().astype(int).tolist(), *n.astype(int).tolist()})


def _sound(rungs: Sequence[Rung]) -> list[Rung]:
    return sorted((rung for rung in rungs if not rung.flaw and rung.throughput > 0), key=lambda rung: rung.concurrency)


def _flawed(rungs: Sequence[Rung]) -> tuple[Rung, ...]:
    return tuple(rung for rung in rungs if rung.flaw or rung.throughput <= 0)


def _columns(sound: Sequence[Rung]) -> tuple[Reals, Reals]:
    return np.array([float(rung.concurrency) for rung in sound]), np.array([rung.throughput for rung in sound])


def _unfit(sound: Sequence[Rung], *, superlinear: bool = True) -> list[str]:
    """What is missing before anything is fitted."""
    different = {rung.concurrency for rung in sound}
    reasons = []
    if len(different) < LEAST_POINTS:
        reasons.append(f"{len(different)} sound concurrencies where {LEAST_POINTS} are needed")
    if different and max(different) < LEAST_RANGE * min(different):
        reasons.append(f"they span {max(different) / min(different):.3g} ×, and {LEAST_RANGE:g} × is needed")
    if superlinear and sound:
        each = [rung.throughput / rung.concurrency for rung in sound]
        if max(each) > SUPERLINEAR * each[0]:
            where = sound[each.index(max(each))].concurrency
            reasons.append(f"the throughput grows more than linearly up to {where} in flight, as batching windows make it")
    return reasons


def _unlike_batches(sound: Sequence[Rung]) -> list[str]:
    """What throughputs of batches never do."""
    best = max((rung.throughput for rung in sound), default=0.0)
    reasons = []
    if sound and sound[0].throughput * FLAT >= best:
        reasons.append("the throughput does not grow with the concurrency: even the smallest one fills the target")
    elif sound and sound[-1].throughput * FALLING < best:
        reasons.append(f"the throughput falls again, to {100 * sound[-1].throughput / best:.0f} % of its highest: see the USL")
    return reasons


def _poor(residual: float) -> list[str]:
    return [f"the law misses the points by {100 * residual:.0f} %"] if residual > POOR else []


def _reading(concurrency: float, throughput: float, tried: tuple[int, int]) -> Reading:
    return Reading(float(concurrency), float(throughput), not tried[0] <= concurrency <= tried[1])
