"""The memory of `clipload embed` over a generated JSONL of texts, and how long it takes when the model costs nothing.

    python -m benchmarks.embed_memory [LINES [SUFFIX ...]]

Asked for: bounded on a million lines. A tenth of the lines first, then all of them, each in a process of its own whose peak is
the system's (`ru_maxrss`). The backend is an installed package's: vectors of 512 numbers, the first of them the line's number,
so that the dump can be held against the file. SUFFIX is the dump's (.npy): `.pt` counts the pages of the file that it maps.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.bench import CLIENT, SERVER, machine

ROOT = Path(__file__).parents[1]
DIM = 512
MODULE = f"""
import numpy as np

class Swift:
    def __init__(self, options):
        pass

    def encode(self, items):
        vectors = np.ones((len(items), {DIM}), np.float32)
        vectors[:, 0] = [int(item.text.partition(" ")[0]) for item in items]
        return vectors
"""


class Peak(NamedTuple):
    """Bytes at the most, seconds in all."""

    rss: int
    seconds: float


def install(folder: Path) -> None:
    """The package, as pip would leave it, so that a process with this folder on its path finds the backend `swift`."""
    about = folder / "clipload_swift-1.0.dist-info"
    about.mkdir(parents=True)
    (folder / "clipload_swift.py").write_text(MODULE)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: clipload-swift\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[clipload.backends]\nswift = clipload_swift:Swift\n")


def generate(file: Path, lines: int) -> None:
    """Line i is a text that begins with i."""
    with file.open("w") as out:
        out.writelines(f'{{"text": "{number} dogs run over the grass of a field"}}\n' for number in range(1, lines + 1))


def embedded(site: Path, file: Path, dump: Path) -> Peak:
    """One `clipload embed` of that file into that dump, watched. RuntimeError with what it said when it fails."""
    flags = ["--backend", "swift", "--modality", "text", "--data", str(file), "--dump-txt-emb", str(dump)]
    env = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{site}"}
    with tempfile.TemporaryFile() as said:
        began = time.perf_counter()
        process = subprocess.Popen([sys.executable, "-m", "clipload", "embed", *flags], env=env, stdout=said, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise RuntimeError(said.read()[-2000:].decode(errors="replace"))
    return Peak(usage.ru_maxrss * 1024, time.perf_counter() - began)


def main(lines: int = 1_000_000, *suffixes: str) -> None:
    print(machine().replace(f"; client on core {CLIENT}, server on core {SERVER}", ""))
    print(f"{'dump':<14}{'lines':>10}{'peak':>12}{'lines/s':>10}{'dump has':>12}")
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as place:
        folder = Path(place)
        install(folder / "site")
        for suffix in suffixes or (".npy",):
            for count in (lines // 10, lines):
                file, dump = folder / f"{count}.jsonl", folder / f"{count}{suffix}"
                generate(file, count)
                found = embedded(folder / "site", file, dump)
                sizes = f"{found.rss / 2**20:>8.1f} MiB{count / found.seconds:>10.0f}{dump.stat().st_size / 2**20:>8.0f} MiB"
                print(f"{suffix:<14}{count:>10}{sizes}", flush=True)
                dump.unlink()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]), *sys.argv[2:])
