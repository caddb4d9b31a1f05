"""Placing and pinning: cores that exist, one for each worker, and the supervisor elsewhere when there is an elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipload import host
from clipload.errors import HostError
from clipload.host import Placement, allowed_cores, place

needs_affinity = pytest.mark.skipif(not hasattr(psutil.Process, "cpu_affinity"), reason="this system does not pin")


@pytest.mark.parametrize(
    ("workers", "wanted", "allowed", "mine", "rest"),
    [
        (1, None, (0, 1, 2, 3), (0,), (1, 2, 3)),
        (3, None, (0, 1, 2, 3), (0, 1, 2), (3,)),
        (1, (2,), (0, 1, 2, 3), (2,), (0, 1, 3)),
        (2, (3, 1), (0, 1, 2, 3), (3, 1), (0, 2)),  # worker 0 on core 3
        (1, (3, 1), (0, 1, 2, 3), (3,), (0, 1, 2)),  # a core too many is not used
        (1, None, (0, 1), (0,), (1,)),  # two cores: the worker on one, everything else on the other
        (2, None, (0, 1), (0, 1), (0, 1)),
        (1, None, (5,), (5,), (5,)),
    ],
)
def test_who_runs_where(
    workers: int, wanted: tuple[int, ...] | None, allowed: tuple[int, ...], mine: tuple[int, ...], rest: tuple[int, ...]
) -> None:
    placement = place(workers, wanted, allowed)
    assert placement == Placement(mine, rest)
    assert placement.shared is bool(set(mine) & set(rest))


def test_the_image_server_has_a_core_that_the_supervisor_keeps_off_if_it_can() -> None:
    assert place(1, None, (0, 1, 2, 3), images=True) == Placement((0,), (1, 2), 3)
    assert place(1, None, (0, 1), images=True) == Placement((0,), (1,), 1)
    alone = place(1, None, (5,), images=True)
    assert (alone, alone.shared) == (Placement((5,), (5,), 5), True)
    assert str(alone) == "workers on cores 5, supervisor on 5 (shared with a worker), images on 5"
    assert place(1, None, (0, 1)).images is None


@pytest.mark.parametrize(
    ("workers", "wanted", "mine"), [(4, None, (0, 1, 0, 1)), (3, (1,), (1, 1, 1)), (2, None, (0, 1)), (1, (1, 0), (1,))]
)
def test_workers_take_turns_on_shared_cores(workers: int, wanted: tuple[int, ...] | None, mine: tuple[int, ...]) -> None:
    assert place(workers, wanted, (0, 1), share=True).workers == mine


def test_what_shares_what_is_said() -> None:
    assert str(place(2, None, (0, 1, 2, 3))) == "workers on cores 0-1, supervisor on 2-3"
    assert "shared" in str(place(2, None, (0, 1)))


@pytest.mark.parametrize(("wanted", "named"), [((9,), "core 9 "), ((0, 7, 8), "core 7-8 "), ((4, 0), "core 4 ")])
def test_a_core_that_does_not_exist_names_its_flag(wanted: tuple[int, ...], named: str) -> None:
    with pytest.raises(HostError, match=named) as caught:
        place(1, wanted, (0, 1, 2, 3))
    assert caught.value.flag == "--cores"
    assert "0-3" in caught.value.remedy


@pytest.mark.parametrize(("workers", "wanted"), [(5, None), (3, (0, 1))])
def test_more_workers_than_cores_names_its_flag(workers: int, wanted: tuple[int, ...] | None) -> None:
    with pytest.raises(HostError) as caught:
        place(workers, wanted, (0, 1, 2, 3))
    assert caught.value.flag == "--workers"
    assert str(len(wanted or (0, 1, 2, 3))) in caught.value.remedy


@given(st.integers(1, 20), st.lists(st.integers(0, 200), min_size=1, max_size=40, unique=True).map(sorted).map(tuple))
def test_one_core_each_and_the_supervisor_off_them_when_it_can_be(workers: int, allowed: tuple[int, ...]) -> None:
    if workers > len(allowed):
        with pytest.raises(HostError):
            place(workers, None, allowed)
        return
    placement = place(workers, None, allowed)
    assert len(set(placement.workers)) == workers
    assert set(placement.workers) | set(placement.supervisor) == set(allowed)
    assert placement.shared is (workers == len(allowed))


PIN = "from clipload import host; import os, sys; host.pin((int(sys.argv[1]),)); print(sorted(os.sched_getaffinity(0)))"


@needs_affinity
@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs the system's own word")
def test_pinning_changes_the_affinity() -> None:
    core = allowed_cores()[-1]
    done = subprocess.run([sys.executable, "-c", PIN, str(core)], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout) == [core]
    assert tuple(sorted(os.sched_getaffinity(0))) == allowed_cores()


def test_the_cores_that_are_ours_are_ascending() -> None:
    cores = allowed_cores()
    assert cores
    assert list(cores) == sorted(set(cores))


LIMITS = (
    "import resource; soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
    "resource.setrlimit(resource.RLIMIT_NOFILE, (256, min(hard, 1000) if hard > 0 else 1000))\n"
    "from clipload import host; room = host.raise_descriptor_limit()\n"
    "print(room, *resource.getrlimit(resource.RLIMIT_NOFILE))"
)


def test_the_descriptor_limit_is_raised_as_far_as_it_goes() -> None:
    done = subprocess.run([sys.executable, "-c", LIMITS], capture_output=True, text=True, timeout=60, check=True)
    room, soft, hard = map(int, done.stdout.split())
    assert soft == hard <= 1000
    assert 0 < room < hard


def test_what_the_kernel_says() -> None:
    itself = host.OwnProcess()
    assert itself.run_queue_wait_ns() >= 0
    assert 0.5 < itself.resident_bytes() / psutil.Process().memory_info().rss < 2
    itself.close()
    itself.close()
    assert (itself.run_queue_wait_ns(), itself.resident_bytes()) == (0, 0)


def test_facts_can_be_written_down() -> None:
    facts = json.loads(json.dumps(host.facts()))
    assert facts["host"]["cores"] == list(allowed_cores())
    assert facts["host"]["memory"] > 0
    assert len(facts["host"]["load"]) == 3
    assert set(facts["software"]) == {"clipload", "python", "numpy"}
    assert all(isinstance(value, str) for value in facts["software"].values())
