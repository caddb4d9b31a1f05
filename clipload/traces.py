"""Traces: arrivals that were recorded somewhere, one timestamp a line, replayed at their own distances.

A line holds seconds (`12.345`) or an ISO 8601 instant (`2026-11-25T08:00:00.5Z`) as its first field; what follows a comma or a
blank is passed over, as are empty lines and those that begin with `#`. The first arrival is due at the start. Workers map what
the supervisor has read, so that all have the same instants though the file may change.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import msgspec
import numpy as np

from clipload.errors import DatasetError, HostError
from clipload.pacing import Offsets, rising

FLAG = "--trace"


class TraceMap(msgspec.Struct, frozen=True):
    """What a worker must know to map a trace: the descriptor that it inherits, and how many arrivals there are."""

    fd: int
    arrivals: int


def read_trace(file: Path, speedup: float = 1.0) -> Offsets:
    """Due offsets in ns from the first; arrivals of one instant are 1 ns apart. DatasetError names file and line."""
    seconds = np.array(list(_timestamps(file)))
    if not len(seconds):
        raise DatasetError(f"{file} holds no timestamp", flag=FLAG, remedy="one timestamp a line: seconds, or ISO 8601")
    return rising(np.rint((seconds - seconds[0]) * 1e9 / speedup).astype(np.int64))


def _timestamps(file: Path) -> Iterator[float]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise DatasetError(f"cannot read {file}: {why}", flag=FLAG, remedy="name a text file of timestamps") from error
    last = float("-inf")
    for number, line in enumerate(text.splitlines(), 1):
        word = re.split(r"[,\s]", line.strip(), maxsplit=1)[0]
        if not word or word.startswith("#"):
            continue
        value = _seconds(word)
        if value is None:
            raise DatasetError(
                f"{file}, line {number}: {word[:60]!r} is no timestamp",
                flag=FLAG,
                remedy="write seconds or an ISO 8601 instant first in each line; a heading begins with #",
            )
        if value < last:
            raise DatasetError(f"{file}, line {number}: earlier than the line before", flag=FLAG, remedy="sort it: sort -n")
        last = value
        yield value


def _seconds(word: str) -> float | None:
    try:
        value = float(word)
    except ValueError:
        try:
            value = datetime.fromisoformat(word).timestamp()
        except ValueError:
            return None
    return value if abs(value) < 1e12 else None  # neither infinite nor NaN, and finer than a millisecond


@contextmanager
def holding(offsets: Offsets | None) -> Iterator[TraceMap | None]:
    """The offsets in a memfd, whose descriptor is its only name, until the block is left. None when there is no trace."""
    if offsets is None:
        yield None
        return
    fd = os.memfd_create("clipload-trace", os.MFD_CLOEXEC)
    try:
        _fill(fd, offsets)
        yield TraceMap(fd, len(offsets))
    finally:
        os.close(fd)


def _fill(fd: int, offsets: Offsets) -> None:
    try:
        os.posix_fallocate(fd, 0, offsets.nbytes)
    except OSError as error:
        raise HostError(f"no memory for the trace: {error.strerror}", flag=FLAG, remedy="use a shorter trace") from error
    with os.fdopen(os.dup(fd), "wb") as file:
        file.write(offsets.tobytes())


def map_trace(where: TraceMap) -> Offsets:
    """The offsets, read-only and without a copy."""
    memory = memoryview(mmap.mmap(where.fd, 8 * where.arrivals, prot=mmap.PROT_READ))
    return np.frombuffer(memory, dtype=np.int64)
