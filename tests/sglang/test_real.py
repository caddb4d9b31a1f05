"""Against a real SGLang that serves a CLIP model: CLIPLOAD_SGLANG_URL names it, and nothing here starts one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.end_to_end.runs import check_finished, run_clipload

URL = os.environ.get("CLIPLOAD_SGLANG_URL", "")
MODEL = os.environ.get("CLIPLOAD_SGLANG_MODEL", "default")
pytestmark = [
    pytest.mark.clock,
    pytest.mark.sglang,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not URL, reason="CLIPLOAD_SGLANG_URL names no server"),
]


@pytest.mark.parametrize("mode", ["text", "multimodal"])
@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_eight_in_flight_without_an_error(tmp_path: Path, mode: str, encoding: str) -> None:
    flags = ["--mode", mode, "--concurrency", "8", "--num-samples", "64", "--pool", "16", "--model", MODEL]
    done = run_clipload(*flags, "--encoding-format", encoding, url=URL, out=tmp_path, cores=None, timeout_s=500)
    check_finished(done)
    assert done.measure["ledger"]["errors"] == {}, done.stderr
    assert done.counts["ok"] == done.counts["planned"] == 64
    assert done.document["facts"]["target"]["dim"] > 0


def test_an_open_loop_without_an_error(tmp_path: Path) -> None:
    flags = ["--mode", "text", "--rate", "2", "--duration", "10s", "--model", MODEL]
    done = run_clipload(*flags, url=URL, out=tmp_path, cores=None, timeout_s=500)
    check_finished(done)
    assert done.measure["ledger"]["errors"] == {}, done.stderr
    assert done.counts["ok"] == done.counts["planned"] > 0


@pytest.mark.parametrize(
    ("api", "mode", "batch"),
    [("native", "text", 1), ("native", "text", 4), ("native", "image", 1), ("native", "multimodal", 2), ("openai", "text", 4)],
)
def test_its_other_dialects_without_an_error(tmp_path: Path, api: str, mode: str, batch: int) -> None:
    flags = [
        "--api",
        api,
        "--mode",
        mode,
        "--batch-size",
        str(batch),
        "--concurrency",
        "4",
        "--num-samples",
        "64",
        "--pool",
        "8",
    ]
    done = run_clipload(*flags, url=URL, out=tmp_path, cores=None, timeout_s=500)
    check_finished(done)
    assert done.measure["ledger"]["errors"] == {}, done.stderr
    assert done.counts["ok"] == 64 // batch
    told = done.measure["histograms"].get("server_time", {"count": 0})
    assert told["count"] == (64 // batch if api == "native" else 0)
