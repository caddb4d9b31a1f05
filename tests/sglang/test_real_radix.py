"""SGLang with its radix cache on: a text that it has seen before gets a wrong vector, and the cache is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.runs import MISSED, TARGET, check_finished
from tests.sglang.real import SHORT_TEXTS, agreement, count, measured, only
from tests.sglang.test_real_preflight import preflight

pytestmark = only("radix")


def test_the_cache_is_named_with_the_way_out() -> None:
    code, found = preflight("--mode", "text")
    assert code == TARGET
    assert found["server"]["facts"]["disable_radix_cache"] is False
    (line,) = [line for line in found["lines"] if line["name"] == "the same text twice"]
    assert line["outcome"] == "unfit"
    assert "its radix cache is on" in line["sentence"]
    assert "--disable-radix-cache" in line["remedy"]


def test_its_vectors_are_wrong_with_one_in_flight(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = (*SHORT_TEXTS, "--concurrency", "1", "--duration", "5s", "--allow-unfit", "--slo", "errors<0.1%")
    done = measured(capsys, *flags, out=tmp_path)
    check_finished(done, code=MISSED)
    assert count(agreement(done)["levels"], "wrong") > 5
    assert [level["in_flight"] for level in agreement(done)["levels"]] == [1]
    assert any(said.startswith("UNFIT (the same text twice)") and "radix cache" in said for said in done.findings)
