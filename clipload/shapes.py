"""The shape of a payload, and the Calibrations that are kept for it on this host.

Law of the key: two Plans have the same shape when a worker does the same for each of their requests, on the same host with the
same software: equal way (TCP, TLS or Unix socket; transport), dialect, mode, batch size, encoding and length of the vectors,
number of workers, and whether those share their cores with the supervisor. How large a body is, is compared and not hashed:
within 10 % or 4 KiB, whichever is more, it is the same shape, for that moves the cost of a request by less than a tenth. Rate,
length, seed, pool and the target's address do not matter. The number of base URLs does not either, though two cost a request a
tenth more than one.
"""

from __future__ import annotations

import os
import platform
from hashlib import blake2b
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import msgspec

from clipload import host
from clipload.capacity import Calibration
from clipload.errors import ArchiveError, HostError
from clipload.files import replacing
from clipload.plan import Plan
from clipload.plan.target import UNIX

NEAR_SHARE, NEAR_BYTES = 0.1, 4096
LIBRARIES = ("aiohttp", "httptools", "msgspec", "numpy", "uvloop")  # what a worker's cost per request is made of
_REMEDY = "name a folder that can be written to in XDG_CACHE_HOME"

Way = Literal["tcp", "tls", "unix"]


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """All that decides what a request costs the generator. `machine` and `software` are told by `here`."""

    machine: dict[str, Any]
    software: dict[str, str]
    way: Way
    transport: str
    api: str
    mode: str
    batch_size: int
    encoding_format: str
    dim: int
    workers: int
    shared: bool
    body_bytes: int

    @property
    def key(self) -> str:
        """A digest of everything but `body_bytes`."""
        values = msgspec.json.encode(msgspec.structs.replace(self, body_bytes=0), order="deterministic")
        return blake2b(values, digest_size=12).hexdigest()

    def near(self, body_bytes: int) -> bool:
        return abs(body_bytes - self.body_bytes) <= max(NEAR_BYTES, NEAR_SHARE * self.body_bytes)


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What a file of the cache holds."""

    shape: Shape
    calibration: Calibration


def way_of(plan: Plan) -> Way:
    """Of several base URLs, the dearest."""
    if plan.tls:
        return "tls"
    return "unix" if all(url.startswith(UNIX) for url in plan.base_url) else "tcp"


def here() -> tuple[dict[str, Any], dict[str, str]]:
    """This host, and the software on it."""
    facts = host.facts()
    machine = {"node": platform.node(), "cores": len(facts["host"]["cores"])}
    machine |= {name: facts["host"][name] for name in ("system", "machine", "cpu")}
    versions = {name: _version(name) for name in LIBRARIES}
    return machine, versions | {name: facts["software"][name] for name in ("clipload", "python")}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent"


def shape_of(
    plan: Plan, *, dim: int, body_bytes: int, shared: bool, where: tuple[dict[str, Any], dict[str, str]] | None = None
) -> Shape:
    """`body_bytes`: the mean over all bodies; `where`: as `here` tells, which is asked when it is not given."""
    machine, software = where or here()
    return Shape(
        machine=machine,
        software=software,
        way=way_of(plan),
        transport=plan.transport,
        api=plan.api,
        mode=plan.mode,
        batch_size=plan.batch_size,
        encoding_format=plan.encoding_format,
        dim=dim,
        workers=plan.workers,
        shared=shared,
        body_bytes=body_bytes,
    )


def folder() -> Path | None:
    """Where Calibrations are kept; None when neither XDG_CACHE_HOME nor a home says where."""
    for base in (os.environ.get("XDG_CACHE_HOME", ""), os.path.expanduser("~/.cache")):  # noqa: PTH111 - never raises
        if Path(base).is_absolute():
            return Path(base) / "clipload" / "calibrations"
    return None


def find(shape: Shape) -> Calibration | None:
    """The newest one for that shape. ArchiveError when a file under its name is none of ours."""
    place = folder()
    files = [] if place is None else place.glob(f"{shape.key}-*.json")
    kept = [one for one in map(_read, files) if one is not None and shape.near(one.shape.body_bytes)]
    return max((one.calibration for one in kept), key=lambda found: found.taken_s, default=None)


def _read(path: Path) -> Kept | None:
    """None when it has gone in the meantime."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Kept)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise ArchiveError(f"{path} cannot be read: {error}", remedy="remove it, and calibrate again") from error


def make_folder() -> Path:
    """The folder, made if need be. HostError when it cannot be had, or not be written to."""
    place = folder()
    if place is None:
        raise HostError("there is no home to keep a calibration in", flag="XDG_CACHE_HOME", remedy=_REMEDY)
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HostError(f"cannot make {place}: {error.strerror}", flag="XDG_CACHE_HOME", remedy=_REMEDY) from error
    if not os.access(place, os.W_OK | os.X_OK):
        raise HostError(f"cannot write to {place}", flag="XDG_CACHE_HOME", remedy=_REMEDY)
    return place


def keep(shape: Shape, calibration: Calibration) -> Path:
    """Writes it, in place of one for bodies of just that size. HostError when that fails."""
    path = make_folder() / f"{shape.key}-{shape.body_bytes}.json"
    try:
        with replacing(path) as file:
            file.write(msgspec.json.format(msgspec.json.encode(Kept(shape=shape, calibration=calibration)), indent=1))
    except OSError as error:
        raise HostError(f"cannot write {path}: {error.strerror}", flag="XDG_CACHE_HOME", remedy=_REMEDY) from error
    return path
