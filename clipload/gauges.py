"""What a server tells of itself while it serves: /metrics in Prometheus' text, or SGLang's /v1/loads, in our own few words.

Law: what is not named in `TOLD` is not read. A gauge of several ranks is their sum; idle time and CPU are those of the busiest.
SGLang's tokenizer workers tell but one sum of their CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import orjson

from clipload.sightings import ACTIVE, CPU, IDLE, ITEMS, QUEUED, RUNNING, SCHEDULER

METRICS, LOADS = PATHS = ("/metrics", "/v1/loads")
_SCHEDULER_CPU = CPU + SCHEDULER
TOLD: dict[str, str] = {
    "sglang:num_running_reqs": RUNNING,
    "sglang:num_queue_reqs": QUEUED,
    "sglang:num_requests_total": ITEMS,
    "sglang:http_requests_active": ACTIVE,
    "sglang:scheduler_idle_seconds_total": IDLE,
    "sglang:scheduler_process_cpu_seconds_total": _SCHEDULER_CPU,
    "sglang:process_cpu_seconds_total": CPU,
    "vllm:num_requests_running": RUNNING,
    "vllm:num_requests_waiting": QUEUED,
    "vllm:request_success_total": ITEMS,
}
_BUSIEST: dict[str, Callable[[float, float], float]] = {IDLE: min, _SCHEDULER_CPU: max}


def parse(path: str, body: bytes, served: str) -> dict[str, float]:
    """What stands in a reply to GET `path`; `served`: the path of the load's requests, others are not counted as active.

    ValueError when it is not what is promised there.
    """
    return _metrics(body.decode(), served) if path == METRICS else _loads(orjson.loads(body))


def _metrics(text: str, served: str) -> dict[str, float]:
    """Only the lines that are asked for are parsed: there may be thousands."""
    from prometheus_client.parser import text_string_to_metric_families

    wanted = "\n".join(line for line in text.splitlines() if line.startswith(tuple(TOLD)))
    found: dict[str, float] = {}
    for sample in (sample for family in text_string_to_metric_families(wanted + "\n") for sample in family.samples):
        name = TOLD.get(sample.name)
        if name is None or (name == ACTIVE and sample.labels.get("endpoint", served) != served):
            continue
        if name == CPU:
            name = CPU + sample.labels.get("component", "")
        found[name] = _BUSIEST.get(name, float.__add__)(found[name], sample.value) if name in found else sample.value
    return found


def _loads(document: Any) -> dict[str, float]:
    """Of every data-parallel rank."""
    ranks = document.get("loads") if isinstance(document, dict) else None
    if not isinstance(ranks, list):
        raise ValueError("there is no list of loads")  # noqa: TRY004 - of what was sent, not of an argument
    told = {RUNNING: _sum(ranks, "num_running_reqs"), QUEUED: _sum(ranks, "num_waiting_reqs")}
    return {name: value for name, value in told.items() if value is not None}


def _sum(ranks: Iterable[Any], name: str) -> float | None:
    values = [rank[name] for rank in ranks if isinstance(rank, dict) and isinstance(rank.get(name), int | float)]
    return float(sum(values)) if values else None
