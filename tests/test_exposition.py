"""A live run for Prometheus: a scrape says what the Tallies say, under documented names, on loopback, until the end."""

from __future__ import annotations

import os
import re
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from clipload.cli import _exit_code
from clipload.errors import EXIT_USAGE, HostError
from clipload.exposition import BUCKETS_S, METRICS, Exposed
from clipload.folding import Folding
from clipload.frames import Interval
from tests.end_to_end.runs import check_finished, start_clipload
from tests.servers import running_server
from tests.test_run import open_frames, open_plan

DOCUMENT = Path(__file__).parents[1] / "docs" / "live-metrics.md"
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Watched:
    """A View that keeps what it is shown."""

    def __init__(self) -> None:
        self.sentences: list[str] = []
        self.seconds: list[int] = []
        self.closed = 0

    def said(self, sentence: str) -> None:
        self.sentences.append(sentence)

    def preparing(self, done: int, total: int) -> None:
        self.sentences.append(f"{done}/{total}")

    def interval(self, _: Folding, interval: Interval) -> None:
        self.seconds.append(interval.index)

    def close(self) -> None:
        self.closed += 1


def scraped(url: str) -> Samples:
    with urllib.request.urlopen(url, timeout=10) as reply:
        text = reply.read().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def measured(name: str, **labels: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    return name, tuple(sorted(({"phase": "measure"} | labels).items()))


def fed(exposed: Exposed) -> Folding:
    opening, *frames = open_frames()
    folding = Folding(opening)  # type: ignore[arg-type]
    for frame in frames:
        folding.add(frame)  # type: ignore[arg-type]
        if isinstance(frame, Interval):
            exposed.interval(folding, frame)
    return folding


def test_a_scrape_is_the_sum_of_the_tallies() -> None:
    watched = Watched()
    exposed = Exposed(watched, open_plan(), 0)
    try:
        assert scraped(exposed.url)["clipload_elapsed_seconds", ()] == 0
        run = fed(exposed).finish()
        found = scraped(exposed.url)
    finally:
        exposed.end()
    assert found[measured("clipload_requests_total", fate="ok")] == run.measure["ok"] == 27
    assert found[measured("clipload_requests_total", fate="http_500")] == 2
    assert found[measured("clipload_requests_total", fate="timeout")] == 1
    assert found[measured("clipload_scheduled_total")] == run.measure["scheduled"]
    assert found["clipload_requests_total", (("fate", "reset"), ("phase", "warmup"))] == 1
    latency = run.measure.histogram("latency")
    assert found[measured("clipload_latency_seconds_count")] == latency.total
    assert found[measured("clipload_latency_seconds_sum")] == pytest.approx(latency.mean * latency.total / 1e9)
    for edge in BUCKETS_S:
        below = latency.total - latency.count_above(round(edge * 1e9))
        assert found[measured("clipload_latency_seconds_bucket", le=f"{edge:g}")] == below
    assert found["clipload_worker_cpu_seconds_total", (("worker", "0"),)] == pytest.approx(0.5)
    assert (found["clipload_elapsed_seconds", ()], found["clipload_in_flight", ()]) == (3, 0)


def test_every_metric_is_documented_and_every_documented_one_is_there() -> None:
    exposed = Exposed(Watched(), open_plan(), 0)
    try:
        fed(exposed)
        with urllib.request.urlopen(exposed.url, timeout=10) as reply:
            text = reply.read().decode()
    finally:
        exposed.end()
    told = {match[1]: match[2] for match in re.finditer(r"^# HELP (\S+) (.*)$", text, re.MULTILINE)}
    assert told == METRICS
    rows = re.findall(r"^\| `(\w+)` \| [^|]*\| (.*) \|$", DOCUMENT.read_text(), re.MULTILINE)
    assert dict(rows) == METRICS


def test_the_other_view_sees_all_that_it_would_have_seen() -> None:
    watched = Watched()
    exposed = Exposed(watched, open_plan(), 0)
    try:
        exposed.preparing(1, 2)
        exposed.said("something")
        fed(exposed)
        exposed.close()
    finally:
        exposed.end()
    assert watched.sentences == [f"prometheus: {exposed.url}", "1/2", "something"]
    assert watched.seconds == [frame.index for frame in open_frames() if isinstance(frame, Interval)]
    assert watched.closed == 1
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(exposed.url, timeout=2)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_whoever_answers_keeps_off_the_workers_cores() -> None:
    """The supervisor is pinned after the port was opened."""
    exposed, allowed = Exposed(Watched(), open_plan(), 0), os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {max(allowed)})
        fed(exposed)
        thread = next(one for one in threading.enumerate() if one is exposed._thread)
        assert thread.native_id is not None
        assert os.sched_getaffinity(thread.native_id) == {max(allowed)}
    finally:
        os.sched_setaffinity(0, allowed)
        exposed.end()


def test_a_port_that_cannot_be_had_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for port in (taken.getsockname()[1], 70_000):
            with pytest.raises(HostError) as raised:
                Exposed(Watched(), open_plan(), port)
            assert raised.value.flag == "--prometheus"
            assert "name a free port" in raised.value.remedy
    assert _exit_code(["run", "--prometheus", "0", "--repeats", "2", "--mode", "text"]) == EXIT_USAGE
    assert "--prometheus: shows one run\n  remedy: leave out --repeats" in capsys.readouterr().err


@pytest.mark.slow
def test_a_real_run_is_scraped_while_it_lasts(tmp_path: Path) -> None:
    flags = ("--mode", "text", "--rate", "50", "--duration", "6s", "--pool", "4", "--prometheus", "0")
    with (
        running_server("sim", "--law", "constant(5ms)", "--dim", "8", "--cores", "1") as server,
        start_clipload(*flags, url=server.url, out=tmp_path) as running,
    ):
        said: Callable[[], str | None] = lambda: next((line for line in list(running.lines) if "prometheus: " in line), None)  # noqa: E731
        url = running.wait_for(said).split()[1]
        assert url.startswith("http://127.0.0.1:")
        running.wait_for_second(2)
        running.wait_for(lambda: scraped(url).get(measured("clipload_requests_total", fate="ok"), 0) > 50)
        first = scraped(url)
        assert all(worker.children() == [] for worker in running.workers())
        listening = [c.laddr.port for worker in running.workers() for c in worker.net_connections() if c.status == "LISTEN"]
        assert listening == [], "nothing of it is in a worker"
        running.wait_for(lambda: scraped(url)["clipload_elapsed_seconds", ()] > first["clipload_elapsed_seconds", ()])
        finished = running.finish()
    check_finished(finished)
    ok = first[measured("clipload_requests_total", fate="ok")]
    assert ok <= finished.counts["ok"]
    assert first[measured("clipload_latency_seconds_count")] == ok
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=2)
