"""Memory is bounded: a worker does not grow with the requests it sends, and the Arena is there once, however many map it."""

from __future__ import annotations

import re
from pathlib import Path

import psutil
import pytest

from clipload import archive
from clipload.frames import Interval
from tests.end_to_end.runs import check_finished, run_clipload, start_clipload
from tests.servers import running_server

MIB = 2**20
pytestmark = [pytest.mark.clock, pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.mark.parametrize("loop", [("--rate", "4000"), ("--concurrency", "16")], ids=["open", "closed"])
def test_a_worker_does_not_grow(tmp_path: Path, loop: tuple[str, str]) -> None:
    """The allocator takes a MiB now and then, more often at 100 000 requests/s (0.1 to 2.2 MiB in 30 s were seen, once over 3).
    One int kept of each request would be 40 bytes."""
    with running_server("null", "--dim", "8", "--cores", "1") as server:
        done = run_clipload("--mode", "text", *loop, "--duration", "42s", url=server.url, out=tmp_path)
    check_finished(done)
    assert done.counts["ok"] > 100_000
    frames = [frame for frame in archive.read_journal(done.directory / "journal.bin") if isinstance(frame, Interval)]
    rss = {frame.index: frame.rss for frame in frames if not frame.final}
    requests = 30 / 42 * done.counts["ok"]  # between the two readings
    assert rss[40] - rss[10] < 3 * MIB + 2 * requests, rss


def test_the_arena_is_shared(tmp_path: Path) -> None:
    """Proportional sizes of the workers' mappings add up to one Arena; resident sizes to two."""
    with (
        running_server("null", "--dim", "8") as server,
        start_clipload(
            *("--mode", "image", "--concurrency", "8", "--duration", "8s", "--pool", "200", "--workers", "2"),
            url=server.url,
            out=tmp_path,
            cores="0,1",
        ) as running,
    ):
        running.wait_for_second(6)
        sizes = [arena_of(worker) for worker in running.workers()]
        done = running.finish()
    check_finished(done)
    size = done.document["facts"]["arena"]["bytes"]
    assert size > 30 * MIB
    assert [rss > 0.95 * size for rss, _ in sizes] == [True, True], "each has touched it all"
    assert sum(pss for _, pss in sizes) < 1.1 * size


def arena_of(worker: psutil.Process) -> tuple[int, int]:
    """(Rss, Pss) of the Arena's mapping, bytes."""
    text = Path(f"/proc/{worker.pid}/smaps").read_text()
    blocks = re.split(r"\n(?=[0-9a-f]+-[0-9a-f]+ )", text)
    mine = [block for block in blocks if "memfd:clipload-arena" in block]
    assert mine
    rss, pss = (
        sum(int(number) for number in re.findall(rf"^{name}: +(\d+) kB", "\n".join(mine), re.M)) for name in ("Rss", "Pss")
    )
    return rss * 1024, pss * 1024
