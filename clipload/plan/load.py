"""What a load may not be: loops, lengths and shapes that contradict each other. PlanError names the flag and the remedy."""

from __future__ import annotations

from clipload.errors import PlanError
from clipload.plan.schema import LOADS, Fields
from clipload.plan.spec import flag_of
from clipload.rates import MOST_PIECES, parse_burst

LOWEST_CV, HIGHEST_CV = 0.01, 10.0
LOWEST_SPEEDUP, HIGHEST_SPEEDUP = 1e-3, 1e3
SHAPES = ("ramp", "steps", "burst")  # what makes the rate of an open loop change


def check_load(plan: Fields) -> None:
    given = [name for name in LOADS if getattr(plan, name) is not None]
    if len(given) > 1:
        raise PlanError(
            f"contradicts {flag_of(given[1])}",
            flag=flag_of(given[0]),
            remedy="a closed loop has --concurrency, an open loop has --rate, --ramp, --steps or --trace: give one",
        )
    if plan.duration is not None and plan.num_samples is not None:
        raise PlanError("contradicts --num-samples", flag="--duration", remedy="give one of the two")
    if plan.concurrency is not None:
        if plan.concurrency < plan.workers:
            raise PlanError(
                f"{plan.workers} workers cannot share {plan.concurrency} requests in flight",
                flag="--workers",
                remedy="use at most one worker for each request in flight",
            )
        for name, why in (
            ("max_backlog", "--concurrency is all that can be outstanding"),
            ("max_connections", "--concurrency is the cap"),
        ):
            if getattr(plan, name) is not None:
                raise PlanError(
                    f"means nothing in a closed loop: {why}", flag=flag_of(name), remedy="leave it out, or use --rate"
                )
        if plan.cooldown:
            raise PlanError("means nothing in a closed loop", flag="--cooldown", remedy="leave it out, or use --rate")
    if plan.stagger:
        _check_stagger(plan)
    if plan.max_connections is not None and plan.max_connections < plan.workers:
        raise PlanError(
            f"{plan.workers} workers cannot share {plan.max_connections} connections",
            flag="--max-connections",
            remedy="allow at least one for each worker",
        )


def _check_stagger(plan: Fields) -> None:
    flag = "--stagger"
    if plan.open_loop:
        raise PlanError("an open loop has one schedule for all workers", flag=flag, remedy="leave it out, or use --concurrency")
    if plan.workers == 1:
        raise PlanError("means nothing with one worker", flag=flag, remedy="leave it out, or use more --workers")
    if plan.duration is not None and plan.stagger * (plan.workers - 1) >= plan.warmup + plan.duration:
        raise PlanError("the last worker would begin after the end", flag=flag, remedy="use a longer --duration")


def check_shape(plan: Fields) -> None:
    """What an open loop's rate and gaps may look like, together."""
    if (plan.arrival == "gamma") != (plan.cv is not None):
        what = "is needed with --arrival gamma" if plan.cv is None else "means nothing without --arrival gamma"
        raise PlanError(what, flag="--cv", remedy="write --arrival gamma --cv 2, or leave both out")
    if plan.cv is not None and not plan.open_loop:
        raise PlanError("means nothing in a closed loop", flag="--cv", remedy="leave it out, or use --rate")
    if plan.cv is not None and not LOWEST_CV <= plan.cv <= HIGHEST_CV:
        raise PlanError(f"{plan.cv:g} cannot be", flag="--cv", remedy=f"use a number from {LOWEST_CV:g} to {HIGHEST_CV:g}")
    if plan.trace is not None and plan.arrival == "gamma":
        raise PlanError("has a law of its own, whatever it is", flag="--trace", remedy="leave out --arrival and --cv")
    if plan.speedup is not None and (plan.trace is None or not LOWEST_SPEEDUP <= plan.speedup <= HIGHEST_SPEEDUP):
        what = "means nothing without --trace" if plan.trace is None else f"{plan.speedup:g} cannot be"
        raise PlanError(what, flag="--speedup", remedy=f"with --trace, use {LOWEST_SPEEDUP:g} to {HIGHEST_SPEEDUP:g}")
    if plan.burst is not None and plan.rate is None:
        raise PlanError("needs a rate between the bursts", flag="--burst", remedy="give --rate as well")
    for name in SHAPES:
        if getattr(plan, name) is not None and plan.num_samples is not None:
            raise PlanError("lies within a duration", flag=flag_of(name), remedy="give --duration instead of --num-samples")
    if plan.burst is not None:
        period = parse_burst(plan.burst).period
        if period > int(plan.duration or 0):
            raise PlanError(f"no period of {period} ends in {plan.duration}", flag="--burst", remedy="use a longer --duration")
        if int(plan.duration or 0) // period > MOST_PIECES:
            raise PlanError(f"more than {MOST_PIECES} bursts", flag="--burst", remedy="use a longer period")


def check_until(plan: Fields) -> None:
    """An early end needs one steady load, bounded by a duration. And no objective is said twice."""
    twice = next((text for text in plan.slo if plan.slo.count(text) > 1), None)
    if twice:
        raise PlanError(f"{twice} is given twice", flag="--slo", remedy="give each objective once")
    if plan.until is None:
        return
    if plan.num_samples is not None:
        raise PlanError("lies within a duration", flag="--until", remedy="give --duration instead of --num-samples")
    changing = next((name for name in (*SHAPES, "trace") if getattr(plan, name) is not None), None)
    if changing:
        what = f"means nothing with {flag_of(changing)}: a load that changes has no one figure"
        raise PlanError(what, flag="--until", remedy="use --rate or --concurrency")
    if plan.cooldown:
        raise PlanError("a run that ends early has no cool-down", flag="--until", remedy="leave out --cooldown")


def check_machine(plan: Fields) -> None:
    if plan.cores is not None and len(plan.cores) < plan.workers and not plan.share_cores:
        raise PlanError(
            f"{len(plan.cores)} cores for {plan.workers} workers",
            flag="--cores",
            remedy="name one core for each worker: two on one core slow each other, and the figures would say so of the server "
            "(--share-cores allows it)",
        )
