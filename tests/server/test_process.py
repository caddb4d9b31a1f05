"""The server as a process: its one line, its signals, its complaints, and what importing its command costs."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time

import pytest

from tests.server.wire import embed, once
from tests.servers import ROOT, command, environment, running_server


def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("serve", *arguments), capture_output=True, text=True, timeout=60, cwd=ROOT, env=environment(env), check=False
    )


@pytest.mark.parametrize("engine", ["null", "sim"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_cleanly(engine: str, number: signal.Signals) -> None:
    with running_server(engine) as server:
        assert once(server.url, "GET", "/ready").status == 200
        assert server.process.pid == server.pid
        server.process.send_signal(number)
        assert server.process.wait(10) == 0
        assert server.process.stdout is not None
        assert server.process.stdout.read() == ""  # the one line was all


def test_a_request_in_hand_does_not_keep_it_alive() -> None:
    with (
        running_server("sim", "--law", "constant(1h)") as server,
        socket.create_connection(("127.0.0.1", _port(server.url))) as open_one,
    ):
        body = b'{"input":"a"}'
        open_one.sendall(b"POST /v1/embeddings HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: 13\r\n\r\n" + body)
        time.sleep(0.1)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(10) == 0


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


@pytest.mark.parametrize("engine", ["null", "sim"])
def test_a_unix_socket_goes_with_its_server(engine: str, tmp_path) -> None:
    path = tmp_path / "s.sock"
    with running_server(engine, "--unix", str(path)) as server:
        assert server.url == f"unix:{path}"
        done = run("--engine", engine, "--unix", str(path))
        assert (done.returncode, "--unix" in done.stderr, "Address already in use" in done.stderr) == (2, True, True)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 200 ")
    assert not path.exists()


@pytest.mark.parametrize("engine", ["null", "sim", "clip"])
def test_a_port_in_use_is_named_before_anything_is_loaded(engine: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("--engine", engine, "--port", str(taken.getsockname()[1]))
    assert done.returncode == 2
    assert "--port" in done.stderr
    assert "choose another port" in done.stderr
    assert done.stdout == ""


def test_a_mistake_exits_2_and_names_the_flag() -> None:
    done = run("--engine", "sim", "--law", "often")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--law" in done.stderr
    assert "constant(5ms)" in done.stderr


def test_an_empty_key_file_is_no_open_door(tmp_path) -> None:
    (tmp_path / "key").write_text("\n")
    for file in ("key", "missing"):
        done = run("--engine", "null", "--api-key-file", str(tmp_path / file))
        assert done.returncode == 2
        assert "--api-key-file" in done.stderr


def test_several_stalls_may_be_scripted() -> None:
    with running_server("sim", "--stall", "at=1h,for=1s", "--stall", "at=start+2h,for=1s") as server:
        assert once(server.url, "GET", "/server_info").json["stall"] == ["at=1h,for=1s", "at=start+2h,for=1s"]
        assert embed(server.url, "a").status == 200


def test_the_command_is_cheap_to_import() -> None:
    program = "import clipload.cli.serve, json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert not {"torch", "transformers", "aiohttp", "numpy", "uvloop"} & set(json.loads(done.stdout))
