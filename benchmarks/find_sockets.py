"""How near `clipload find` comes to the capacity of a server that answers over real sockets, in a budget.

    python -m benchmarks.find_sockets [BUDGET] [OBJECTIVE] [ARRIVAL]    # 5m 'p99<50ms' poisson

The target is `clipload serve --engine sim --law 'constant(5ms)' --servers 8`: 1600 requests/s at most, on the last core; the
worker is on the first. *true* is the highest rate at which that queue, fed by Poisson arrivals, meets the objective: from the
simulated M/D/8 of `queues`. A machine on which others run says more of them than of the search: the last column counts the
probes of which nothing could be said.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.bench import CLIENT, SERVER, machine
from benchmarks.queues import MDc
from clipload.slo import Objective

SERVICE_S, SERVERS = 0.005, 8
MOST = SERVERS / SERVICE_S


@contextmanager
def simulated() -> Iterator[str]:
    """The target's URL."""
    law = ("--law", f"constant({1000 * SERVICE_S:g}ms)", "--servers", str(SERVERS), "--dim", "64")
    command = [sys.executable, "-m", "clipload", "serve", "--engine", "sim", *law, "--port", "0", "--cores", str(SERVER)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[2]
        finally:
            process.terminate()


def truth(objective: Objective, arrival: str) -> float:
    """Requests/s. With constant gaps nothing ever waits below the most that the servers do."""
    if arrival == "constant":
        return MOST
    return MDc(SERVICE_S, SERVERS).capacity(objective.subject.q, objective.limit / 1e9)


def find(url: str, budget: str, objective: str, arrival: str) -> dict[str, Any]:
    """campaign.json of one find; its probes go to stderr as they end."""
    with tempfile.TemporaryDirectory() as out:
        asked = ("--slo", objective, "--budget", budget, "--arrival", arrival, "--mode", "text", "--cores", str(CLIENT))
        command = [sys.executable, "-m", "clipload", "find", "--base-url", url, *asked, "--out", out, "--json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=3600, check=False)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def row(document: dict[str, Any], true: float) -> str:
    (branch,) = document["answer"]
    answer = branch["answer"]
    low, high, rate = answer["low"], math.inf if answer["high"] is None else answer["high"], answer["rate"]
    unsound = sum(point["fate"] == "unsound" for point in document["points"])
    holds = "yes" if low <= true <= high else "no"
    return (
        f"| {answer['outcome']} | {rate:.4g} | {low:.4g} … {high:.4g} | {true:.1f} | {rate / true:.3f} | {holds} "
        f"| {answer['binding'] or '–'}, {answer['shape'] or '–'} | {'yes' if answer['confirmed'] else 'no'} "
        f"| {answer['probes']} in {answer['seconds']:.0f} s | {unsound} |"
    )


def main(budget: str = "5m", objective: str = "p99<50ms", arrival: str = "poisson") -> None:
    print(machine())
    true = truth(Objective.parse(objective), arrival)
    with simulated() as url:
        document = find(url, budget, objective, arrival)
    print("| outcome | found /s | interval | true /s | found/true | holds | bound by | confirmed | probes | unsound |")
    print("|" + "---|" * 10)
    print(row(document, true))


if __name__ == "__main__":
    main(*sys.argv[1:])
