"""Several base URLs: who gets which request is in the Plan, each has its own connections, FIFO and figures."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from clipload.arena import count_bodies
from clipload.dialects import dialect_for
from clipload.host import allowed_cores
from clipload.pacing import BODIES, URLS, Shuffle
from clipload.plan import Plan
from clipload.sources import source_for
from tests.end_to_end.runs import TARGET, check_finished, run_clipload, start_clipload
from tests.recording import recording
from tests.servers import Server, running_server

REQUESTS = 150
TEXT = ("--mode", "text")


@pytest.fixture(scope="module")
def fast() -> Iterator[Server]:
    with running_server("sim", "--law", "constant(1ms)", "--servers", "4", "--dim", "64", "--cores", "1") as server:
        yield server


@pytest.fixture(scope="module")
def slow() -> Iterator[Server]:
    """One request at a time, 50 ms each: 20 requests/s are all that it can do."""
    with running_server("sim", "--law", "constant(50ms)", "--dim", "64", "--cores", "1") as server:
        yield server


def check_sums(document: dict[str, Any]) -> None:
    """The targets' parts add up to the whole: every fate, every histogram."""
    total, parts = document["phases"]["measure"], document["targets"]
    for name, count in total["counts"].items():
        assert sum(part["counts"].get(name, 0) for part in parts) == count or name in ("planned", "not_due"), name
    for name, histogram in total["histograms"].items():
        assert sum(part["histograms"].get(name, {"count": 0})["count"] for part in parts) == histogram["count"], name
    assert sum(part["requests_per_s"] for part in parts) == pytest.approx(document["requests_per_s"])


def expected(plan: Plan) -> list[Counter[bytes]]:
    """The bodies' hashes that each URL is to get: from the Plan alone."""
    samples = list(source_for(plan.data_source, mode=plan.mode, seed=plan.seed).draw(plan.pool))
    dialect = dialect_for(plan.api, plan.model, plan.encoding_format, plan.mode)
    bodies = [sha256(dialect.encode([samples[b]])).digest() for b in range(count_bodies(len(samples), 1))]
    url, body = Shuffle(len(plan.base_url), plan.seed, URLS), Shuffle(len(bodies), plan.seed, BODIES)
    found: list[Counter[bytes]] = [Counter() for _ in plan.base_url]
    for i in range(REQUESTS):
        found[url(i)][bodies[body(i)]] += 1
    return found


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_who_gets_what_is_in_the_plan(tmp_path: Path, workers: int) -> None:
    """Three servers, twenty bodies: no worker is tied to a server, no server to a body, whatever the number of workers."""
    cores = allowed_cores()[:workers]
    if len(cores) < workers:
        pytest.skip("two workers need two cores")
    with ExitStack() as stack:
        recorded, urls = zip(*(stack.enter_context(recording(1)) for _ in range(3)), strict=True)
        flags = ["--mode", "image", "--pool", "20", "--rate", "150", "--num-samples", str(REQUESTS), "--seed", "5"]
        named = [flag for url in urls for flag in ("--base-url", url)]
        done = run_clipload(*flags, *named, "--workers", str(workers), out=tmp_path, cores=",".join(map(str, cores)))
    check_finished(done)
    check_sums(done.document)
    plan, start_ns = Plan.from_dict(done.document["plan"]), done.document["start_ns"]
    assert plan.base_url == urls
    seen = [Counter(body for at, body in one.arrivals if at >= start_ns) for one in recorded]
    assert seen == expected(plan)
    assert [sum(counter.values()) for counter in seen] == [50, 50, 50]
    assert [part["url"] for part in done.document["targets"]] == list(urls)
    assert [part["counts"]["ok"] for part in done.document["targets"]] == [50, 50, 50]


@pytest.mark.slow
def test_a_slow_server_delays_no_request_of_the_other(fast: Server, slow: Server, tmp_path: Path) -> None:
    """Each gets 40 requests/s; one can do 20. Two connections each: the queue of the slow one is its own."""
    flags = [*TEXT, "--rate", "80", "--duration", "2s", "--max-connections", "2", "--base-url", slow.url]
    done = run_clipload(*flags, url=fast.url, out=tmp_path)
    check_finished(done)
    check_sums(done.document)
    late, quick = done.document["targets"]
    assert (late["url"], quick["url"]) == (slow.url, fast.url)
    assert late["histograms"]["service"]["min"] >= 49_000_000
    assert late["histograms"]["latency"]["p99"] > 500_000_000
    assert late["histograms"]["wait"]["p99"] > 500_000_000
    assert quick["histograms"]["latency"]["p50"] < 49_000_000
    assert quick["histograms"]["wait"]["p50"] < 49_000_000
    assert late["requests_per_s"] < 21 < quick["requests_per_s"]
    for part in (late, quick):
        assert f"{part['url']}\n" in done.stderr


@pytest.mark.slow
def test_a_closed_loop_shares_its_slots(fast: Server, slow: Server, tmp_path: Path) -> None:
    """A slot goes where its next request goes: both servers get the same number of requests, at the pace of the slower."""
    flags = [*TEXT, "--concurrency", "4", "--num-samples", "60", "--base-url", slow.url]
    done = run_clipload(*flags, url=fast.url, out=tmp_path)
    check_finished(done)
    check_sums(done.document)
    assert [part["counts"]["ok"] for part in done.document["targets"]] == [30, 30]
    assert done.document["requests_per_s"] < 50


@pytest.mark.slow
def test_one_that_dies_is_named_and_the_load_goes_on(fast: Server, tmp_path: Path) -> None:
    flags = [*TEXT, "--rate", "200", "--duration", "4s", "--base-url", fast.url]
    with (
        running_server("sim", "--law", "constant(1ms)", "--dim", "64", "--cores", "1") as mortal,
        start_clipload(*flags, url=mortal.url, out=tmp_path) as running,
    ):
        running.wait_for_second(1)
        mortal.process.kill()
        done = running.finish()
    check_finished(done, code=TARGET)
    check_sums(done.document)
    healthy, dead = done.document["targets"]
    assert (healthy["gone"], dead["gone"]) == (False, True)
    assert set(healthy["counts"]) & {"error.connect", "error.reset"} == set()
    assert dead["counts"]["error.connect"] >= 50
    assert any(f"{mortal.url} refused every connection in the end" in said for said in done.findings)


def test_servers_of_two_models_are_refused(fast: Server, tmp_path: Path) -> None:
    with running_server("sim", "--law", "constant(1ms)", "--dim", "32", "--cores", "1") as other:
        done = run_clipload(*TEXT, "--base-url", other.url, url=fast.url, out=tmp_path)
    assert done.code == TARGET
    assert "not the same model" in done.stderr
    assert (fast.url in done.stderr, other.url in done.stderr) == (True, True)
    assert not list(tmp_path.iterdir())


def test_each_must_be_there(fast: Server, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        done = run_clipload(*TEXT, "--base-url", fast.url, url=url, out=tmp_path)
    assert done.code == TARGET
    assert f"{url} cannot be reached" in done.stderr
