"""`clipload embed` keeps neither the lines of a JSONL, nor vectors, nor names: memory does not grow with their number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.embed_memory import DIM, embedded, generate, install
from clipload.dumps import read_side_car

MIB = 2**20
FEW, MANY = 50_000, 250_000


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_five_times_the_lines_take_no_more_memory(tmp_path: Path) -> None:
    """Vectors that are kept would take 2 kB each, names or entries some 60 bytes or more: 11 MiB at the least."""
    install(tmp_path / "site")
    peaks = {}
    for count in (FEW, MANY):
        generate(tmp_path / f"{count}.jsonl", count)
        peaks[count] = embedded(tmp_path / "site", tmp_path / f"{count}.jsonl", tmp_path / f"{count}.npy").rss
    assert peaks[MANY] - peaks[FEW] < 6 * MIB, peaks
    vectors = np.load(tmp_path / f"{MANY}.npy", mmap_mode="r")
    assert vectors.shape == (MANY, DIM)
    assert (vectors[:, 0] == np.arange(1, MANY + 1)).all(), "each in its place"
    side_car = read_side_car(tmp_path / f"{MANY}.npy")
    assert side_car is not None
    assert side_car.names == [str(number) for number in range(1, MANY + 1)]
