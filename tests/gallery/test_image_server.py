"""The server of images, as a process: what it answers, what it counts, what it does on purpose, and that it outlives nobody."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import psutil
import pytest

from clipload.errors import HostError
from clipload.gallery import gallery_for
from clipload.gallery.server import SLOW_NS, drawn
from clipload.gallery.shelf import Shelf
from clipload.host import Placement, allowed_cores
from clipload.plan import Plan
from clipload.units import Duration, Size
from clipload.values import Image, ImageRef, Sample
from tests.gallery.places import free_address
from tests.servers import ROOT, environment

CORE = allowed_cores()[-1]
PLACEMENT = Placement((allowed_cores()[0],), (CORE,), CORE)
LARGE = 32 * 2**20  # more than any socket's buffers hold
IMAGES = [Image(b"one", "image/png"), Image(b"two" * 50_000, "image/jpeg"), Image(b"3" * LARGE, "image/png")]


class Shown(NamedTuple):
    gallery: Shelf
    address: str
    paths: list[str]

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.address, timeout=20)

    def fetch(self, path: str, method: str = "GET") -> tuple[int, bytes]:
        connection = self.connect()
        connection.request(method, path)
        reply = connection.getresponse()
        body = reply.read()
        connection.close()
        return reply.status, body

    def end(self) -> dict[str, Any]:
        facts: dict[str, Any] = self.gallery.end()["images"]
        return facts


@contextmanager
def shown(images: list[Image], *, begin: bool = True, **values: Any) -> Iterator[Shown]:
    plan = Plan(image_transport="url", serve_images_on=free_address(), **values)
    with gallery_for(plan, PLACEMENT) as gallery:
        assert isinstance(gallery, Shelf)
        items = [sample.items[0] for sample in gallery.hang([Sample((image,)) for image in images])]
        references = [item.reference for item in items if isinstance(item, ImageRef)]
        gallery.show()
        if begin:
            gallery.begin()
        start = f"http://{plan.serve_images_on}"
        assert all(reference.startswith(start + "/") for reference in references)
        yield Shown(gallery, plan.serve_images_on, [reference.removeprefix(start) for reference in references])


def test_images_come_as_they_are_and_are_counted() -> None:
    with shown(IMAGES) as show:
        for image, path in zip(IMAGES, show.paths):
            assert show.fetch(path) == (200, image.data)
        assert show.fetch(show.paths[0] + "?again") == (200, b"one")
        assert show.fetch("/../etc/passwd")[0] == 404
        assert show.fetch(show.paths[0], "HEAD") == (200, b"")
        assert show.fetch(show.paths[0], "POST")[0] == 405
        facts = show.end()
    assert {name: facts[name] for name in ("requests", "fetched", "missing", "other", "errors", "cut")} == {
        "requests": 7, "fetched": 4, "missing": 1, "other": 2, "errors": 0, "cut": 0,
    }  # fmt: skip
    assert facts["bytes"] == sum(len(image.data) for image in IMAGES) + 3
    assert (facts["core"], facts["distinct"], facts["died"], facts["said"]) == (CORE, 3, False, "")
    assert facts["cpu_ns"] > 0
    assert facts["span_ns"] > 0


def test_one_connection_serves_many_also_asked_ahead() -> None:
    with shown(IMAGES[:2]) as show:
        connection = show.connect()
        for _ in range(3):
            connection.request("GET", show.paths[1])
            reply = connection.getresponse()
            assert (reply.status, reply.headers["Content-Type"], len(reply.read())) == (200, "image/jpeg", 150_000)
        host, _, port = show.address.rpartition(":")
        with socket.create_connection((host, int(port)), 20) as sock:
            asked = b"".join(b"GET %s HTTP/1.1\r\nHost: h\r\n\r\n" % path.encode() for path in show.paths * 2)
            sock.sendall(asked + b"GET /none HTTP/1.1\r\nConnection: close\r\n\r\n")
            with sock.makefile("rb") as file:
                answer = file.read()
        connection.close()
        assert answer.count(b"HTTP/1.1 200") == 4
        assert answer.index(b"one") < answer.index(b"twotwo") < answer.rindex(b"one") < answer.index(b"404 Not Found")
        assert show.end()["fetched"] == 7


def test_the_process_is_on_its_core_and_has_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPLOAD_API_KEY", "sesame-open-thyself")
    with shown(IMAGES[:1]) as show:
        [server] = [child for child in psutil.Process().children() if "clipload.gallery.server" in child.cmdline()]
        assert server.cpu_affinity() == [CORE]
        assert "sesame" not in str(server.environ()) + str(server.cmdline())
        assert show.end()["fetched"] == 0


def test_errors_on_purpose_are_functions_of_seed_image_and_fetch() -> None:
    with shown(IMAGES[:2], begin=False, image_error_rate=0.5, seed=9) as show:
        assert {show.fetch(path)[0] for path in show.paths * 20} == {200}, "a probe is spared"
        show.gallery.begin()
        for path in show.paths:  # one after another here, both at once below: no matter
            fates = [show.fetch(path)[0] for _ in range(20)]
            assert fates == [503 if drawn(9, path.encode(), n) < 0.5 else 200 for n in range(1, 21)]
            assert set(fates) == {200, 503}
        facts = show.end()
    assert facts["requests"] == facts["fetched"] + facts["errors"] == 40
    with shown(IMAGES[:2], image_error_rate=0.5, seed=9) as show:
        for _ in range(20):
            for path in show.paths:
                show.fetch(path)
        assert show.end()["errors"] == facts["errors"]


def test_draws_are_uniform() -> None:
    numbers = [drawn(1, b"/x", n) for n in range(4000)]
    assert all(0 <= number < 1 for number in numbers)
    assert abs(sum(number < 0.2 for number in numbers) / 4000 - 0.2) < 0.03


def test_a_delay_is_at_least_that_long_once_the_load_is_on() -> None:
    with shown(IMAGES[:1], begin=False, image_delay=Duration(400_000_000)) as show:
        show.fetch(show.paths[0])
        show.gallery.begin()
        began = time.monotonic()
        assert show.fetch(show.paths[0]) == (200, b"one")
        assert time.monotonic() - began >= 0.4
        with show_socket(show, show.paths[0]):
            pass  # a client that does not wait
        assert show.fetch(show.paths[0]) == (200, b"one")
        facts = show.end()
    assert (facts["requests"], facts["fetched"], facts["cut"]) == (3, 2, 1)
    assert facts["slow"] == 0, "what is done on purpose is not slow"


@contextmanager
def show_socket(show: Shown, path: str) -> Iterator[socket.socket]:
    """A connection on which an image was asked for and nothing read, with little room for it."""
    host, _, port = show.address.rpartition(":")
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(20)
        sock.connect((host, int(port)))
        sock.sendall(b"GET %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" % path.encode())
        yield sock


def test_a_target_that_reads_slowly_or_gives_up_is_seen() -> None:
    with shown(IMAGES) as show:
        with show_socket(show, show.paths[2]) as sock:
            time.sleep(1.5 * SLOW_NS / 1e9)
            with sock.makefile("rb") as file:
                assert len(file.read()) > LARGE
        with show_socket(show, show.paths[2]) as sock:
            assert sock.recv(10)
        assert show.fetch(show.paths[0]) == (200, b"one"), "the others go on"
        facts = show.end()
    assert (facts["fetched"], facts["slow"], facts["cut"], facts["bytes"]) == (2, 1, 1, LARGE + 3)


def test_nonsense_ends_its_connection_only() -> None:
    with shown(IMAGES[:1]) as show:
        host, _, port = show.address.rpartition(":")
        with socket.create_connection((host, int(port)), 20) as sock:
            sock.sendall(b"\x16\x03\x01 nonsense\r\n\r\n")
            assert sock.recv(100) == b""
        assert show.fetch(show.paths[0]) == (200, b"one")
        assert show.end()["said"] == ""


def test_an_address_that_is_taken_is_told_before_anything_is_drawn() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        plan = Plan(image_transport="url", serve_images_on=f"127.0.0.1:{sock.getsockname()[1]}")
        with pytest.raises(HostError) as caught, gallery_for(plan, PLACEMENT):
            pass
    assert caught.value.flag == "--serve-images-on"
    assert "port" in caught.value.remedy
    for address in ("192.0.2.1:30080", "no.such.host.invalid:30080"):  # not this machine's; no machine's
        plan = Plan(image_transport="url", base_url=("http://192.0.2.9:1",), serve_images_on=address)
        with pytest.raises(HostError) as caught, gallery_for(plan, PLACEMENT):
            pass
        assert (caught.value.flag, bool(caught.value.remedy)) == ("--serve-images-on", True)


def test_each_image_lies_there_once_and_all_within_the_limit() -> None:
    with shown(IMAGES * 3, arena_limit=Size(LARGE + 2**18)) as show:
        assert show.paths[:3] * 3 == show.paths
        assert show.fetch(show.paths[-1]) == (200, IMAGES[2].data)
        assert show.end()["distinct"] == 3
    with pytest.raises(HostError) as caught, shown(IMAGES, arena_limit=Size(LARGE)):
        pass
    assert caught.value.flag == "--arena-limit"


def test_a_server_that_died_is_a_fact() -> None:
    with shown(IMAGES[:1]) as show:
        [server] = [child for child in psutil.Process().children() if "clipload.gallery.server" in child.cmdline()]
        server.kill()
        facts = show.end()
    assert facts["died"] is True
    with shown(IMAGES[:1], begin=False) as show:
        [server] = [child for child in psutil.Process().children() if "clipload.gallery.server" in child.cmdline()]
        server.kill()
        server.wait(10)
        with pytest.raises(HostError, match="image server died"):
            show.gallery.begin()


ORPHAN = """
import sys, time
from clipload.gallery import gallery_for
from clipload.host import Placement
from clipload.plan import Plan
from clipload.values import Image, Sample
with gallery_for(Plan(image_transport="url", serve_images_on=sys.argv[1]), Placement((0,), (0,))) as gallery:
    list(gallery.hang([Sample((Image(b"one", "image/png"),))]))
    gallery.show()
    gallery.begin()
    print(gallery._server.pid, flush=True)
    time.sleep(60)
"""


def test_it_ends_with_its_supervisor_even_after_kill_9() -> None:
    supervisor = subprocess.Popen(
        [sys.executable, "-c", ORPHAN, free_address()], stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment()
    )
    assert supervisor.stdout is not None
    server = psutil.Process(int(supervisor.stdout.readline()))
    os.kill(supervisor.pid, signal.SIGKILL)
    supervisor.communicate()
    _, alive = psutil.wait_procs([server], 10)
    assert not alive
