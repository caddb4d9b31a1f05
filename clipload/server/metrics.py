"""The reference server's `/metrics`: what a load test reads of SGLang 0.5.23's, under SGLang's names and labels.

Requests of `num_requests_total` and of the gauges are items, as SGLang's scheduler counts them, not HTTP requests.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

from clipload.server.engines import Answer, Engine

PREFIX = "sglang:"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (
    *(0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 4, 6, 8, 10, 20, 40, 60, 80, 100),
    *(200, 400, 600, 1200, 1800, 2400),
)  # s
HTTP = ("endpoint", "method")

Respond = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Metrics:
    """Counts HTTP requests as a middleware, items as they are answered, and asks the engine for its load when read."""

    def __init__(self, model: str, engine: Engine) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # SGLang has none
        self._registry = registry = CollectorRegistry()
        whole = {"model_name": model, "engine_type": "unified"}
        ranks = whole | {"tp_rank": "0", "pp_rank": "0", "moe_ep_rank": "0"}
        for name, what, read in (
            ("num_running_reqs", "The number of running requests.", lambda: engine.load().running),
            ("num_queue_reqs", "The number of requests in the waiting queue.", lambda: engine.load().queued),
        ):
            Gauge(PREFIX + name, what, tuple(ranks), registry=registry).labels(**ranks).set_function(read)
        served = whole | {"is_streaming": "false"}
        names = tuple(served)
        self._items = Counter(f"{PREFIX}num_requests_total", "Requests processed.", names, registry=registry).labels(**served)
        self._tokens = Counter(f"{PREFIX}prompt_tokens_total", "Prefill tokens.", names, registry=registry).labels(**served)
        self._latency = Histogram(
            f"{PREFIX}e2e_request_latency_seconds", "End-to-end latency, s.", names, buckets=BUCKETS, registry=registry
        ).labels(**served)
        self._requests = Counter(f"{PREFIX}http_requests_total", "HTTP requests.", HTTP, registry=registry)
        self._responses = Counter(f"{PREFIX}http_responses_total", "HTTP responses.", (*HTTP, "status_code"), registry=registry)
        self._active = Gauge(f"{PREFIX}http_requests_active", "Active HTTP requests.", HTTP, registry=registry)

    def answered(self, answer: Answer) -> None:
        for _ in answer.tokens:
            self._latency.observe(answer.times.total_ns / 1e9)
        self._items.inc(len(answer.tokens))
        self._tokens.inc(sum(answer.tokens))

    @web.middleware
    async def count_http(self, request: web.Request, handler: Respond) -> web.StreamResponse:
        labels = request.path, request.method
        self._requests.labels(*labels).inc()
        with self._active.labels(*labels).track_inprogress():
            response = await handler(request)
        if request.transport is None or request.transport.is_closing():  # cut, or the client has gone: nobody was answered
            return response
        self._responses.labels(*labels, str(response.status)).inc()
        return response

    async def respond(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE})
