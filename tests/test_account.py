"""A worker's account by hand: every instant is given, so that nothing here waits for a second to pass."""

from __future__ import annotations

import gc
from time import monotonic_ns
from typing import Any

import numpy as np

from clipload.account import SECOND_NS, Account
from clipload.frames import Interval
from clipload.histogram import Histogram
from clipload.outcomes import CENSORED, OK, RESET, ROW, UNSENT, Outcomes
from clipload.plan import Plan
from clipload.tally import Tally
from clipload.transports import Gauges
from clipload.units import Duration
from clipload.witness import Lateness

MS, S = 10**6, SECOND_NS
WIRE_BYTES = np.array([[1000, 2000]])
OPEN = Plan(rate=10.0, warmup=Duration.seconds(1), duration=Duration.seconds(2), cooldown=Duration.seconds(1), batch_size=3)
CLOSED = Plan(concurrency=2, duration=Duration.seconds(2))
COUNTED = Plan(concurrency=2, num_samples=1000)


class Books:
    """An account that began `ago_s` seconds ago; instants are ms from that start."""

    def __init__(self, plan: Plan, ago_s: float, wire_bytes: Any = WIRE_BYTES) -> None:
        self.gauges = Gauges(in_flight=0, waiting=0, connections=0, examples={})
        self.account = Account(3, plan.bounds(), plan, wire_bytes)
        self.start_ns = monotonic_ns() - round(ago_s * S)
        self.account.start(self.start_ns)

    def at(self, ms: float) -> int:
        return self.start_ns + round(ms * MS)

    def schedule(self, *due_ms: float) -> None:
        for ms in due_ms:
            self.account.schedule(self.at(ms))

    def end(self, due_ms: float, done_ms: float, code: int = OK, body: int = 0, target: int = 0) -> None:
        due, done = self.at(due_ms), self.at(done_ms)
        self.account.ended((due, due, due, due, done if code == OK else 0, done, code, body, 10, 0, target, 0, 0))

    def both(self, due_ms: float, done_ms: float, code: int = OK) -> None:
        self.schedule(due_ms)
        self.end(due_ms, done_ms, code)

    def over(self) -> list[Interval]:
        return list(self.account.intervals(self.gauges))

    def close(self, stopped_ns: int | None = None) -> list[Interval]:
        return list(self.account.close(stopped_ns, self.gauges, []))


def counts(interval: Interval) -> dict[str, dict[str, int]]:
    return {name: Tally.from_wire(part).counts for name, part in interval.phases.items()}


def pick(interval: Interval, name: str) -> dict[str, int]:
    """Phase → one count."""
    return {phase: found[name] for phase, found in counts(interval).items() if found.get(name)}


def total(intervals: list[Interval]) -> dict[str, Tally]:
    sums: dict[str, Tally] = {}
    for interval in intervals:
        for name, part in interval.phases.items():
            sums[name] = sums.get(name, Tally()) + Tally.from_wire(part)
    return sums


def test_an_interval_holds_what_was_done_in_it() -> None:
    books = Books(OPEN, 3.5)
    books.schedule(100, 200, 300, 1500, 1600)
    books.end(100, 999.999)
    books.end(200, 1000)
    books.end(300, 1999.999)
    books.end(1500, 2000)
    books.end(1600, 3100)
    intervals = books.over()
    assert [i.index for i in intervals] == [0, 1, 2]
    assert [pick(i, "ok") for i in intervals] == [{"warmup": 1}, {"warmup": 2}, {"measure": 1}]
    assert not any(i.final for i in intervals)
    assert all(i.worker == 3 for i in intervals)
    assert books.over() == []
    (final,) = books.close()
    assert (final.index, final.final, final.stopped_ns, pick(final, "ok")) == (3, True, None, {"measure": 1})


def test_phases_by_due_intervals_by_done() -> None:
    books = Books(OPEN, 3.5)
    for due in (0, 999.999, 1000, 2999.999, 3000, 3300):
        books.both(due, 3400)
    (*whole, final) = books.close()
    assert [counts(i) for i in whole] == [
        {"warmup": {"scheduled": 2}, "measure": {"scheduled": 2}, "cooldown": {"scheduled": 2}}, {}, {},
    ]  # fmt: skip
    assert pick(final, "ok") == {"warmup": 2, "measure": 2, "cooldown": 2}
    assert pick(final, "samples") == {"warmup": 6, "measure": 6, "cooldown": 6}


def test_scheduled_and_ended_are_counted_apart() -> None:
    books = Books(OPEN, 1.5)
    books.schedule(100, 200, 300, 1100)
    assert books.account.outstanding == 4
    books.end(100, 150)
    books.end(300, 400, RESET)
    assert books.account.outstanding == 2
    (first,) = books.over()
    assert counts(first)["warmup"]["scheduled"] == 3
    assert counts(first)["measure"] == {"scheduled": 1}
    assert first.outstanding == {"warmup": 1, "measure": 1}
    books.end(200, 1200)
    books.end(1100, 1300, CENSORED)
    (final,) = books.close()
    assert final.outstanding == {}
    assert books.account.outstanding == 0
    sums = total([first, final])
    assert sums["warmup"].counts == {
        "scheduled": 3, "ok": 2, "samples": 6, "error.reset": 1, "bytes_sent": 3000, "bytes_received": 30,
    }  # fmt: skip
    assert (sums["measure"]["scheduled"], sums["measure"]["censored"]) == (1, 1)


def test_what_was_done_twice_or_never_scheduled_shows_in_the_ledger() -> None:
    """Scheduled is counted when due, the fates when ended: neither is computed from the other."""
    books = Books(OPEN, 0.5)
    books.both(100, 150)
    books.end(100, 160)
    (final,) = books.close()
    tally = Tally.from_wire(final.phases["warmup"])
    assert (tally["scheduled"], tally["ok"]) == (1, 2)


def test_every_second_is_shipped_once_though_nothing_happened() -> None:
    books = Books(OPEN, 4.2)
    intervals = books.over()
    assert [(i.index, i.phases, i.outstanding) for i in intervals] == [(j, {}, {}) for j in range(4)]
    assert [i.index for i in books.close(7)] == [4]


def test_closing_ships_whole_seconds_first() -> None:
    books = Books(OPEN, 2.5)
    books.both(100, 500)
    books.both(200, 2400)
    frames = books.close(12345)
    assert [(i.index, i.final, i.stopped_ns) for i in frames] == [(0, False, None), (1, False, None), (2, True, 12345)]
    assert [pick(i, "ok") for i in frames] == [{"warmup": 1}, {}, {"warmup": 1}]


def test_the_next_fold_is_at_the_next_whole_second() -> None:
    books = Books(OPEN, 0.25)
    assert 0.5 < books.account.until_next_s() <= 0.752
    assert books.over() == []
    late = Books(OPEN, 1.25)
    assert late.account.until_next_s() == 0.001
    assert len(late.over()) == 1
    assert 0.5 < late.account.until_next_s() <= 0.752


def test_gauges_are_those_of_the_lane() -> None:
    books = Books(OPEN, 2.5)
    books.gauges = Gauges(in_flight=2, waiting=5, connections=3, examples={500: "the queue is full"})
    first, second = books.over()
    assert (first.in_flight, first.waiting, first.connections) == (2, 5, 3)
    assert first.examples == {500: "the queue is full"}
    assert second.examples == {}, "said once"
    books.gauges = Gauges(in_flight=0, waiting=0, connections=1, examples={500: "the queue is full", 2: "reset"})
    (final,) = books.close()
    assert final.examples == {500: "the queue is full", 2: "reset"}
    assert (final.in_flight, final.connections) == (0, 1)
    assert first.rss > 0
    assert min(first.cpu_ns, first.starved_ns, first.gc_ns) >= 0


def test_who_asked_is_told_of_each_end() -> None:
    books = Books(OPEN, 0.5)
    told: list[int] = []
    books.account.after = told.append
    books.both(100, 150)
    books.both(100, 160, RESET)
    assert told == [books.at(150), books.at(160)]


def test_more_than_the_buffer_holds() -> None:
    books = Books(OPEN, 0.3)
    n = 2 * 16384 + 100
    for _ in range(n):
        books.both(100, 200)
    first, *_ = books.close()  # on a busy machine the second is over by then
    assert pick(first, "ok") == {"warmup": n}
    assert Tally.from_wire(first.phases["warmup"]).histogram("latency").total == n


def test_a_full_buffer_keeps_the_seconds_apart() -> None:
    books = Books(OPEN, 1.5)
    for _ in range(10_000):
        books.both(100, 900)
    for _ in range(10_000):
        books.both(100, 1100)
    frames = books.close()
    assert [pick(i, "ok") for i in frames] == [{"warmup": 10_000}, {"warmup": 10_000}]


# ---- the steady window of a closed loop


def test_the_steady_window_of_a_loop_by_duration_is_its_phase() -> None:
    books = Books(CLOSED, 2.5)
    books.both(0, 500)
    books.both(500, 1999.999)
    books.both(600, 2000)
    books.both(700, 1500, RESET)
    frames = sorted(books.close(), key=lambda i: i.index)
    assert frames[-1].steady_ok == [2]


def closed(changes: dict[str, Any]) -> Plan:
    return Plan(concurrency=2, **changes)


def test_warm_up_is_not_in_the_steady_window() -> None:
    books = Books(closed({"warmup": Duration.seconds(1), "duration": Duration.seconds(1)}), 2.5)
    for done in (900, 999.999, 1000, 1500, 1999.999, 2000):
        books.account.schedule(books.at(done - 10))
    for done in (900, 999.999, 1000, 1500, 1999.999, 2000):
        books.end(done - 10, done)
    assert books.close()[-1].steady_ok == [3]


def test_ending_the_window_takes_back_what_was_counted_past_it() -> None:
    books = Books(COUNTED, 2.2)
    for done in (100, 900, 1200, 1500, 1600, 1700):
        books.both(done - 50, done)
    assert [i.steady_ok for i in books.over()] == [[2], [6]]
    books.account.end_steady(books.at(1600))  # done before it: 100, 900, 1200, 1500
    books.both(2000, 2100)
    (final,) = books.close()
    assert final.steady_ok == [4]


def test_ending_the_window_before_the_fold() -> None:
    books = Books(COUNTED, 1.5)
    for done in (100, 900, 1200, 1300):
        books.both(done - 50, done)
    assert [i.steady_ok for i in books.over()] == [[2]]
    books.account.end_steady(books.at(1250))
    (final,) = books.close()
    assert final.steady_ok == [3]


def test_the_window_only_ever_shrinks() -> None:
    books = Books(COUNTED, 1.5)
    for done in (100, 300, 500):
        books.both(done - 50, done)
    books.over()
    for end in (400, 450, 400, 10_000):
        books.account.end_steady(books.at(end))
    (final,) = books.close()
    assert final.steady_ok == [2]


def test_failures_are_not_taken_back_for_they_were_not_counted() -> None:
    books = Books(COUNTED, 1.5)
    books.both(50, 100)
    books.both(50, 600, RESET)
    books.both(50, 700)
    assert books.over()[0].steady_ok == [2]
    books.account.end_steady(books.at(500))
    assert books.close()[0].steady_ok == [1]


def test_ending_the_window_when_the_last_second_took_several_folds() -> None:
    books = Books(COUNTED, 1.5)
    n = 16384
    for _ in range(n):
        books.both(50, 600)  # folded when the buffer is full
    for _ in range(10):
        books.both(50, 700)
    books.over()
    books.account.end_steady(books.at(500))  # an instant of the last second, before all of these
    assert books.close()[-1].steady_ok == [0]


def test_the_last_measured_reply() -> None:
    books = Books(closed({"warmup": Duration.seconds(1), "num_samples": 10}), 2.9)
    books.both(500, 1100)
    books.both(1200, 1300)
    books.both(1400, 2800)
    *whole, final = books.close()
    assert [i.last_done_ns for i in whole] == [0, books.at(1300)]
    assert final.last_done_ns == books.at(2800)


def test_what_never_went_out_has_ended_too() -> None:
    books = Books(OPEN, 0.9)
    books.schedule(100)
    books.account.ended((books.at(100), books.at(101), 0, 0, 0, books.at(800), UNSENT, 0, 0, 0, 0, 0, 0))
    (final,) = books.close()
    assert counts(final)["warmup"] == {"scheduled": 1, "unsent": 1}
    assert books.account.outstanding == 0


def test_the_buffer_is_the_one_of_outcomes() -> None:
    """The cases above fill it by number: they must be told when its size changes."""
    assert Outcomes()._capacity == 16384 * ROW.size


def test_what_is_folded_and_not_shipped_is_still_outstanding() -> None:
    """A full buffer is folded before its second is shipped: should the supervisor die now, those answers are lost with it."""
    books = Books(OPEN, 1.5)
    for _ in range(16384):
        books.both(100, 1100)
    (first,) = books.over()
    assert counts(first) == {"warmup": {"scheduled": 16384}}
    assert first.outstanding == {"warmup": 16384}
    (final,) = books.close()
    assert (pick(final, "ok"), final.outstanding) == ({"warmup": 16384}, {})


def test_what_the_lane_lacked_is_told() -> None:
    books = Books(OPEN, 1.5)
    books.gauges = Gauges(in_flight=0, waiting=0, connections=2, examples={}, capped=7, starved=3, lacking={24: 2, 99: 1})
    (first,) = books.over()
    assert (first.capped, first.refused_here, first.lacking) == (7, 3, {24: 2, 99: 1})


def test_a_second_carries_what_the_witness_saw_since_the_last() -> None:
    books = Books(OPEN, 2.5)
    late = Histogram()
    late.record(np.array([0, 3 * MS]))
    seen = [Lateness(late, Histogram()), Lateness(Histogram(), Histogram())]
    books.account.testimony = lambda: seen.pop(0)
    first, second = books.over()
    assert (Histogram.from_sparse(first.late), Histogram.from_sparse(first.withheld)) == (late, Histogram())
    assert Histogram.from_sparse(second.late) == Histogram()
    books.account.testimony = lambda: None
    (final,) = books.close()
    assert (final.late, final.withheld) == (None, None)


def test_a_collection_that_takes_long_is_told() -> None:
    """A million tracked objects that came since the last one, as no worker's are: the collector looks at each."""
    books = Books(OPEN, 1.5)
    gc.disable()
    try:
        garbage = [[] for _ in range(1_000_000)]
        first, *_ = books.over()  # more than one when the machine is busy
    finally:
        gc.enable()
    assert first.gc_ns > 5 * MS
    assert len(garbage) == 1_000_000


# ---- several base URLs


def test_what_was_measured_is_added_up_by_target() -> None:
    """Warm-up is not in it; bytes are each target's own, for its head is."""
    books = Books(OPEN, 2.5, np.array([[1000, 2000], [1003, 2003]]))
    books.schedule(500, 1100, 1200, 1300, 1400)
    books.end(500, 600, target=1)
    books.end(1100, 1200, target=0)
    books.end(1200, 1300, body=1, target=1)
    books.end(1300, 1400, RESET, target=1)
    books.end(1400, 2200, target=1)
    frames = books.close()
    parts = [{t: Tally.from_wire(part) for t, part in frame.targets.items()} for frame in frames]
    assert parts[0] == {}
    assert {t: tally.counts for t, tally in parts[1].items()} == {
        0: {"planned": 1, "scheduled": 1, "ok": 1, "samples": 3, "bytes_sent": 1000, "bytes_received": 10},
        1: {
            "planned": 2, "scheduled": 2, "ok": 1, "error.reset": 1, "samples": 3, "bytes_sent": 3006, "bytes_received": 20,
        },
    }  # fmt: skip
    assert parts[2][1]["ok"] == 1
    assert [frame.steady_ok for frame in frames] == [[0, 0], [1, 1], [1, 2]]
    for tally in (tally for part in parts for tally in part.values()):
        tally.ledger().check("a target")


def test_one_base_url_is_not_added_up_twice() -> None:
    books = Books(OPEN, 1.5)
    books.both(1100, 1200)
    (_, final) = books.close()
    assert (final.targets, final.steady_ok) == ({}, [1])
