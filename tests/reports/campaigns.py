"""Campaigns of a made-up target as they lie on a disk: a find, a sweep over batch sizes, repeats. Nothing waits.

The target is M/M/1-like, CAPACITY requests/s at most: its latencies are exponential with a mean of 1/(CAPACITY − rate).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from clipload import archive, repeats
from clipload.campaign import Campaign, Point
from clipload.plan import Plan
from clipload.run import Run
from clipload.search import Ask
from clipload.searches import answer_of, find_of, sweep_of
from clipload.trials import plan_for, told
from clipload.units import Duration
from clipload.verdict import judge
from tests.reports.saved import save
from tests.test_run import MS, answers, closing, interval, opening, planned, run_of, with_done

CAPACITY = 160.0
AIM = {"start": None, "lowest": None, "highest": None, "most_concurrency": 64, "budget_s": 200.0, "precision": 0.02}


def find(directory: Path, *, slo: str = "p90<100ms", over: Mapping[str, Any] | None = None, unsound: int | None = None) -> Path:
    """`unsound`: the number of a probe whose generator is late."""
    base = {"mode": "text", "slo": [slo], "data_source": "random"}
    return _pursued(find_of(base, {"aim": AIM, "over": dict(over or {})}, directory), unsound)


def sweep(directory: Path) -> Path:
    """Over batch size: 8 ms a batch and half a millisecond a sample."""
    axes = {"batch_size": [1, 2, 4, 8, 16, 32, 64]}
    search = {"axes": axes, "zip": False, "order": "given", "rest_s": 0.0, "seed": 1}
    return _pursued(sweep_of({"mode": "text", "concurrency": 1, "duration": "20s"}, search, directory))


def repeated(directory: Path) -> Path:
    plan = Plan.from_dict({"mode": "text", "rate": 80.0, "duration": "15s", "slo": ["p90<100ms"]})
    return _pursued(repeats.repeats_of(plan, 4, directory))


def _pursued(campaign: Campaign[Any], unsound: int | None = None) -> Path:
    """As `Campaign.pursue` would, in virtual time."""
    campaign.directory.mkdir(parents=True)
    while (ask := campaign.search.ask()) is not None:
        place = campaign.directory / f"run{len(campaign.points):03}"
        plan = plan_for(campaign.base, ask)
        run = _measured(plan, place, len(campaign.points), late=unsound == len(campaign.points))
        verdict = judge(run)
        point = Point(told(ask, run, verdict, _seconds(ask, plan)), run, verdict, place)
        campaign.points.append(point)
        campaign.search.tell(point.told)
    campaign.ended, campaign.answer = "complete", answer_of(campaign)
    campaign.save()
    return campaign.directory


def _seconds(ask: Ask, plan: Plan) -> float:
    return ask.rest_s + ((plan.duration or 0) + plan.warmup) / 1e9


def _measured(plan: Plan, place: Path, number: int, *, late: bool) -> Run:
    """Whole seconds of it: what a rate or a closed loop does. Beyond the capacity each second is slower than the one before."""
    draws = np.random.default_rng([number, plan.seed])
    service_s = (8 + 0.5 * plan.batch_size) / 1000 if plan.batch_size > 1 or plan.concurrency == 1 else 1 / CAPACITY
    seconds, frames = max(3, round((plan.duration or 0) / 1e9)), []
    begin = plan.warmup // 10**9
    for index in range(begin + seconds):
        if plan.rate is not None:
            n, mean = round(plan.rate), 1 / (CAPACITY - plan.rate) if plan.rate < CAPACITY else 0.2 * (index + 1)
            latencies = draws.exponential(mean, n)
        else:
            slots = plan.concurrency or 1
            n = round(min(slots / service_s, CAPACITY if plan.batch_size == 1 else 1 / service_s))
            latencies = draws.normal(slots / n, 0.05 * slots / n, n)
        latencies_ns = np.maximum(latencies * 1e9, MS).astype(np.int64).tolist()
        part = answers(latencies_ns, 80 * MS if late else 20_000, samples=n * plan.batch_size)
        phase = "measure" if index >= begin else "warmup"
        last = {"final": True} if index == begin + seconds - 1 else {}
        frames.append(interval(0, index, {phase: part}, in_flight=3, connections=4, cpu_ns=100 * MS, **last))
    plan = plan.replace(duration=Duration.seconds(seconds), warmup=Duration.seconds(begin))
    run = run_of(plan, frames, float(begin + seconds))
    save(place, [opening(plan), *with_done(frames), closing(planned(run), float(begin + seconds))])
    return archive.load(place)
