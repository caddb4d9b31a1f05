"""The older tool's commands as processes: started as its users do, always ended."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tests.servers import ROOT, environment

SCRIPTS = ROOT / "scripts"
LIMIT_S = 100


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def command_of(line: str) -> list[str]:
    """The words of a command line as typed, `python NAME` made the interpreter and the script of today."""
    words = shlex.split(line)
    at = words.index("python")
    return [*words[:at], sys.executable, str(SCRIPTS / words[at + 1]), *words[at + 2 :]]


def perform(words: list[str], cwd: Path, env: Mapping[str, str] | None = None) -> Done:
    """Runs it in `cwd`; no traceback is ever an answer."""
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        cwd=cwd,
        env=environment({"PYTHON": sys.executable, "HF_HUB_OFFLINE": "1"} | dict(env or {})),
        timeout=LIMIT_S,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Done(done.returncode, done.stdout, done.stderr)


def typed(line: str, cwd: Path, env: Mapping[str, str] | None = None) -> Done:
    return perform(command_of(line), cwd, env)
