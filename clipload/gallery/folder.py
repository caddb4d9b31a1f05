"""Images as files: an image that is a file already is named by it, any other is written once, under a name made of its bytes.

The default folder is the same for every run, since the path stands in the bodies. Runs that use it at once share it by a lock;
the last one to leave removes it, with what a killed run may have left.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clipload.errors import HostError
from clipload.files import replacing
from clipload.gallery import Gallery, name_of
from clipload.host import Placement
from clipload.plan import Plan
from clipload.values import Image, ImageRef

DEFAULT = Path("/tmp/clipload-images")
_FLAG = "--images-dir"


class Folder(Gallery):
    """A gallery of files under `where`."""

    def __init__(self, where: Path) -> None:
        super().__init__()
        self.where = where
        self._known: set[str] = set()
        self._own = 0

    def place(self, image: Image) -> ImageRef:
        if _can_be_sent(image.origin):
            self._own += 1
            return ImageRef(image.origin)
        name = name_of(image)
        path = self.where / name
        if name not in self._known:
            self._known.add(name)
            if not _holds(path, image.data):
                _write(path, image.data)
        return ImageRef(str(path))

    def end(self) -> dict[str, Any]:
        counts = {"own": self._own, "written": len(self._known), "foreign": self.foreign}
        return {"images": {"transport": "path", "folder": str(self.where), **counts}}


def _can_be_sent(origin: str) -> bool:
    """A name that is not UTF-8 has no place in JSON: such a file is written anew under another name."""
    try:
        return bool(origin.encode())
    except UnicodeEncodeError:
        return False


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except OSError:
        return False


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all, and for everyone to read: the target may be another user's."""
    try:
        with replacing(path) as file:
            file.write(data)
    except OSError as error:
        raise _unusable(path, error) from error


@contextmanager
def folder(plan: Plan, placement: Placement) -> Iterator[Folder]:  # noqa: ARG001 - the interface
    """The folder that the user named, whose files stay; else the default one."""
    if not (given := plan.images_dir):
        with _shared(DEFAULT) as where:
            yield Folder(where)
        return
    try:
        Path(given).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(Path(given), error) from error
    yield Folder(Path(given))


@contextmanager
def _shared(where: Path) -> Iterator[Path]:
    fd = _enter(where)
    try:
        yield where
    finally:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass  # another run is inside, and will remove it
        else:
            shutil.rmtree(where, ignore_errors=True)
        finally:
            os.close(fd)


def _enter(where: Path) -> int:
    """A descriptor that holds the shared lock of the folder as it stands, which nobody removes meanwhile."""
    while True:
        try:
            where.mkdir(mode=0o755, exist_ok=True)
            fd = os.open(where, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:  # removed between the two
            continue
        except OSError as error:
            raise _unusable(where, error) from error
        fcntl.flock(fd, fcntl.LOCK_SH)
        status = os.fstat(fd)
        if status.st_uid != os.getuid():
            os.close(fd)
            raise HostError(f"{where} is another user's", flag=_FLAG, remedy="name a folder of your own")
        if _is_at(where, status):
            os.fchmod(fd, 0o755)
            return fd
        os.close(fd)


def _is_at(where: Path, status: os.stat_result) -> bool:
    """False when the last run has just removed it."""
    try:
        return os.path.samestat(where.lstat(), status)
    except FileNotFoundError:
        return False


def _unusable(path: Path, error: OSError) -> HostError:
    remedy = "name a folder that can be written to, with room for the images"
    return HostError(f"cannot write {path}: {error.strerror}", flag=_FLAG, remedy=remedy)
