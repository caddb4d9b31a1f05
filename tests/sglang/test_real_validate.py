"""A real SGLang held against the model here. It must be a healthy one: as published, several versions give wrong vectors."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from clipload.backends.inquiry import Inquiry
from clipload.backends.remote import said_of_itself
from clipload.cli import _exit_code
from clipload.credentials import Credentials
from clipload.plan import Plan

URL = os.environ.get("CLIPLOAD_SGLANG_URL", "")
pytestmark = [
    pytest.mark.clock,
    pytest.mark.sglang,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not URL, reason="CLIPLOAD_SGLANG_URL names no server"),
]


@pytest.mark.parametrize("api", ["v1", "native"])
def test_parity_under_load(api: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Texts and images mixed, each twice, eight in flight; the server's own model directory is the model here."""
    inquiry = Inquiry(Plan(base_url=URL), Credentials())
    try:
        model = inquiry.run(said_of_itself(inquiry.plan, inquiry.endpoint, inquiry.credentials))["model"]
    finally:
        inquiry.close()
    if not Path(model).is_dir():
        pytest.skip(f"the server's model, {model}, is no directory of this machine")
    draws = np.random.default_rng(8)
    for i in range(12):
        Pillow.fromarray(draws.integers(0, 256, (224, 224, 3), np.uint8)).save(tmp_path / f"{i}.png")
        (tmp_path / f"{i}.txt").write_text(f"picture number {i} of the test\n")
    code = _exit_code(
        [
            "validate",
            "--base-url",
            URL,
            "--api",
            api,
            "--data",
            str(tmp_path),
            "--against",
            "local",
            "--against-model",
            model,
            "--json",
        ]
    )
    shown = capsys.readouterr()
    assert code == 0, shown.err
    assert json.loads(shown.out)["parity"]["items"] == 24
