"""Asked for more than the server can do: latency grows as theory says, and everything else stays as it was."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from clipload import archive
from clipload.frames import Interval
from clipload.outcomes import CENSORED, CODE, OK
from clipload.steadiness import drift
from tests.end_to_end.runs import check_finished
from tests.witnesses import ARRIVED, REPLIED, see

pytestmark = pytest.mark.clock

MS, S = 10**6, 10**9
RATE, SECONDS, CAPACITY, GRACE_NS = 240, 5, 200, 500 * MS
SLOPE = 1 - CAPACITY / RATE  # 1 − 1/ρ, seconds of latency for each second
MIB = 2**20


@pytest.mark.slow
def test_latency_grows_by_1_minus_1_over_rho_and_what_is_not_answered_is_censored(tmp_path: Path) -> None:
    """ρ = 1.2, constant gaps and services: the request that ends at t was due at t/ρ, so its latency is t · (1 − 1/ρ)."""
    flags = ("--mode", "text", "--rate", str(RATE), "--arrival", "constant", "--duration", f"{SECONDS}s", "--grace", "500ms")
    seen = see(*flags, out=tmp_path, serve=("--law", "constant(5ms)"))
    check_finished(seen.done)
    counts, stamps = seen.done.counts, seen.stamps
    assert counts["scheduled"] == counts["planned"] == len(stamps) == RATE * SECONDS
    came = stamps[:, ARRIVED] - seen.start_ns
    assert (came - (np.arange(len(came)) + 0.5) * S / RATE).min() >= 0
    assert came[-1] < (SECONDS + 0.5) * S, "at the pace of the target the last would have come a second late"

    rows = list(csv.DictReader((seen.done.directory / "intervals.csv").read_text().splitlines()))[:SECONDS]
    shown = np.polyfit(range(SECONDS), [float(row["latency_p50_ms"]) / 1000 for row in rows], 1)[0]
    assert shown == pytest.approx(SLOPE, rel=0.05)
    level = [float(row["in_flight"]) + float(row["waiting"]) for row in rows]
    found = drift(level, counts["scheduled"])
    assert found.drifting
    assert found.growth == pytest.approx(SLOPE * RATE * SECONDS, rel=0.1)

    answered = int((seen.rows[:, CODE] == OK).sum())
    assert answered + int((seen.rows[:, CODE] == CENSORED).sum()) == len(seen.rows) == len(stamps)
    assert (counts["ok"], counts["censored"]) == (answered, len(stamps) - answered)
    cut = seen.start_ns + SECONDS * S + GRACE_NS
    in_time = int(((stamps[:, REPLIED] > 0) & (stamps[:, REPLIED] <= cut)).sum())
    assert answered == pytest.approx(in_time, abs=2 + CAPACITY * seen.waits.total_ns(seen.workers[0], cut - S) / S)
    assert counts["censored"] > 60
    assert seen.done.measure["histograms"]["bound"]["count"] == counts["censored"]
    assert seen.done.says("did not keep up: 240.0 requests/s were due"), seen.done.findings
    assert seen.done.document["steadiness"]["drift"]["drifting"], "and so the Run says itself"
    assert seen.done.says("the queue grew throughout"), seen.done.findings

    frames = [frame for frame in archive.read_journal(seen.done.directory / "journal.bin") if isinstance(frame, Interval)]
    rss = {frame.index: frame.rss for frame in frames}
    assert rss[SECONDS - 1] - rss[0] < 8 * MIB, "some 30 kB for each of the 200 that are in flight in the end"
