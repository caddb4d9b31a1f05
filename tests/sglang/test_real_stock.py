"""SGLang as published: the preflight says that images are ignored; integrity reports the leak; its death is reported and saved.

The order matters: the last test kills the server.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from clipload import archive
from tests.end_to_end.runs import MISSED, TARGET, check_finished
from tests.sglang.real import SHORT_TEXTS, agreement, check_death, count, measured, only
from tests.sglang.test_real_preflight import preflight

pytestmark = only("stock")


def test_images_are_ignored() -> None:
    code, found = preflight()
    assert code == TARGET
    (line,) = [line for line in found["lines"] if line["name"] == "images are seen"]
    assert line["outcome"] == "unfit"
    assert line["sentence"].startswith("images are ignored")


def test_the_leak_of_texts_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Four in flight, too short to kill it; those that meet in one batch have each other's words in their vectors."""
    flags = (*SHORT_TEXTS, "--concurrency", "4", "--duration", "15s", "--allow-unfit", "--slo", "errors<0.1%")
    done = measured(capsys, *flags, out=tmp_path)
    check_finished(done, code=MISSED)
    levels = agreement(done)["levels"]
    wrong = [level for level in levels if level["wrong"]]
    assert count(levels, "wrong") > 5, levels
    assert {name for level in wrong for name in level["classes"]} <= {"different", "swapped"}
    assert min(level["in_flight"] for level in wrong) > 1, "alone each is right"
    assert done.says("sampled replies had wrong vectors")


def test_its_death_is_reported_with_its_time_and_load_and_saved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = (*SHORT_TEXTS, "--concurrency", "24", "--duration", "20s", "--allow-unfit")
    done = measured(capsys, *flags, out=tmp_path)
    check_finished(done, ended="target died", code=TARGET)
    check_death(done, "with 24 in flight")
    assert archive.load(done.directory).ended == "target died"
