"""A network of its own for a test: its ports and interfaces are nobody else's."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache

import pytest

UNSHARED = ("unshare", "-rn")  # the user becomes its root


@cache
def _possible() -> bool:
    return bool(shutil.which("unshare") and shutil.which("ip")) and not subprocess.run(
        [*UNSHARED, "ip", "link", "add", "near", "type", "veth", "peer", "name", "far"], capture_output=True, check=False
    ).returncode  # fmt: skip


def need_a_namespace() -> None:
    """Skips the test where the kernel does not let us have one."""
    if not _possible():
        pytest.skip("no network namespace can be made here")
