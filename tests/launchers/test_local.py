"""The local launcher against a worker that talks as workers do, up to its last word, which it never says."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from clipload.arena import ArenaMap
from clipload.credentials import Credentials
from clipload.folding import Folding
from clipload.frames import SCHEMA, Opening
from clipload.host import Placement
from clipload.launchers import Assignment, Observer
from clipload.launchers.accounts import open_accounts
from clipload.launchers.local import WORKER_DIED, Launch
from clipload.launchers.process import Process
from clipload.pacing import horizon
from clipload.plan import Plan
from clipload.transports import Endpoint
from clipload.units import Duration
from clipload.wire import Ready
from tests.servers import ROOT
from tests.test_run import MS, answers, interval, run_of

pytestmark = pytest.mark.clock

PLAN = Plan(rate=50.0, arrival="constant", duration=Duration.seconds(1), grace=Duration.seconds(1))

# A process that is ready, is told to start, says that it has drained, and hears of nothing more.
MUTE = """
import asyncio, os, sys, time
from time import monotonic_ns
from clipload.wire import Drained, Ready, Uplink

async def main():
    uplink = Uplink(asyncio.get_running_loop(), int(sys.argv[1]))
    uplink.send(Ready(worker=0, pid=os.getpid(), cores=[0], alarm="timerfd", loop="asyncio", connections=0))
    sys.stdin.readline()
    time.sleep(1.3)  # the schedule is over
    uplink.send(Drained(0, monotonic_ns()))
    time.sleep(60)

asyncio.run(main())
"""


class LaunchOfTheMute(Launch):
    """The launcher as it is, but for the program that it starts."""

    async def spawn(self) -> None:
        read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
        popen = psutil.Popen(
            [sys.executable, "-c", MUTE, str(write_fd)], stdin=subprocess.PIPE, pass_fds=(write_fd,), cwd=ROOT
        )  # fmt: skip
        os.close(write_fd)
        process = Process(0, self, popen)
        await asyncio.get_running_loop().connect_read_pipe(lambda: process, os.fdopen(read_fd, "rb", buffering=0))
        self.processes.append(process)


def test_a_worker_without_a_last_word_is_dead_and_its_share_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clipload.launchers.local._LAST_WORD_S", 0.5)
    bounds = PLAN.bounds()
    folded: list[Folding] = []
    said: list[str] = []

    def opened(ready: list[Ready], start_ns: int) -> Folding:
        frame = Opening(
            schema=SCHEMA, plan=PLAN.to_dict(), facts={}, bounds=bounds, start_ns=start_ns, start_wall_s=0.0
        )  # fmt: skip
        folded.append(Folding(frame))
        return folded[-1]

    assignment = Assignment(
        plan=PLAN, arena=ArenaMap(fd=0, items=1, pool=1, items_per_sample=1, columns=1, table=0),
        endpoints=(Endpoint("http://h:1", "h:1", 2, ("127.0.0.1", 1)),),
        credentials=Credentials(), bounds=bounds, pacer=PLAN.pacer, horizon=horizon(PLAN.pacer, PLAN.seed, 1, bounds),
        trace=None, connect_ahead=0,
        connection_limit=1,
        placement=Placement((0,), (0,)), directory=tmp_path,
    )  # fmt: skip
    launch = LaunchOfTheMute(assignment, Observer(opened=opened, frame=lambda _: None, said=said.append))
    closing = asyncio.run(launch.run())
    assert closing.ended == WORKER_DIED
    assert closing.facts == {"dead_workers": [0]}
    assert any("worker 0 died" in sentence for sentence in said)
    folded[0].add(closing)
    run = folded[0].finish()
    run.check_ledger()
    assert (run.measure["planned"], run.measure["scheduled"], run.measure["lost"]) == (50, 50, 50)
    assert not launch.processes[0].popen.is_running()


def test_a_dead_worker_that_sent_past_the_end_lost_only_what_did_not_come_home() -> None:
    """It had not heard of the end 500 ms into the run when it shipped its second, and died without a last word."""
    run = run_of(PLAN, [interval(0, 0, {"measure": answers([MS] * 40, scheduled=50)})], 1.0)
    accounts = open_accounts(
        run, PLAN.pacer, horizon(PLAN.pacer, PLAN.seed, 1, PLAN.bounds()), frozenset({0}), run.start_ns + 500 * MS
    )
    assert accounts[0]["measure"] == {"planned": 50, "not_due": 0, "scheduled": 0, "lost": 10}


def test_an_early_end_is_told_at_once_and_once() -> None:
    ended: list[str] = []
    observer = Observer(lambda _, __: None, lambda _: None, lambda _: None, lambda: ended.append("early"))  # type: ignore[arg-type,return-value]
    launch = Launch(SimpleNamespace(plan=PLAN, bounds=PLAN.bounds()), observer)  # type: ignore[arg-type]
    launch.end("overload")
    assert ended == [], "nothing has begun"
    launch.folding = SimpleNamespace(run=SimpleNamespace(start_ns=0))  # type: ignore[assignment]
    launch.end("overload")
    launch.end("interrupted")
    assert (ended, launch.ended) == (["early"], "overload")
