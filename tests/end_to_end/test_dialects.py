"""Every dialect on the wire: real runs against the reference server, one Item and several, texts and pairs; and wrong ones."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from clipload.arena import request_head
from clipload.dialects import DIALECTS, dialect_of
from clipload.errors import PlanError
from clipload.plan import Plan
from clipload.sources.synthetic import CAPTION
from clipload.values import Sample
from tests.end_to_end.runs import TARGET, check_finished, run_clipload
from tests.servers import Server, running_server

ENGINES = {"sim": ("--law", "constant(1ms)", "--servers", "2"), "null": ()}
OWN = ("infinity", "vllm")  # a server of SGLang's shape does not take them


@pytest.fixture(scope="module")
def served() -> Iterator[Callable[[str, str], Server]]:
    """(engine, api) → a server that speaks it, started when it is first asked for."""
    with ExitStack() as stack:

        @cache
        def start(engine: str, shape: str) -> Server:
            return stack.enter_context(running_server(engine, *ENGINES[engine], "--dim", "16", "--cores", "1", "--api", shape))

        yield lambda engine, api: start(engine, api if api in OWN else "v1")


def _can(api: str, mode: str, batch: int) -> bool:
    try:
        Plan(api=api, mode=mode, batch_size=batch)  # type: ignore[arg-type]
    except PlanError:
        return False
    return True


def _loads() -> Iterator[Any]:
    """Every dialect, mode that it can, engine and batch; most of them for the long suite only, v1 because others run it too."""
    short = {("text", "sim", 1), ("multimodal", "sim", 3)}
    ones = {"infinity": {("mixed", "sim", 1)}, "vllm": {("mixed", "sim", 1)}}  # requests of two kinds, one Item each
    for api in sorted(DIALECTS):
        for mode in ("text", "image", "mixed", "multimodal"):
            for engine in ("sim", "null"):
                for batch in (1, 3):
                    quick = (mode, engine, batch) in ones.get(api, short) and api != "v1"
                    marks = [] if quick else [pytest.mark.slow]
                    if _can(api, mode, batch):
                        yield pytest.param(api, mode, engine, batch, marks=marks, id=f"{api}-{mode}-{engine}-{batch}")


@pytest.mark.parametrize(("api", "mode", "engine", "batch"), list(_loads()))
def test_a_load_in_every_dialect(
    tmp_path: Path, served: Callable[[str, str], Server], api: str, mode: str, engine: str, batch: int
) -> None:
    server = served(engine, api)
    flags = ["--api", api, "--mode", mode, "--batch-size", str(batch), "--pool", "4", "--clip-variant", "base"]
    done = run_clipload(*flags, "--concurrency", "2", "--num-samples", "60", url=server.url, out=tmp_path)
    check_finished(done)
    assert done.counts["ok"] == 60 // batch
    assert done.counts["samples"] == 60
    assert done.document["facts"]["target"]["dim"] == 16
    if mode == "text":
        assert done.counts["bytes_sent"] == 60 // batch * wire_bytes(Plan.from_dict(done.document["plan"]))
    histograms = done.measure["histograms"]
    if (api, engine) != ("native", "sim"):
        assert "server_time" not in histograms, "nothing was told"
        assert "as the target told" not in done.stderr
        return
    assert histograms["server_time"]["count"] == histograms["server_queue"]["count"] == 60 // batch
    assert 1_000_000 <= histograms["server_time"]["max"] <= histograms["service"]["max"]
    assert "as the target told it" in done.stderr


def wire_bytes(plan: Plan) -> int:
    """Of each request of texts, which are all one caption: as the dialect itself would have it."""
    dialect = dialect_of(plan)
    body = dialect.encode([Sample((CAPTION,))] * plan.batch_size)
    head = request_head(dialect.path, plan.base_url[0].removeprefix("http://"), "")
    return len(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)


class Unlike(BaseHTTPRequestHandler):
    """A server with one path, whose replies resemble OpenAI's and are not."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        known = self.path == "/v1/embeddings"
        body = json.dumps({"data": [{"embedding": [1.0, 0.0], "index": 0}]} if known else {"detail": "Not Found"}).encode()
        self.send_response(200 if known else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *said: Any) -> None:
        """Nobody reads it."""


@pytest.fixture(scope="module")
def unlike() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Unlike) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("api", "says"),
    [
        ("native", ["--api: ", "/encode answered 404", "is SGLang's own", "speak v1 or openai"]),
        ("openai", ["--api: ", 'no "object":"list"', "--api v1 takes all that resembles it"]),
    ],
)
def test_the_wrong_dialect_is_told_before_the_load(unlike: str, tmp_path: Path, api: str, says: list[str]) -> None:
    done = run_clipload("--api", api, "--mode", "text", "--num-samples", "1", "--concurrency", "1", url=unlike, out=tmp_path)
    assert (done.code, done.stdout) == (TARGET, "")
    for words in says:
        assert words in done.stderr
    assert not list(tmp_path.iterdir())
