"""Large bodies: 16 (text, image) pairs, some 3.2 MB, against a null server that reads each body to its end.

    python -m benchmarks.large_body [ROUNDS]

Asked for: ≥ 0.9 × the bytes/s of a blocking `sendall` loop; CPU per request ≤ 1.25 × a bare Protocol's; over 16 connections
p99 ≤ 3 × p50.
"""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.bench import Figure, clipload, interleave, machine, null_server, rival, show
from clipload.dialects import dialect_for
from clipload.sources import source_for

IN_FLIGHT, SECONDS, PAIRS = 16, 4.0, 16


def spread(figure: Figure) -> float:
    """p99 / p50 of service."""
    service = figure.extra["phases"]["measure"]["histograms"]["service"]
    return service["p99"] / service["p50"]


def main(rounds: int = 5) -> None:
    samples = list(source_for("random", mode="multimodal", seed=42).draw(PAIRS))
    body = dialect_for("v1", "default", "float", "multimodal").encode(samples)
    print(machine())
    with null_server() as url, tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "body.json"
        file.write_bytes(body)
        figures = interleave(
            {
                "bare": partial(rival, "bare", url, file, SECONDS, IN_FLIGHT),
                "clipload": lambda: clipload(
                    url,
                    SECONDS,
                    "--concurrency",
                    str(IN_FLIGHT),
                    "--batch-size",
                    str(PAIRS),
                    "--pool",
                    str(PAIRS),
                    "--warmup",
                    "1s",
                ),
                "aiohttp": partial(rival, "aiohttp", url, file, SECONDS, IN_FLIGHT),
                "sendall": partial(rival, "sendall", url, file, SECONDS, 1),
            },
            rounds,
        )
    what = f"{PAIRS} pairs, {len(body) / 1e6:.2f} MB bodies, {IN_FLIGHT} in flight (sendall: 1)"
    print(f"\n{what}, {rounds} rounds of {SECONDS:g} s")
    show(figures, lambda f: f.cpu_us, "CPU µs/req", "bare")
    show(figures, lambda f: f.gb_per_s, "GB/s", "sendall")
    print(f"clipload: p99 / p50 of service over {IN_FLIGHT} connections: median {median(map(spread, figures['clipload'])):.2f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
