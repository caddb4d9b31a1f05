"""What tests of several folders share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny CLIP with random weights on the disk; not to be changed."""
    pytest.importorskip("transformers", reason="the extra `local` is not installed")
    from tests.models import save_checkpoint

    return save_checkpoint(tmp_path_factory.mktemp("tiny"))
