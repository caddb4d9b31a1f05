"""What limits a real SGLang, as far as can be seen from here: CLIPLOAD_SGLANG_URL names one, best with --enable-metrics."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clipload.sightings import ACTIVE, ITEMS, QUEUED
from tests.end_to_end.runs import check_finished, run_clipload

URL = os.environ.get("CLIPLOAD_SGLANG_URL", "")
MODEL = os.environ.get("CLIPLOAD_SGLANG_MODEL", "default")
pytestmark = [
    pytest.mark.clock,
    pytest.mark.sglang,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not URL, reason="CLIPLOAD_SGLANG_URL names no server"),
]


def test_its_processes_and_its_gauges(tmp_path: Path) -> None:
    flags = ["--mode", "text", "--concurrency", "16", "--duration", "8s", "--warmup", "2s", "--model", MODEL]
    done = run_clipload(*flags, url=URL, out=tmp_path, cores=None, lookout=True)
    check_finished(done)
    (target,) = done.document["facts"]["lookout"]["targets"]
    if target["missing"] == "it is not on this host":
        pytest.skip("the server is not on this host")
    assert {"tokenizer", "scheduler", "detokenizer"} <= set(target["processes"].values()), target
    limit = done.document["limit"]
    shares = {one["role"]: one["share_of_a_core"] for one in limit["targets"][0]["seen"]["processes"]}
    assert shares["tokenizer"] > shares["detokenizer"] > 0, shares
    if target["told_at"]:
        gauges = limit["targets"][0]["seen"]["gauges"]
        assert gauges[ITEMS] == pytest.approx(done.document["throughput"], rel=0.25)
        assert gauges[ACTIVE] + gauges.get(QUEUED, 0) > 1
