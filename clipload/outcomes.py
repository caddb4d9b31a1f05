"""Outcomes: the fate of each request, as rows of integers in one preallocated buffer, folded into Tallies now and then.

A row is thirteen int64: the instants (ns, CLOCK_MONOTONIC; 0 = did not happen), the fate's code, the body's number, the bytes
received, the retries, the target's number (which base URL), and what the target told of its own time (ns; both 0 = nothing).
Writing one is a single `pack_into`; everything else is vectorised, once a second. The buffer never grows: when it is full, it
is folded.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from clipload.histogram import Histogram
from clipload.pacing import PHASES
from clipload.tally import ERROR, Tally

# Fates below 100; an HTTP status that is not 200 is its own code.
OK, CONNECT, RESET, PROTOCOL, NOT_JSON, VECTORS, TIMEOUT, CENSORED, UNSENT, LOCAL = range(10)

_FATES = {
    OK: "ok",
    CONNECT: ERROR + "connect",  # no connection: refused, unreachable
    RESET: ERROR + "reset",  # the connection ended before the reply did
    PROTOCOL: ERROR + "protocol",  # not HTTP
    NOT_JSON: ERROR + "not_json",  # status 200 and a body that is not JSON
    VECTORS: ERROR + "vectors",  # status 200 and the wrong number of vectors
    TIMEOUT: "timeout",
    CENSORED: "censored",  # sent, unanswered when draining ended
    UNSENT: "unsent",  # due, no connection when draining ended
    LOCAL: ERROR + "local",  # the generator itself ran out of ports or descriptors
}

DUE, DISPATCHED, SENT, WRITTEN, FIRST, DONE, CODE, BODY, RECEIVED, RETRIES, TARGET, SERVER_QUEUE, SERVER_TIME = COLUMNS = range(
    13
)
ROW = struct.Struct(f"={len(COLUMNS)}q")
ROW_BYTES = ROW.size

# (due, dispatched, sent, written, first, done, code, body, received, retries, target, server's queue, server's time)
Row = tuple[int, int, int, int, int, int, int, int, int, int, int, int, int]
Rows = NDArray[np.int64]


def fate(code: int) -> str:
    """The Tally count that a code adds to."""
    return _FATES.get(code) or f"{ERROR}http_{code}"


class Outcomes:
    """A buffer of `capacity` rows, filled in the order of `done`."""

    __slots__ = ("_buffer", "_capacity", "_pack", "_rows", "offset")

    def __init__(self, capacity: int = 16384) -> None:
        self._buffer = bytearray(capacity * ROW.size)
        self._rows: Rows = np.frombuffer(self._buffer, dtype=np.int64).reshape(capacity, len(COLUMNS))
        self._capacity = capacity * ROW.size
        self._pack = ROW.pack_into
        self.offset = 0

    def add(self, row: Row) -> bool:
        """Appends one row. True when the buffer is now full and must be folded."""
        self._pack(self._buffer, self.offset, *row)
        self.offset += ROW_BYTES
        return self.offset >= self._capacity

    def take(self, until_ns: int) -> Rows:
        """Removes and returns the rows done before `until_ns`."""
        filled = self._rows[: self.offset // ROW.size]
        n = int(np.searchsorted(filled[:, DONE], until_ns))
        taken, rest = filled[:n].copy(), filled[n:].copy()
        self._rows[: len(rest)] = rest
        self.offset = len(rest) * ROW.size
        return taken


def fold(rows: Rows, bounds: NDArray[np.int64], samples_per_request: int, body_bytes: NDArray[np.int64]) -> dict[str, Tally]:
    """Rows → one Tally for each phase that they touch.

    bounds: the absolute ns of `Horizon.bounds`. body_bytes[t, b]: bytes on the wire of body b with its head for target t.
    """
    phase = np.searchsorted(bounds, rows[:, DUE], side="right") - 1
    tallies = {}
    for number in np.unique(phase).tolist():
        tallies[PHASES[number]] = tally_of(rows[phase == number], samples_per_request, body_bytes)
    return tallies


def tally_of(rows: Rows, samples_per_request: int, body_bytes: NDArray[np.int64]) -> Tally:
    """The sum of `rows`; see `fold`."""
    columns = np.ascontiguousarray(rows.T)
    code = columns[CODE]
    ok = columns if not code.any() else columns[:, code == OK]
    codes, counts = np.unique(code, return_counts=True)
    tally = Tally({fate(value): n for value, n in zip(codes.tolist(), counts.tolist(), strict=True)})
    tally.add("samples", ok.shape[1] * samples_per_request)
    tally.add("bytes_received", int(columns[RECEIVED].sum()))
    tally.add("bytes_sent", int(body_bytes[columns[TARGET], columns[BODY]][columns[WRITTEN] > 0].sum()))
    tally.add("retried", int(columns[RETRIES].sum()))
    for name, values in _times(columns, ok):
        if len(values):
            tally.histograms[name] = Histogram()
            tally.histograms[name].record(values)
    return tally


def _times(columns: Rows, ok: Rows) -> Iterator[tuple[str, Rows]]:
    """(histogram, its values): `ok` are the columns of ok requests."""
    yield "latency", ok[DONE] - ok[DUE]
    yield "service", ok[DONE] - ok[SENT]
    yield "first_byte", ok[FIRST] - ok[SENT]
    written = ok if ok[WRITTEN].all() else ok[:, ok[WRITTEN] > 0]  # an answer may come before the body has gone
    yield "upload", written[WRITTEN] - written[SENT]
    yield "unlagged", ok[DONE] - ok[DISPATCHED]
    told = ok[:, ok[SERVER_TIME] > 0]
    yield "server_queue", told[SERVER_QUEUE]
    yield "server_time", told[SERVER_TIME]
    sent = columns if columns[SENT].all() else columns[:, columns[SENT] > 0]
    yield "delay", sent[SENT] - sent[DUE]
    yield "lag", sent[DISPATCHED] - sent[DUE]
    yield "wait", sent[SENT] - sent[DISPATCHED]
    if ok is not columns:
        code, waited = columns[CODE], columns[DONE] - columns[DUE]
        unanswered = (code == CENSORED) | (code == UNSENT)
        yield "failed", waited[(code != OK) & ~unanswered]
        yield "bound", waited[unanswered]
