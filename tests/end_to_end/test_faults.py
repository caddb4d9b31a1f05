"""What goes wrong on the target's side is data: each kind of failure is counted as what it is, and the ledger closes."""

from __future__ import annotations

import http.server
import json
import math
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.end_to_end.runs import OK, TARGET, UNSOUND, Finished, check_finished, check_ledger, run_clipload, start_clipload
from tests.servers import running_server

TEXT = ("--mode", "text")
SCRIPTED = "Internal server error: scripted by --error-rate"
PAIRS = (*TEXT, "--rate", "300", "--duration", "1s")


@pytest.mark.slow
def test_scripted_errors_are_counted_as_drawn(tmp_path: Path) -> None:
    """Six standard deviations of the binomial law on either side: a chance of 2e-9 to fail."""
    with running_server("sim", "--law", "constant(1ms)", "--error-rate", "0.3", "--seed", "3", "--cores", "1") as server:
        done = run_until_probed(*PAIRS, url=server.url, out=tmp_path)
    check_finished(done)
    n, errors = done.counts["scheduled"], done.counts["error.http_500"]
    assert n > 200
    assert done.counts["ok"] == n - errors
    assert abs(errors - 0.3 * n) < 6 * math.sqrt(0.3 * 0.7 * n)
    assert done.measure["histograms"]["failed"]["count"] == errors
    assert done.document["examples"]["http_500"] == SCRIPTED
    assert done.says(f"http_500: {SCRIPTED}")


def run_until_probed(*flags: str, url: str, out: Path) -> Finished:
    """The probe before the load may itself draw a scripted fault: then the run says so, and is tried again."""
    for _ in range(20):
        done = run_clipload(*flags, url=url, out=out)
        if done.code != TARGET:
            return done
        assert done.document == {}
    raise AssertionError(done.stderr)


@pytest.mark.slow
def test_resets_are_counted_as_such(tmp_path: Path) -> None:
    with running_server("sim", "--law", "constant(1ms)", "--reset-rate", "0.2", "--seed", "4", "--cores", "1") as server:
        done = run_until_probed(*PAIRS, url=server.url, out=tmp_path)
    check_finished(done)
    n, resets = done.counts["scheduled"], done.counts["error.reset"]
    assert done.counts["ok"] == n - resets
    assert abs(resets - 0.2 * n) < 6 * math.sqrt(0.2 * 0.8 * n)
    assert "retried" not in done.counts, "no connection had idled"


@pytest.mark.slow
def test_a_full_queue_answers_503(tmp_path: Path) -> None:
    with running_server("sim", "--law", "constant(20ms)", "--max-queue", "2", "--cores", "1") as server:
        done = run_clipload(*PAIRS, url=server.url, out=tmp_path)
    check_finished(done)
    assert done.counts["error.http_503"] > 50
    assert 10 < done.counts["ok"] <= 60
    assert set(done.measure["ledger"]["errors"]) == {"http_503"}


@pytest.mark.slow
def test_what_takes_too_long_times_out(tmp_path: Path) -> None:
    """The probe has the time-out too, so the server stalls only later. The last arrival is due 5 ms before the end, and
    draining lasts as long as the time-out: it too has timed out by then, and is not censored."""
    flags = [*TEXT, "--rate", "100", "--arrival", "constant", "--duration", "2s", "--timeout", "100ms"]
    with running_server("sim", "--law", "constant(1ms)", "--stall", "at=1s,for=1h", "--cores", "1") as server:
        done = run_clipload(*flags, url=server.url, out=tmp_path)
    check_finished(done)
    assert done.counts["timeout"] > 50
    assert done.counts["ok"] + done.counts["timeout"] == done.counts["scheduled"]
    assert done.measure["histograms"]["failed"]["min"] >= 100_000_000
    assert done.document["end_ns"] - done.document["stop_ns"] < 5_000_000_000


@pytest.mark.slow
def test_a_probe_that_times_out_says_so(tmp_path: Path) -> None:
    with running_server("sim", "--law", "constant(500ms)", "--cores", "1") as server:
        done = run_clipload(*TEXT, "--timeout", "100ms", url=server.url, out=tmp_path)
    assert done.code == TARGET
    assert "--timeout" in done.stderr
    assert "did not answer within 100ms" in done.stderr


@pytest.mark.slow
def test_what_is_never_answered_is_censored_or_unsent(tmp_path: Path) -> None:
    flags = [*TEXT, "--rate", "100", "--duration", "1500ms", "--grace", "300ms", "--max-connections", "3"]
    with running_server("sim", "--law", "constant(1ms)", "--stall", "at=500ms,for=1h", "--cores", "1") as server:
        done = run_clipload(*flags, url=server.url, out=tmp_path)
    check_finished(done)
    assert done.counts["censored"] == 3
    assert done.counts["unsent"] > 20
    assert done.measure["histograms"]["bound"]["min"] >= 300_000_000


@pytest.mark.slow
def test_a_server_that_closes_idle_connections_costs_no_request(tmp_path: Path) -> None:
    """Arrivals some 500 ms apart, connections closed after 500 ms of idling: some cross, and those are sent once more."""
    with running_server("sim", "--law", "constant(1ms)", "--keep-alive", "500ms", "--cores", "1") as server:
        done = run_clipload(*TEXT, "--rate", "2", "--arrival", "constant", "--duration", "5s", url=server.url, out=tmp_path)
    check_finished(done)
    assert done.counts["ok"] == done.counts["scheduled"] == 10


@pytest.mark.slow
def test_overload_ends_the_run_and_loses_nothing(tmp_path: Path) -> None:
    flags = [*TEXT, "--rate", "500", "--duration", "20s", "--max-connections", "4", "--max-backlog", "50", "--grace", "500ms"]
    with running_server("sim", "--law", "constant(20ms)", "--cores", "1") as server:
        done = run_clipload(*flags, url=server.url, out=tmp_path)
    check_finished(done, ended="overload")
    assert done.code == OK
    assert done.counts["not_due"] > 5000
    assert done.counts["unsent"] > 10
    assert done.document["stop_ns"] - done.document["start_ns"] < 10_000_000_000
    assert "--max-backlog" in done.stderr


@pytest.mark.slow
def test_overload_is_seen_though_every_request_finds_a_connection(tmp_path: Path) -> None:
    """Connections grow on demand, so that nothing waits: what counts is what is unanswered."""
    flags = [*TEXT, "--rate", "500", "--duration", "20s", "--max-backlog", "200", "--grace", "500ms"]
    with running_server("sim", "--law", "constant(20ms)", "--cores", "1") as server:
        done = run_clipload(*flags, url=server.url, out=tmp_path)
    check_finished(done, ended="overload")
    assert done.counts["not_due"] > 5000
    assert done.counts["censored"] > 100
    assert done.counts.get("unsent", 0) == 0
    assert done.says("unanswered than --max-backlog")


@pytest.mark.slow
def test_a_generator_without_descriptors_says_so(tmp_path: Path) -> None:
    """86 connections at most and 500 ms each are 172 requests/s of the 300: the rest of the latency is the generator's own."""
    load = [*TEXT, "--rate", "300", "--duration", "2s"]
    with running_server("sim", "--law", "constant(500ms)", "--servers", "1000", "--cores", "1") as server:
        done = run_clipload(*load, url=server.url, out=tmp_path / "few", descriptors=150)
        assert done.code == UNSOUND, done.stderr
        check_ledger(done.document)
        assert done.document["facts"]["connections"] == {"limit": 86, "ours": True}
        assert any("descriptors for no more connections" in said for said in done.findings)
        meant = run_clipload(*load, "--max-connections", "80", url=server.url, out=tmp_path / "meant", descriptors=150)
    check_finished(meant)
    assert meant.measure["histograms"]["wait"]["p99"] > 100_000_000
    assert not any("connections" in said for said in meant.findings)


@pytest.mark.slow
def test_a_target_that_takes_no_more_connections_is_data(tmp_path: Path) -> None:
    """It answers the probe, and then accepts nobody: its kernel drops what asks. The start is late by a bound, not for ever."""
    body = json.dumps({"data": [{"embedding": [1.0], "index": 0, "object": "embedding"}]}).encode()

    def answer_the_probe(listener: socket.socket) -> None:
        listener.accept()[0].close()  # the look whether somebody is there
        with listener.accept()[0] as probe:
            probe.recv(65536)
            probe.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        thread = threading.Thread(target=answer_the_probe, args=(listener,))
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        done = run_clipload(*TEXT, "--concurrency", "8", "--duration", "1s", "--timeout", "1s", url=url, out=tmp_path)
        thread.join()
    check_finished(done)
    assert done.counts["timeout"] == done.counts["scheduled"] >= 8


@pytest.mark.parametrize(
    "loop", [("--rate", "200"), pytest.param(("--concurrency", "4"), marks=pytest.mark.slow)], ids=["open", "closed"]
)
def test_a_target_that_dies_ends_the_run(tmp_path: Path, loop: tuple[str, str]) -> None:
    with (
        running_server("sim", "--law", "constant(1ms)", "--cores", "1") as server,
        start_clipload(*TEXT, *loop, "--duration", "30s", url=server.url, out=tmp_path) as running,
    ):
        running.wait_for_second(1)
        server.process.kill()
        done = running.finish()
    check_finished(done, ended="target died", code=TARGET)
    assert done.counts["error.connect"] >= 50
    assert done.counts["ok"] > 20
    assert loop[0] == "--concurrency" or done.counts["not_due"] > 1000
    assert done.document["end_ns"] - done.document["start_ns"] < 15_000_000_000


# ---- targets that are not what they should be: exit 3 before anything is measured


def nothing_was_measured(done: Finished, out: Path, *words: str) -> None:
    assert done.code == TARGET, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    for word in (*words, "remedy:"):
        assert word in done.stderr, done.stderr
    assert not out.exists() or not list(out.iterdir())


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        nothing_was_measured(
            run_clipload(*TEXT, url=url, out=tmp_path / "o"), tmp_path / "o", "--base-url", "cannot be reached"
        )


def test_a_name_that_does_not_exist(tmp_path: Path) -> None:
    done = run_clipload(*TEXT, url="http://no-such-host.invalid:1", out=tmp_path / "o")
    nothing_was_measured(done, tmp_path / "o", "--base-url", "no-such-host.invalid")


def test_another_server(tmp_path: Path) -> None:
    class Pages(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_error(404)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its name there
            """Silent."""

    with serving(Pages) as url:
        nothing_was_measured(
            run_clipload(*TEXT, url=url, out=tmp_path / "o"), tmp_path / "o", "404", "is this an embedding server"
        )


@pytest.mark.parametrize(
    ("body", "words"),
    [(b"<html>hello</html>", "not as an embedding server does"), (b'{"data":[]}', "0 vectors"), (b'{"ok":true}', "data")],
)
def test_a_200_that_is_no_embedding(tmp_path: Path, body: bytes, words: str) -> None:
    class Answers(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            """Silent."""

    with serving(Answers) as url:
        nothing_was_measured(run_clipload(*TEXT, url=url, out=tmp_path / "o"), tmp_path / "o", words)


@contextmanager
def serving(answers: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_the_wrong_number_of_vectors(tmp_path: Path) -> None:
    with running_server("null", "--items", "3") as server:
        done = run_clipload(*TEXT, url=server.url, out=tmp_path / "o")
    nothing_was_measured(done, tmp_path / "o", "3 vectors for a request of 1")


@pytest.mark.parametrize("kind", ["not_json", pytest.param("vectors", marks=pytest.mark.slow)])
def test_replies_that_turn_bad_under_load_are_data(tmp_path: Path, kind: str) -> None:
    """The probe gets a good reply, every second one of the load a bad one."""
    good = json.dumps({"data": [{"embedding": [1.0, 0.0], "index": 0, "object": "embedding"}]}).encode()
    bad = {"not_json": b"<html>busy</html>", "vectors": b'{"data":[]}'}[kind]
    seen = iter(range(10**6))

    class Answers(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = bad if next(seen) % 2 else good
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            """Silent."""

    with serving(Answers) as url:
        done = run_clipload(*TEXT, "--concurrency", "1", "--num-samples", "101", url=url, out=tmp_path)
    check_finished(done)
    assert (done.counts["ok"], done.counts[f"error.{kind}"]) == (50, 51)


# ---- secrets

KEY = "sk-do-not-tell-anybody-0123456789"


def test_without_the_key_the_run_says_where_to_put_it(tmp_path: Path) -> None:
    with running_server("null", env={"CLIPLOAD_SERVE_API_KEY": KEY}) as server:
        done = run_clipload(*TEXT, url=server.url, out=tmp_path / "o")
        nothing_was_measured(done, tmp_path / "o", "401", "CLIPLOAD_API_KEY", "--api-key-file")
        wrong = run_clipload(*TEXT, url=server.url, out=tmp_path / "o", env={"CLIPLOAD_API_KEY": "sk-another-one"})
        nothing_was_measured(wrong, tmp_path / "o", "401")
        assert "sk-another-one" not in wrong.stderr


@pytest.mark.parametrize("by", ["environment", pytest.param("file", marks=pytest.mark.slow)])
def test_the_key_works_and_is_seen_nowhere(tmp_path: Path, by: str) -> None:
    secret = tmp_path / "key"
    secret.write_text(KEY + "\n")
    flags = ["--api-key-file", str(secret)] if by == "file" else []
    env = {"CLIPLOAD_API_KEY": KEY} if by == "environment" else {}
    out = tmp_path / "runs"
    with (
        running_server("null", env={"CLIPLOAD_SERVE_API_KEY": KEY}) as server,
        start_clipload(*TEXT, "--rate", "50", "--duration", "1500ms", *flags, url=server.url, out=out, env=env) as running,
    ):
        running.wait_for_second(1)
        processes = [psutil.Process(running.process.pid), *running.workers()]
        assert len(processes) == 2
        for process in processes:
            assert KEY not in Path(f"/proc/{process.pid}/cmdline").read_text()
        done = running.finish()
    check_finished(done)
    assert done.counts["ok"] == done.counts["scheduled"]
    files = [path for path in out.rglob("*") if path.is_file()]
    assert len(files) >= 6
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []
    assert KEY not in done.stdout + done.stderr


@pytest.mark.slow
def test_a_closed_loop_censors_what_the_grace_does_not_wait_for(tmp_path: Path) -> None:
    with running_server("sim", "--law", "constant(200ms)", "--cores", "1") as server:
        done = run_clipload(*TEXT, "--concurrency", "6", "--duration", "1s", "--grace", "100ms", url=server.url, out=tmp_path)
    check_finished(done)
    assert done.counts["censored"] > 0
