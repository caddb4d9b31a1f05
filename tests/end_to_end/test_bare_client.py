"""clipload against the least that a paced client can be: the same server at the same time, and the same median."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.end_to_end.runs import check_finished
from tests.servers import ROOT, environment, running_server
from tests.witnesses import Waits, watched

RATE = 50


@pytest.mark.slow
def test_the_median_is_that_of_a_bare_client(tmp_path: Path) -> None:
    """Within 5 %, besides what they and the server waited for their cores."""
    flags = ("--mode", "text", "--rate", str(RATE), "--duration", "4s")
    with (
        running_server("sim", "--law", "constant(8ms)", "--servers", "64", "--dim", "8", "--cores", "1") as server,
        watched(*flags, url=server.url, out=tmp_path) as running,
    ):
        (worker,) = running.wait_for(running.workers)
        running.wait_for_second(0)
        host, _, port = server.url.removeprefix("http://").partition(":")
        command = ["taskset", "-c", "0", sys.executable, "-m", "tests.bare_client", host, port, str(RATE), "2.5"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment()) as bare:
            waits = Waits(worker.pid, bare.pid, server.pid)
            waits.start()
            said, _ = bare.communicate(timeout=30)
        done = running.finish()
        waits.stop()
    check_finished(done)
    assert bare.returncode == 0
    theirs = np.array(json.loads(said))
    assert len(theirs) == 2.5 * RATE
    ours, median = done.measure["histograms"]["latency"]["p50"], float(np.median(theirs))
    assert min(ours, median) > 8_000_000
    turns = max(waits.each_turn_ns(pid) for pid in (worker.pid, bare.pid)) + waits.each_turn_ns(server.pid)
    assert abs(ours - median) < 0.05 * median + 2 * turns
