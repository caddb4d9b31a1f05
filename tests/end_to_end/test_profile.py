"""--profile with real processes: the target hears of it while the load is on, and the Run says when."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.certificates import certificates
from tests.end_to_end.runs import check_finished, run_clipload
from tests.servers import running_server

pytestmark = pytest.mark.clock


class Profiled(BaseHTTPRequestHandler):
    """Passes every request on to a reference server; /start_profile and /stop_profile it answers itself."""

    protocol_version = "HTTP/1.1"
    behind: str
    told: list[tuple[str, int]]  # path, and how many requests had been passed on by then
    passed: int
    knows = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "profile" in self.path:
            self.told.append((self.path, type(self).passed))
            return self._answer(200 if self.knows else 404, b"Start profiling.\n")
        type(self).passed += 1
        connection = HTTPConnection(self.behind, timeout=20)
        connection.request("POST", self.path, body, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        self._answer(reply.status, reply.read())
        connection.close()
        return None

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def profiled() -> Iterator[tuple[str, type[Profiled]]]:
    with running_server("sim", "--law", "constant(1us)") as sim:
        behaviour = type("Behaviour", (Profiled,), {"behind": sim.url.removeprefix("http://"), "told": [], "passed": 0})
        with ThreadingHTTPServer(("127.0.0.1", 0), behaviour) as server:
            server.daemon_threads = True
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            yield f"http://127.0.0.1:{server.server_port}", behaviour
            server.shutdown()
            thread.join()


FLAGS = ("--mode", "text", "--rate", "30", "--duration", "1500ms", "--profile")


@pytest.mark.slow
def test_the_middle_of_the_load_is_profiled(profiled: tuple[str, type[Profiled]], tmp_path: Path) -> None:
    url, target = profiled
    done = run_clipload(*FLAGS, url=url, out=tmp_path)
    check_finished(done)
    assert [path for path, _ in target.told] == ["/start_profile", "/stop_profile"]
    document, facts = done.document, done.document["facts"]["profile"]
    assert document["start_ns"] + 500e6 <= facts["started_ns"] < facts["stopped_ns"]
    assert facts["stopped_ns"] >= document["start_ns"] + 1000e6
    assert facts["error"] == ""
    assert done.counts["ok"] == done.counts["planned"], "the load goes on meanwhile"
    assert done.says("profiled itself from")


@pytest.mark.slow
def test_every_server_is_profiled_through_tls(tmp_path: Path) -> None:
    pem = certificates()
    sim = ("sim", "--law", "constant(1ms)", "--dim", "16", "--tls-cert", str(pem.server))
    with running_server(*sim) as first, running_server(*sim) as second:
        done = run_clipload(*FLAGS, "--cacert", str(pem.ca), "--base-url", first.url, url=second.url, out=tmp_path)
    check_finished(done)
    assert [part["url"] for part in done.document["targets"]] == [first.url, second.url]
    facts = done.document["facts"]["profile"]
    assert facts["error"] == ""
    assert facts["started_ns"] < facts["stopped_ns"]
    assert done.counts["ok"] == done.counts["planned"]


@pytest.mark.slow
def test_a_target_that_knows_no_profile_is_measured_all_the_same(profiled: tuple[str, type[Profiled]], tmp_path: Path) -> None:
    url, target = profiled
    target.knows = False
    done = run_clipload(*FLAGS, url=url, out=tmp_path)
    check_finished(done)
    assert done.counts["ok"] == done.counts["planned"]
    assert "/start_profile answered 404" in done.document["facts"]["profile"]["error"]
    assert done.stderr.count("--profile: ") == 1
