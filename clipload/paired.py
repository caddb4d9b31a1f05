"""Two loads measured in turn and compared pair by pair: what drifts from pair to pair falls out of the difference. Pure.

A pair is a run of either side with the same seed: the same due instants and the same bodies. Of each figure the mean of the
pairs' differences ln after − ln before, with ± t_{P−1} s/√P (of shares: their difference). *Noise* is how far two
runs of one side lie apart by themselves, at most, 95 times in 100: t √2 s_w, with s_w pooled over both sides.

Laws: swapped sides give the inverse change; a factor common to both runs of a pair changes nothing but the noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean, variance

from clipload.changes import LIMIT, SHARES, Change, outcome_of
from clipload.compare import CompareError, Comparison, check_repeats, compare
from clipload.distributions import student_quantile
from clipload.estimate import FEWEST_RUNS, LEVEL, Estimate
from clipload.recurrence import recurrence
from clipload.run import Run
from clipload.spread import estimates, estimates_of, over
from clipload.verdict import counts

_T_AT = (1 + LEVEL) / 2


def paired(before: Sequence[Run], after: Sequence[Run], limit: float = LIMIT) -> Comparison:
    """Pairs of which one run says nothing are left out. CompareError when no run of one side has its pair on the other."""
    for name, side in (("the first", before), ("the second", after)):
        check_repeats(name, side)
        if len({run.plan.seed for run in side}) < len(side):
            what = f"{name} has several runs of one seed: which is whose pair?"
            raise CompareError(what, flag="--paired", remedy="leave it out, or name the folders of a compare --interleave")
    pairs = _pairs(before, after)
    if not pairs:
        what = "no run has its pair: one of the other side with the same seed"
        raise CompareError(what, flag="--paired", remedy="name the two folders of a compare --interleave, or leave it out")
    sound = [(a, b) for a, b in pairs if counts(a) and counts(b)] or pairs
    firsts, seconds = [a for a, _ in sound], [b for _, b in sound]
    plain = compare(firsts, seconds, limit)
    told = [(estimates(a), estimates(b)) for a, b in sound]
    middle = estimates_of(firsts), estimates_of(seconds)
    figures = [name for name in middle[0] if name in middle[1] and all(name in a and name in b for a, b in told)]
    out = len(pairs) - len(sound)
    return replace(
        plain,
        changes=tuple(
            _change(name, middle[0][name], middle[1][name], [(a[name], b[name]) for a, b in told], limit) for name in figures
        ),
        basis=("pairs", "pairs"),
        notes=(*([f"{out} of {len(pairs)} pairs left out, unsound or cut off"] if out else []), *plain.notes),
        recurrence=None
        if plain.unsound
        else recurrence(firsts, seconds, plain.differing, lambda name, a, b: _judged(name, a, b, limit), limit),
        noise={name: _noise(name, [a[name] for a, _ in told], [b[name] for _, b in told]) for name in figures},
    )


def _pairs(before: Sequence[Run], after: Sequence[Run]) -> list[tuple[Run, Run]]:
    """By seed, each once."""
    seconds = {run.plan.seed: run for run in after}
    firsts = {run.plan.seed: run for run in before}
    return [(firsts[seed], seconds[seed]) for seed in sorted(firsts.keys() & seconds.keys())]


def _change(name: str, before: Estimate, after: Estimate, told: Sequence[tuple[Estimate, Estimate]], limit: float) -> Change:
    shares = name in SHARES
    gaps = [_on_scale(b, shares) - _on_scale(a, shares) for a, b in told]
    value, reach = fmean(gaps) if all(map(math.isfinite, gaps)) else math.nan, _reach(gaps)
    if math.isnan(value):  # infinite or 0 on either side: no mean
        value, low, high = 0.0, -math.inf if shares else -1.0, math.inf
    elif shares:
        low, high = value - reach, value + reach
    else:
        value, low, high = math.expm1(value), math.expm1(value - reach), _grown(value + reach)
    if not shares and not all(one.sufficient for pair in told for one in pair):  # too short to be believed, however often
        low, high = -1.0, math.inf
    bad = (-high, -low) if name == "throughput" else (low, high)
    return Change(name, before, after, value, low, high, outcome_of(bad, 0.0 if shares else limit, shares))


def _judged(name: str, before: Sequence[Estimate], after: Sequence[Estimate], limit: float) -> Change:
    """Of runs in the order of their pairs."""
    return _change(name, over(before), over(after), list(zip(before, after, strict=True)), limit)


def _on_scale(estimate: Estimate, shares: bool) -> float:
    if shares:
        return estimate.value
    return math.log(estimate.value) if 0 < estimate.value < math.inf else math.nan


def _reach(gaps: Sequence[float]) -> float:
    """Half of the interval of their mean; ∞ for less than three pairs. Pairs that agree to the last digit have none."""
    if len(gaps) < FEWEST_RUNS or not all(map(math.isfinite, gaps)):
        return math.inf
    return student_quantile(_T_AT, len(gaps) - 1) * math.sqrt(variance(gaps) / len(gaps))


def _grown(exponent: float) -> float:
    return math.expm1(exponent) if exponent < 700 else math.inf


def _noise(name: str, before: Sequence[Estimate], after: Sequence[Estimate]) -> float:
    """∞ where it is not known."""
    shares = name in SHARES
    sides = [[_on_scale(one, shares) for one in side] for side in (before, after)]
    if len(before) < 2 or not all(math.isfinite(value) for side in sides for value in side):
        return math.inf
    pooled = math.sqrt(fmean(map(variance, sides)))
    reach = student_quantile(_T_AT, 2 * (len(before) - 1)) * math.sqrt(2) * pooled
    return reach if shares else _grown(reach)
