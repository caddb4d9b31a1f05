"""The Arena: distinct encoded Items, written once into a memfd, mapped read-only by every worker; bodies are views into it.

It holds Items, not bodies, so its size does not depend on the batch size: for each column of the dialect `Σ len(piece) + 1`
bytes and a table of 8 bytes per Item, and one of 8 bytes per Sample's Item. Space is reserved before it is written
(posix_fallocate), so a full machine is an error here and never a SIGBUS in a worker. The descriptor is the only name: nothing
is left behind, whatever dies.

Layout: piece₀ `,` piece₁ `,` … of the last column, then of the others in order | int64 offsets[columns, items + 1] | int64
samples[pool, items_per_sample] (aligned to 8). The pieces of a column lie side by side, each with its comma, so a body of n
Items in one column is n + 2 views, and fewer where neighbours follow one another.
"""

from __future__ import annotations

import hashlib
import math
import mmap
import os
from collections.abc import Callable, Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

from clipload.dialects import Dialect
from clipload.errors import DatasetError, HostError
from clipload.units import Size, format_bytes
from clipload.values import ImageRef, Item, Sample, Text

_STEP = 16 * 2**20  # reserved at a time
KEPT_VIEWS = 2**16  # views of bodies that are kept once made: some 12 MB at most
KEPT_JOINED = 32 * 2**20  # bytes of small requests that are kept joined
JSON = (("Content-Type", "application/json"), ("Accept", "application/json"))
SMALL = 16 * 1024  # a request this small is kept joined: one buffer, one system call


class ArenaMap(msgspec.Struct, frozen=True):
    """What a worker must know to map an Arena: the descriptor that it inherits and the shape of the table."""

    fd: int
    items: int
    pool: int
    items_per_sample: int
    columns: int
    table: int  # offset of the table in bytes

    @property
    def size(self) -> int:
        return self.table + 8 * (self.columns * (self.items + 1) + self.pool * self.items_per_sample)


class Arena:
    """Builds the memfd. Owns the descriptor until `close`; `map` describes it."""

    def __init__(self, fd: int, where: ArenaMap, texts: int) -> None:
        self.fd = fd
        self.map = where
        self.texts = texts  # distinct ones

    def __repr__(self) -> str:
        return f"Arena({self.map.pool} Samples, {self.map.items} Items, {format_bytes(self.map.size)})"

    def close(self) -> None:
        os.close(self.fd)

    @classmethod
    def build(
        cls, samples: Iterable[Sample], dialect: Dialect, limit: Size, progress: Callable[[int], None] = lambda _: None
    ) -> Arena:
        """Encodes each distinct Item once. `progress` is told how many Samples are in. DatasetError when there are none."""
        fd = os.memfd_create("clipload-arena", os.MFD_CLOEXEC)
        try:
            return cls(fd, *_fill(fd, samples, dialect, limit, progress))
        except BaseException:
            os.close(fd)
            raise


def _fill(
    fd: int, samples: Iterable[Sample], dialect: Dialect, limit: Size, progress: Callable[[int], None]
) -> tuple[ArenaMap, int]:
    """The map, and how many of the Items are texts."""
    columns = _Columns(Writer(fd, limit), len(dialect.frame()) - 1)
    seen: dict[tuple[str, str | bytes], int] = {}
    rows: list[list[int]] = []
    for sample in samples:
        row = []
        for item in sample.items:
            key = item_key(item)
            number = seen.get(key)
            if number is None:
                number = seen[key] = len(seen)
                columns.append(dialect.encode_item(item))
            row.append(number)
        rows.append(row)
        progress(len(rows))
    if not rows:
        raise DatasetError(
            "holds no Sample that can be read", flag="--data-source", remedy="check the folder and the captions file"
        )
    table, end = columns.close(np.array(rows, dtype=np.int64))
    os.ftruncate(fd, end)
    where = ArenaMap(fd=fd, items=len(seen), pool=len(rows), items_per_sample=len(rows[0]), columns=columns.count, table=table)
    return where, sum(kind == "text" for kind, _ in seen)


def item_key(item: Item) -> tuple[str, str | bytes]:
    """What makes an Item the same as another, without keeping its bytes."""
    if isinstance(item, Text):
        return "text", item.text
    if isinstance(item, ImageRef):
        return "reference", item.reference
    return item.media_type, hashlib.blake2b(item.data, digest_size=16).digest()


class _Columns:
    """Pieces in columns. The last column, where the images are, goes out as it comes; the others, texts, wait their turn."""

    def __init__(self, writer: Writer, count: int) -> None:
        self._writer, self.count = writer, count
        self._waiting: list[list[bytes]] = [[] for _ in range(count - 1)]
        self._offsets = [0]

    def append(self, pieces: tuple[bytes, ...]) -> None:
        *others, last = pieces
        for waiting, piece in zip(self._waiting, others, strict=True):
            waiting.append(piece + b",")
        self._offsets.append(self._writer.append(last + b","))

    def close(self, samples: NDArray[np.int64]) -> tuple[int, int]:
        """Writes the rest and the table; returns where the table begins and ends."""
        offsets = []
        for waiting in self._waiting:
            ends = np.cumsum([0, *map(len, waiting)]) + self._writer.end
            offsets.append(ends)
            self._writer.append(b"".join(waiting))
        offsets.append(np.array(self._offsets))
        table = self._writer.append(b"\0" * (-self._writer.end % 8))
        return table, self._writer.append(np.array(offsets, dtype=np.int64).tobytes() + samples.tobytes())


class Writer:
    """Appends to a descriptor, reserving space ahead."""

    def __init__(self, fd: int, limit: Size) -> None:
        self.fd, self.limit = fd, limit
        self.end = self.reserved = 0

    def append(self, data: bytes) -> int:
        """Returns where `data` ends."""
        if self.end + len(data) > self.limit:
            raise HostError(
                f"the encoded Items do not fit into {self.limit}",
                flag="--arena-limit",
                remedy="use a smaller --pool (with --unique, a shorter load), or allow more memory",
            )
        while self.end + len(data) > self.reserved:
            try:
                os.posix_fallocate(self.fd, self.reserved, _STEP)
            except OSError as error:
                raise HostError(
                    f"no memory for the encoded Items: {error.strerror}", flag="--arena-limit", remedy="use a smaller --pool"
                ) from error
            self.reserved += _STEP
        written = 0
        while written < len(data):
            written += os.pwrite(self.fd, data[written:], self.end + written)
        self.end += len(data)
        return self.end


def _table(memory: memoryview, where: ArenaMap) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each column's pieces begin and end; the Items of each Sample."""
    offsets, samples = np.split(np.frombuffer(memory[where.table :], dtype=np.int64), [where.columns * (where.items + 1)])
    return offsets.reshape(where.columns, where.items + 1), samples.reshape(where.pool, where.items_per_sample)


def mean_body(where: ArenaMap, batch_size: int, frame: tuple[bytes, ...]) -> int:
    """Bytes of a body, its head not counted: the mean over all, since each Sample is in equally many."""
    offsets, samples = _table(memoryview(mmap.mmap(where.fd, where.size, prot=mmap.PROT_READ)), where)
    lengths = np.diff(offsets).sum(axis=0)
    return round(batch_size * float(lengths[samples].sum()) / where.pool) + sum(map(len, frame)) - where.columns


def count_bodies(pool: int, batch_size: int) -> int:
    """Distinct bodies: the least number of batches that uses each of `pool` Samples equally often."""
    return pool // math.gcd(pool, batch_size)


class Bodies:
    """Requests as they go over the wire: head, frame and Items of body b, as views into a mapped Arena.

    Body b holds Samples b·B … b·B + B−1 of the pool, counted round. `small[b]` is the whole request in one piece when it is at
    most `SMALL` bytes and there is room for it, else None; `views(b)` are its pieces without a copy; `wire_bytes[b]`
    is its length, head included.
    """

    def __init__(
        self, where: ArenaMap, batch_size: int, frame: tuple[bytes, ...], head: bytes, room: int = KEPT_JOINED
    ) -> None:
        """`room`: bytes of joined small requests that may be kept."""
        self._memory = memoryview(mmap.mmap(where.fd, where.size, prot=mmap.PROT_READ))
        self._offsets, self._samples = _table(self._memory, where)
        self._lengths = np.diff(self._offsets).sum(axis=0)  # of each Item, its commas included
        self._batch_size = batch_size
        self._frame = frame
        self._frame_length = sum(map(len, frame)) - where.columns  # without each column's last comma
        self._head = head
        self.count = count_bodies(where.pool, batch_size)
        self._joined_room = room
        self._made: dict[int, list[memoryview]] = {}
        self._room = KEPT_VIEWS
        self.wire_bytes = np.array([self._length(b) for b in range(self.count)], dtype=np.int64)
        self.small = self._joined()

    def _joined(self) -> list[bytes | None]:
        """Small requests in one piece each, as many as there is room for: this memory is every worker's own."""
        small = self.wire_bytes <= SMALL
        kept = small & (np.cumsum(np.where(small, self.wire_bytes, 0)) <= self._joined_room)
        return [b"".join(self._views(b)) if keep else None for b, keep in enumerate(kept.tolist())]

    def items(self, b: int) -> list[int]:
        """The Items of body b by their numbers, in the order in which they stand in it."""
        pool = len(self._samples)
        rows = np.arange(b * self._batch_size, (b + 1) * self._batch_size) % pool
        items: list[int] = self._samples[rows].ravel().tolist()
        return items

    def _content_length(self, items: list[int]) -> int:
        return int(self._lengths[items].sum()) + self._frame_length

    def _begin(self, items: list[int]) -> bytes:
        return b"%sContent-Length: %d\r\n\r\n%s" % (self._head, self._content_length(items), self._frame[0])

    def _length(self, b: int) -> int:
        items = self.items(b)
        return len(self._begin(items)) + self._content_length(items) - len(self._frame[0])

    def views(self, b: int) -> list[memoryview]:
        """The request in order, ready for sendmsg; only the head and the frame are new bytes."""
        made = self._made.get(b)
        if made is None:
            made = self._views(b)
            if self._room >= len(made):
                self._room -= len(made)
                self._made[b] = made
        return made.copy()

    def _views(self, b: int) -> list[memoryview]:
        """The head and what stands before the first column, then each column and what stands after it."""
        items = self.items(b)
        views = [memoryview(self._begin(items))]
        for offsets, after in zip(self._offsets, self._frame[1:], strict=True):
            views += self._column(offsets, items)
            views.append(memoryview(after))
        return views

    def _column(self, offsets: NDArray[np.int64], items: list[int]) -> list[memoryview]:
        """Items that lie side by side in the Arena, as those of a dataset do, are one view."""
        spans: list[list[int]] = []
        for begin, end in zip(offsets[items].tolist(), offsets[[i + 1 for i in items]].tolist(), strict=True):
            if spans and spans[-1][1] == begin:
                spans[-1][1] = end
            else:
                spans.append([begin, end])
        spans[-1][1] -= 1  # the last Item goes without its comma
        return [self._memory[begin:end] for begin, end in spans]

    def alone(self, item: int) -> bytes:
        """The body of a request that holds this Item and no other: for the control plane."""
        columns = (self._memory[begin[item] : begin[item + 1] - 1] for begin in self._offsets)
        return self._frame[0] + b"".join(bytes(piece) + after for piece, after in zip(columns, self._frame[1:], strict=True))

    def payload(self, b: int) -> bytes:
        """Body b without its head, as one copy: for the control plane, never under load."""
        return b"".join(self.views(b)).split(b"\r\n\r\n", 1)[1]


def request_head(path: str, host: str, headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """The head of each request up to Content-Length; `headers` are (name, value), secret ones among them."""
    fields = [("Host", host), *JSON, *headers]
    return "\r\n".join([f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields), ""]).encode()
