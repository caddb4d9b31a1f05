"""Photographs from the disk to vectors in a file: `clipload embed`'s work against a loop as one writes it with transformers.

    python -m benchmarks.embed [IMAGES [ROUNDS [WIDTHxHEIGHT [CONTESTANT ...]]]]

ViT-B/32 with random weights, the same for all. `plain` is that loop: 16 photographs opened, processed and computed, then the
next 16, then saved. Another contestant is 'BACKEND [AMP] [SIZE]', such as 'openvino parity' or 'openvino bf16 32'. Asked for:
1.8 times as fast as plain where the vectors are its (cosine >= 0.99999), 2.3 times where bf16 is allowed (>= 0.9999), and
`--batch-size auto`, which is every contestant's without a SIZE, within 5 % of the best fixed size: beside such ones it is held
against each. Every contestant is a process of its own on all cores; it loads its model once, warms up, and then works in turn.
What is timed begins with the first file and ends with the saved dump. *95 %* is the interval of the ratios' geometric mean,
round by round; `best` holds the fastest rounds of both against each other: what others on the machine take from a round only
makes it longer. `ipex` takes part where it is installed (`scripts/test-ipex`).
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

import numpy as np
from PIL import Image as Pillow

from benchmarks.bench import CLIENT, SERVER, machine
from clipload.backends import ipex
from clipload.distributions import student_quantile
from clipload.mixes import Side

ROLES = f"; client on core {CLIENT}, server on core {SERVER}"  # of other benchmarks: here all cores are everybody's
MODEL, BATCH = "clipload/random-clip-b32", 16
PLAIN = "plain"
OURS = ("torch", "openvino", "torch parity", "openvino parity", "torch bf16", "openvino bf16")  # unless others are named
IPEX = ("ipex", "ipex bf16")
LEVEL = 0.95
Run = Callable[[Path, int], dict[str, float]]  # (dump, how many photographs)
Rounds = list[dict[str, float]]


def aside(sentence: str) -> None:
    """What a backend says of itself: stdout is for the rounds."""
    print(sentence, file=sys.stderr)


class Silent:
    """A View that shows nothing."""

    def said(self, sentence: str) -> None:
        """Nobody listens."""

    def advanced(self, kind: str, done: int, total: int, per_s: float) -> None:
        """Nobody watches."""


def plain(photographs: Path) -> Run:
    import torch

    from clipload.backends.checkpoints import RANDOM, load_random
    from clipload.backends.towers import image_features

    loaded = load_random(MODEL.removeprefix(RANDOM), 0)
    files = sorted(photographs.iterdir())

    def run(out: Path, count: int) -> dict[str, float]:
        rows = []
        for start in range(0, count, BATCH):
            pictures = [Pillow.open(file).convert("RGB") for file in files[start : min(count, start + BATCH)]]
            pixels = loaded.pixels.processor(images=pictures, return_tensors="pt")["pixel_values"]
            with torch.inference_mode():
                rows.append(image_features(loaded.model, pixels).numpy())
        np.save(out, np.concatenate(rows))
        return {"batch_size": BATCH}

    return run


def ours(photographs: Path, flags: dict[str, Any]) -> Run:
    from clipload.backends import backend_for
    from clipload.embedding.options import EmbeddingOptions
    from clipload.embedding.work import Work
    from clipload.sources.listing import listing_for

    base = {"data": str(photographs), "modality": "image", "model": MODEL, "overwrite": True}
    told: Any = base | flags
    options = EmbeddingOptions(**told, dump_img_emb=photographs.parent / "none.npy")
    backend = backend_for(*options.for_backend(aside))

    def run(out: Path, count: int) -> dict[str, float]:
        options = EmbeddingOptions(**told, dump_img_emb=out, max_samples=count)
        part = Work(options, backend, Silent(), time.monotonic, "image", listing_for(options.listing()).images).done()
        return {"batch_size": part.batch_size, "model_s": part.model_s}

    return run


def flags_of(name: str) -> dict[str, Any]:
    """Of embed, for a contestant's name."""
    backend, *told = name.split()
    flags: dict[str, Any] = {"use_ipex": True} if backend == "ipex" else {"backend": backend}
    return flags | {"batch_size" if word.isdecimal() else "amp": word for word in told}


def work(name: str, photographs: Path) -> None:
    """A contestant: a path on stdin starts a round, a line of JSON on stdout ends it."""
    run = plain(photographs) if name == PLAIN else ours(photographs, flags_of(name))
    count = len(list(photographs.iterdir()))
    run(photographs.parent / f"warm-{name.replace(' ', '-')}.npy", min(count, 2 * BATCH))
    print("ready", flush=True)
    for line in sys.stdin:
        began = time.perf_counter()
        told = run(Path(line.strip()), count)
        print(json.dumps(told | {"seconds": time.perf_counter() - began}), flush=True)


def make(folder: Path, count: int, size: Side) -> None:
    from clipload.sources.photographs import photograph

    folder.mkdir()
    for number in range(count):
        photograph(0, number, size).save(folder / f"{number:05}.jpg", quality=90)


def compete(names: list[str], photographs: Path, rounds: int) -> dict[str, Rounds]:
    """Each contestant once a round, in an order that turns."""
    found: dict[str, Rounds] = {name: [] for name in names}
    with ExitStack() as stack:
        processes = {}
        for name in names:
            command = [sys.executable, "-m", "benchmarks.embed", "--work", name, str(photographs)]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            process = stack.enter_context(subprocess.Popen(command, **pipes))  # type: ignore[call-overload]
            processes[name] = process
            stack.callback(process.terminate)
            if process.stdout.readline() != "ready\n":
                sys.exit(f"{name} did not start: run {' '.join(command)} to see why")
        for turn in range(rounds):
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                processes[name].stdin.write(f"{photographs.parent / name.replace(' ', '-')}.npy\n")
                processes[name].stdin.flush()
                found[name].append(json.loads(processes[name].stdout.readline()))
    return found


def interval(ratios: list[float]) -> str:
    """Of their geometric mean, since a ratio and its inverse weigh the same."""
    logs = [math.log(ratio) for ratio in ratios]
    if len(logs) < 2:
        return "-"
    reach = student_quantile((1 + LEVEL) / 2, len(logs) - 1) * stdev(logs) / math.sqrt(len(logs))
    return f"{math.exp(fmean(logs) - reach):.2f}-{math.exp(fmean(logs) + reach):.2f}"


def ratios_of(base: Rounds, mine: Rounds) -> list[float]:
    """How many times as fast as `base`, round by round."""
    return [theirs["seconds"] / own["seconds"] for theirs, own in zip(base, mine, strict=True)]


def show(found: dict[str, Rounds], folder: Path, images: int) -> None:
    expected = np.load(folder / "plain.npy")
    columns = {"images/s": 9, "to plain": 9, "95 %": 11, "least": 7, "most": 6, "best": 6, "model": 7, "batches to": 11}
    print(" " * 16 + "".join(f"{name:>{width}}" for name, width in (columns | {"1 - cosine": 12}).items()))
    for name, rounds in found.items():
        ratios = ratios_of(found[PLAIN], rounds)
        vectors = np.load(folder / f"{name.replace(' ', '-')}.npy")
        cosine = (vectors * expected).sum(1) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(expected, axis=1)
        per_s = median(images / one["seconds"] for one in rounds)
        model = f"{100 * median(one['model_s'] / one['seconds'] for one in rounds):.0f} %" if "model_s" in rounds[0] else ""
        batch = max(one["batch_size"] for one in rounds)
        spread = f"{interval(ratios):>11}{min(ratios):>7.2f}{max(ratios):>6.2f}{best_of(found[PLAIN], rounds):>6.2f}"
        line = f"{per_s:>9.1f}{median(ratios):>9.2f}{spread}{model:>7}{batch:>11.0f}"
        print(f"{name:<16}{line}{max(0.0, 1 - float(cosine.min())):>12.1e}")


def best_of(base: Rounds, mine: Rounds) -> float:
    return min(one["seconds"] for one in base) / min(one["seconds"] for one in mine)


def show_auto(found: dict[str, Rounds]) -> None:
    """`--batch-size auto` against each fixed size of the same name. The best of them is found in the same rounds, which is
    hard on auto: of sizes that are alike the luckiest wins."""
    for name, rounds in found.items():
        fixed = {other: found[other] for other in found if other.rpartition(" ")[0] == name and other.split()[-1].isdecimal()}
        for other, theirs in fixed.items():
            ratios = ratios_of(theirs, rounds)
            told = f"{median(ratios):.3f} times as fast, 95 % {interval(ratios)}, fastest rounds {best_of(theirs, rounds):.3f}"
            print(f"{name}, auto against {other.split()[-1]}: {told}")


def main(images: int = 128, rounds: int = 5, size: str = "500x375", *names: str) -> None:
    width, height = (int(part) for part in size.split("x"))
    with_ipex = not ipex.mismatch()
    libraries = ("torch", "transformers", "openvino", "pillow", "numpy", *([ipex.PACKAGE] if with_ipex else []))
    versions = " ".join(f"{name} {version(name)}" for name in libraries)
    print(f"{machine().replace(ROLES, '')}\n{versions}\n{images} JPEGs of {size}, {rounds} rounds")
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder, "photographs"), images, (width, height))
        wanted = [PLAIN, *(name for name in (names or (*OURS, *(IPEX if with_ipex else ()))) if name != PLAIN)]
        found = compete(wanted, Path(folder, "photographs"), rounds)
        show(found, Path(folder), images)
        show_auto(found)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2], Path(sys.argv[3]))
    else:
        main(*map(int, sys.argv[1:3]), *sys.argv[3:])
