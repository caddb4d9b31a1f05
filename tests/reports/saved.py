"""Runs made by hand as they lie on a disk, and a few Runs in memory, for the tests of reports."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from clipload.archive import Journal
from clipload.frames import Frame
from clipload.pacing import PHASES
from clipload.plan import Plan
from clipload.run import Run
from clipload.tally import Tally
from clipload.units import Duration
from tests.test_run import (
    FACTS,
    MS,
    START,
    S,
    answers,
    closing,
    interval,
    open_frames,
    opening,
    planned,
    run_of,
    tally,
    with_done,
)


def save(directory: Path, frames: Iterable[Frame]) -> Path:
    """A run directory with just its journal: all else follows from it."""
    directory.mkdir(parents=True)
    journal = Journal(directory / "journal.bin")
    for frame in frames:
        journal.append(frame)
    journal.close()
    return directory


def saved_run(directory: Path) -> Path:
    """The open loop of two workers that has something of everything."""
    return save(directory, open_frames())


def frames_of(plan: Plan, intervals: list[Any], end_s: float) -> list[Frame]:
    """The journal of a complete Run."""
    run = run_of(plan, intervals, end_s)
    return [opening(plan), *with_done(intervals), closing(planned(run), end_s)]


def measured(
    *,
    seconds: int = 40,
    per_s: int = 50,
    ms: float = 20.0,
    spread: float = 0.2,
    failing: int = 0,
    lag_ns: int = 20_000,
    seed: int = 1,
    batch: int = 1,
    **plan: Any,
) -> tuple[Plan, list[Any]]:
    """Plan and intervals of one worker whose latencies are log-normal around `ms`; `failing` requests a second end in 503."""
    rng = np.random.default_rng(seed)
    loop = {"rate": float(per_s + failing)} if "concurrency" not in plan else {}
    made = Plan(**(loop | {"duration": Duration.seconds(seconds), "workers": 1, "batch_size": batch} | plan))
    frames = []
    for index in range(seconds):
        latencies = rng.lognormal(np.log(ms * MS), spread, per_s).astype(np.int64).tolist()
        part = answers(latencies, lag_ns)
        part.counts["samples"] = per_s * batch
        if failing:
            part += tally({"scheduled": failing, "error.http_503": failing}, failed=[2 * MS] * failing)
        last = {"final": True} if index == seconds - 1 else {}
        frames.append(interval(0, index, {"measure": part}, in_flight=3, waiting=1, connections=4, cpu_ns=100 * MS, **last))
    return made, frames


def run(*, seconds: int = 40, ended: str = "complete", **more: Any) -> Run:
    """A Run of `measured`."""
    plan, frames = measured(seconds=seconds, **more)
    return run_of(plan, frames, float(seconds), ended=ended, facts=FACTS, steady_ns=START + seconds * S)


def loop(concurrency: int, requests_per_s: int, **more: Any) -> Run:
    """A closed loop of which Little's law holds."""
    return run(concurrency=concurrency, per_s=requests_per_s, ms=1000 * concurrency / requests_per_s, seconds=20, **more)


def nothing() -> Run:
    """A Run whose target never answered."""
    failed = tally({"scheduled": 5, "error.connect": 5}, failed=[MS] * 5)
    return run_of(Plan(rate=5.0, duration=Duration.seconds(1)), [interval(0, 0, {"measure": failed}, final=True)], 1.0)


def total(run_: Run) -> Tally:
    """All phases together."""
    found = Tally()
    for name in PHASES:
        found += run_.phases[name]
    return found
