"""The formats of a dump, one pair of functions each. Their libraries are imported when they are used."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

TENSOR = "embeddings"
# What the libraries raise for a file that is none of theirs; safetensors' own error is no subclass of any other.
DAMAGED = (OSError, ValueError, KeyError, EOFError, RuntimeError, TypeError, pickle.UnpicklingError)


def installed(module: str) -> bool:
    return find_spec(module) is not None


def write_pt(file: IO[bytes], vectors: Vectors, names: Sequence[str]) -> None:  # noqa: ARG001
    import torch

    torch.save(torch.from_numpy(np.array(vectors)), file)


def read_pt(path: Path) -> Any:
    import torch

    found = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(found, torch.Tensor):
        raise TypeError(f"it holds a {type(found).__name__}, not a tensor")
    return found.detach().float().numpy()


def write_npy(file: IO[bytes], vectors: Vectors, names: Sequence[str]) -> None:  # noqa: ARG001
    np.save(file, vectors, allow_pickle=False)


def read_npy(path: Path) -> Any:
    return np.load(path, allow_pickle=False)


def write_safetensors(file: IO[bytes], vectors: Vectors, names: Sequence[str]) -> None:  # noqa: ARG001
    from safetensors.numpy import save

    file.write(save({TENSOR: np.ascontiguousarray(vectors)}))


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


def write_parquet(file: IO[bytes], vectors: Vectors, names: Sequence[str]) -> None:
    import pyarrow
    from pyarrow import parquet

    flat = pyarrow.array(np.ascontiguousarray(vectors).reshape(-1), pyarrow.float32())
    embedding = pyarrow.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    parquet.write_table(pyarrow.table({"name": pyarrow.array(names, pyarrow.string()), "embedding": embedding}), file)


def read_parquet(path: Path) -> Any:
    from pyarrow import parquet

    column = parquet.read_table(path, columns=["embedding"])["embedding"].combine_chunks()
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)
