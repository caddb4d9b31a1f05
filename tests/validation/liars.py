"""A server that answers /v1/embeddings with whatever a test wants: hashes of the items, and lies about them on demand.

Each connection has a thread. `asked` are the items of each request, as they came; `most` is how many were in hand at once.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

DIM = 16
Vector = list[float]
Lie = Callable[[list[Any]], Any]  # items → vectors, or (status, message)


def honest(item: Any) -> Vector:
    """A function of the text or of the image's data URI alone."""
    content = item if isinstance(item, str) else item.get("image") or item["text"]
    seed = list(hashlib.sha256(content.encode()).digest())
    return [float(np.float32(value)) for value in np.random.default_rng(seed).normal(size=DIM)]


class Liar(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.lie: Lie = lambda items: [honest(item) for item in items]
        self.info: dict[str, Any] = {}
        self.pause_s = 0.0
        self.asked: list[list[Any]] = []
        self.heads: list[dict[str, str]] = []
        self.most = self.now = 0
        self.lock = threading.Lock()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A peer that goes is no error; whatever else happens fails the test by its missing answer."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Liar

    def do_GET(self) -> None:
        self._send(200 if self.server.info else 404, self.server.info)

    def do_POST(self) -> None:
        items = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["input"]
        with self.server.lock:
            self.server.asked.append(items)
            self.server.heads.append(dict(self.headers))
            self.server.now += 1
            self.server.most = max(self.server.most, self.server.now)
        time.sleep(self.server.pause_s)
        with self.server.lock:
            self.server.now -= 1
            found = self.server.lie(items)
        if isinstance(found, tuple):
            self._send(found[0], {"message": found[1]})
            return
        rows = [{"object": "embedding", "embedding": vector, "index": i} for i, vector in enumerate(found)]
        self._send(200, {"object": "list", "data": rows, "model": "liar"})

    def _send(self, status: int, document: Any) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing is logged."""


@contextmanager
def lying() -> Iterator[Liar]:
    with Liar() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
