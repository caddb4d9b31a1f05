"""SGLang that embeds images and batches as published: a text and an image in one batch end it, and the Run says so.

The order matters: the last test kills the server.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from clipload import archive
from tests.end_to_end.runs import TARGET, check_finished
from tests.sglang.real import agreement, check_death, measured, only
from tests.sglang.test_real_preflight import preflight

pytestmark = only("image")


def test_images_are_seen_and_that_pairs_kill_is_told_without_trying() -> None:
    _, found = preflight("--mode", "multimodal")
    assert found["outcomes"]["images are seen"] == "ok"
    assert found["outcomes"]["a text and an image in one request"] == "not probed"
    assert found["outcomes"]["pairs may kill"] == "warning"


def test_a_mixed_load_kills_it_and_that_is_reported_and_saved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--mode", "mixed", "--text-tokens", "3-4", "--pool", "40", "--allow-unfit")
    done = measured(capsys, *flags, "--concurrency", "4", "--duration", "30s", out=tmp_path)
    check_finished(done, ended="target died", code=TARGET)
    check_death(done, "with 4 in flight")
    assert agreement(done)["items"] > 20, "asking for them one at a time killed nobody"
    assert archive.load(done.directory).ended == "target died"
