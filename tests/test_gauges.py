"""What a server tells of itself, from a real SGLang's /metrics and from texts made by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from clipload.gauges import LOADS, METRICS, TOLD, parse
from clipload.sightings import ACTIVE, CPU, IDLE, ITEMS, QUEUED, RUNNING

RECORDED = Path(__file__).parent / "golden" / "sglang_metrics.txt"


def told(*lines: str) -> dict[str, float]:
    return parse(METRICS, "\n".join(lines).encode(), "/v1/embeddings")


def test_a_real_sglang() -> None:
    """0.5.23 with --enable-metrics under a closed loop of texts, as it was recorded."""
    found = parse(METRICS, RECORDED.read_bytes(), "/v1/embeddings")
    assert found.keys() >= {RUNNING, QUEUED, ACTIVE, ITEMS, IDLE, CPU + "tokenizer", CPU + "scheduler", CPU + "detokenizer"}
    assert found[ITEMS] > 0
    assert 0 < found[CPU + "detokenizer"] < found[CPU + "tokenizer"]


def test_what_prometheus_itself_prints() -> None:
    registry = CollectorRegistry()
    Gauge("sglang:num_queue_reqs", "…", ["dp"], registry=registry).labels("0").set(3)
    Counter("sglang:num_requests_total", "…", registry=registry).inc(7)
    assert parse(METRICS, generate_latest(registry), "/encode") == {QUEUED: 3.0, ITEMS: 7.0}


def test_ranks_are_summed_and_the_busiest_counts() -> None:
    assert told(*(f'sglang:num_queue_reqs{{dp_rank="{i}"}} {i + 1}.0' for i in range(3))) == {QUEUED: 6.0}
    assert told(*(f'sglang:scheduler_idle_seconds_total{{tp_rank="{i}"}} {i + 5}.5' for i in range(3))) == {IDLE: 5.5}
    cpu = "sglang:scheduler_process_cpu_seconds_total"
    assert told(*(f'{cpu}{{tp_rank="{i}"}} {i + 5}.5' for i in range(3))) == {CPU + "scheduler": 7.5}


def test_only_the_load_is_active() -> None:
    lines = [f'sglang:http_requests_active{{endpoint="{path}",method="GET"}} 1.0' for path in ("/metrics", "/v1/embeddings")]
    assert told(*lines) == {ACTIVE: 1.0}


def test_what_is_not_asked_for_is_not_parsed() -> None:
    assert told("nonsense { that nobody { can read", "sglang:num_queue_reqs 2.0") == {QUEUED: 2.0}
    assert told("sglang:num_queue_reqs_bucket 2.0", "vllm:num_requests_waiting 4.0") == {QUEUED: 4.0}
    assert told() == {}


def test_a_line_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(ValueError, match="could not convert"):
        told("sglang:num_queue_reqs many")


def test_loads() -> None:
    ranks = (f'{{"num_running_reqs":{i},"num_waiting_reqs":{i + 1}}}' for i in (1, 3))
    body = f'{{"version":"0.5.23","loads":[{",".join(ranks)}]}}'.encode()
    assert parse(LOADS, body, "") == {RUNNING: 4.0, QUEUED: 6.0}
    assert parse(LOADS, b'{"loads":[]}', "") == parse(LOADS, b'{"loads":[7,{"num_running_reqs":"x"}]}', "") == {}


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"loads":5}', b"<html>"])
def test_what_is_no_load(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(LOADS, body, "")


def test_every_name_is_one_that_is_known_here() -> None:
    assert set(TOLD.values()) == {RUNNING, QUEUED, ITEMS, ACTIVE, IDLE, CPU, CPU + "scheduler"}
