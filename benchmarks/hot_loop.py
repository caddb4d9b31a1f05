"""CPU per small request: a whole clipload worker beside a bare Protocol that measures nothing and an aiohttp client.

    python -m benchmarks.hot_loop [ROUNDS]

Asked for: clipload ≤ 1.5 × bare and ≤ ¼ of aiohttp, at a 100-byte body and a reply of some 10.8 kB.
"""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.bench import clipload, interleave, machine, null_server, rival, show

IN_FLIGHT, SECONDS = 16, 3.0
CAPTION = "a beautiful landscape"
MODEL = "clip-vit-base-patch32"


def main(rounds: int = 5) -> None:
    body = b'{"model":"%s","encoding_format":"float","input":["%s"]}' % (MODEL.encode(), CAPTION.encode())
    print(machine())
    with null_server() as url, tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "body.json"
        file.write_bytes(body)
        figures = interleave(
            {
                "bare": partial(rival, "bare", url, file, SECONDS, IN_FLIGHT),
                "clipload": lambda: clipload(
                    url, SECONDS, "--mode", "text", "--concurrency", str(IN_FLIGHT), "--model", MODEL, "--warmup", "500ms"
                ),
                "aiohttp": partial(rival, "aiohttp", url, file, SECONDS, IN_FLIGHT),
            },
            rounds,
        )
    print(f"\nsmall requests, {len(body)}-byte body, {IN_FLIGHT} in flight, {rounds} rounds of {SECONDS:g} s")
    show(figures, lambda f: f.cpu_us, "CPU µs/req", "bare")
    show(figures, lambda f: f.per_s, "req/s", "bare")
    show(figures, lambda f: f.cpu_us, "CPU µs/req", "aiohttp")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
