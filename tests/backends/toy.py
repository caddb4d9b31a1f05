"""A backend as somebody else would write it: a package of its own, with nothing but `encode`, found by its entry point.

Its vectors are drawn from a hash of the item. Environment: TOY_DIES_AFTER=n kills the process, as kill -9 does, at the n-th
call; TOY_SPOILS=text makes that text's vector NaN; TOY_DIM is their length.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "clipload-toy"
version = "1.0"
[project.entry-points."clipload.backends"]
toy = "clipload_toy:Toy"
broken = "clipload_toy:Nothing"
mute = "clipload_toy:Mute"
[tool.setuptools]
py-modules = ["clipload_toy"]
"""

MODULE = """
import hashlib, os, signal
import numpy as np

class Toy:
    def __init__(self, options):
        self.calls = 0
        self.dim = int(os.environ.get("TOY_DIM", "8"))

    def encode(self, items):
        self.calls += 1
        if self.calls == int(os.environ.get("TOY_DIES_AFTER", "0")):
            os.kill(os.getpid(), signal.SIGKILL)
        return np.array([self.vector(item) for item in items], np.float32)

    def vector(self, item):
        content = getattr(item, "text", None)
        if content is not None and content == os.environ.get("TOY_SPOILS"):
            return np.full(self.dim, np.nan)
        data = content.encode() if content is not None else item.data
        return np.random.default_rng(list(hashlib.sha256(data).digest())).normal(size=self.dim)

class Mute:
    def __init__(self, options):
        pass
"""


def install(folder: Path) -> Path:
    """Builds the package and installs it below `folder`, as pip does, without an index; what goes into PYTHONPATH."""
    source, target = folder / "source", folder / "site"
    source.mkdir()
    (source / "pyproject.toml").write_text(PROJECT)
    (source / "clipload_toy.py").write_text(MODULE)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    flags = ["--no-build-isolation", "--no-deps", "--target", str(target), str(source)]
    subprocess.run([*pip, *flags], check=True, capture_output=True, timeout=100, cwd=folder, env=_plain())
    return target


@cache
def _plain() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
