"""A load in words: its loop, its arrivals, its requests."""

from __future__ import annotations

from clipload.plan import Plan
from clipload.rates import parse_burst, parse_ramp, parse_steps


def describe_load(plan: Plan) -> str:
    """One line: the loop, the length, the request."""
    loop = (
        f"open loop, {describe_arrivals(plan)}"
        if plan.open_loop
        else f"closed loop, {plan.concurrency} request{plural(plan.concurrency or 0)} in flight"
    )
    length = f"{plan.num_samples} samples" if plan.num_samples is not None else _length(plan)
    warmup = f" after {plan.warmup} of warm-up" if plan.warmup else ""
    return f"{loop}, {length}{warmup}"


def describe_arrivals(plan: Plan) -> str:
    """The law of the gaps, and the rate as it changes."""
    law = plan.arrival if plan.cv is None else f"{plan.arrival} (cv {plan.cv:g})"
    if plan.trace is not None:
        return f"arrivals of the trace {plan.trace}" + (f", {plan.speedup:g} times as fast" if plan.speedup else "")
    if plan.ramp is not None:
        first, last = parse_ramp(plan.ramp)
        return f"{law} arrivals, from {first:g} to {last:g} requests/s"
    if plan.steps is not None:
        return f"{law} arrivals in steps of {', '.join(f'{rate:g}' for rate in parse_steps(plan.steps))} requests/s"
    burst = ""
    if plan.burst is not None:
        each = parse_burst(plan.burst)
        burst = f", {each.rate:g} for {each.length} in every {each.period}"
    return f"{law} arrivals at {plan.rate:g} requests/s{burst}"


def describe_requests(plan: Plan) -> str:
    vectors = plan.vectors_per_request
    pairs = {"text": "text", "image": "image", "multimodal": "(text, image) pair"}
    what = _mixture(plan) if plan.mode == "mixed" else pairs[plan.mode] + plural(plan.batch_size)
    body = f"{plan.batch_size} {what} = {vectors} vector{plural(vectors)}"
    source = f"{plan.data_source} {plan.data}".strip() + (", none sent twice" if plan.unique else "")
    by = "" if plan.image_transport == "data-url" or not plan.images_per_request else f", images by {plan.image_transport}"
    return f"{body} a request, from {source}{by}"


def _mixture(plan: Plan) -> str:
    share = f"({50 if plan.text_share is None else 100 * plan.text_share:g} %)"
    return f"text {share} or image" if plan.batch_size == 1 else f"texts {share} and images"


def _length(plan: Plan) -> str:
    """A trace's is that of its last arrival: nobody wrote it, and its nanoseconds are for nobody to read."""
    return f"{plan.duration}" if plan.trace is None or plan.duration is None else f"{plan.duration / 1e9:g}s"


def plural(count: int) -> str:
    return "" if count == 1 else "s"
