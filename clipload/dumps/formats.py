"""The formats of a dump, one pair of functions each. Their libraries are imported when they are used.

Writing takes the rows chunk by chunk, so that memory does not grow with a dump. `.pt` alone needs them in one piece: that is a
mapping of a temporary file beside the dump, whose pages the system takes back when it wants them.
"""

from __future__ import annotations

import json
import pickle
import struct
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Chunk = tuple[Sequence[str], Vectors]  # names and their vectors

TENSOR = "embeddings"
# What the libraries raise for a file that is none of theirs; safetensors' own error is no subclass of any other.
DAMAGED = (OSError, ValueError, KeyError, EOFError, RuntimeError, TypeError, pickle.UnpicklingError)


GROUP_BYTES = 2**24  # of vectors in a row group of Parquet


@dataclass(frozen=True, slots=True)
class Rows:
    """`count` named vectors of `dim` numbers, as chunks that can be gone through again and need not be in memory together."""

    count: int
    dim: int
    chunks: Callable[[], Iterator[Chunk]]

    def vectors(self) -> Iterator[Vectors]:
        """The chunks' vectors, little-endian float32, C-contiguous."""
        return (np.ascontiguousarray(vectors, "<f4") for _, vectors in self.chunks())

    def names(self) -> Iterator[str]:
        return (name for names, _ in self.chunks() for name in names)


def rows_of(vectors: Vectors, names: Sequence[str]) -> Rows:
    """Those that are in memory, as one chunk."""
    return Rows(len(vectors), vectors.shape[1], lambda: iter([(names, vectors)]))


def installed(module: str) -> bool:
    return find_spec(module) is not None


def write_pt(file: IO[bytes], rows: Rows) -> None:
    import torch

    with tempfile.TemporaryFile(dir=Path(file.name).parent) as whole:
        write_raw(whole, rows)
        torch.save(torch.from_numpy(np.memmap(whole, "<f4", "r+", shape=(rows.count, rows.dim))), file)


def write_raw(file: IO[bytes], rows: Rows) -> None:
    for vectors in rows.vectors():
        file.write(vectors.data)
    file.flush()


def read_pt(path: Path) -> Any:
    import torch

    found = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(found, torch.Tensor):
        raise TypeError(f"it holds a {type(found).__name__}, not a tensor")
    return found.detach().float().numpy()


def write_npy(file: IO[bytes], rows: Rows) -> None:
    head = {"descr": "<f4", "fortran_order": False, "shape": (rows.count, rows.dim)}
    np.lib.format.write_array_header_1_0(file, head)
    write_raw(file, rows)


def read_npy(path: Path) -> Any:
    return np.load(path, allow_pickle=False)


def write_safetensors(file: IO[bytes], rows: Rows) -> None:
    """By hand, since the library wants all in memory: u64 length, JSON padded to a multiple of 8, the numbers."""
    shape = [rows.count, rows.dim]
    head = json.dumps({TENSOR: {"dtype": "F32", "shape": shape, "data_offsets": [0, 4 * rows.count * rows.dim]}}).encode()
    head += b" " * (-len(head) % 8)
    file.write(struct.pack("<Q", len(head)) + head)
    write_raw(file, rows)


def read_safetensors(path: Path) -> Any:
    """The tensor `embeddings`, or the only one."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        found = load_file(path)
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    if TENSOR not in found and len(found) != 1:
        raise KeyError(f"it holds {len(found)} tensors, and none is called {TENSOR}")
    return found[TENSOR] if TENSOR in found else next(iter(found.values()))


def write_parquet(file: IO[bytes], rows: Rows) -> None:
    import pyarrow
    from pyarrow import parquet

    kinds = {"name": pyarrow.string(), "embedding": pyarrow.list_(pyarrow.float32(), rows.dim)}
    with parquet.ParquetWriter(file, pyarrow.schema(kinds)) as writer:
        for names, vectors in _grouped(rows, max(1, GROUP_BYTES // (4 * rows.dim))):
            flat = pyarrow.array(vectors.reshape(-1), pyarrow.float32())
            embedding = pyarrow.FixedSizeListArray.from_arrays(flat, rows.dim)
            writer.write_table(pyarrow.table({"name": pyarrow.array(names, pyarrow.string()), "embedding": embedding}))


def _grouped(rows: Rows, least: int) -> Iterator[tuple[list[str], Vectors]]:
    """Chunks put together until they have `least` rows: a batch would be a small row group."""
    names: list[str] = []
    parts: list[Vectors] = []
    for more, vectors in rows.chunks():
        names.extend(more)
        parts.append(vectors)
        if len(names) >= least:
            yield names, np.concatenate(parts)
            names, parts = [], []
    if names:
        yield names, np.concatenate(parts)


def read_parquet(path: Path) -> Any:
    from pyarrow import parquet

    column = parquet.read_table(path, columns=["embedding"])["embedding"].combine_chunks()
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)
