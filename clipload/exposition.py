"""A live run for Prometheus: `/metrics` on loopback while the run lasts, told by the supervisor alone.

Laws: counters are the sums that the Tallies have come home with, so the last scrape of a run equals its documents but for what
ended after it; a scrape reads what was put ready when a second was whole, and never waits for the run, nor the run for it.
Names and meanings: METRICS, and docs/live-metrics.md.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from clipload.errors import HostError
from clipload.folding import Folding
from clipload.frames import Interval
from clipload.histogram import Histogram
from clipload.measurement import View
from clipload.pacing import PHASES
from clipload.plan import Plan
from clipload.tally import ERROR

LOOPBACK = "127.0.0.1"
BUCKETS_S = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
FATES = ("ok", "timeout", "censored", "unsent", "lost")
HISTOGRAMS = {"latency": "clipload_latency_seconds", "service": "clipload_service_seconds", "lag": "clipload_lag_seconds"}
METRICS = {
    "clipload_run_info": "The run's name, loop, mode and API; no address, since one may hold a secret.",
    "clipload_elapsed_seconds": "Time since the start, in whole seconds that all workers have reported.",
    "clipload_scheduled_total": "Requests that became due, by phase.",
    "clipload_requests_total": "Requests that ended, by phase and fate: ok, timeout, or the class of the error.",
    "clipload_samples_total": "Samples that came back ok, by phase.",
    "clipload_latency_seconds": "Latency of ok requests (done - due), by phase.",
    "clipload_service_seconds": "Service time of ok requests (done - sent), by phase.",
    "clipload_lag_seconds": "How late requests went out for the generator's own reasons, by phase.",
    "clipload_in_flight": "Requests sent and unanswered at the end of the last whole second.",
    "clipload_waiting": "Requests due that had no connection then.",
    "clipload_connections": "Open connections then.",
    "clipload_worker_cpu_seconds_total": "CPU time of each worker.",
    "clipload_worker_starved_seconds_total": "Time that each worker waited for its core.",
}


@dataclass(frozen=True)
class Snapshot:
    """What a scrape is told. `counts` by phase; `buckets`: (metric, phase) -> (cumulative counts, sum in s)."""

    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    buckets: dict[tuple[str, str], tuple[list[tuple[str, float]], float]] = field(default_factory=dict)
    workers: dict[int, tuple[float, float]] = field(default_factory=dict)
    levels: tuple[int, int, int] = (0, 0, 0)  # in flight, waiting, connections
    elapsed_s: int = 0


class Live(Collector):
    """Yields the last Snapshot in Prometheus's families."""

    def __init__(self, plan: Plan) -> None:
        self.snapshot = Snapshot()
        loop = "open" if plan.open_loop else "closed"
        self._info = {"name": plan.name, "loop": loop, "mode": plan.mode, "api": plan.api}

    def collect(self) -> Iterator[Any]:
        seen = self.snapshot
        yield InfoMetricFamily("clipload_run", METRICS["clipload_run_info"], value=self._info)
        yield _gauge("clipload_elapsed_seconds", seen.elapsed_s)
        yield from self._counters(seen)
        for name in HISTOGRAMS.values():
            family = HistogramMetricFamily(name, METRICS[name], labels=["phase"])
            for (metric, phase), (buckets, total) in seen.buckets.items():
                if metric == name:
                    family.add_metric([phase], buckets, total)
            yield family
        for name, level in zip(("clipload_in_flight", "clipload_waiting", "clipload_connections"), seen.levels):
            yield _gauge(name, level)
        for place, name in enumerate(("clipload_worker_cpu_seconds_total", "clipload_worker_starved_seconds_total")):
            times = CounterMetricFamily(name, METRICS[name], labels=["worker"])
            for worker, sums in seen.workers.items():
                times.add_metric([str(worker)], sums[place])
            yield times

    @staticmethod
    def _counters(seen: Snapshot) -> Iterator[Any]:
        scheduled, samples = (
            CounterMetricFamily(name, METRICS[name], labels=["phase"])
            for name in ("clipload_scheduled_total", "clipload_samples_total")
        )
        name = "clipload_requests_total"
        requests = CounterMetricFamily(name, METRICS[name], labels=["phase", "fate"])
        for phase, counts in seen.counts.items():
            scheduled.add_metric([phase], counts.get("scheduled", 0))
            samples.add_metric([phase], counts.get("samples", 0))
            for count, number in counts.items():
                if count in FATES or count.startswith(ERROR):
                    requests.add_metric([phase, count.removeprefix(ERROR)], number)
        yield from (scheduled, requests, samples)


def _gauge(name: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, METRICS[name], value=value)


def snapshot(folding: Folding, index: int) -> Snapshot:
    """Of all that has come home; levels of the second `index`, which is whole."""
    accounts, second = folding.run.workers, folding.seconds[index]
    counts: dict[str, dict[str, int]] = {}
    buckets = {}
    for phase in PHASES:
        tallies = [account.phases[phase] for account in accounts.values()]
        sums: dict[str, int] = {}
        for tally in tallies:
            for name, count in tally.counts.items():
                sums[name] = sums.get(name, 0) + count
        if not sums:
            continue
        counts[phase] = sums
        for name, metric in HISTOGRAMS.items():
            buckets[metric, phase] = _cumulative([tally.histogram(name) for tally in tallies])
    workers = {number: (account.cpu_ns / 1e9, account.starved_ns / 1e9) for number, account in accounts.items()}
    return Snapshot(counts, buckets, workers, (second.in_flight, second.waiting, second.connections), index + 1)


def _cumulative(parts: list[Histogram]) -> tuple[list[tuple[str, float]], float]:
    total = sum(part.total for part in parts)
    below = [(f"{edge:g}", float(total - sum(part.count_above(round(edge * 1e9)) for part in parts))) for edge in BUCKETS_S]
    return [*below, ("+Inf", float(total))], sum(part.mean * part.total for part in parts if part.total) / 1e9


class Exposed:
    """A View that shows another one what it is told, and the run to Prometheus."""

    def __init__(self, view: View, plan: Plan, port: int) -> None:
        """Listens at once, on loopback; port 0: any free one. HostError when it cannot."""
        self._view, self._live, self._workers = view, Live(plan), plan.workers
        self._seen: dict[int, int] = {}
        self._pinned = False
        registry = CollectorRegistry()
        registry.register(self._live)
        self._server, self._thread = _serve(port, registry)
        self.url = f"http://{LOOPBACK}:{self._server.server_port}/metrics"
        view.said(f"prometheus: {self.url}")

    def said(self, sentence: str) -> None:
        self._view.said(sentence)

    def preparing(self, done: int, total: int) -> None:
        self._view.preparing(done, total)

    def interval(self, folding: Folding, interval: Interval) -> None:
        self._pin()
        self._seen[interval.index] = self._seen.get(interval.index, 0) + 1
        if self._seen[interval.index] >= self._workers:
            self._live.snapshot = snapshot(folding, interval.index)
        self._view.interval(folding, interval)

    def _pin(self) -> None:
        """By now the supervisor keeps off the workers' cores; the thread that answers began before, and threads that it starts
        inherit its own cores."""
        if not self._pinned and self._thread.native_id is not None and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(self._thread.native_id, os.sched_getaffinity(0))
        self._pinned = True

    def close(self) -> None:
        """May be called again."""
        self._view.close()

    def end(self) -> None:
        """Stops listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _serve(port: int, registry: CollectorRegistry) -> tuple[WSGIServer, threading.Thread]:
    try:
        return start_http_server(port, addr=LOOPBACK, registry=registry)
    except (OSError, OverflowError) as error:
        what = f"cannot listen on port {port} of {LOOPBACK}: {getattr(error, 'strerror', None) or error}"
        raise HostError(what, flag="--prometheus", remedy="name a free port from 1024 to 65535, or 0 for any") from error
