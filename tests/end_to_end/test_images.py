"""Images by path and by URL, from `clipload run` to the vectors of a server that really opens them."""

from __future__ import annotations

import http.client
import json
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import psutil
import pytest

from clipload.arena import Arena, Bodies
from clipload.dialects import dialect_for
from clipload.gallery import gallery_for
from clipload.gallery.folder import DEFAULT
from clipload.host import Placement
from clipload.plan import Plan
from clipload.sources import source_for
from tests.end_to_end.runs import (
    INTERRUPTED,
    TARGET,
    USAGE,
    Running,
    check_finished,
    run_clipload,
    start_clipload,
    wait_until_gone,
)
from tests.gallery.places import free_address
from tests.servers import Server, running_server

TRANSPORTS = ("data-url", "path", "path/url", "url")
COUNTED = ("--num-samples", "30", "--pool", "5", "--concurrency", "4", "--batch-size", "2", "--mode", "image")


def first_vectors(url: str, transport: str, **values: str) -> np.ndarray:
    """Body 0 of the Plan, sent by hand."""
    plan = Plan(image_transport=transport, pool=4, batch_size=3, base_url=(url,), **values)  # type: ignore[arg-type]
    dialect = dialect_for(plan.api, plan.model, plan.encoding_format, plan.mode)
    with gallery_for(plan, Placement((0,), (0,))) as gallery:
        arena = Arena.build(
            gallery.hang(source_for("random", mode=plan.mode, seed=plan.seed).draw(4)), dialect, plan.arena_limit
        )
        gallery.show()
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
        body = Bodies(arena.map, plan.batch_size, dialect.frame(), b"").payload(0)
        connection.request("POST", dialect.path, body, {"Content-Type": "application/json"})
        reply = connection.getresponse().read()
        connection.close()
        arena.close()
    assert (len(body) > 300_000) == (transport == "data-url")
    return dialect.decode(reply)


@pytest.mark.slow
def test_the_vectors_are_the_same_however_images_travel(opens: Server) -> None:
    expected = first_vectors(opens.url, "data-url")
    assert expected.shape[0] == 6
    assert len(np.unique(expected[1::2].round(4), axis=0)) == 3, "three images"
    for transport in TRANSPORTS[1:]:
        values = {"serve_images_on": free_address()} if transport == "url" else {}
        np.testing.assert_allclose(first_vectors(opens.url, transport, **values), expected, atol=1e-6, err_msg=transport)


@pytest.mark.slow
def test_by_path(opens: Server, tmp_path: Path) -> None:
    done = run_clipload(*COUNTED, "--image-transport", "path", url=opens.url, out=tmp_path / "runs")
    check_finished(done)
    assert done.counts["ok"] == 15
    facts = done.document["facts"]["images"]
    assert facts == {"transport": "path", "folder": str(DEFAULT), "own": 0, "written": 5, "foreign": 0}
    assert not list(DEFAULT.glob("*")), "nothing is left behind"
    kept = tmp_path / "images"
    done = run_clipload(
        *COUNTED, "--image-transport", "path/url", "--images-dir", str(kept), url=opens.url, out=tmp_path / "r2"
    )
    check_finished(done)
    assert len(list(kept.iterdir())) == 5


@pytest.mark.slow
def test_by_url(opens: Server, tmp_path: Path) -> None:
    address = free_address()
    flags = ("--image-transport", "url", "--serve-images-on", address)
    done = run_clipload(*COUNTED, *flags, url=opens.url, out=tmp_path)
    check_finished(done)
    facts = done.document["facts"]["images"]
    assert done.counts["ok"] == 15
    assert (facts["fetched"], facts["requests"], facts["distinct"], facts["at"]) == (30, 30, 5, address)
    assert facts["died"] is False
    assert not [sentence for sentence in done.findings if "fetched" in sentence]
    assert f"serve_images_on = {address!r}".replace("'", '"') in (done.directory / "plan.toml").read_text()


@pytest.mark.slow
def test_images_that_fail_on_purpose_are_errors_in_a_ledger_that_closes(opens: Server, tmp_path: Path) -> None:
    flags = ("--image-transport", "url", "--serve-images-on", free_address(), "--image-error-rate", "0.4")
    done = run_clipload(*COUNTED, *flags, url=opens.url, out=tmp_path)
    check_finished(done)
    facts, counts = done.document["facts"]["images"], done.counts
    assert counts["planned"] == 15 == counts["ok"] + counts["error.http_400"]
    assert counts["error.http_400"] == facts["errors"] > 0, "the first image that fails ends its request"
    assert facts["requests"] == facts["fetched"] + facts["errors"]
    assert "503 Server Error" in done.document["examples"]["http_400"]


def test_a_server_that_looks_at_no_image_is_found_out(tmp_path: Path) -> None:
    flags = ("--image-transport", "url", "--serve-images-on", free_address())
    with running_server("sim", "--law", "constant(1us)") as sim:
        done = run_clipload(*COUNTED, *flags, url=sim.url, out=tmp_path)
    check_finished(done)
    assert (done.counts["ok"], done.document["facts"]["images"]["requests"]) == (15, 0)
    assert done.says("the server fetched 0 of the 30 images")


LONG = ("--rate", "100", "--duration", "30s", "--pool", "4", "--mode", "image", "--image-transport", "url")


def image_server(running: Running) -> psutil.Process:
    children = psutil.Process(running.process.pid).children()
    [server] = [child for child in children if "clipload.gallery.server" in child.cmdline()]
    return server


@pytest.mark.slow
def test_an_interrupted_run_brings_its_counts_home(tmp_path: Path) -> None:
    with running_server("sim", "--law", "constant(1us)", "--open-images") as sim:
        with start_clipload(*LONG, "--serve-images-on", free_address(), url=sim.url, out=tmp_path / "a") as running:
            running.wait_for_second(1)
            server = image_server(running)
            running.process.send_signal(signal.SIGINT)
            done = running.finish(15)
        check_finished(done, ended="interrupted", code=INTERRUPTED)
        facts = done.document["facts"]["images"]
        assert facts["fetched"] == facts["requests"] >= done.counts["ok"] > 50
        wait_until_gone([server], 5)

        with start_clipload(*LONG, "--serve-images-on", free_address(), url=sim.url, out=tmp_path / "b") as running:
            running.wait_for_second(1)
            server = image_server(running)
            running.process.kill()
            wait_until_gone([server], 10)


class Blind(BaseHTTPRequestHandler):
    """SGLang's answer to a path that is not on its disk."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        said = b'{"object":"error","message":"Internal server error: Error while loading data","code":500}'
        self.send_response(500)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def blind() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Blind) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("transport", "hint"), [("path", "on its own machine"), ("url", "can the server fetch from")])
def test_a_server_that_cannot_see_the_images_is_told_of_at_the_probe(
    tmp_path: Path, blind: str, transport: str, hint: str
) -> None:
    address = ["--serve-images-on", free_address()] if transport == "url" else []
    done = run_clipload(*COUNTED, "--image-transport", transport, *address, url=blind, out=tmp_path)
    assert (done.code, "Error while loading data" in done.stderr) == (TARGET, True), done.stderr
    assert hint in done.stderr.partition("remedy")[2]
    assert not list(tmp_path.iterdir()), "no run directory"
    assert not list(DEFAULT.glob("*"))


@pytest.mark.parametrize("transport", ["data-url", "url"])
def test_a_url_that_answers_404_is_told_of_at_the_probe(tmp_path: Path, transport: str) -> None:
    """A URL of the dataset goes as it stands, whatever --image-transport says of our own images."""
    with running_server("sim", "--open-images", "--cores", "1") as server:
        gone = f"{server.url}/gone.png"
        (tmp_path / "lines").write_text(json.dumps({"image": gone}))
        data = ["--mode", "image", "--data-source", "jsonl", "--data", str(tmp_path / "lines"), "--image-transport", transport]
        data += ["--serve-images-on", free_address()] if transport == "url" else []
        done = run_clipload(*data, url=server.url, out=tmp_path / "o")
    assert done.code == TARGET
    said, _, remedy = done.stderr.partition("remedy")
    assert gone in said
    assert "404" in said
    assert "a URL in --data goes as it stands" in remedy
    assert not (tmp_path / "o").exists()


def test_a_far_target_cannot_fetch_from_loopback(tmp_path: Path) -> None:
    done = run_clipload("--image-transport", "url", url="http://192.0.2.1:30000", out=tmp_path)
    assert done.code == USAGE
    assert "--serve-images-on" in done.stderr
    assert "remedy" in done.stderr
