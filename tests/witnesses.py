"""Those who saw it: each request's row as its worker wrote it, the server's stamps, and what the kernel says of waiting.

Nothing here is the tool's own summary.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, pairwise
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from clipload.dialects import dialect_of
from clipload.outcomes import BODY, COLUMNS, DUE, SENT
from clipload.pacing import BODIES, Shuffle
from clipload.plan import Plan
from clipload.preparation import source_options
from clipload.sources import source_for
from tests.end_to_end.runs import Finished, Running, start_clipload
from tests.servers import ROOT, running_server

Rows = NDArray[np.int64]
ARRIVED, STARTED, DEPARTED, REPLIED, ASKED = range(5)
UNIQUE = ("--unique", "--text-tokens", "8")  # each body tells its request from all others
HERE = Path(__file__).parent / "witness"


class Waits(threading.Thread):
    """How long the main threads of some processes stood in a run queue, by /proc/<pid>/schedstat, read every 20 ms."""

    def __init__(self, *pids: int) -> None:
        super().__init__(daemon=True)
        self.readings: dict[int, list[tuple[int, int, int]]] = {pid: [] for pid in pids}  # instant, waited ns, turns
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.02):
            for pid, readings in self.readings.items():
                try:
                    _, waited, turns = map(int, Path(f"/proc/{pid}/schedstat").read_text().split())
                except (FileNotFoundError, ProcessLookupError):  # it has ended: its last reading stands
                    continue
                readings.append((time.monotonic_ns(), waited, turns))

    def stop(self) -> None:
        self._over.set()
        self.join()

    def each_turn_ns(self, pid: int, begin_ns: int = 0) -> float:
        """The mean wait for the core before a turn on it, since `begin_ns`."""
        first, last = self._ends(pid, begin_ns)
        return (last[1] - first[1]) / max(1, last[2] - first[2])

    def total_ns(self, pid: int, begin_ns: int, end_ns: int = 2**63) -> int:
        first, last = self._ends(pid, begin_ns, end_ns)
        return last[1] - first[1]

    def longest_ns(self, pid: int) -> int:
        """The most that it waited between two readings: what a request can meet at worst."""
        waited = [waited for _, waited, _ in self.readings[pid]]
        return max((later - earlier for earlier, later in pairwise(waited)), default=0)

    def _ends(self, pid: int, begin_ns: int, end_ns: int = 2**63) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """The last reading before the stretch and the first after it, or the nearest there are."""
        readings = self.readings[pid]
        before = [one for one in readings if one[0] <= begin_ns]
        after = [one for one in readings if one[0] >= end_ns]
        return (before or readings)[-1 if before else 0], (after or readings)[0 if after else -1]


@dataclass
class Seen:
    """A run as several saw it. `rows`: of all workers, by *sent*; `stamps`: the server's, after `probes` that came before."""

    done: Finished
    rows: Rows
    stamps: Rows
    probes: int
    waits: Waits
    server: int
    workers: list[int] = field(default_factory=list)

    @property
    def start_ns(self) -> int:
        return int(self.done.document["start_ns"])

    def pair(self) -> None:
        """Puts the rows in the order of the stamps, each beside that of its own request, known by its body: a `UNIQUE` load.

        Each must have the due instant that the Plan has for that request.
        """
        plan = Plan.from_dict(self.done.document["plan"])
        dialect = dialect_of(plan)
        asked = [crc32(dialect.encode([one])) for one in source_for(plan.data_source, **source_options(plan)).draw(plan.pool)]
        place = {body: i for i, body in enumerate(self.stamps[:, ASKED].tolist())}
        assert len(place) == len(self.stamps) == len(self.rows)
        self.rows = self.rows[np.argsort([place[asked[body]] for body in self.rows[:, BODY].tolist()])]
        pick, due = Shuffle(plan.pool, plan.seed, BODIES), chain.from_iterable(plan.pacer.blocks(plan.seed))
        planned = {pick(i): self.start_ns + offset for i, offset in zip(range(len(self.rows)), due)}
        assert {row[BODY]: row[DUE] for row in self.rows.tolist()} == planned

    def turns_ns(self) -> float:
        """What a request waits for cores on its way: the worker when it is due and when its reply has come, the server when
        it reads and when it writes."""
        worker = max(self.waits.each_turn_ns(pid, self.start_ns) for pid in self.workers)
        return 2 * (worker + self.waits.each_turn_ns(self.server, self.start_ns))


@contextmanager
def watched(*flags: str, url: str, out: Path, cores: str = "0", integrity: bool = False) -> Iterator[Running]:
    """`clipload run` whose workers leave their rows in `out`/rows, and what they import when they are ready."""
    rows = out / "rows"
    rows.mkdir(parents=True)
    seen = {"PYTHONPATH": f"{HERE}:{ROOT}", "WITNESS": str(rows)}
    with start_clipload(*flags, url=url, out=out / "runs", cores=cores, env=seen, integrity=integrity) as running:
        yield running


def see(*flags: str, out: Path, serve: tuple[str, ...], cores: str = "0", end_after_s: int | None = None) -> Seen:
    """A whole run against a sim server that keeps stamps; with `end_after_s` a SIGINT ends it when that second was printed."""
    stamps = out / "stamps.npy"
    with running_server("sim", "--cores", "1", "--dim", "8", "--stamps", str(stamps), *serve) as server:
        with watched(*flags, url=server.url, out=out, cores=cores) as running:
            running.wait_for(lambda: len(running.workers()) == cores.count(",") + 1)
            workers = [worker.pid for worker in running.workers()]
            waits = Waits(server.pid, *workers)
            waits.start()
            if end_after_s is not None:
                running.wait_for_second(end_after_s)
                running.process.send_signal(signal.SIGINT)
            done = running.finish()
        waits.stop()
    whole: Rows = np.load(stamps)
    probes = int((whole[:, ARRIVED] < done.document["start_ns"]).sum())
    return Seen(done, read_rows(out / "rows"), whole[probes:], probes, waits, server.pid, workers)


def read_rows(folder: Path) -> Rows:
    """All that ended, in the order in which it was sent; what never was comes first, by *due*."""
    parts = [np.fromfile(file, np.int64).reshape(-1, len(COLUMNS)) for file in sorted(folder.glob("*.rows"))]
    rows = np.concatenate(parts)
    return rows[np.lexsort((rows[:, DUE], rows[:, SENT]))]
