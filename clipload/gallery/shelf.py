"""Images as URLs: they lie once in a memfd, from which a process of its own serves them.

The address is taken before anything is encoded, so that one that cannot be had is told at once. The process is started when all
images hang, and ends when its stdin does: it outlives nobody.
"""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from clipload.arena import Writer
from clipload.errors import HostError
from clipload.gallery import Gallery, name_of
from clipload.gallery.server import BEGIN, BEGUN, READY, Counts, Job, Picture
from clipload.host import WORKER_ENVIRONMENT, Placement
from clipload.plan import Plan
from clipload.plan.images import image_address
from clipload.values import Image, ImageRef

_FLAG = "--serve-images-on"
_BACKLOG = 1024
_END_S = 10.0


class Shelf(Gallery):
    """A gallery behind `listener`; owns neither it nor `fd`."""

    def __init__(self, plan: Plan, placement: Placement, listener: socket.socket, fd: int) -> None:
        super().__init__()
        self._plan, self._placement, self._listener = plan, placement, listener
        self._writer = Writer(fd, plan.arena_limit)
        self._pictures: dict[str, Picture] = {}
        self._server: subprocess.Popen[bytes] | None = None
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`

    def place(self, image: Image) -> ImageRef:
        name = name_of(image)
        if name not in self._pictures:
            at = self._writer.end
            self._writer.append(image.data)
            self._pictures[name] = Picture(at, len(image.data), image.media_type)
        return ImageRef(f"http://{self._plan.serve_images_on}/{name}")

    def show(self) -> None:
        """Starts the server on its core. HostError when it does not come up."""
        self._server = subprocess.Popen(
            [sys.executable, "-m", "clipload.gallery.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            pass_fds=(self._listener.fileno(), self._writer.fd),
            env={name: value for name, value in os.environ.items() if name != "CLIPLOAD_API_KEY"} | WORKER_ENVIRONMENT,
            start_new_session=True,
        )
        job = Job(
            listener=self._listener.fileno(),
            memory=self._writer.fd,
            pictures=self._pictures,
            seed=self._plan.seed,
            delay_ns=int(self._plan.image_delay),
            error_rate=self._plan.image_error_rate,
            core=self._placement.images,
        )
        self._say(msgspec.json.encode(job) + b"\n", READY)

    def begin(self) -> None:
        self._say(BEGIN, BEGUN)

    def _say(self, order: bytes, expected: bytes) -> None:
        server = self._server
        if server is None or server.stdin is None or server.stdout is None:
            raise AssertionError("nothing is shown yet")
        try:
            server.stdin.write(order)
            server.stdin.flush()
            answer = server.stdout.readline()
        except BrokenPipeError:
            answer = b""
        if answer != expected:
            raise HostError(
                f"the image server died: {self._last_words() or 'it said nothing'}",
                flag=_FLAG,
                remedy="run it again, or use another port",
            )

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def end(self) -> dict[str, Any]:
        placement = self._placement
        facts: dict[str, Any] = {
            "transport": "url",
            "at": self._plan.serve_images_on,
            "core": placement.images,
            "shared": placement.images in placement.workers,
            "distinct": len(self._pictures),
            "foreign": self.foreign,
        }
        counts = self._counts()
        facts |= {"died": counts is None, "said": self._last_words()}
        return {"images": facts | msgspec.to_builtins(counts or Counts())}

    def _counts(self) -> Counts | None:
        """Ends the server, whose last line they are. None when it died before."""
        if self._server is None:
            raise AssertionError("nothing was shown")
        try:
            said, _ = self._server.communicate(timeout=_END_S)
            return msgspec.json.decode(said, type=Counts)
        except (subprocess.TimeoutExpired, msgspec.DecodeError):
            return None

    def close(self) -> None:
        if self._server is not None:
            self._server.kill()
            self._server.communicate()
        self._log.close()


@contextmanager
def shelf(plan: Plan, placement: Placement) -> Iterator[Shelf]:
    """HostError when the address cannot be had. The server is gone when the block is left."""
    with _listening(plan.serve_images_on) as listener:
        fd = os.memfd_create("clipload-images", os.MFD_CLOEXEC)
        try:
            gallery = Shelf(plan, placement, listener, fd)
            try:
                yield gallery
            finally:
                gallery.close()
        finally:
            os.close(fd)


def _listening(where: str) -> socket.socket:
    host, port = image_address(where)
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise HostError(f"{host!r} is no address: {error.strerror}", flag=_FLAG, remedy="write 127.0.0.1:30080") from error
    listener = socket.socket(family, kind, proto)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        remedy = "stop what listens there, or name another port"
        if error.errno == errno.EADDRNOTAVAIL:
            remedy = "name an address of this machine"
        raise HostError(f"cannot listen on {where}: {error.strerror}", flag=_FLAG, remedy=remedy) from error
    return listener
