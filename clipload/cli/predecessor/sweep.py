"""The end of `run_sglang_clip_cpu.sh`: the newest Run of each logs folder, as a table and a picture."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from clipload import archive
from clipload.cli import guarded
from clipload.cli.predecessor.flags import Parser, say
from clipload.errors import EXIT_OK, ArchiveError
from clipload.reports.batches import batch_chart, batch_table, check_drawing, png
from clipload.run import Run

PICTURE = Path("batch_size_throughput.png")


def parser() -> Parser:
    flags = Parser(prog="draw_batches.py", description=(__doc__ or "").splitlines()[0])
    flags.add_argument("folders", nargs="+", type=Path, help="logs folders of the launcher, like logs_batch_1 logs_batch_2")
    flags.add_argument("--out", type=Path, default=PICTURE, help="the picture, PNG")
    return flags


def newest(folder: Path) -> Run:
    """The Run of `folder` that was written last. ArchiveError when there is none."""
    journals = sorted(folder.glob("*/journal.bin"), key=lambda path: path.stat().st_mtime_ns)
    if not journals:
        raise ArchiveError(f"{folder} holds no run", remedy="name a --logs_dir of the launcher")
    return archive.load(journals[-1].parent)


def main(arguments: Sequence[str]) -> int:
    """The exit code."""
    return guarded(lambda: _main(parser().parse(arguments)), "draw_batches.py")


def _main(given: argparse.Namespace) -> int:
    runs = [newest(folder) for folder in given.folders]
    print(batch_table(runs), flush=True)
    check_drawing()
    archive.write_atomically(given.out, png(batch_chart(runs)))
    say(f"saved {given.out}")
    return EXIT_OK
