"""What was seen of the targets, second by second: the arithmetic over Sightings made by hand."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipload.frames import Frame
from clipload.sightings import CPU, IDLE, ITEMS, QUEUED, Glimpse, Gpu, Sighting, TargetSeen, between, sights, timeline

S = 10**9
PIDS = {"tokenizer": 10, "scheduler": 11, "detokenizer": 12, "server": 13, "other": 14}


def seconds(
    shares: Mapping[str, float],
    *,
    gauges: Mapping[str, float] | None = None,
    growing: Mapping[str, float] | None = None,
    gpus: Mapping[int, float] | None = None,
    cores: int = 8,
    taken: float = 0.0,
    n: int = 11,
    target: int = 0,
    start_ns: int = 0,
) -> list[Sighting]:
    """`n` Sightings, a second apart, of a target whose processes take these shares of a core; `growing`: so much a second."""
    made = []
    for i in range(n):
        processes = {PIDS[role]: Glimpse(role, round(5000 + 1000 * share * i), 2**20) for role, share in shares.items()}
        told = dict(gauges or {}) | {name: 100.0 + rate * i for name, rate in (growing or {}).items()}
        seen = TargetSeen(gauges=told, processes=processes, cores=cores, cores_ms=round(1000 * cores * taken * i))
        made.append(Sighting(start_ns + i * S, {target: seen}, {k: Gpu(busy, 1, 2) for k, busy in (gpus or {}).items()}))
    return made


@given(st.dictionaries(st.sampled_from(sorted(PIDS)), st.floats(0, 16), min_size=1), st.integers(2, 20))
def test_a_share_is_cpu_by_time(shares: dict[str, float], n: int) -> None:
    (sight,) = sights(seconds(shares, n=n))
    assert sight.seconds == n - 1
    assert [one.share for one in sight.processes] == sorted((one.share for one in sight.processes), reverse=True)
    for role, share in shares.items():
        assert sight.busiest(role) == pytest.approx(share, abs=2e-3)
    assert sight.total == pytest.approx(sum(shares.values()), abs=2e-2)


def test_what_others_take_of_its_cores() -> None:
    """A second in which it might use another number of cores says nothing."""
    made = [Sighting(i * S, {0: TargetSeen(cores=2, cores_ms=1500 * i, gauges={QUEUED: 1.0})}) for i in range(4)]
    assert sights(made)[0].taken == 0.75
    assert sights([*made, Sighting(4 * S, {0: TargetSeen(cores=4, cores_ms=90_000)})])[0].taken == 0.75
    assert sights([Sighting(i * S, {0: TargetSeen(gauges={QUEUED: 1.0})}) for i in range(4)])[0].taken is None


def test_the_busiest_second_is_kept_apart() -> None:
    made = [
        Sighting(i * S, {0: TargetSeen(processes={1: Glimpse("tokenizer", ms)})}) for i, ms in enumerate((0, 100, 1000, 1100))
    ]
    (sight,) = sights(made)
    assert (sight.processes[0].share, sight.processes[0].peak) == (pytest.approx(1.1 / 3), 0.9)


def test_a_process_that_came_later_is_not_thinned() -> None:
    """It is judged by the time in which it was there, and so is the one that it replaced."""
    before = [Sighting(i * S, {0: TargetSeen(processes={1: Glimpse("server", 1000 * i)})}) for i in range(3)]
    after = [Sighting(i * S, {0: TargetSeen(processes={2: Glimpse("server", 500 * i)})}) for i in range(5, 9)]
    (sight,) = sights([*before, *after])
    assert {one.pid: one.share for one in sight.processes} == {1: 1.0, 2: 0.5}


def test_counters_are_per_second_and_gauges_are_means() -> None:
    (sight,) = sights(seconds({}, gauges={QUEUED: 3.0}, growing={ITEMS: 40.0, IDLE: 0.25}))
    assert sight.gauges == {QUEUED: 3.0, ITEMS: 40.0, IDLE: 0.25}


def test_a_counter_that_began_again_is_counted_from_there() -> None:
    values = (100.0, 140.0, 180.0, 5.0, 15.0, 25.0)
    (sight,) = sights([Sighting(i * S, {0: TargetSeen({ITEMS: value})}) for i, value in enumerate(values)])
    assert sight.gauges == {ITEMS: 10.0}


def test_cpu_that_is_told_every_five_seconds_is_known_from_step_to_step() -> None:
    """SGLang's own CPU counters stand still for five seconds and then jump."""
    made = [Sighting(i * S, {0: TargetSeen({CPU + "tokenizer": 7.0 + 4.5 * ((i + 2) // 5)})}) for i in range(15)]
    assert sights(made)[0].busiest("tokenizer") == pytest.approx(0.9)
    assert sights(made[:6]) == [], "one step says nothing"


def test_a_visible_process_goes_before_what_is_told() -> None:
    (sight,) = sights(seconds({"tokenizer": 0.5}, growing={CPU + "tokenizer": 0.9, CPU + "scheduler": 0.2}))
    assert (sight.busiest("tokenizer"), sight.busiest("scheduler")) == (0.5, pytest.approx(0.2))
    assert sight.busiest("detokenizer") is None


@pytest.mark.parametrize(
    ("gauges", "growing", "works"),
    [
        ({}, {}, None),  # it may spin
        ({QUEUED: 0.2}, {}, None),
        ({QUEUED: 4.0}, {}, 1.0),
        ({QUEUED: 4.0}, {IDLE: 0.8}, 0.2),
        ({}, {IDLE: 0.0}, 1.0),
    ],
)
def test_a_scheduler_that_spins_does_not_work(gauges: dict[str, float], growing: dict[str, float], works: float | None) -> None:
    (sight,) = sights(seconds({"scheduler": 1.0}, gauges=gauges, growing=growing))
    assert sight.scheduler == (works if works is None else pytest.approx(works))


def test_what_was_not_seen_is_not_zero() -> None:
    assert sights([]) == sights(seconds({"server": 1.0}, n=1)) == []
    assert sights([Sighting(i * S, {0: TargetSeen(missing="404")}) for i in range(5)]) == []


def test_between_takes_both_ends() -> None:
    made = seconds({"server": 1.0})
    assert [one.at_ns // S for one in between(made, 2 * S, 4 * S)] == [2, 3, 4]


def test_gpus_are_means_and_the_first_tells_of_before() -> None:
    made = [Sighting(i * S, {0: TargetSeen(cores=1)}, {0: Gpu(busy, 1, 2)}) for i, busy in enumerate((0.9, 0.1, 0.3))]
    (sight,) = sights(made)
    assert sight.gpu == pytest.approx(0.2)


def test_the_timeline_is_on_the_clock_of_the_run() -> None:
    made = seconds({"tokenizer": 0.5, "scheduler": 1.0}, gauges={QUEUED: 2.0}, growing={ITEMS: 40.0}, start_ns=7 * S, n=3)
    rows = timeline(made, start_ns=6 * S)
    assert [row["at_s"] for row in rows] == [2.0, 3.0]
    told = {"cores": {"tokenizer": 0.5, "scheduler": 1.0}, QUEUED: 2.0, ITEMS: 40.0}
    assert rows[0]["targets"] == {"0": told}
    assert rows[0]["gpus"] == {}


def test_a_sighting_travels_as_a_frame() -> None:
    made = seconds({"tokenizer": 0.5}, gauges={QUEUED: 2.0}, gpus={0: 0.5}, n=1)[0]
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(made), type=Frame) == made
