"""The null engines that a calibration asks: processes of their own, on the cores that are left, reached as the Plan says."""

from __future__ import annotations

import re
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec

from clipload.errors import HostError
from clipload.server import ServerOptions
from clipload.shapes import Way

_START_S, _STOP_S = 30.0, 5.0
_LISTENING = re.compile(r"listening on (\S+) ")
_CERTIFICATE_S = 30.0


class Address(NamedTuple):
    """The Plan fields that lead to the engines."""

    base_url: tuple[str, ...]
    cacert: str


@contextmanager
def null_engines(way: Way, cores: Sequence[int], *, dim: int, api: str) -> Iterator[Address]:
    """One engine on each of `cores`; all have ended when the block has. HostError when one does not start."""
    with ExitStack() as stack:
        folder = tempfile.TemporaryDirectory(prefix="clipload-", dir="/tmp")  # a socket's path has to be short
        place = Path(stack.enter_context(folder))
        options: dict[str, Any] = {"engine": "null", "dim": dim, "api": "v1" if api == "native" else api}
        if way == "tls":
            options |= {"tls_cert": str(_certificate(place))}
        urls = []
        for number, core in enumerate(cores):
            where = {"unix": str(place / str(number))} if way == "unix" else {"port": 0}
            urls.append(stack.enter_context(_engine({**options, **where, "cores": str(core)})))
        yield Address(tuple(urls), options.get("tls_cert", ""))


def _certificate(place: Path) -> Path:
    """A key of this hour for loopback, and its certificate, in one file. HostError without the openssl program."""
    openssl, path = shutil.which("openssl"), place / "engine.pem"
    if openssl is None:
        raise HostError("there is no openssl program here to make the null engine's certificate", remedy="install openssl")
    subject = ["-subj", "/CN=clipload null engine", "-addext", "subjectAltName=IP:127.0.0.1"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(path)]
    command = [openssl, "req", "-x509", *key, "-out", str(place / "certificate"), "-days", "1", *subject]
    made = subprocess.run(command, capture_output=True, text=True, timeout=_CERTIFICATE_S, check=False)
    if made.returncode:
        raise HostError(f"openssl made no certificate: {made.stderr.strip()}", remedy="is openssl 1.1.1 or newer?")
    with path.open("ab") as file:
        file.write((place / "certificate").read_bytes())
    return path


@contextmanager
def _engine(options: dict[str, Any]) -> Iterator[str]:
    """Its URL."""
    ServerOptions(**options)  # for the sake of its complaints
    with tempfile.TemporaryFile() as log:
        command = [sys.executable, "-m", "clipload.server.attached"]
        pipe = subprocess.PIPE
        engine = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=log, start_new_session=True)  # Ctrl-C is not its own
        assert engine.stdin is not None
        assert engine.stdout is not None
        try:
            engine.stdin.write(msgspec.json.encode(options) + b"\n")
            engine.stdin.flush()
            yield _first_words(engine.stdout, log)
        finally:
            engine.stdin.close()
            engine.stdout.close()
            try:
                engine.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                engine.kill()
                engine.wait()


def _first_words(stdout: IO[bytes], log: IO[bytes]) -> str:
    ready, _, _ = select.select([stdout], [], [], _START_S)
    found = _LISTENING.search(stdout.readline().decode()) if ready else None
    if found is None:
        log.seek(0)
        said = log.read().decode(errors="replace").strip().splitlines()
        raise HostError(f"the null engine did not start: {said[-1] if said else 'it said nothing'}", remedy="try again")
    return found[1]
