"""A JSONL file that is gone through line by line, as often as wanted, and never in memory: what `clipload embed` reads.

What is no regular file (standard input, a pipe) is first copied to an unnamed temporary file, where TMPDIR says.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from clipload.errors import DatasetError
from clipload.sources.catalogue import Entry
from clipload.sources.jsonl import FLAG, STDIN, entry_of

BLOCK = 2**20  # bytes
BOM = b"\xef\xbb\xbf"


class LineFile:
    """The Entries of its lines. DatasetError, then or while it is gone through, for a file that cannot be read or changes
    meanwhile, and for a line that is none."""

    def __init__(self, data: Path) -> None:
        self.name = "stdin" if data == STDIN else str(data)
        self._folder = Path() if data == STDIN else data.parent
        try:
            self._fd = _opened(data)
        except OSError as error:
            raise self._unreadable(error) from error
        weakref.finalize(self, os.close, self._fd)
        self._seen = self._state()

    def __iter__(self) -> Iterator[Entry]:
        for number, line in enumerate(self._lines(), 1):
            if line.strip():
                yield entry_of(line, self.name, number, self._folder)

    def _lines(self) -> Iterator[bytes]:
        """At an offset of its own, so that two may go through it at once."""
        try:
            rest = os.pread(self._fd, len(BOM), 0)
            at, rest = len(rest), rest.removeprefix(BOM)
            while block := os.pread(self._fd, BLOCK, at):
                at += len(block)
                *whole, rest = (rest + block).split(b"\n")
                yield from whole
        except OSError as error:
            raise self._unreadable(error) from error
        if self._state() != self._seen:
            raise DatasetError(f"{self.name} changed while it was read", flag=FLAG, remedy="begin again when it is whole")
        yield from rest.split(b"\n")

    def _state(self) -> tuple[int, int]:
        status = os.fstat(self._fd)
        return status.st_size, status.st_mtime_ns

    def _unreadable(self, error: OSError) -> DatasetError:
        remedy = "name a file of JSON lines, or - for standard input"
        return DatasetError(f"cannot read {self.name}: {error.strerror}", flag=FLAG, remedy=remedy)


def _opened(data: Path) -> int:
    if data != STDIN:
        with data.open("rb") as file:
            return os.dup(file.fileno()) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else _copied(file)
    if sys.stdin is None:
        raise DatasetError("standard input is closed", flag=FLAG, remedy="pipe lines into it, or name a file")
    return _copied(sys.stdin.buffer)


def _copied(file: BinaryIO) -> int:
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(file, copy, BLOCK)
        copy.flush()
        return os.dup(copy.fileno())
