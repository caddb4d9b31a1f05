"""What tests of several folders share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import Server, running_server


@pytest.fixture(scope="session")
def opens() -> Iterator[Server]:
    """The clip engine, tiny, random weights, that opens images by path and URL: torch is loaded once for all who need it."""
    with running_server("clip", "--size", "tiny", "--open-images") as server:
        yield server


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny CLIP with random weights on the disk; not to be changed."""
    pytest.importorskip("transformers", reason="the extra `local` is not installed")
    from tests.models import save_checkpoint

    return save_checkpoint(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def served(tiny_checkpoint: Path) -> Iterator[Server]:
    """The clip engine with that checkpoint."""
    with running_server("clip", "--model", str(tiny_checkpoint), "--threads", "1") as server:
        yield server
