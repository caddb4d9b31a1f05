"""The image tower alone: images/s by batch size, and how near that is to what the cores can multiply.

    python -m benchmarks.towers [ROUNDS [CONTESTANT ...]]

ViT-B/32 with random weights, pixels of noise, all cores; a contestant is 'BACKEND [AMP]' as in `benchmarks.embed`. Every round
asks each for some 32 images at every size, sizes in random order, and a loop of fp32 multiply-adds in C, on as many threads as
there are cores, for what the cores can do (where there is a `cc`). Of rounds the median; in brackets the best.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.bench import machine
from benchmarks.embed import MODEL, ROLES, aside, flags_of
from clipload.backends import Backend, Prepared, backend_for
from clipload.embedding.options import EmbeddingOptions

SIZES, IMAGES = (1, 4, 8, 16, 32, 64, 128), 32
CONTESTANTS = ("torch", "openvino", "openvino parity", "openvino bf16")
SIDE, PATCH, WIDTH, MLP, LAYERS, DIM = 224, 32, 768, 3072, 12, 512  # of ViT-B/32
LOOP = """
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#ifdef __AVX512F__
#define WIDE 64
#else
#define WIDE 32
#endif
typedef float wide __attribute__((vector_size(WIDE)));
enum { CHAINS = 12, TURNS = 60000000 };
static void *work(void *given) {
  wide sums[CHAINS], factor = {0}, term = {0};
  factor += 0.999f; term += *(float *)given;
  for (int c = 0; c < CHAINS; c++) sums[c] = term * (float)c;
  for (int t = 0; t < TURNS; t++)
    for (int c = 0; c < CHAINS; c++) sums[c] = sums[c] * factor + term;
  for (int c = 1; c < CHAINS; c++) sums[0] += sums[c];
  *(float *)given = sums[0][0];
  return 0;
}
int main(int count, char **told) {
  int threads = atoi(told[1]);
  pthread_t ids[threads];
  float terms[threads], sum = 0;
  struct timespec began, ended;
  clock_gettime(CLOCK_MONOTONIC, &began);
  for (int i = 0; i < threads; i++) { terms[i] = i + 1; pthread_create(ids + i, 0, work, terms + i); }
  for (int i = 0; i < threads; i++) { pthread_join(ids[i], 0); sum += terms[i]; }
  clock_gettime(CLOCK_MONOTONIC, &ended);
  double seconds = (ended.tv_sec - began.tv_sec) + 1e-9 * (ended.tv_nsec - began.tv_nsec);
  printf("%f\\n", 2.0 * threads * TURNS * CHAINS * (WIDE / 4) / seconds / 1e9);
  return sum == 0;
}
"""


def gflop() -> float:
    """Of one picture: multiplications and additions of all layers, the last of which computes the class token alone."""
    tokens = (SIDE // PATCH) ** 2 + 1
    layer = 2 * tokens * (4 * WIDTH**2 + 2 * WIDTH * MLP) + 4 * tokens**2 * WIDTH
    last = 2 * tokens * 2 * WIDTH**2 + 2 * (2 * WIDTH**2 + 2 * WIDTH * MLP) + 4 * tokens * WIDTH
    patches, projection = 2 * (tokens - 1) * 3 * PATCH**2 * WIDTH, 2 * WIDTH * DIM
    return ((LAYERS - 1) * layer + last + patches + projection) / 1e9


def compiled(folder: Path) -> list[str]:
    """The command of the loop; empty without a compiler, or where the compiler says no."""
    if not shutil.which("cc"):
        return []
    source, program = folder / "loop.c", folder / "loop"
    source.write_text(LOOP)
    flags = ["-O3", "-march=native", "-ffp-contract=fast", "-pthread", "-o", program, source]
    if subprocess.run(["cc", *flags], check=False).returncode:
        return []
    return [str(program), str(len(os.sched_getaffinity(0)))]


def made(name: str) -> Backend:
    flags: Any = flags_of(name)
    options = EmbeddingOptions(data=".", modality="image", model=MODEL, dump_img_emb=Path("none.npy"), **flags)
    return backend_for(*options.for_backend(aside))


def rate(backend: Backend, items: list[Prepared], size: int) -> float:
    """Images a second, in batches of `size`."""
    began = time.perf_counter()
    for start in range(0, max(IMAGES, size), size):
        backend.encode(items[start : start + size])
    return max(IMAGES, size) / (time.perf_counter() - began)


def main(rounds: int = 7, *names: str) -> None:
    print(machine().replace(ROLES, ""))
    draws = np.random.default_rng(0)
    items = [Prepared(draws.normal(size=(3, SIDE, SIDE)).astype(np.float32)) for _ in range(max(SIZES))]
    backends = {name: made(name) for name in names or CONTESTANTS}
    found = {(name, size): list[float]() for name in backends for size in SIZES}
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        loop = compiled(Path(folder))
        for turn in range(rounds + 1):
            for name, size in random.Random(turn).sample(list(found), k=len(found)):
                per_s = rate(backends[name], items, size)
                if turn:  # the first warms up
                    found[name, size].append(per_s)
            if loop:
                peaks.append(float(subprocess.run(loop, capture_output=True, check=True, text=True).stdout))
    if peaks:
        most = f"so at most {max(peaks) / gflop():.1f} images/s"
        print(f"fp32 multiply-adds: {told(peaks)} GFLOP/s; a picture takes {gflop():.2f} GFLOP, {most}")
    print(" " * 16 + "".join(f"{size:>14}" for size in SIZES))
    for name in backends:
        print(f"{name:<16}" + "".join(f"{told(found[name, size]):>14}" for size in SIZES))


def told(rates: list[float]) -> str:
    return f"{median(rates):.1f} ({max(rates):.1f})"


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]), *sys.argv[2:])
