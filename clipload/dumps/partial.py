"""A dump in the making: the batches that are done, append-only, so that a killed embedding goes on where it was.

`<dump>.part` is a magic line and then frames, each `u32 length | u32 crc32 | msgpack`: first the identity, then batches. What
was being written when the process died is cut off. (Against a process's death; a power cut is not claimed.) Batches are read
again from the disk, one at a time: memory does not grow with them.
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from clipload.errors import ArchiveError, HostError

MAGIC = b"clipload-vectors-1\n"
_HEAD = struct.Struct("<II")


class Batch(msgspec.Struct, array_like=True):
    """Vectors of the Items called `names`. `upto`: how many entries of the listing are done with, skipped ones too."""

    upto: int
    names: list[str]
    skipped: list[str]
    truncated: list[str]
    dim: int
    data: bytes

    @property
    def vectors(self) -> NDArray[np.float32]:
        return np.frombuffer(self.data, "<f4").reshape(-1, self.dim)


class Partial:
    """The open file. `upto`: how many entries are done with, an earlier process's too."""

    def __init__(self, path: Path, identity: Mapping[str, Any], flag: str, *, overwrite: bool = False) -> None:
        """ArchiveError when it belongs to another embedding (with `overwrite` it is begun anew), or when another process is at
        it; HostError when it cannot be made."""
        self.path, self._flag, self._overwrite = path, flag, overwrite
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise self._failed(error) from error
        try:
            self._lock()
            self.upto = self._resume(identity)
        except BaseException:
            self.close()
            raise

    def batches(self) -> Iterator[Batch]:
        """All that are whole, in order."""
        with self.path.open("rb") as file:
            frames = _frames(file)
            next(frames)  # the identity
            yield from (msgspec.msgpack.decode(payload, type=Batch) for _, payload in frames)

    def append(self, batch: Batch) -> None:
        self._write(msgspec.msgpack.encode(batch))
        self.upto = batch.upto

    def close(self) -> None:
        os.close(self._fd)

    def finish(self) -> None:
        """The dump is written: this is no longer needed."""
        self.close()
        self.path.unlink()

    def _lock(self) -> None:
        """Held until the descriptor is closed, by whatever end."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            what = f"another process is writing {self.path}"
            raise ArchiveError(what, flag=self._flag, remedy="wait for it, or name another dump") from error

    def _resume(self, identity: Mapping[str, Any]) -> int:
        with self.path.open("rb") as file:
            head = file.read(len(MAGIC))
            if not MAGIC.startswith(head):
                raise ArchiveError(f"{self.path} is none of ours", flag=self._flag, remedy="remove it, or name another dump")
            file.seek(0)
            frames = _frames(file)
            end, first = next(frames, (0, b""))
            theirs = msgspec.msgpack.decode(first) if first else None
            if theirs is None or (self._overwrite and differences(theirs, identity)):
                os.truncate(self._fd, 0)
                self._put(MAGIC)
                self._write(msgspec.msgpack.encode(dict(identity)))
                return 0
            check_identity(self.path, theirs, identity, self._flag)
            upto = 0
            for end, payload in frames:  # noqa: B007  - where the last whole one ends
                upto = msgspec.msgpack.decode(payload, type=Batch).upto
        os.truncate(self._fd, end)
        return upto

    def _write(self, payload: bytes) -> None:
        self._put(_HEAD.pack(len(payload), zlib.crc32(payload)) + payload)

    def _put(self, data: bytes) -> None:
        try:
            if os.write(self._fd, data) < len(data):
                raise OSError(0, "the disk is full")
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> HostError:
        remedy = "free some disk, or name a folder that can be written to"
        return HostError(f"cannot write {self.path}: {error.strerror}", flag=self._flag, remedy=remedy)


def begun_identity(path: Path) -> dict[str, Any] | None:
    """What the dump in the making is of; None when nothing there says so."""
    try:
        with path.open("rb") as file:
            _, first = next(_frames(file), (0, b""))
    except FileNotFoundError:
        return None
    return dict(msgspec.msgpack.decode(first)) if first else None


def _frames(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """(where it ends, payload) of each whole frame of a file that is ours; none of another."""
    if file.read(len(MAGIC)) != MAGIC:
        return
    at, size = len(MAGIC), os.fstat(file.fileno()).st_size
    while len(head := file.read(_HEAD.size)) == _HEAD.size:
        length, crc = _HEAD.unpack(head)
        if not length or length > size - at - _HEAD.size:  # nor is memory asked for what junk calls its length
            return
        payload = file.read(length)
        if len(payload) < length or zlib.crc32(payload) != crc:
            return
        at += _HEAD.size + length
        yield at, payload


_FLAGS = {
    "model": "--model",
    "weights": "--model",
    "backend": "--backend",
    "server": "--base-url",
    "device": "--device",
    "dtype": "--amp",
    "lowered": "--amp",
    "isa": "--amx",
    "normalized": "--normalize",
    "items": "--data-source",
}


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    return [key for key in wanted if found.get(key) != wanted[key]]


def check_identity(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any], flag: str) -> None:
    """ArchiveError names what differs between the vectors in `path` and those that are asked for, and the flags for it."""
    shown = [
        f"{key} ({_FLAGS.get(key, key)}): {_short(found.get(key))} there, {_short(wanted[key])} here"
        for key in differences(found, wanted)
    ]
    if shown:
        remedy = "ask for the same, name another file, or --overwrite it"
        raise ArchiveError(f"{path} belongs to another embedding: {'; '.join(shown)}", flag=flag, remedy=remedy)


def _short(value: Any) -> str:
    """A digest is recognised by its beginning."""
    text = str(value)
    return f"{text[:12]}…" if len(text) == 64 and " " not in text and "/" not in text else text
