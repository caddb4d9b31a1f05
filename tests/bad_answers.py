"""How each answer would be wrong if it were given otherwise: more examples of docs/how-the-numbers-are-made.md, computed.

Objectives, precision, repeats, changes, capacities, laws, and the generator's own part in them. As in `tests/bad_examples.py`:
each function returns the lines that stand in the page; all of it is seeded and in virtual time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from heapq import heappop, heappush
from statistics import median

import numpy as np

from benchmarks.probing import Probing
from benchmarks.queues import MM1
from clipload.compare import compare
from clipload.estimate import Estimate, quantile, repeats
from clipload.judgement import Judgement, checkpoints, judge, precise
from clipload.lateness import least, shift
from clipload.outliers import FACTOR, outliers
from clipload.plan import Plan
from clipload.scaling import Rung, knee
from clipload.search import Aim, Find
from clipload.series import Series
from tests.queues import Reals, exponential, mm1, normal, recorded, true_quantile_ns
from tests.simulated import plan_of, run_of_path
from tests.test_outliers import run_with
from tests.test_scaling import batches, rungs

Lines = Iterator[str]


def p(values: Reals, q: float) -> float:
    return float(np.quantile(values, q, method="inverted_cdf"))


def holds(estimate: Estimate, truth: float) -> bool:
    return estimate.low <= truth <= estimate.high


# ---- what was asked for, and a second of it


def three_rates() -> Lines:
    plan = Plan(rate=100.0, batch_size=8)
    samples, vectors = 100 * plan.batch_size, 100 * plan.vectors_per_request
    yield f"--rate 100 --batch-size 8, (text, image) pairs: 100 requests/s, {samples} samples/s, {vectors} vectors/s"


def one_second() -> Lines:
    path = mm1(6, 60_000, 0.8, 0.002)
    each = [p(path.sojourns[path.arrivals.astype(int) == second], 0.99) for second in range(path.seconds)]
    low, high = min(each) * 1000, max(each) * 1000
    yield (
        f"a queue at 80 % load for {path.seconds} s: p99 of all {p(path.sojourns, 0.99) * 1000:.0f} ms; the p99s "
        f"of its seconds are from {low:.0f} to {high:.0f} ms, {np.mean(each) * 1000:.0f} ms on average"
    )


# ---- the answer


def met_by_the_figure() -> Lines:
    truth, by_figure = true_quantile_ns(0.99, 0.9), 0
    by_interval: dict[Judgement, int] = {"met": 0, "inconclusive": 0, "missed": 0}
    for seed in range(40):
        found = quantile(mm1(seed, 10_000, 0.9).series(), 0.99)
        by_figure += found.value < 40e6
        by_interval[judge(found, "<", 40e6)] += 1
    said = ", ".join(f"{word} in {times}" for word, times in by_interval.items())
    yield (
        f"p99<40ms of a queue whose p99 is {truth / 1e6:.0f} ms, 40 runs of 10 000 requests: by the figure alone met in "
        f"{by_figure}; by its interval {said}"
    )


def narrow_by_luck() -> Lines:
    truth, naive, ours, early, late = true_quantile_ns(0.9, 0.7), 0, 0, [], []
    for seed in range(20):
        path = mm1(seed, 60_000, 0.7)
        histograms, done = path.histograms(), path.arrivals + path.sojourns
        for seconds in range(5, 80):
            values = np.sort(path.sojourns[: np.searchsorted(done, seconds)]) * 1e9
            n, half = len(values), 1.96 * math.sqrt(len(values) * 0.09)
            low, high = values[math.floor(n * 0.9 - half)], values[math.ceil(n * 0.9 + half)]
            if high - low <= 0.2 * p(values, 0.9):
                break
        naive, early = naive + bool(low <= truth <= high), [*early, seconds]
        for seconds in checkpoints(5, 80):
            found = quantile(Series.of(histograms[:seconds], [0] * seconds), 0.9)
            if precise(found, 0.1):
                break
        ours, late = ours + holds(found, truth), [*late, seconds]
    yield (
        f"p90 of a queue at 70 % load, until ±10 %: by intervals for independent requests, looked at each second, over "
        f"after {median(early):.0f} s, {naive} of 20 hold the truth; by ours, at checkpoints, after {median(late):.0f} s, "
        f"{ours} of 20"
    )


def one_start() -> Lines:
    truth, alone, over = true_quantile_ns(0.5, 0.5, 0.002), 0, 0
    for seed in reversed(range(20)):
        starts = np.exp(0.1 * normal(seed, 5))  # what a start decides for all of its requests: 10 %
        runs = [quantile(mm1(10 * seed + i, 2_500, 0.5, 0.002 * start).series(), 0.5) for i, start in enumerate(starts)]
        found = repeats(runs)
        alone, over = alone + holds(runs[0], truth), over + holds(found.estimate, truth)
    assert found.within is not None
    between, within = found.between / 1e6, found.within / 1e6  # of the first
    yield (
        f"a target that is 10 % quicker or slower with each start: {alone} of 20 intervals of one run hold the p50 that it "
        f"has in the middle, {over} of 20 over five runs; of the first five, {between:.3f} ms between runs, {within:.3f} within"
    )


def changed_by_chance() -> Lines:
    beyond, called, plan = 0, 0, plan_of(350, 10)
    for seed in range(10):
        before, after = (run_of_path(mm1(100 * seed + i, 3_800, 0.7, 0.002), plan) for i in range(2))
        (change,) = [one for one in compare([before], [after]).changes if one.figure == "p99"]
        beyond, called = beyond + (abs(change.value) > 0.05), called + (change.outcome in ("worse", "better"))
    said = f"p99 differs by more than 5 % in {beyond}; called better or worse in {called}"
    yield f"twice the same load and target, 10 times: {said}"


def the_clients_own() -> Lines:
    """A client that needs `each` s of its core for a request and a target that answers after 1 ms, however much is asked."""
    for each in (200e-6, 20e-6):
        free, core, latencies = [(0.0, slot) for slot in range(16)], 0.0, []
        while free[0][0] < 2:
            due, slot = heappop(free)
            core = max(core, due) + each
            done = core + 0.001
            latencies.append(done - due)
            heappush(free, (done, slot))
        yield (
            f"16 in flight, a target that answers everything in 1 ms, a client that needs {each * 1e6:.0f} µs for each: "
            f"{len(latencies) / 2:.0f} requests/s, p50 {p(np.array(latencies), 0.5) * 1000:.2f} ms"
        )


# ---- the generator


def read_late() -> Lines:
    due = (np.arange(4000) + 0.5) / 200
    done = due + 0.002 + exponential(3, 5, 4000, 0.0003)
    away = np.floor(done / 0.05) * 0.05  # every 50 ms another process has the core for 6 ms
    read = np.where(done - away < 0.006, away + 0.006, done)
    instants = np.arange(0, 20, 0.001)
    late = np.where(instants % 0.05 < 0.006, 0.006 - instants % 0.05, 0.0)
    seen, without = recorded(read - due), recorded(done - due)
    shown, own, known = seen.quantile(0.99), without.quantile(0.99), least(seen, recorded(late), 0.99)
    yield (
        f"another process has the worker's core for 6 ms in every 50, itself it needs little: p99 {shown / 1e6:.1f} ms, "
        f"the target's {own / 1e6:.1f} ms; it could be as low as {known / 1e6:.1f} ms, {shift(shown, known):+.0%}: unsound"
    )


def departing_by_chance() -> Lines:
    flagged, ours = 0, 0
    for seed in range(25):
        workers = [np.rint(2e7 * np.exp(0.6 * normal(100 * seed + worker, 100))) for worker in range(8)]
        p99s = [p(one, 0.99) for one in workers]
        flagged += sum(one > FACTOR * median([*p99s[:k], *p99s[k + 1 :]]) for k, one in enumerate(p99s))
        ours += len(outliers(run_with([one.astype(np.int64) for one in workers])))
    yield (
        f"8 workers alike, 100 requests each, 25 runs: {flagged} of 200 have a p99 over 1.5 × that of the others; outliers "
        f"by ours {ours}"
    )


# ---- searches and laws


def one_short_probe() -> Lines:
    queue, truth = MM1(0.001), MM1(0.001).capacity(0.99, 0.05)
    lucky = []
    for seed in range(40):
        draws = np.random.default_rng(seed)

        def passes(rate: float, draws: np.random.Generator = draws) -> bool:
            due = np.cumsum(draws.exponential(1 / rate, round(5 * rate)))
            return p(queue.responses(due, 0.0, 1.0, draws), 0.99) < 0.05

        low = 100.0
        while passes(2 * low):
            low *= 2
        high = 2 * low
        while high / low > 1.01:
            middle = math.sqrt(low * high)
            low, high = (middle, high) if passes(middle) else (low, middle)
        lucky.append(low / truth)
    yield (
        f"p99<50ms of a queue that can do {truth:.0f}/s, found by bisection, one probe of 5 s at each rate: "
        f"{median(lucky) - 1:+.1%} in the median, above the truth in {sum(one > 1 for one in lucky)} of 40"
    )
    found = []
    for seed in range(4):
        find = Find(Aim(quantile=0.99, objective_s=0.05))
        Probing(queue, 0.99, 0.05, np.random.default_rng(seed)).run(find)
        found.append(find.answer)
    said = ", ".join(f"{one.rate:.0f} ({one.low:.0f} … {one.high:.0f})" for one in found)
    yield f"the same by four finds, each of some {median(one.seconds for one in found) / 60:.0f} min: {said}"


def the_knee_of_a_sweep() -> Lines:
    law = batches(0.008, 0.0005, 64)
    for top in (16, 32, 64, 128):
        points = rungs(law, tuple(2**i for i in range(8) if 2**i <= top))
        turn = knee(points)
        assert turn is not None
        yield (
            f"batches of up to 64, swept to {top} in flight: farthest from the chord {chord(points)}; X_max · R_min "
            f"{'' if turn.plateau else 'at least '}{turn.concurrency:.3g}"
        )


def chord(points: list[Rung]) -> int:
    """Where the curve is farthest above the line from its first point to its last."""
    n, x = (np.array(column, float) for column in zip(*((one.concurrency, one.throughput) for one in points)))
    above = (x - x[0]) / (x[-1] - x[0]) - (n - n[0]) / (n[-1] - n[0])
    return points[int(np.argmax(above))].concurrency


def a_law_beyond_its_points() -> Lines:
    law = batches(0.008, 0.0005, 64)
    n = np.array([1, 2, 4, 8, 16], float)
    x = np.array([law(one) for one in n])
    columns = np.column_stack([np.ones_like(n), n - 1, n * (n - 1)]) * (x / n)[:, None]
    a, b, c = np.linalg.lstsq(columns, np.ones_like(n), rcond=None)[0]
    said = 128 / (a + b * 127 + c * 128 * 127)
    yield f"the same, USL of 1 to 16 in flight: {said:.0f} requests/s with 128; it does {law(128):.0f}"
