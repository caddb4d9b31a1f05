"""The ledger against those who saw it: the Plan's schedule, and a server that drew each fault from its seed."""

from __future__ import annotations

from collections import Counter
from itertools import chain, takewhile
from pathlib import Path

import numpy as np
import pytest

from clipload.plan import Plan
from clipload.server.faults import Lottery
from tests.end_to_end.runs import INTERRUPTED, check_finished
from tests.witnesses import REPLIED, see

pytestmark = pytest.mark.clock

SEED, ERRORS, RESETS = 18, 0.1, 0.1


def test_errors_resets_and_a_signal_leave_every_request_in_one_place(tmp_path: Path) -> None:
    """What was due by the end follows from the Plan; which of those failed and how, from the server's draws."""
    serve = ("--law", "constant(5ms)", "--servers", "2", "--seed", str(SEED), "--keep-alive", "1h")
    serve += ("--error-rate", str(ERRORS), "--reset-rate", str(RESETS))
    flags = ("--mode", "text", "--rate", "200", "--duration", "30s", "--workers", "2")
    seen = see(*flags, out=tmp_path, serve=serve, cores="0,1", end_after_s=1)
    check_finished(seen.done, ended="interrupted", code=INTERRUPTED)
    counts, document = seen.done.counts, seen.done.document

    plan = Plan.from_dict(document["plan"])
    end = plan.bounds()[3]
    due = list(takewhile(lambda offset: offset < end, chain.from_iterable(plan.pacer.blocks(plan.seed))))
    begun = int(np.searchsorted(due, document["stop_ns"] - seen.start_ns, side="right"))
    assert counts["planned"] == len(due)
    assert counts["scheduled"] == begun > 150
    assert counts["not_due"] == len(due) - begun

    lottery = Lottery(SEED, ERRORS, RESETS)
    assert [lottery.draw() for _ in range(seen.probes)] == ["none"] * seen.probes, "choose another seed"
    drawn = Counter(lottery.draw() for _ in range(begun + counts.get("retried", 0)))
    assert counts["ok"] == drawn["none"] == len(seen.stamps)
    assert (seen.stamps[:, REPLIED] > 0).all()
    assert counts["error.http_500"] == drawn["error"] > 5
    assert counts["error.reset"] == drawn["reset"] - counts.get("retried", 0) > 5
    assert len(seen.rows) == begun
