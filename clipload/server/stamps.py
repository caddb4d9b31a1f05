"""What the server itself saw of each request: a second witness, beside the client's figures."""

from __future__ import annotations

from pathlib import Path
from zlib import crc32

import numpy as np

from clipload.errors import PlanError

COLUMNS = ("arrived", "started", "departed", "replied", "body")


class Stamps:
    """One row of int64 for each request, in order of arrival: instants of CLOCK_MONOTONIC, ns; 0 for what did not happen.

    `started` and `departed` are the virtual queue's, `replied` is when the answer was handed over to be written: what it is
    later than `departed` is the server's own lateness. `body` is the CRC-32 of what was asked. The file (.npy) is there from
    the start, so that a path which cannot be written is a mistake at once, and is filled when the server ends.
    """

    def __init__(self, path: Path) -> None:
        self._rows: list[list[int]] = []
        try:
            self._file = path.open("wb")
        except OSError as error:
            remedy = "name a file in a folder that can be written to"
            raise PlanError(f"cannot write {path}: {error.strerror}", flag="--stamps", remedy=remedy) from None

    def arrive(self, now_ns: int, body: bytes) -> list[int]:
        """A new row; the three instants that follow are the engine's to fill in."""
        row = [now_ns, 0, 0, 0, crc32(body)]
        self._rows.append(row)
        return row

    def close(self) -> None:
        with self._file:
            np.save(self._file, np.array(self._rows, np.int64).reshape(-1, len(COLUMNS)))
