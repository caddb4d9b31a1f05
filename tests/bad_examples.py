"""How each figure would be wrong if it were made otherwise: the examples of docs/how-the-numbers-are-made.md, computed.

Each is a function that returns the lines which stand in the page; a test compares them. All of it is seeded and in virtual
time, so that the figures are the same everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heappop, heappush

import numpy as np

from clipload.estimate import quantile, share
from clipload.histogram import Histogram
from clipload.series import Series
from clipload.steadiness import drift, little, warm_up
from tests import bad_answers, bad_targets
from tests.bad_answers import Lines, p
from tests.laws.test_arrival_mutants import SCALES, no_phase, one_seed_in_turns
from tests.queues import Path, Reals, exponential, mm1, normal, recorded, true_quantile_ns

SEEDS = 20


def stalled(connections: int) -> tuple[Reals, Reals]:
    """Latencies from *due* and from *sent*, s: 400/s for 20 s, 1 ms of work each, and nothing done in the second after 10 s."""
    due = (np.arange(8000) + 0.5) / 400
    sent, done = np.empty_like(due), np.empty_like(due)
    for i, instant in enumerate(due):
        sent[i] = max(instant, done[i - connections]) if i >= connections else instant
        start = max(sent[i], done[i - 1] if i else 0.0)
        done[i] = (11.0 if 10.0 <= start < 11.0 else start) + 0.001
    return done - due, done - sent


def paced_by_replies(slots: int, seconds: float) -> Reals:
    """Latencies of a closed loop on the same server with the same stall: a slot asks again when it was answered."""
    free = [(0.0, slot) for slot in range(slots)]
    latencies, server = [], 0.0
    while free[0][0] < seconds:
        due, slot = heappop(free)
        start = max(due, server)
        server = (11.0 if 10.0 <= start < 11.0 else start) + 0.001
        latencies.append(server - due)
        heappush(free, (server, slot))
    return np.array(latencies)


def ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


# ---- one function for each example


def latency_from_due() -> Lines:
    latency, service = stalled(8)
    from_due, from_sent = ms(p(latency, 0.99)), ms(p(service, 0.99))
    yield f"one second without an answer, 8 connections: p99 from due {from_due}, from sent {from_sent}"


def closed_and_open() -> Lines:
    closed, (open_, _) = paced_by_replies(8, 20), stalled(8)
    yield (
        f"the same second, asked by 8 slots in a closed loop: p99 {ms(p(closed, 0.99))} of {len(closed)} replies; "
        f"by 400 requests/s in an open one: {ms(p(open_, 0.99))} of {len(open_)}"
    )


def arrivals_of_one_seed() -> Lines:
    for name, instants in (("one seed in 32 workers", one_seed_in_turns()), ("32 constant streams in phase", no_phase())):
        due = np.sort(instants)
        gaps, indices = np.diff(due[due < 200]) * 1000, []
        for scale, window in SCALES.items():
            counts = np.bincount((due[due < 200] / window).astype(int))
            indices.append(f"{scale} {counts.var(ddof=1) / counts.mean():.3g}")
        yield f"{name}: deviation / mean of the gaps {gaps.std():.2f}; variance / mean of the counts in {', '.join(indices)}"


def answered_only() -> Lines:
    path = mm1(1, 66_000, 1.1)
    path = Path(path.arrivals[path.arrivals < 60], path.sojourns[path.arrivals < 60])
    back = path.arrivals + path.sojourns <= 60
    yield (
        f"10 % too much for 60 s: p99 of those answered by then {p(path.sojourns[back], 0.99):.2f} s; of all "
        f"{p(path.sojourns, 0.99):.2f} s. {1 - back.mean():.1%} had no answer yet"
    )


def throughput_of_the_due() -> Lines:
    due = (np.arange(240 * 10) + 0.5) / 240
    done = 0.005 * np.arange(1, len(due) + 1) + due[0]
    in_time, at_last = np.sum(done < 10) / 10, len(due) / 10
    yield f"240/s asked of a server that does 200/s, 10 s: {in_time:.1f}/s were done in them, {at_last:.1f}/s due in them"


def failures_in_no_time() -> Lines:
    arrivals = mm1(2, 50_000, 1.2, 0.01).arrivals
    services = exponential(2, 5, len(arrivals), 0.01)
    inside: list[float] = []  # departures to come; at most ten, or the next is answered 503 in 1 ms
    latencies, failed, last = [], 0, 0.0
    for arrival, service in zip(arrivals.tolist(), services.tolist(), strict=True):
        inside = [one for one in inside if one > arrival]
        if len(inside) >= 10:
            failed += 1
            latencies.append(0.001)
            continue
        last = max(arrival, last) + service
        inside.append(last)
        latencies.append(last - arrival)
    everything = np.array(latencies)
    histogram = recorded(everything[everything != 0.001])
    worst = histogram.quantile_with_infinite(0.99, failed)
    yield (
        f"a server that refuses {failed / len(everything):.0%} in 1 ms: p99 of all replies {ms(p(everything, 0.99))}, p50 "
        f"{ms(p(everything, 0.5))}; with refusals as what they are: p99 {'∞' if math.isinf(worst) else worst}, "
        f"p50 {ms(histogram.quantile_with_infinite(0.5, failed) / 1e9)}"
    )


def averaged_percentiles() -> Lines:
    workers = [0.02 * np.exp(0.3 * normal(worker, 10_000)) for worker in range(8)]
    workers[0] *= 5  # on a slow network, say
    merged = sum((recorded(one) for one in workers), Histogram())
    exact = p(np.concatenate(workers), 0.99)
    average = np.mean([p(one, 0.99) for one in workers])
    yield (
        f"eight workers, one of them five times as slow: p99 of all {exact * 1000:.1f} ms, of the added histograms "
        f"{merged.quantile(0.99) / 1e6:.1f} ms, the mean of their p99s {average * 1000:.1f} ms"
    )


def intervals() -> Lines:
    truth, plain, ours, factors = true_quantile_ns(0.99, 0.7), 0, 0, []
    for seed in range(SEEDS):
        path = mm1(seed, 50_000, 0.7)
        values, n, half = np.sort(path.sojourns) * 1e9, len(path.sojourns), 1.96 * math.sqrt(50_000 * 0.99 * 0.01)
        plain += bool(values[math.floor(n * 0.99 - half)] <= truth <= values[math.ceil(n * 0.99 + half)])
        found = quantile(path.series(), 0.99)
        ours += bool(found.low <= truth <= found.high)
        factors.append(found.vif)
    yield (
        f"95 % intervals for p99 of a queue at 70 % load, {SEEDS} runs of 50 000 requests: {plain} of those for independent "
        f"requests hold the truth, {ours} of ours; VIF {np.median(factors):.0f}"
    )


def errors_that_come_together() -> Lines:
    totals, events = [100] * 60, [0] * 60
    events[30], events[31] = 55, 65
    found = share(events, totals)
    half = 1.96 * math.sqrt(0.02 * 0.98 / 6000)
    yield (
        f"120 errors among 6000 requests, all within two seconds: {0.02 - half:.2%} … {0.02 + half:.2%} were they independent, "
        f"{found.low:.2%} … {found.high:.2%} as they came"
    )


def a_growing_queue() -> Lines:
    path = mm1(4, 20_000, 1.05)
    level = path.level()[path.seconds // 2 :]
    found = drift(level, path.arrived(len(level)))
    yield (
        f"5 % too much: p50 after {path.seconds} s {ms(p(path.sojourns, 0.5))}, after half of them "
        f"{ms(p(path.sojourns[: len(path.sojourns) // 2], 0.5))}; {found!r}"
    )


def a_cold_start() -> Lines:
    means = 0.02 * (1 + 2 * np.exp(-np.arange(120) / 10)) * np.exp(0.05 * normal(9, 120))
    found = warm_up(means)
    yield (
        f"a target that is three times as slow at first (time constant 10 s), run of 120 s: mean {means.mean() * 1000:.1f} ms; "
        f"without the first {found.cut} s {means[found.cut :].mean() * 1000:.1f} ms; the truth 20.0 ms"
    )


def littles_law() -> Lines:
    latency, service = stalled(8)
    due = (np.arange(8000) + 0.5) / 400
    instants = np.concatenate([due, due + latency])
    order = np.argsort(instants, kind="stable")
    steps, span = np.cumsum(np.repeat([1, -1], 8000)[order])[:-1], np.diff(instants[order])
    edges = np.arange(21)
    integral = np.interp(edges, instants[order][1:], np.cumsum(steps * span), left=0.0)
    level = np.diff(integral)
    for name, values in (("due", latency), ("sent", service)):
        found = little(level, 400, float(values.mean()) * 1e9, averages=True)
        yield f"the stall again, latency from {name}: {found!r}"


def a_late_generator() -> Lines:
    due = (np.arange(1000) + 0.5) / 100
    sent = np.where((due >= 5) & (due < 5.5), 5.5, due)  # it froze for half a second
    latency, unlagged = sent + 0.01 - due, np.full(1000, 0.01)
    with_lag, without = recorded(latency).quantile(0.99), recorded(unlagged).quantile(0.99)
    yield (
        f"a generator that froze for half a second, the target taking 10 ms: p99 {with_lag / 1e6:.0f} ms with its lag, "
        f"{without / 1e6:.0f} ms without: {with_lag / without - 1:+.0%}, unsound"
    )


def short_runs() -> Lines:
    truth = true_quantile_ns(0.99, 0.9) / 1e9
    for n in (1_000, 3_000, 10_000, 30_000):
        found = [p(mm1(seed, n, 0.9).sojourns, 0.99) / truth for seed in range(100)]
        yield f"p99 of a queue at 90 % load, runs of {n} requests: {np.mean(found):.2f} of the truth on average"


def too_few_for_p999() -> Lines:
    series = Series.of([recorded(np.full(50, 0.02)) for _ in range(60)], [0] * 60)
    yield f"3000 requests of 20 ms each, p99.9: {quantile(series, 0.999)!r}"


EXAMPLES: tuple[Callable[[], Lines], ...] = (  # in the order of the page
    bad_answers.three_rates,
    arrivals_of_one_seed,
    latency_from_due,
    closed_and_open,
    answered_only,
    throughput_of_the_due,
    failures_in_no_time,
    averaged_percentiles,
    intervals,
    errors_that_come_together,
    too_few_for_p999,
    short_runs,
    a_growing_queue,
    a_cold_start,
    littles_law,
    a_late_generator,
    bad_answers.read_late,
    bad_answers.departing_by_chance,
    bad_answers.the_clients_own,
    bad_answers.met_by_the_figure,
    bad_answers.narrow_by_luck,
    bad_answers.one_start,
    bad_answers.changed_by_chance,
    bad_answers.one_short_probe,
    bad_answers.the_knee_of_a_sweep,
    bad_answers.a_law_beyond_its_points,
    bad_targets.wrong_and_quick,
    bad_targets.one_full_core,
    bad_targets.images_as_files,
    bad_targets.texts_among_images,
    bad_answers.one_second,
)
