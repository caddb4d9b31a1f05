"""A server that several folders of tests share; it is a process of its own and is stopped when the session ends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers import Server, running_server


@pytest.fixture(scope="session")
def opens() -> Iterator[Server]:
    """The clip engine, tiny, random weights, that opens images by path and URL: torch is loaded once for all who need it."""
    with running_server("clip", "--size", "tiny", "--open-images") as server:
        yield server
