"""The sim engine over real sockets. Times are only ever asserted from below: nothing departs before its instant."""

from __future__ import annotations

import http.client
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from clipload.server.faults import Lottery
from tests.server.wire import JSON, ask, connect, embed
from tests.servers import running_server

pytestmark = pytest.mark.clock

MS = 10**6


def _timed(url: str) -> tuple[int, int, int]:
    """(sent, done, status), ns."""
    sent = time.monotonic_ns()
    status = embed(url, "a").status
    return sent, time.monotonic_ns(), status


def test_replies_keep_the_order_and_the_rate_of_the_queue() -> None:
    with running_server("sim", "--law", "constant(30ms)") as server, ThreadPoolExecutor(8) as pool:
        times = sorted(pool.map(_timed, [server.url] * 8), key=lambda one: one[1])
    first_sent = min(sent for sent, _, _ in times)
    for place, (sent, done, status) in enumerate(times):
        assert status == 200
        assert done - sent >= 30 * MS
        assert done - first_sent >= (place + 1) * 30 * MS


def test_a_batch_takes_as_long_as_its_law_says() -> None:
    """One alone takes 250 ms; the three that meet meanwhile 350 ms more, together."""
    with running_server("sim", "--law", "batch(200ms+50ms*n,max=3)") as server, ThreadPoolExecutor(4) as pool:
        start = time.monotonic_ns()
        first = pool.submit(_timed, server.url)
        time.sleep(0.02)
        rest = list(pool.map(_timed, [server.url] * 3))
        assert first.result()[1] - start >= 250 * MS
    assert max(done for _, done, _ in rest) - start >= 600 * MS


@pytest.mark.parametrize(("origin", "at", "lasts"), [("", 200, 300), ("start+", 200, 1500)])
@pytest.mark.slow
def test_nobody_departs_during_a_stall(origin: str, at: int, lasts: int) -> None:
    """The stall's origin is bracketed by what the client saw; a request sent when it must have begun spans its end."""
    before = time.monotonic_ns()
    with running_server("sim", "--law", "constant(1ms)", "--stall", f"at={origin}{at}ms,for={lasts}ms") as server:
        running = time.monotonic_ns()
        first = _timed(server.url)
        earliest, latest = (before, running) if origin else first[:2]
        time.sleep(max(0, latest + at * MS - time.monotonic_ns()) / 1e9)
        sent, done, status = _timed(server.url)
    assert status == 200
    assert done >= max(sent + 1 * MS, earliest + (at + lasts) * MS)


def test_scripted_errors_and_resets_come_as_drawn() -> None:
    lottery = Lottery(5, 0.3, 0.2)
    expected = [lottery.draw() for _ in range(40)]
    seen = []
    with running_server("sim", "--law", "constant(1us)", "--seed", "5", "--error-rate", "0.3", "--reset-rate", "0.2") as server:
        connection = connect(server.url)
        for _ in expected:
            try:
                answer = ask(connection, "POST", "/v1/embeddings", {"input": "a"}, JSON)
            except (ConnectionResetError, http.client.RemoteDisconnected):
                seen.append("reset")
                connection.close()
                continue
            seen.append({200: "none", 500: "error"}[answer.status])
            if answer.status == 500:
                assert list(answer.json) == ["object", "message", "type", "param", "code"]
                assert (answer.json["type"], answer.json["code"]) == ("InternalServerError", 500)
        connection.close()
    assert seen == expected
    assert set(seen) == {"none", "error", "reset"}


def test_a_full_queue_answers_503() -> None:
    with running_server("sim", "--law", "constant(5s)", "--max-queue", "1") as server:
        connections = [connect(server.url) for _ in range(2)]
        for connection in connections:  # one is served, one waits
            connection.request("POST", "/v1/embeddings", b'{"input":"a"}', JSON)
            time.sleep(0.1)
        answered = embed(server.url, "a")
        for connection in connections:
            connection.close()
    assert answered.status == 503
    assert answered.json == {
        "object": "error",
        "message": "The request queue is full.",
        "type": "503",
        "param": None,
        "code": 503,
    }


def test_two_servers_with_one_seed_serve_alike() -> None:
    bodies = []
    for _ in range(2):
        with running_server("sim", "--law", "exp(1ms)", "--seed", "9") as server:
            bodies.append(embed(server.url, ["a", "b"]).body)
    assert bodies[0] == bodies[1]
