"""Servers that several test files share; each is a process of its own and is stopped when the session ends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers import Server, running_server


@pytest.fixture(scope="session")
def clip() -> Iterator[Server]:
    """The clip engine, tiny, random weights: torch is loaded once for all tests that need it."""
    with running_server("clip", "--size", "tiny", "--max-batch", "8", "--enable-metrics") as server:
        yield server


@pytest.fixture(scope="module")
def sim() -> Iterator[Server]:
    """The sim engine without queueing to speak of."""
    with running_server("sim", "--law", "constant(1us)") as server:
        yield server
