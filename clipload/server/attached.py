"""`python -m clipload.server.attached`: the reference server as a child. Its options are a line of JSON on stdin, and it ends
when stdin does, so that it never outlives whoever started it."""

from __future__ import annotations

import os
import signal
import sys
import threading

import msgspec

from clipload.server import ServerOptions, run_server


def _end_with_stdin() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


def _announce(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    options = ServerOptions(**msgspec.json.decode(sys.stdin.buffer.readline()))
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    return run_server(options, _announce)


if __name__ == "__main__":
    sys.exit(main())
