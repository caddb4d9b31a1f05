"""The fold of frames made by hand; other tests take their Runs from here (`opening`, `interval`, `closing`, `run_of`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import numpy as np
import pytest

from clipload.errors import ArchiveError
from clipload.folding import Folding, fold
from clipload.frames import SCHEMA, Closing, Frame, Interval, Opening, Reading
from clipload.histogram import Histogram
from clipload.pacing import PHASES
from clipload.plan import Plan
from clipload.run import KILLED, Run
from clipload.tally import LedgerError, Tally
from clipload.units import Duration

MS, S = 10**6, 10**9
START = 1_000 * S
FACTS: dict[str, Any] = {
    "placement": {"workers": [0, 1], "supervisor": [2, 3], "shared": False},
    "skipped": [],
    "target": {"dim": 512, "probe_ns": [5 * MS]},
}


def open_plan(**changes: Any) -> Plan:
    """1 s of warm-up, 2 s measured, two workers."""
    values: dict[str, Any] = {"rate": 20.0, "workers": 2, "warmup": Duration.seconds(1), "duration": Duration.seconds(2)}
    return Plan(**(values | changes))


def closed_plan(**changes: Any) -> Plan:
    return Plan(**({"concurrency": 4, "workers": 2, "duration": Duration.seconds(2)} | changes))


def opening(plan: Plan, *, schema: int = SCHEMA, facts: Mapping[str, Any] = FACTS) -> Opening:
    bounds = plan.bounds()
    return Opening(schema=schema, plan=plan.to_dict(), facts=dict(facts), bounds=bounds, start_ns=START, start_wall_s=1.7e9)


def tally(counts: Mapping[str, int] | None = None, **values_ns: list[int]) -> Tally:
    """Counts, and a histogram of each list of values."""
    made = Tally(counts)
    for name, values in values_ns.items():
        made.histograms[name] = Histogram()
        made.histograms[name].record(np.array(values, np.int64))
    return made


def answers(latencies_ns: list[int], lag_ns: int = 20_000, **more: int) -> Tally:
    """Requests that came back ok, each `lag_ns` late in going out; `more` counts besides."""
    n = len(latencies_ns)
    late = [lag_ns] * n
    return tally(
        {"scheduled": n, "ok": n, "samples": n, "bytes_sent": 1000 * n, "bytes_received": 4000 * n} | more,
        latency=latencies_ns,
        unlagged=[max(0, ns - lag_ns) for ns in latencies_ns],
        service=[max(0, ns - lag_ns) for ns in latencies_ns],
        first_byte=[max(0, ns - lag_ns) // 2 for ns in latencies_ns],
        upload=[10_000] * n,
        delay=late,
        lag=late,
        wait=[0] * n,
    )


def interval(worker: int, index: int, phases: Mapping[str, Tally] | None = None, **fields: Any) -> Interval:
    parts = {name: part.to_wire() for name, part in (phases or {}).items()}
    return Interval(worker=worker, index=index, phases=parts, **({"outstanding": {}} | fields))


def late(late_ns: list[int], withheld_ns: list[int]) -> dict[str, Any]:
    """Fields of an Interval: what the witness saw."""
    seen = tally(None, lag=late_ns, wait=withheld_ns).histograms
    return {"late": seen["lag"].to_sparse(), "withheld": seen["wait"].to_sparse()}


def reading(second: float, **fields: Any) -> Reading:
    return Reading(at_ns=START + round(second * S), **({"cores": {0: (round(1000 * second), 0, 0)}} | fields))


def closing(accounts: Mapping[int, Mapping[str, Mapping[str, int]]], end_s: float, **fields: Any) -> Closing:
    """`end_s`: when the schedule stopped, from the start."""
    stop = START + round(end_s * S)
    plain = {worker: {name: dict(counts) for name, counts in phases.items()} for worker, phases in accounts.items()}
    values: dict[str, Any] = {"ended": "complete", "end_ns": stop + 5 * MS, "stop_ns": stop, "steady_ns": None, "facts": {}}
    return Closing(accounts=plain, **(values | fields))


def planned(run: Run) -> dict[int, dict[str, dict[str, int]]]:
    """Accounts in which just what was scheduled was planned."""
    return {
        number: {name: {"planned": part["scheduled"]} for name, part in account.phases.items()}
        for number, account in run.workers.items()
    }


def with_done(frames: Iterable[Any]) -> list[Any]:
    """The frames, each worker's ok answers of the measured phase counted as done within it, unless a frame says otherwise."""
    frames, done = list(frames), Counter[int]()
    if any(isinstance(frame, Interval) and frame.steady_ok for frame in frames):
        return frames
    told = []
    for frame in frames:
        if isinstance(frame, Interval):
            part = frame.phases.get("measure")
            done[frame.worker] += part.counts.get("ok", 0) if part else 0
            frame = msgspec.structs.replace(frame, steady_ok=[done[frame.worker]])
        told.append(frame)
    return told


def run_of(plan: Plan, intervals: list[Interval], end_s: float, *, facts: Mapping[str, Any] = FACTS, **fields: Any) -> Run:
    """A complete Run of these intervals whose plan was what was scheduled."""
    folding = Folding(opening(plan, facts=facts))
    for frame in with_done(intervals):
        folding.add(frame)
    folding.add(closing(fields.pop("accounts", None) or planned(folding.run), end_s, **fields))
    return folding.finish()


def open_frames() -> list[Frame]:
    """Two workers, three seconds, something of everything; the last second of worker 1 holds no answer."""
    plan = open_plan()
    return with_done(
        [
            opening(plan),
            interval(0, 0, {"warmup": answers([5 * MS] * 10)}, cpu_ns=200 * MS, starved_ns=1 * MS, gc_ns=5000, rss=50_000_000),
            interval(
                1, 0, {"warmup": answers([6 * MS] * 9, scheduled=10)}, outstanding={"warmup": 1}, in_flight=1, cpu_ns=100 * MS
            ),
            interval(
                1,
                1,
                {
                    "warmup": tally({"error.reset": 1}, failed=[30 * MS]),
                    "measure": answers([8 * MS] * 8, scheduled=11) + tally({"error.http_500": 2}, failed=[2 * MS, 3 * MS]),
                },
                outstanding={"measure": 1},
                in_flight=1,
                waiting=2,
                connections=5,
                cpu_ns=150 * MS,
                examples={500: "the queue is full", 2: "the peer closed the connection"},
            ),
            interval(
                0,
                1,
                {"measure": answers([7 * MS] * 10)},
                cpu_ns=300 * MS,
                starved_ns=2 * MS,
                rss=60_000_000,
                connections=4,
                gc_ns=40_000,
                lacking={99: 1},
                refused_here=1,
                **late([40_000] * 48 + [900_000, 3 * MS], [0] * 49 + [2 * MS]),
            ),
            interval(0, 2, {"measure": answers([9 * MS] * 9)}, rss=55_000_000, last_done_ns=START + 2900 * MS, final=True),
            interval(1, 2, {"measure": tally({"timeout": 1}, failed=[900 * MS])}, examples={500: "another"}, final=True),
            reading(1, tcp=(100, 2, 0), sockets=(8, 1), throttled=(1, MS)),
            reading(3, tcp=(900, 2, 0), sockets=(7, 5), throttled=(1, MS)),
            closing(
                {
                    0: {"warmup": {"planned": 10}, "measure": {"planned": 20, "not_due": 1}},
                    1: {"warmup": {"planned": 10}, "measure": {"planned": 11}},
                },
                3,
                facts={"dead_workers": []},
            ),
        ]
    )


def test_the_sums_of_a_run() -> None:
    run = fold(open_frames())
    run.check_ledger()
    assert run.plan == open_plan()
    assert (run.ended, run.bounds) == ("complete", (0, S, 3 * S, 3 * S))
    assert run.measure.counts == {
        "planned": 31, "not_due": 1, "scheduled": 30, "ok": 27, "samples": 27, "error.http_500": 2, "timeout": 1,
        "bytes_sent": 27_000, "bytes_received": 108_000,
    }  # fmt: skip
    assert run.phases["warmup"]["ok"] == 19
    assert run.phases["warmup"].errors == {"reset": 1}
    assert run.phases["cooldown"] == Tally()
    assert run.measure.histogram("latency").total == 27
    assert (run.measure.histogram("latency").min, run.measure.histogram("latency").max) == (7 * MS, 9 * MS)
    assert run.measure.histogram("failed").max == 900 * MS


def test_each_workers_account() -> None:
    first, second = fold(open_frames()).workers.values()
    assert (first.cpu_ns, first.starved_ns, first.gc_ns, first.rss) == (500 * MS, 3 * MS, 45_000, 60_000_000)
    assert first.phases["measure"]["ok"] == 19
    assert second.phases["measure"].errors == {"http_500": 2}
    assert (first.final, second.final, second.outstanding) == (True, True, {})
    assert first.last_done_ns == START + 2900 * MS


def test_the_series_is_in_order_whatever_the_order_of_the_frames() -> None:
    run = fold(open_frames())
    assert [second.index for second in run.seconds] == [0, 1, 2]
    one = run.seconds[1]
    assert (one.in_flight, one.waiting, one.connections, one.cpu_ns, one.starved_ns) == (1, 2, 9, 450 * MS, 2 * MS)
    assert (one.tally["ok"], one.tally.errors) == (18, {"http_500": 2, "reset": 1})  # all phases, by the instant done
    assert one.tally == one.tally
    frames = open_frames()
    other = fold([frames[0], *reversed(frames[1:5]), *frames[5:]])
    assert [second.tally for second in other.seconds] == [second.tally for second in run.seconds]
    assert other.phases == run.phases


def test_the_first_example_of_each_class_is_kept() -> None:
    assert fold(open_frames()).examples == {"http_500": "the queue is full", "reset": "the peer closed the connection"}


def test_facts_of_the_closing_are_added() -> None:
    run = fold(open_frames())
    assert run.facts == FACTS | {"dead_workers": []}
    assert "dead_workers" not in FACTS


def test_an_open_loop_is_measured_for_as_long_as_its_phase() -> None:
    run = fold(open_frames())
    assert run.measured_ns == 2 * S
    assert run.requests_per_s == 27 / 2
    assert run.throughput == 27 / 2
    assert run.steady_per_s is None


def test_an_open_loop_that_was_stopped_is_measured_until_then() -> None:
    frames = open_frames()
    frames[-1] = closing({0: {}, 1: {}}, 2.5, ended="overload")
    run = fold(frames)
    assert (run.ended, run.measured_ns) == ("overload", 1500 * MS)
    assert run.requests_per_s == 27 / 1.5


def test_a_run_that_was_stopped_in_its_warmup_has_measured_nothing() -> None:
    frames = [*open_frames()[:3], closing({0: {}, 1: {}}, 0.5, ended="interrupted")]
    run = fold(frames)
    assert (run.measured_ns, run.requests_per_s, run.throughput) == (0, 0.0, 0.0)


def test_samples_are_batches_of_requests() -> None:
    plan = open_plan(batch_size=8)
    run = run_of(plan, [interval(0, 1, {"measure": answers([MS] * 10)}, final=True)], 3)
    assert (run.requests_per_s, run.throughput) == (5, 40)


def test_a_closed_loop_by_duration_counts_what_was_done_in_it() -> None:
    frames = [
        interval(0, 0, {"measure": answers([10 * MS] * 60)}, steady_ok=[60]),
        interval(0, 1, {"measure": answers([10 * MS] * 62)}, steady_ok=[120], final=True),
        interval(1, 1, {"measure": answers([10 * MS] * 42)}, steady_ok=[40], final=True),
    ]
    run = run_of(closed_plan(batch_size=2), frames, 2, steady_ns=START + 2 * S)
    assert run.measure["ok"] == 164
    assert run.steady_per_s == run.requests_per_s == 80
    assert run.throughput == 160
    assert run.measured_ns == 2 * S


def test_a_counted_closed_loop_ends_with_its_last_reply() -> None:
    frames = [
        interval(0, 0, {"measure": answers([10 * MS] * 50)}, steady_ok=[45], last_done_ns=START + 900 * MS, final=True),
        interval(1, 1, {"measure": answers([10 * MS] * 50)}, steady_ok=[45], last_done_ns=START + 1250 * MS, final=True),
    ]
    run = run_of(closed_plan(duration=None, num_samples=100), frames, 1.25, steady_ns=START + 750 * MS)
    assert run.measured_ns == 1250 * MS
    assert run.requests_per_s == 80
    assert run.steady_per_s == 120
    late = run_of(closed_plan(duration=None, num_samples=100), frames, 1.25, steady_ns=START)
    assert late.steady_per_s == 0.0


def test_a_ledger_that_does_not_close_says_whose() -> None:
    frames = open_frames()
    frames[-1] = closing({0: {"warmup": {"planned": 10}, "measure": {"planned": 19}}, 1: {"warmup": {"planned": 10}}}, 3)
    with pytest.raises(LedgerError, match="worker 1, measure: planned 0 ≠ scheduled 11"):
        fold(frames).check_ledger()


def test_workers_are_checked_one_by_one() -> None:
    """Books of two workers that are wrong by the same number add to books that close."""
    frames = open_frames()
    frames[-1] = closing(
        {
            0: {"warmup": {"planned": 11}, "measure": {"planned": 19}},
            1: {"warmup": {"planned": 9}, "measure": {"planned": 11}},
        },
        3,
    )
    with pytest.raises(LedgerError, match="worker 0, warmup"):
        fold(frames).check_ledger()


@pytest.mark.parametrize("kept", range(1, 8))
def test_without_a_closing_the_run_was_killed_and_its_ledger_closes(kept: int) -> None:
    """At every length: what was outstanding at each worker's last word is lost."""
    frames = open_frames()[:kept]
    run = fold(frames)
    run.check_ledger()
    assert run.ended == KILLED
    last: dict[int, Interval] = {frame.worker: frame for frame in frames if isinstance(frame, Interval)}
    lost = sum(n for frame in last.values() for n in frame.outstanding.values())
    assert sum(run.phases[name]["lost"] for name in PHASES) == lost
    assert sum(run.phases[name]["not_due"] for name in PHASES) == 0
    seconds = max((frame.index + 1 for frame in last.values()), default=0)
    assert run.stop_ns == run.end_ns == START + seconds * S
    assert run.measured_ns == max(0, seconds - 1) * S


def test_a_killed_closed_loop_has_a_steady_rate() -> None:
    frames: list[Frame] = [
        opening(closed_plan()),
        interval(0, 0, {"measure": answers([MS] * 30)}, steady_ok=[30]),
        interval(1, 0, {"measure": answers([MS] * 30, scheduled=31)}, steady_ok=[30], outstanding={"measure": 1}),
    ]
    run = fold(frames)
    run.check_ledger()
    assert (run.ended, run.steady_ns, run.steady_per_s) == (KILLED, START + S, 60)
    assert run.measure["lost"] == 1


def test_a_worker_that_said_nothing_has_an_empty_account() -> None:
    run = fold(open_frames()[:1])
    assert sorted(run.workers) == [0, 1]
    assert run.workers[1].phases == {name: Tally() for name in PHASES}
    assert run.seconds == []


@pytest.mark.parametrize("frames", [[], open_frames()[1:], open_frames()[-1:]])
def test_a_journal_begins_with_its_plan(frames: list[Frame]) -> None:
    with pytest.raises(ArchiveError) as caught:
        fold(frames)
    assert caught.value.remedy


def test_a_journal_holds_one_plan() -> None:
    with pytest.raises(ArchiveError, match="two Plans"):
        fold([*open_frames()[:3], opening(open_plan())])


def test_what_was_seen_of_the_host_and_the_loops() -> None:
    run = fold(open_frames())
    first, second = run.workers.values()
    assert (first.late.total, first.late.max, first.withheld.max, first.longest_gc_ns) == (50, 3 * MS, 2 * MS, 40_000)
    assert (second.late.total, second.longest_gc_ns) == (0, 0)
    assert run.withheld == first.withheld
    assert (first.lacking, first.refused_here) == ({}, 0), "so far: the last word stands"
    assert [one.at_ns for one in run.readings] == [START + S, START + 3 * S]
    assert run.watched() == tuple(run.readings)
    assert run.dispatched_in_time == 30


def test_readings_count_within_the_measured_phase_alone() -> None:
    run = fold(open_frames())
    run.readings = [reading(second) for second in (0, 0.95, 2, 3.05, 3.2)]
    assert [one.at_ns - START for one in run.within()] == [round(0.95 * S), 2 * S, round(3.05 * S)]
    run.readings = run.readings[:2]
    assert run.watched() is None


def test_an_older_journal_has_no_witness_and_is_read_all_the_same() -> None:
    frames = [frame for frame in open_frames() if not isinstance(frame, Opening | Reading)]
    run = fold([opening(open_plan(), schema=1), *frames])
    assert run.readings == []
    assert run.measure == fold(open_frames()).measure


def test_a_newer_schema_is_refused() -> None:
    with pytest.raises(ArchiveError, match=f"schema {SCHEMA + 1}") as caught:
        fold([opening(open_plan(), schema=SCHEMA + 1)])
    assert "update" in caught.value.remedy


def test_folding_as_frames_come_is_folding_at_the_end() -> None:
    frames = open_frames()
    assert isinstance(frames[0], Opening)
    folding = Folding(frames[0])
    for frame in frames[1:]:
        assert not isinstance(frame, Opening)
        folding.add(frame)
        if isinstance(frame, Interval):
            assert folding.seconds[frame.index].parts
    run, other = folding.finish(), fold(frames)
    assert (run.phases, run.workers, run.facts, run.examples) == (other.phases, other.workers, other.facts, other.examples)


def test_the_load_of_a_worker_is_that_of_the_whole_measured_seconds() -> None:
    """Warm-up is second 0; the run was stopped within second 3, and drained in second 4."""
    plan = open_plan(duration=Duration.seconds(5))
    frames = [interval(0, i, cpu_ns=cpu * MS, starved_ns=i * MS) for i, cpu in enumerate([999, 100, 300, 700, 999])]
    load = run_of(plan, frames, 3.5).load(0)
    assert load == (2, 400 * MS, 3 * MS)
    assert (load.busy, load.starved) == (pytest.approx(0.2015), pytest.approx(0.0015))


def test_a_counted_loops_load_ends_with_its_first_idle_slot() -> None:
    plan = closed_plan(duration=None, num_samples=100)
    frames = [interval(0, i, cpu_ns=cpu * MS, last_done_ns=START + 3 * S) for i, cpu in enumerate([900, 800, 10])]
    run = run_of(plan, frames, 3, steady_ns=START + 2 * S)
    assert run.load(0) == (2, 1700 * MS, 0)
    assert run.load(1) == (0, 0, 0)
    assert run.load(1).busy == run.load(1).starved == 0
