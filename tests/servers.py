"""Reference servers as processes of their own: real sockets on loopback, bounded waits, always stopped."""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_S, STOP_S = 60.0, 5.0
ROOT = Path(__file__).parents[1]
LINE = re.compile(r"listening on ((?:https?://|unix:)\S+) \(engine (\w+), pid (\d+)\)")


@dataclass(frozen=True, slots=True)
class Server:
    """A server that accepts connections at `url` (no slash at the end)."""

    url: str
    pid: int
    process: subprocess.Popen[str]


def command(*arguments: str) -> list[str]:
    """`python -m clipload …`."""
    return [sys.executable, "-m", "clipload", *arguments]


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without what would steer a server unasked."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CLIPLOAD_")}
    return kept | {"PYTHONPATH": str(ROOT)} | dict(extra or {})


@contextmanager
def running_server(engine: str, *flags: str, env: Mapping[str, str] | None = None) -> Iterator[Server]:
    """`clipload serve --engine <engine> <flags>` on a free port; stopped, by force if need be, when the block is left."""
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            command("serve", "--engine", engine, *([] if {"--unix", "--port"} & set(flags) else ["--port", "0"]), *flags),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=ROOT,
            env=environment(env),
        )
        try:
            found = LINE.search(_first_line(process))
            if found is None:
                process.kill()
                process.wait()
                log.seek(0)
                raise AssertionError(f"the server said nothing; exit {process.returncode}, stderr:\n{log.read()}")
            yield Server(found[1], int(found[3]), process)
        finally:
            _stop(process)


def _first_line(process: subprocess.Popen[str]) -> str:
    """What it prints first, or nothing when it ends or takes longer than START_S."""
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        deadline = time.monotonic() + START_S
        while (left := deadline - time.monotonic()) > 0:
            if selector.select(left):
                return process.stdout.readline()
    return ""


def _stop(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    finally:
        if process.stdout is not None:
            process.stdout.close()
