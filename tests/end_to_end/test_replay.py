"""Sample-path replay: what each request should have taken, exactly, from its arrival at the server and its service time.

The recursion here is written anew (Lindley's, and Kiefer and Wolfowitz's for several servers) and shares no line with that of
the server. Arrivals are those that the server stamped, service times are drawn from its seed, and the server's own lateness
in answering is taken off, so that no chance is left to hide behind: what remains of a request's latency is its way there and
back, of which a client that hid any of it would show less than nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heapreplace
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pytest

from clipload.outcomes import DISPATCHED, DONE, DUE, SENT
from clipload.plan import Plan
from clipload.server.engines.sim import SERVICE_STREAM
from tests.end_to_end.runs import check_finished
from tests.witnesses import ARRIVED, DEPARTED, REPLIED, UNIQUE, Rows, Seen, see

pytestmark = pytest.mark.clock

MS = 10**6
WAY_NS = 300_000  # there and back
TIMER_NS = 200_000  # the client's timer, which has a test of its own
SEED = 3


# ---- theory


def replay(arrivals: Sequence[int], services: Sequence[int], servers: int = 1) -> list[int]:
    """Departures, first come first served: each begins when it has come and the first server is free."""
    free, departures = [0] * servers, []
    heapify(free)
    for arrival, service in zip(arrivals, services, strict=True):
        departures.append(max(arrival, free[0]) + service)
        heapreplace(free, departures[-1])
    return departures


def services(law: str, probes: int, count: int) -> list[int]:
    """ns, one for each request in order of service; the first are those of the probes."""
    kind, _, mean = law.removesuffix("ms)").partition("(")
    if kind == "constant":
        return [int(mean) * MS] * count
    draws = np.random.default_rng([SEED, SERVICE_STREAM])
    return [round(draws.exponential(int(mean) * MS)) for _ in range(probes + count)][probes:]


# ---- the server and the generator, each by the other's witness


def check_the_server_is_the_theory(seen: Seen, law: str, servers: int) -> None:
    """Its queue departs to the nanosecond when the recursion says, whatever the machine was doing."""
    arrived = seen.stamps[:, ARRIVED].tolist()
    assert seen.stamps[:, DEPARTED].tolist() == replay(arrived, services(law, seen.probes, len(arrived)), servers)
    assert (seen.stamps[:, REPLIED] >= seen.stamps[:, DEPARTED]).all()


def check_the_load_is_the_plans(seen: Seen) -> None:
    """By the server's word alone: all came, none before it was due, half of them soon after."""
    plan = Plan.from_dict(seen.done.document["plan"])
    due = [due for due in islice(chain.from_iterable(plan.pacer.blocks(plan.seed)), 10_000) if due < plan.bounds()[3]]
    late = seen.stamps[:, ARRIVED] - seen.start_ns - np.array(due)
    assert late.min() >= 0
    assert np.median(late) < allowed_ns(seen)


def allowed_ns(seen: Seen) -> float:
    """The client's timer, waits for a core, and twice the way there as both ends saw it: a reply is no quicker than a request,
    and a machine that sleeps between requests is slow to wake."""
    way = np.median(seen.stamps[:, ARRIVED] - seen.rows[:, SENT])
    return float(max(WAY_NS, 2.5 * way)) + TIMER_NS + seen.turns_ns()


def errors(seen: Seen) -> Rows:
    """Of each request: its latency, less what the server was late in answering, less what the replay says. ns."""
    late = seen.stamps[:, REPLIED] - seen.stamps[:, DEPARTED]
    said = seen.stamps[:, DEPARTED] - seen.stamps[:, ARRIVED]
    found: Rows = seen.rows[:, DONE] - seen.rows[:, DUE] - late - said
    return found


def check_each_latency_is_the_replays(seen: Seen) -> None:
    found = errors(seen)
    assert found.min() >= 0, "a latency that is shorter than the queue and the way allow"
    assert np.median(found) < allowed_ns(seen)


def check_littles_law(seen: Seen) -> None:
    """In flight on average by the server's stamps, from the first arrival until all were gone, and on the way besides = rate ·
    the mean latency shown."""
    stamps, count = seen.stamps, len(seen.stamps)
    instants = np.concatenate([stamps[:, ARRIVED], stamps[:, REPLIED]])
    order = np.argsort(instants, kind="stable")
    level = np.cumsum(np.repeat([1, -1], count)[order])
    span = np.diff(instants[order])
    at_the_server = float((level[:-1] * span).sum() / span.sum())
    rate = count / float(span.sum())
    shown = rate * seen.done.measure["histograms"]["latency"]["mean"]
    assert at_the_server + rate * errors(seen).mean() == pytest.approx(shown, rel=0.02)
    assert at_the_server < shown


@pytest.mark.parametrize(
    ("law", "servers", "load"),
    [
        pytest.param("exp(10ms)", 1, 0.8, id="MM1-at-0.8"),
        pytest.param("exp(10ms)", 1, 0.5, id="MM1-at-0.5", marks=pytest.mark.slow),
        pytest.param("constant(10ms)", 1, 0.5, id="MD1-at-0.5", marks=pytest.mark.slow),
        pytest.param("constant(10ms)", 1, 0.8, id="MD1-at-0.8", marks=pytest.mark.slow),
        pytest.param("constant(20ms)", 4, 0.5, id="MD4-at-0.5", marks=pytest.mark.slow),
        pytest.param("constant(20ms)", 4, 0.8, id="MD4-at-0.8", marks=pytest.mark.slow),
    ],
)
@pytest.mark.slow
def test_every_request_takes_what_the_queue_says(tmp_path: Path, law: str, servers: int, load: float) -> None:
    rate = load * servers * 1000 / int(law.partition("(")[2].removesuffix("ms)"))
    serve = ("--law", law, "--servers", str(servers), "--seed", str(SEED))
    seen = see("--mode", "text", "--rate", f"{rate:g}", "--duration", "3s", *UNIQUE, out=tmp_path, serve=serve)
    check_finished(seen.done)
    seen.pair()
    assert len(seen.rows) == len(seen.stamps) == seen.done.counts["ok"] == seen.done.counts["planned"]
    check_the_server_is_the_theory(seen, law, servers)
    check_the_load_is_the_plans(seen)
    check_each_latency_is_the_replays(seen)
    check_littles_law(seen)


# ---- a limit of connections


@pytest.mark.slow
def test_eight_connections_change_no_latency_and_drop_nothing(tmp_path: Path) -> None:
    """Bursts of arrivals that no eight connections hold: who waits here would have waited there. So each request takes what
    Lindley's recursion says of its *due* instant, as if there were no limit; and the waiting is told of, to the microsecond."""
    flags = (*UNIQUE, "--mode", "text", "--rate", "70", "--arrival", "gamma", "--cv", "3", "--duration", "4s", "--seed", "2")
    serve = ("--law", "exp(10ms)", "--seed", str(SEED))
    seen = see(*flags, "--max-connections", "8", out=tmp_path, serve=serve)
    check_finished(seen.done)
    counts, by_sent = seen.done.counts, seen.rows
    assert counts["ok"] == counts["planned"] == len(seen.stamps) == len(by_sent)
    assert (np.diff(by_sent[:, DUE]) > 0).all(), "first come, first served"
    seen.pair()
    rows = seen.rows
    held = rows[:, SENT] - rows[:, DISPATCHED] > 5 * MS
    assert held.sum() > 50, "the limit was not met: the test shows nothing"

    due = np.sort(rows[:, DUE]).tolist()  # two that come at once may be read in either order
    uncapped = np.array(replay(due, services("exp(10ms)", seen.probes, len(rows))))
    late = seen.stamps[:, REPLIED] - seen.stamps[:, DEPARTED]
    found = rows[:, DONE] - late - uncapped
    assert np.median(np.abs(found)) < allowed_ns(seen) + seen.turns_ns()

    mean = {name: shown["mean"] for name, shown in seen.done.measure["histograms"].items()}
    assert mean["wait"] + mean["service"] == pytest.approx(mean["latency"] - mean["lag"], abs=1000)
    assert mean["wait"] > 5 * MS
