"""Dumps: vectors in a file whose suffix says how, with a side-car `<file>.json` that says whose and how they were made.

| suffix | holds | needs |
|---|---|---|
| `.pt` | a float32 tensor [N, dim]; `torch.load` reads it with `weights_only=True` | torch |
| `.npy` | the same array | |
| `.safetensors` | the same as tensor `embeddings` | safetensors |
| `.parquet` | columns `name` and `embedding` (a list of fixed length) | pyarrow |

Law: what is read is what was written, to the bit. A file without a side-car (an older tool's) is read too, and has no names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from clipload.dumps import formats
from clipload.dumps.formats import Rows, rows_of
from clipload.errors import ArchiveError, HostError
from clipload.files import replacing

Vectors = NDArray[np.float32]
SCHEMA = 1


class SideCar(msgspec.Struct, kw_only=True, omit_defaults=False):
    """What a dump is. `identity` decides the vectors: another one, other vectors. `facts` are what else was so."""

    schema: int = SCHEMA
    kind: str  # text or image
    count: int
    dim: int
    normalized: bool
    checksum: str  # sha256 of the dump's bytes
    identity: dict[str, Any]
    facts: dict[str, Any]
    names: list[str]
    skipped: list[str] = []
    truncated: list[str] = []  # texts that were cut to the model's context


@dataclass(frozen=True, slots=True)
class Dump:
    """Vectors [N, dim] and, where there is a side-car, what they are."""

    path: Path
    vectors: Vectors
    side_car: SideCar | None

    @property
    def names(self) -> list[str] | None:
        return self.side_car.names if self.side_car else None


@dataclass(frozen=True, slots=True)
class Format:
    """`write(file, rows)` and `read(path)`; `needs` is the module that it cannot do without."""

    needs: str
    extra: str
    write: Callable[[IO[bytes], Rows], None]
    read: Callable[[Path], Any]


FORMATS = {
    ".pt": Format("torch", "local", formats.write_pt, formats.read_pt),
    ".npy": Format("numpy", "", formats.write_npy, formats.read_npy),
    ".safetensors": Format("safetensors", "dumps", formats.write_safetensors, formats.read_safetensors),
    ".parquet": Format("pyarrow", "dumps", formats.write_parquet, formats.read_parquet),
}


def side_car_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def format_of(path: Path, flag: str = "") -> Format:
    """By suffix. ArchiveError for another suffix, and when the library that it needs is not installed."""
    found = FORMATS.get(path.suffix.lower())
    if found is None:
        what = f"{path}: there is no dump of that suffix"
        raise ArchiveError(what, flag=flag, remedy=f"end the name in {', '.join(FORMATS)}")
    if not formats.installed(found.needs):
        what = f"{path.suffix} needs {found.needs}, which is not installed"
        raise ArchiveError(what, flag=flag, remedy=f"pip install '.[{found.extra}]', or end the name in .npy")
    return found


def write(path: Path, vectors: Vectors | Rows, side_car: SideCar, flag: str = "") -> None:
    """Dump, then side-car, each whole or absent; an older side-car goes first. The names of Rows are their own, not those of
    `side_car`. HostError when the disk is full."""
    write_format = format_of(path, flag).write
    rows = vectors if isinstance(vectors, Rows) else rows_of(vectors, side_car.names)
    side_car_of(path).unlink(missing_ok=True)
    checksum = _atomically(path, lambda file: write_format(file, rows), flag)
    whole = msgspec.structs.replace(side_car, checksum=checksum)
    _atomically(side_car_of(path), lambda file: _print(file, whole, rows.names()), flag)


def _print(file: IO[bytes], side_car: SideCar, names: Iterable[str]) -> None:
    """As JSON, a name a line, one after the other."""
    for number, field in enumerate(side_car.__struct_fields__):
        file.write(f'{"," if number else "{"}\n "{field}": '.encode())
        if field == "names":
            file.write(b"[")
            file.writelines((b"," if at else b"") + b"\n  " + msgspec.json.encode(name) for at, name in enumerate(names))
            file.write(b"\n ]" if side_car.count else b"]")
        else:
            value = msgspec.json.format(msgspec.json.encode(getattr(side_car, field)), indent=1)
            file.write(value.replace(b"\n", b"\n "))
    file.write(b"\n}")


def read(path: Path, flag: str = "") -> Dump:
    """ArchiveError for a file that is missing, damaged, of another shape, or not the one that its side-car speaks of."""
    read_format = format_of(path, flag).read
    if not path.is_file():
        raise ArchiveError(f"{path} is not there", flag=flag, remedy="name a dump of clipload embed, or make it first")
    try:
        vectors = np.asarray(read_format(path))
    except formats.DAMAGED as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        remedy = "name a dump of clipload embed, or a plain [N, dim] array"
        raise ArchiveError(f"cannot read {path}: {why}", flag=flag, remedy=remedy) from error
    if vectors.ndim != 2 or not np.issubdtype(vectors.dtype, np.floating):
        what = f"{path} holds {vectors.dtype} of shape {vectors.shape}, not vectors [N, dim]"
        raise ArchiveError(what, flag=flag, remedy="name a dump of vectors")
    side_car = read_side_car(path, flag)
    if side_car is not None:
        _check(path, vectors, side_car, flag)
    return Dump(path, np.ascontiguousarray(vectors, np.float32), side_car)


def read_side_car(path: Path, flag: str = "") -> SideCar | None:
    """None when there is none. ArchiveError when it is not one of ours."""
    file = side_car_of(path)
    try:
        side_car = msgspec.json.decode(file.read_bytes(), type=SideCar)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise ArchiveError(f"cannot read {file}: {error}", flag=flag, remedy="mend or remove it") from error
    if side_car.schema != SCHEMA:
        raise ArchiveError(f"{file} has schema {side_car.schema}, not {SCHEMA}", flag=flag, remedy="update clipload")
    return side_car


def checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check(path: Path, vectors: NDArray[Any], side_car: SideCar, flag: str) -> None:
    stated = (side_car.count, side_car.dim)
    if vectors.shape != stated or len(side_car.names) != len(vectors) or checksum(path) != side_car.checksum:
        what = f"{path} is not the file that {side_car_of(path).name} speaks of ({stated[0]} vectors of {stated[1]})"
        raise ArchiveError(what, flag=flag, remedy="embed again, or remove the side-car if the file is another's")


def _atomically(path: Path, fill: Callable[[IO[bytes]], Any], flag: str) -> str:
    """Fills a temporary file, and renames it; its sha256."""
    try:
        with replacing(path) as file:
            fill(file)
            file.flush()
            digest = checksum(Path(file.name))
    except OSError as error:
        remedy = "free some disk, or name another folder; what was embedded is kept for the next attempt"
        raise HostError(f"cannot write {path}: {error.strerror or error}", flag=flag, remedy=remedy) from error
    return digest
