"""What surrounds the embeddings: /metrics under SGLang's names, the profiler's switches, and OpenAI instead of SGLang."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator

import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.server.wire import JSON, connect, embed, once
from tests.servers import Server, running_server

HTTP = {"endpoint": "/encode", "method": "POST"}


@pytest.fixture(scope="module")
def strict() -> Iterator[Server]:
    with running_server("sim", "--law", "constant(1us)", "--api", "openai", env={"CLIPLOAD_SERVE_API_KEY": "k"}) as server:
        yield server


def samples(url: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Sample name → its (labels, value)s."""
    answer = once(url, "GET", "/metrics")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    read: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(answer.body.decode()):
        for sample in family.samples:
            read.setdefault(sample.name, []).append((sample.labels, sample.value))
    return read


def value(read: dict[str, list[tuple[dict[str, str], float]]], name: str, **labels: str) -> float:
    """The one value with these labels among others."""
    (found,) = [value for held, value in read[f"sglang:{name}"] if labels.items() <= held.items()]
    return found


def test_metrics_count_items_tokens_and_http_requests() -> None:
    with running_server("sim", "--law", "constant(1ms)", "--enable-metrics", "--served-model-name", "my/clip") as server:
        for _ in range(3):
            assert once(server.url, "POST", "/encode", {"text": ["a", "a dog"]}).status == 200
        assert embed(server.url, "a").status == 200
        assert once(server.url, "POST", "/encode", {}).status == 400
        assert once(server.url, "GET", "/nowhere").status == 404
        read = samples(server.url)
    model = {"model_name": "my/clip", "engine_type": "unified"}
    assert value(read, "num_requests_total", **model, is_streaming="false") == 7
    assert value(read, "prompt_tokens_total", **model) == 3 * (3 + 4) + 3
    assert value(read, "e2e_request_latency_seconds_count", **model) == 7
    assert value(read, "e2e_request_latency_seconds_sum", **model) >= 0.007
    assert value(read, "http_requests_total", **HTTP) == 4
    assert value(read, "http_responses_total", **HTTP, status_code="200") == 3
    assert value(read, "http_responses_total", **HTTP, status_code="400") == 1
    assert value(read, "http_responses_total", endpoint="/nowhere", status_code="404") == 1
    assert value(read, "http_requests_active", **HTTP) == 0
    assert value(read, "http_requests_active", endpoint="/metrics") == 1
    assert value(read, "num_running_reqs", **model, tp_rank="0") == value(read, "num_queue_reqs") == 0
    assert not [name for name in read if name.endswith("_created")]


def test_gauges_show_what_is_served_and_what_waits() -> None:
    with running_server("sim", "--law", "constant(30s)", "--servers", "2", "--enable-metrics") as server:
        connections = [connect(server.url) for _ in range(3)]
        for connection in connections:
            connection.request("POST", "/encode", b'{"text":["a","b"]}', JSON)
            time.sleep(0.1)
        read = samples(server.url)
        for connection in connections:
            connection.close()
    assert (value(read, "num_running_reqs"), value(read, "num_queue_reqs")) == (4, 2)
    assert value(read, "http_requests_active", **HTTP) == 3


def test_a_connection_that_was_cut_is_no_response() -> None:
    with running_server("sim", "--reset-rate", "1", "--enable-metrics") as server:
        with pytest.raises((ConnectionResetError, http.client.RemoteDisconnected)):
            once(server.url, "POST", "/encode", {"text": "a"})
        read = samples(server.url)
    assert value(read, "http_requests_total", **HTTP) == 1
    assert not [labels for labels, _ in read.get("sglang:http_responses_total", []) if labels["endpoint"] == "/encode"]


def test_metrics_are_there_only_when_asked_for(sim: Server) -> None:
    assert once(sim.url, "GET", "/metrics").status == 404


@pytest.mark.slow
def test_the_clip_engine_is_counted_too(clip: Server) -> None:
    before = value(samples(clip.url), "num_requests_total")
    assert once(clip.url, "POST", "/encode", {"text": ["a", "b"]}).status == 200
    read = samples(clip.url)
    assert value(read, "num_requests_total", model_name="clipload/random-clip-tiny") == before + 2
    assert (value(read, "num_running_reqs"), value(read, "num_queue_reqs")) == (0, 0)


def profiles(server: Server) -> list[dict[str, int | None]]:
    return once(server.url, "GET", "/server_info").json["profiles"]


def test_a_profile_is_begun_and_ended(sim: Server) -> None:
    began = time.monotonic_ns()
    assert profiles(sim) == []
    early = once(sim.url, "POST", "/stop_profile")
    assert (early.status, early.body) == (500, b"Internal Server Error")
    for method, body in (("POST", {"num_steps": 3, "activities": ["CPU"]}), ("GET", None)):  # twice is once
        answer = once(sim.url, method, "/start_profile", body)
        assert (answer.status, answer.body) == (200, b"Start profiling.\n")
    ((start,),) = [[profile["start_ns"]] for profile in profiles(sim)]
    assert profiles(sim)[0]["stop_ns"] is None
    answer = once(sim.url, "POST", "/stop_profile")
    assert (answer.status, answer.body) == (200, b"Stop profiling. This will take some time.\n")
    (profile,) = profiles(sim)
    assert began < profile["start_ns"] == start < profile["stop_ns"] < time.monotonic_ns()
    assert once(sim.url, "GET", "/stop_profile").status == 500
    once(sim.url, "GET", "/start_profile")
    assert [one["stop_ns"] is None for one in profiles(sim)] == [False, True]
    once(sim.url, "GET", "/stop_profile")


@pytest.mark.parametrize("body", [b"{", b"[1]", b'{"num_steps":"x"}', b'{"start_step":1.5}'])
def test_a_profile_with_options_that_are_none_is_refused(sim: Server, body: bytes) -> None:
    before = profiles(sim)
    answer = once(sim.url, "POST", "/start_profile", body)
    assert (answer.status, answer.json["type"], answer.json["code"]) == (400, "Bad Request", 400)
    assert profiles(sim) == before


def test_openai_in_the_place_of_sglang(strict: Server) -> None:
    with openai.OpenAI(base_url=f"{strict.url}/v1", api_key="k", max_retries=0, timeout=30) as client:
        reply = client.embeddings.create(model="m", input=["a", "b"])
        assert len(reply.data) == 2
        with pytest.raises(openai.BadRequestError) as caught:
            client.embeddings.create(model="m", input=["a", ""])
        assert (caught.value.type, caught.value.param) == ("invalid_request_error", "input")
        with pytest.raises(openai.BadRequestError, match="context length"):
            client.embeddings.create(model="m", input="a " * 100)
    bearer = JSON | {"authorization": "Bearer k"}
    assert once(strict.url, "POST", "/v1/embeddings", {"input": "a"}, bearer).json["error"]["param"] == "model"
    assert once(strict.url, "POST", "/v1/embeddings", {"input": "a"}, {"authorization": "Bearer k"}).status == 400
    refused = once(strict.url, "POST", "/v1/embeddings", {"input": "a"})
    assert (refused.status, refused.json["error"]["code"]) == (401, "invalid_api_key")
    assert once(strict.url, "GET", "/v1/models").json == {"error": "Unauthorized"}
    assert once(strict.url, "POST", "/encode", {"text": "a"}).json == {"error": "Unauthorized"}
    assert once(strict.url, "POST", "/encode", {"text": "a"}, bearer).status == 200


def test_the_null_server_can_be_openai_too() -> None:
    with running_server("null", "--api", "openai", env={"CLIPLOAD_SERVE_API_KEY": "k"}) as server:
        assert once(server.url, "POST", "/v1/embeddings", {"input": "a"}).json["error"]["code"] == "invalid_api_key"
        bearer = JSON | {"authorization": "Bearer k"}
        assert once(server.url, "POST", "/v1/embeddings", {"input": "a", "model": "m"}, bearer).json["object"] == "list"
        assert once(server.url, "POST", "/v1/embeddings", {"input": "a"}, bearer).status == 400
