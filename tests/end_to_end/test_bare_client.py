"""clipload against the least that a paced client can be: the same server at the same time, from the same core, and the same
quantiles; and one that reads its replies a millisecond late, which must not pass.

What the machine does to the two it does to both, so that nothing is allowed for it but chance: what the ranks beside a
quantile say of it. The lower quantiles are there because a busy machine moves them least: they are the sharp ones.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from clipload import archive
from clipload.outcomes import DONE, DUE
from tests.end_to_end.runs import check_finished
from tests.servers import ROOT, environment, running_server
from tests.witnesses import read_rows, watched

pytestmark = pytest.mark.clock

RATE, SECONDS, LATE_S = 100, 6, 0.001
QUANTILES = (0.1, 0.25, 0.5)
SURE = 2.6  # standard errors


def chance(values: NDArray[np.int64], q: float) -> float:
    """Half of what lies between the ranks that are so many standard errors beside that of the quantile, ns."""
    n, reach = len(values), SURE * math.sqrt(len(values) * q * (1 - q))
    low, high = np.sort(values)[[max(0, math.floor(n * q - reach)), min(n - 1, math.ceil(n * q + reach))]]
    return float(high - low) / 2


def apart(ours: NDArray[np.int64], theirs: NDArray[np.int64], q: float) -> tuple[float, float]:
    """How far the two quantiles lie from each other, and how far they may: 5 %, and by chance. ns."""
    one, other = (float(np.quantile(values, q)) for values in (ours, theirs))
    return abs(one - other), 0.05 * other + math.hypot(chance(ours, q), chance(theirs, q))


@pytest.mark.slow
def test_the_median_is_that_of_a_bare_client(tmp_path: Path) -> None:
    flags = ("--mode", "text", "--rate", str(RATE), "--duration", f"{SECONDS + 3}s")
    with (
        running_server("sim", "--law", "constant(8ms)", "--servers", "64", "--dim", "8", "--cores", "1") as server,
        watched(*flags, url=server.url, out=tmp_path) as running,
    ):
        running.wait_for_second(0)
        host, _, port = server.url.removeprefix("http://").partition(":")
        command = ["taskset", "-c", "0", sys.executable, "-m", "tests.bare_client", host, port, str(RATE), str(SECONDS)]
        with (
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment()) as bare,
            subprocess.Popen([*command, str(LATE_S)], stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment()) as late,
        ):
            said = [json.loads(client.communicate(timeout=30)[0]) for client in (bare, late)]
        done = running.finish()
    check_finished(done)
    theirs, tardy = (np.array(latencies) for latencies in said)
    assert len(theirs) == len(tardy) == RATE * SECONDS
    rows = read_rows(tmp_path / "rows")
    ours = rows[:, DONE] - rows[:, DUE]
    assert min(ours.min(), theirs.min()) > 8_000_000, "no reply can be quicker than the server"

    shown = archive.load(done.directory).measure.histogram("latency")
    for q in QUANTILES:
        assert shown.quantile(q) == pytest.approx(np.quantile(ours, q, method="inverted_cdf"), rel=0.002), (
            "what it says is that"
        )
        distance, allowed = apart(ours, theirs, q)
        assert distance < allowed, (q, distance, allowed)
    distance, allowed = apart(tardy, theirs, QUANTILES[0])
    assert distance > allowed, ("a millisecond is not seen", distance, allowed)
