"""Before a load: how long it takes to make Samples, and how much memory their Arena has at each batch size.

    python -m benchmarks.preparation [IMAGES [POOL]]

Asked for: 1000 random 224² PNG Items in <= 4 s on 2 cores, with progress; (text, image) pairs of 224² and 336² PNG at batch
sizes 1 to 128 within --arena-limit, and no more of it at 128 than at 1. The Arena is shared by all workers; `own` is what one
process adds that makes every body of it ready to be sent.
"""

from __future__ import annotations

import os
import sys
import time

import psutil

from benchmarks.bench import machine
from clipload.arena import Bodies, request_head
from clipload.dialects import dialect_for
from clipload.gallery import Gallery
from clipload.plan import Plan
from clipload.preparation import prepare
from clipload.units import Size, format_bytes

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
LIMIT = Size(256 * 2**20)


def progress(done: int, total: int) -> None:
    """A line that is written over, ten times in all."""
    if done % max(1, total // 10) == 0:
        print(f"\r{done} of {total} Samples", end="", file=sys.stderr, flush=True)


def timed(plan: Plan) -> float:
    """Seconds from the Plan to the whole Arena."""
    begin = time.perf_counter()
    prepare(plan, Gallery(), progress).arena.close()
    print("\r" + " " * 40, end="\r", file=sys.stderr, flush=True)
    return time.perf_counter() - begin


def make(images: int) -> None:
    base = Plan(mode="image", pool=images, image_size="224x224", num_samples=images)
    kinds = {
        "noise png": base,
        "photo png": base.replace(image_kind="photo"),
        "photo jpeg": base.replace(image_kind="photo", image_format="jpeg"),
        "photo webp": base.replace(image_kind="photo", image_format="webp"),
        "photo jpeg, 0.3 bytes/pixel": base.replace(image_kind="photo", image_format="jpeg", bytes_per_pixel=0.3),
        "texts of 5-76 tokens": base.replace(mode="text", text_tokens="5-76", image_size=None),
    }
    print(f"\n{images} Samples into the Arena")
    for name, plan in kinds.items():
        seconds = timed(plan)
        print(f"{name:<30}{seconds:>8.2f} s{1000 * seconds / images:>9.2f} ms each")


def own_memory(plan: Plan) -> tuple[int, int, int]:
    """(bytes of the Arena, of the largest request, that this process adds by touching every body)."""
    prepared = prepare(plan, Gallery(), progress)
    dialect = dialect_for(plan.api, plan.model, plan.encoding_format, plan.mode)
    before = psutil.Process().memory_full_info().uss
    bodies = Bodies(prepared.arena.map, plan.batch_size, dialect.frame(), request_head(dialect.path, "h:1", ""))
    largest = 0
    for body in range(bodies.count):
        largest = max(largest, sum(len(view) for view in bodies.views(body)))
    added = psutil.Process().memory_full_info().uss - before
    prepared.arena.close()
    return prepared.arena.map.size, largest, added


def sweep(pool: int) -> None:
    for side in (224, 336):
        print(f"\n{pool} pairs of {side}² PNG, --arena-limit {LIMIT}\n{'batch':>6}{'request':>12}{'Arena':>12}{'own':>12}")
        for batch_size in BATCHES:
            plan = Plan(image_size=f"{side}x{side}", pool=pool, batch_size=batch_size, arena_limit=LIMIT)
            size, largest, added = own_memory(plan)
            print(f"{batch_size:>6}{format_bytes(largest):>12}{format_bytes(size):>12}{format_bytes(max(0, added)):>12}")


def main(images: int = 1000, pool: int = 256) -> None:
    print(f"{machine()}; {len(os.sched_getaffinity(0))} cores are ours")
    make(images)
    sweep(pool)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
