"""Whole runs over each way to a target: TLS, a client's certificate, Unix sockets, the aiohttp transport, proxies, headers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import certificates
from tests.end_to_end.proxies import running_proxy
from tests.end_to_end.runs import TARGET, Finished, check_finished, run_clipload, start_clipload
from tests.end_to_end.test_faults import nothing_was_measured
from tests.servers import Server, running_server

KEY, TOKEN = "sk-do-not-tell-anybody-0123456789", "t0ken-do-not-tell"
CLOSED = ("--mode", "text", "--concurrency", "3", "--num-samples", "60")
SIM = ("--law", "constant(1ms)", "--dim", "64", "--cores", "1")
PEM = certificates()
CA = ("--cacert", str(PEM.ca))
AIOHTTP = ("--transport", "aiohttp")
slow = pytest.mark.slow
both = pytest.mark.parametrize("transport", ["stream", pytest.param("aiohttp", marks=slow)])


@pytest.fixture(scope="module")
def plain() -> Iterator[Server]:
    with running_server("sim", *SIM) as server:
        yield server


@pytest.fixture(scope="module")
def sealed() -> Iterator[Server]:
    """It asks for a certificate of our authority, and for a key."""
    tls = ("--tls-cert", str(PEM.server), "--tls-client-ca", str(PEM.ca))
    with running_server("sim", *SIM, *tls, env={"CLIPLOAD_SERVE_API_KEY": KEY}) as server:
        yield server


@pytest.fixture(scope="module")
def open_to_all() -> Iterator[Server]:
    with running_server("sim", *SIM, "--tls-cert", str(PEM.server)) as server:
        yield server


def all_ok(done: Finished, requests: int = 60) -> None:
    check_finished(done)
    assert done.counts["ok"] == done.counts["scheduled"] == requests
    assert done.document["facts"]["workers"][0]["connections"] >= 1


def seen_nowhere(done: Finished, *secrets: str) -> None:
    files = [path for path in done.directory.rglob("*") if path.is_file()]
    assert len(files) >= 6
    for secret in secrets:
        assert [path for path in files if secret.encode() in path.read_bytes()] == []
        assert secret not in done.stdout + done.stderr


@both
def test_through_tls_with_a_certificate_and_a_key(sealed: Server, tmp_path: Path, transport: str) -> None:
    """Both sides verify each other; what is secret stands in no file."""
    assert sealed.url.startswith("https://")
    (tmp_path / "h").write_text(f"X-Token: {TOKEN}\n")
    flags = [*CLOSED, "--transport", transport, *CA, "--cert", str(PEM.client_cert), "--cert-key", str(PEM.client_key)]
    flags += ["--secret-header-file", str(tmp_path / "h"), "--header", "X-Trace=load"]
    done = run_clipload(*flags, url=sealed.url, out=tmp_path / "o", env={"CLIPLOAD_API_KEY": KEY})
    all_ok(done)
    key_lines = [line for line in PEM.client_key.read_text().splitlines() if len(line) > 40]
    seen_nowhere(done, KEY, TOKEN, *key_lines)
    assert done.document["facts"]["tls"] == {"verified": True}
    assert done.document["plan"]["header"] == ["X-Trace=load"]
    assert not any("--insecure" in said for said in (done.stderr, *done.findings))


def test_without_the_certificate_that_it_asks_for(sealed: Server, tmp_path: Path) -> None:
    done = run_clipload(*CLOSED, *CA, url=sealed.url, out=tmp_path / "o", env={"CLIPLOAD_API_KEY": KEY})
    nothing_was_measured(done, tmp_path / "o", "--cert")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ((), "CERTIFICATE_VERIFY_FAILED"),
        pytest.param(("--cacert", str(PEM.other_ca)), "CERTIFICATE_VERIFY_FAILED", marks=slow),
        pytest.param((*AIOHTTP, "--cacert", str(PEM.other_ca)), "CERTIFICATE_VERIFY_FAILED", marks=slow),
    ],
)
def test_an_authority_that_nobody_trusts(open_to_all: Server, tmp_path: Path, flags: tuple[str, ...], said: str) -> None:
    done = run_clipload(*CLOSED, *flags, url=open_to_all.url, out=tmp_path / "o")
    nothing_was_measured(done, tmp_path / "o", said, "--cacert", "--insecure")
    assert "encoded" not in done.stderr, "it is found before anything is encoded"


def test_a_certificate_of_another_name(tmp_path: Path) -> None:
    with running_server("null", "--cores", "1", "--tls-cert", str(PEM.elsewhere)) as server:
        done = run_clipload(*CLOSED, *CA, url=server.url, out=tmp_path / "o")
        nothing_was_measured(done, tmp_path / "o", "not valid for '127.0.0.1'")


@both
def test_insecure_is_said_loudly(open_to_all: Server, tmp_path: Path, transport: str) -> None:
    done = run_clipload(*CLOSED, "--transport", transport, "--insecure", url=open_to_all.url, out=tmp_path)
    all_ok(done)
    assert done.stderr.startswith("WARNING: --insecure: ")
    assert "TLS WITHOUT VERIFICATION (--insecure)" in done.stderr
    assert any("not verified (--insecure)" in said for said in done.findings)
    assert done.document["facts"]["tls"] == {"verified": False}


def test_who_speaks_no_tls(plain: Server, tmp_path: Path) -> None:
    done = run_clipload(*CLOSED, url=plain.url.replace("http:", "https:"), out=tmp_path / "o")
    nothing_was_measured(done, tmp_path / "o", "does it speak TLS?")


@both
def test_through_a_unix_socket_and_tcp_at_once(plain: Server, tmp_path: Path, transport: str) -> None:
    path = tmp_path / "s.sock"
    with running_server("sim", *SIM, "--unix", str(path)) as server:
        assert server.url == f"unix:{path}"
        flags = [*CLOSED, "--transport", transport, "--base-url", server.url]
        done = run_clipload(*flags, url=plain.url, out=tmp_path / "o")
    all_ok(done)
    assert [part["counts"]["ok"] for part in done.document["targets"]] == [30, 30]
    assert [part["url"] for part in done.document["targets"]] == [f"unix:{path}", plain.url]


def test_a_socket_that_is_not_there(tmp_path: Path) -> None:
    done = run_clipload(*CLOSED, url=f"unix:{tmp_path}/s.sock", out=tmp_path / "o")
    nothing_was_measured(done, tmp_path / "o", "--base-url", "No such file")


# ---- aiohttp


@slow
def test_an_open_loop_of_aiohttp_that_times_out(tmp_path: Path) -> None:
    flags = [*AIOHTTP, "--mode", "text", "--rate", "100", "--arrival", "constant", "--duration", "2s", "--timeout", "100ms"]
    flags += ["--grace", "2s"]  # else the last, if it is sent late, is cut off before its time is out
    with running_server("sim", *SIM, "--stall", "at=1s,for=1h") as server:
        done = run_clipload(*flags, url=server.url, out=tmp_path)
    check_finished(done)
    assert "the aiohttp transport" in done.stderr
    assert done.counts["timeout"] > 50
    assert done.counts.get("ok", 0) + done.counts["timeout"] == done.counts["scheduled"]
    assert done.measure["histograms"]["failed"]["min"] >= 100_000_000


@pytest.mark.slow
def test_a_server_that_dies_ends_a_run_of_aiohttp(tmp_path: Path) -> None:
    with (
        running_server("sim", *SIM) as server,
        start_clipload(
            *AIOHTTP, "--mode", "text", "--rate", "100", "--duration", "30s", url=server.url, out=tmp_path
        ) as running,
    ):
        running.wait_for_second(1)
        server.process.kill()
        done = running.finish()
    check_finished(done, ended="target died", code=TARGET)
    assert done.counts["error.connect"] >= 50
    assert done.counts["not_due"] > 1000


@slow
def test_aiohttp_survives_connections_that_are_closed_while_idle(tmp_path: Path) -> None:
    with running_server("sim", *SIM, "--keep-alive", "500ms") as server:
        flags = [*AIOHTTP, "--mode", "text", "--rate", "2", "--arrival", "constant", "--duration", "5s"]
        done = run_clipload(*flags, url=server.url, out=tmp_path)
    all_ok(done, 10)


def test_through_a_proxy(plain: Server, tmp_path: Path) -> None:
    """Plain HTTP is forwarded: the proxy sees every request, and the headers that were asked for."""
    (tmp_path / "h").write_text(f"X-Token: {TOKEN}\n")
    flags = [*CLOSED, *AIOHTTP, "--header", "X-Trace=load", "--secret-header-file", str(tmp_path / "h")]
    with running_proxy() as proxy:
        done = run_clipload(*flags, "--proxy", proxy.url, url=plain.url, out=tmp_path / "o")
    all_ok(done)
    assert len(proxy.heads) == 61, "the probe and 60 requests"
    for head in proxy.heads:
        first, *fields = head.split("\r\n")
        assert first == f"POST {plain.url}/v1/embeddings HTTP/1.1"
        assert {"X-Trace: load", f"X-Token: {TOKEN}", f"Host: {plain.url[7:]}"} <= set(fields)
    assert f"through the proxy {proxy.url}" in done.stderr
    seen_nowhere(done, TOKEN)


@slow
def test_through_a_tunnel(open_to_all: Server, tmp_path: Path) -> None:
    """TLS goes through the proxy untouched, which sees a CONNECT for each connection, and no secret in it."""
    flags = [*CLOSED, *AIOHTTP, *CA, "--header", "X-Trace=load"]
    with running_proxy() as proxy:
        done = run_clipload(*flags, "--proxy", proxy.url, url=open_to_all.url, out=tmp_path, env={"CLIPLOAD_API_KEY": KEY})
    all_ok(done)
    assert {head.split("\r\n")[0] for head in proxy.heads} == {f"CONNECT {open_to_all.url[8:]} HTTP/1.1"}
    assert len(proxy.heads) == 4, "the probe's, and one for each request in flight"
    assert not [head for head in proxy.heads if KEY in head or "Authorization" in head or "X-Trace" in head]


@pytest.mark.parametrize("what", ["absent", pytest.param("refusing", marks=slow)])
def test_a_proxy_that_does_not_let_us_through(open_to_all: Server, tmp_path: Path, what: str) -> None:
    with running_proxy(refusing=True) as proxy:
        url: Any = proxy.url if what == "refusing" else "http://127.0.0.1:1"
        done = run_clipload(*CLOSED, *AIOHTTP, *CA, "--proxy", url, url=open_to_all.url, out=tmp_path / "o")
    nothing_was_measured(done, tmp_path / "o", url, "403" if what == "refusing" else "--proxy")
