"""A server's processes: found by the socket on which it listens, told apart by name, found again when it was started anew."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from clipload import processes
from clipload.errors import HostError
from clipload.processes import Tree, is_here, listener, roles_of
from clipload.transports import Endpoint

LISTEN = """
import socket, subprocess, sys
family, address, child = sys.argv[1:4]
sock = socket.socket(getattr(socket, family))
sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
sock.bind(address if family == "AF_UNIX" else ("127.0.0.1", int(address)))
sock.listen()
if child:
    subprocess.Popen([sys.executable, "-c", child], stdin=subprocess.PIPE)
print(sock.getsockname()[1] if family == "AF_INET" else "", flush=True)
sys.stdin.read()
"""
SPIN = "import sys\nfor _ in range(4_000_000): pass\nsys.stdin.read()"


@contextmanager
def listening(address: str = "0", family: str = "AF_INET", child: str = "") -> Iterator[tuple[int, Endpoint]]:
    """A process that listens, and where."""
    command = [sys.executable, "-c", LISTEN, family, address, child]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            port = process.stdout.readline().strip()
            yield process.pid, at(int(port)) if port else Endpoint(f"unix:{address}", "h", int(socket.AF_UNIX), (address,))
        finally:
            for one in [*psutil.Process(process.pid).children(), process]:
                one.kill()


def at(port: int, host: str = "127.0.0.1", proxy: str = "") -> Endpoint:
    return Endpoint(f"http://{host}:{port}", f"{host}:{port}", int(socket.AF_INET), (host, port), proxy=proxy)


SGLANG = {1: "python", 2: "sglang::schedul", 3: "sglang::detokenizer", 4: "python3"}


@pytest.mark.parametrize(
    ("names", "roles"),
    [
        (SGLANG, ["tokenizer", "scheduler", "detokenizer", "other"]),
        (SGLANG | {5: "sglang::tokenizer_worker:7"}, ["other", "scheduler", "detokenizer", "other", "tokenizer"]),
        ({1: "vllm", 2: "VLLM::EngineCore"}, ["tokenizer", "scheduler"]),
        ({1: "infinity_emb"}, ["server"]),
        ({1: "gunicorn", 2: "gunicorn"}, ["server", "server"]),
    ],
)
def test_roles(names: dict[int, str], roles: list[str]) -> None:
    assert list(roles_of(names, 1).values()) == roles


def test_who_listens_is_found_with_those_below_it() -> None:
    with listening(child=SPIN) as (pid, endpoint):
        found = listener(endpoint)
        assert found is not None
        assert found.pid == pid
        tree = Tree(endpoint)
        seen = tree.read()
        child = psutil.Process(pid).children()[0].pid
        assert set(seen) == {pid, child}
        assert {glimpse.role for glimpse in seen.values()} == {"server"}
        assert all(glimpse.rss > 0 for glimpse in seen.values())
        assert (tree.missing, tree.cores) == ("", len(os.sched_getaffinity(0)))
        while psutil.Process(child).cpu_times().user < 0.05:
            pass
        assert tree.read()[child].cpu_ms >= 50


def test_a_unix_socket(tmp_path: Path) -> None:
    with listening(str(tmp_path / "s"), "AF_UNIX") as (pid, endpoint):
        assert set(Tree(endpoint).read()) == {pid}


def test_one_that_was_started_anew_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LOOK_AGAIN_NS", 0)
    with listening() as (first, endpoint):
        tree = Tree(endpoint)
        assert set(tree.read()) == {first}
    assert tree.read() == {}
    assert tree.read() == {}
    assert "can be seen" in tree.missing
    with listening(str(endpoint.socket_address[1])) as (second, _):
        assert set(tree.read()) == {second}
        assert tree.missing == ""


def test_one_that_is_gone_is_not_looked_for_at_every_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[Endpoint] = []
    monkeypatch.setattr(processes, "listener", looked.append)
    tree = Tree(at(9))
    for _ in range(5):
        assert tree.read() == {}
    assert len(looked) == 1


def test_by_its_pid() -> None:
    with listening() as (pid, _):
        tree = Tree(at(9, "192.0.2.1"), pid)
        assert set(tree.read()) == {pid}
    with pytest.raises(HostError) as caught:
        Tree(at(9), 2**22 + 1)
    assert caught.value.flag == "--server-pid"


def test_one_that_only_passes_on_is_not_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "FORWARDERS", (psutil.Process().name(),))
    with listening() as (pid, endpoint):
        tree = Tree(endpoint)
        assert tree.read() == {}
        assert "which passes on: name the server with --server-pid" in tree.missing
        assert set(Tree(endpoint, pid).read()) == {pid}, "who is named is believed"


def test_our_own_processes_are_not_the_targets() -> None:
    """A server within the very process that makes the load."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        assert Tree(at(sock.getsockname()[1])).read() == {}


@pytest.mark.parametrize(
    ("endpoint", "here"), [(at(9), True), (at(9, "192.0.2.1"), False), (at(9, proxy="http://127.0.0.1:3128"), False)]
)
def test_what_is_here(endpoint: Endpoint, here: bool) -> None:
    assert is_here(endpoint) is here
    if not here:
        tree = Tree(endpoint)
        assert (tree.read(), tree.missing) == ({}, "it is not on this host")
