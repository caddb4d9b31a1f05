"""What each transport and each way costs: CPU of a whole clipload worker per small request, and per request of one image.

    python -m benchmarks.transports [ROUNDS]

The null server reads each body to its end. TLS is 1.3 with a P-256 certificate made for the occasion (trustme, extra `dev`).
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import trustme

from benchmarks.bench import Figure, clipload, interleave, machine, null_server, show

IN_FLIGHT, SECONDS = 16, 3.0
LOADS = {"small": ("--mode", "text"), "image": ("--mode", "image", "--pool", "32")}


def certificate(folder: Path) -> tuple[Path, Path]:
    """Files: the authority; certificate and key of 127.0.0.1."""
    authority = trustme.CA()
    ca, server = folder / "ca.pem", folder / "server.pem"
    authority.cert_pem.write_to_path(ca)
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(server)
    return ca, server


def body_bytes(figures: list[Figure]) -> float:
    return sum(figure.bytes for figure in figures) / sum(figure.requests for figure in figures)


def main(rounds: int = 5) -> None:
    print(machine())
    with tempfile.TemporaryDirectory() as name, ExitStack() as servers:
        ca, certified = certificate(Path(name))
        plain = servers.enter_context(null_server())
        sealed = servers.enter_context(null_server("--tls-cert", str(certified)))
        path = servers.enter_context(null_server("--unix", f"{name}/s"))
        for load, flags in LOADS.items():
            common = (*flags, "--concurrency", str(IN_FLIGHT), "--warmup", "500ms")
            trusting, other = ("--cacert", str(ca)), ("--transport", "aiohttp")
            ways = {
                "stream": (plain, common),
                "stream tls": (sealed, (*common, *trusting)),
                "stream unix": (path, common),
                "aiohttp": (plain, (*common, *other)),
                "aiohttp tls": (sealed, (*common, *other, *trusting)),
            }
            figures = interleave({name: partial(clipload, url, SECONDS, *flags) for name, (url, flags) in ways.items()}, rounds)
            size = body_bytes(figures["stream"])
            print(f"\n{load} requests of {size:.0f} bytes, {IN_FLIGHT} in flight, {rounds} rounds of {SECONDS:g} s")
            show(figures, lambda f: f.cpu_us, "CPU µs/req", "stream")
            show(figures, lambda f: f.per_s, "req/s", "stream")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
