"""A campaign of one: Plan -> Samples -> Arena -> probe -> launch -> Run on disk. Searches come with more than one load."""

from __future__ import annotations

import asyncio
import math
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec

from clipload import archive, host
from clipload.arena import Arena, Bodies
from clipload.dialects import dialect_for
from clipload.errors import DatasetError, HostError
from clipload.frames import SCHEMA, Closing, Interval, Opening
from clipload.gallery import Gallery, gallery_for
from clipload.launchers import Assignment, Observer, local
from clipload.pacing import NEVER, horizon, share
from clipload.plan import SIDES, Plan, flag_of
from clipload.profiler import profiling
from clipload.run import Folding, Run
from clipload.schedule import Schedule, schedule
from clipload.sources import Skip, source_for
from clipload.target import Probe, probe, resolve
from clipload.traces import holding
from clipload.wire import Ready

Address = tuple[int, tuple[Any, ...]]  # address family, socket address

_ENDING = (signal.SIGINT, signal.SIGTERM)
_AHEAD = 256  # most connections that one worker opens before the load


class View(Protocol):
    """Who watches: a live view, plain lines, or nobody."""

    def said(self, sentence: str) -> None:
        """Something worth a line."""

    def preparing(self, done: int, total: int) -> None:
        """`done` of `total` Samples are encoded."""

    def interval(self, folding: Folding, interval: Interval) -> None:
        """One worker's second has come home."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that is known before a load begins."""

    plan: Plan
    arena: Arena
    skipped: list[Skip]
    gallery: Gallery


def prepare(plan: Plan, view: View, gallery: Gallery) -> Prepared:
    """Draws the Samples and fills the Arena. The Plan comes back with the pool as resolved: it never depends on the host."""
    source = source_for(
        plan.data_source,
        mode=plan.mode,
        seed=plan.seed,
        image_side=SIDES[plan.clip_variant],
        image_format=plan.image_format,
        flickr_images_dir=plan.flickr_images_dir,
        flickr_captions_file=plan.flickr_captions_file,
        flickr_caption_pick=plan.flickr_caption_pick,
        strict=plan.strict,
    )
    wanted = plan.pool if source.available is None else min(plan.pool, source.available)
    if not wanted:
        raise DatasetError("holds no Sample", flag="--data-source", remedy="check the folder and the captions file")
    dialect = dialect_for(plan.api, plan.model, plan.encoding_format, plan.mode)
    samples = gallery.hang(source.draw(wanted))
    arena = Arena.build(samples, dialect, plan.arena_limit, lambda done: view.preparing(done, wanted))
    return Prepared(plan.replace(pool=arena.map.pool), arena, list(source.skipped), gallery)


def payload(prepared: Prepared) -> bytes:
    """Body 0, whole: for the probe."""
    plan = prepared.plan
    dialect = dialect_for(plan.api, plan.model, plan.encoding_format, plan.mode)
    return Bodies(prepared.arena.map, plan.batch_size, dialect.frame(), b"").payload(0)


def measure(plan: Plan, key: str, out: Path, view: View) -> tuple[Run, Path]:
    """One load, from Plan to saved Run. CliploadError when it cannot begin; afterwards everything is data.

    To be called from the main thread and outside of any event loop: Ctrl-C then ends the encoding of Samples at once.
    """
    placement = host.place(plan.workers, plan.cores, host.allowed_cores(), images=plan.image_transport == "url")
    due = schedule(plan)
    where = resolve(plan)
    as_before = {number: signal.getsignal(number) for number in _ENDING}
    try:
        with gallery_for(due.plan, placement) as gallery:
            prepared = prepare(due.plan, view, gallery)
            try:
                gallery.show()
                record, closing = asyncio.run(_load(prepared, due, where, placement, key, out, view))
            finally:
                prepared.arena.close()
                view.close()
            closing.facts.update(gallery.end())
        return _save(record, closing, view)
    finally:
        view.close()
        for number, action in as_before.items():
            signal.signal(number, action)


async def _load(
    prepared: Prepared, due: Schedule, where: tuple[str, Address], placement: host.Placement, key: str, out: Path, view: View
) -> tuple[Record, Closing]:
    """From the probe to the last worker's end."""
    plan = prepared.plan
    dialect = dialect_for(plan.api, plan.model, plan.encoding_format, plan.mode)
    first = await probe(plan, dialect, payload(prepared), key)
    prepared.gallery.begin()
    bounds, room = plan.bounds(due.pacer), connections(plan, first, due.rate)
    with holding(due.trace) as trace:
        assignment = Assignment(
            plan=plan,
            arena=prepared.arena.map,
            address=where[1],
            host=where[0],
            key=key,
            bounds=bounds,
            pacer=due.pacer,
            horizon=None if due.pacer is None else horizon(due.pacer, plan.seed, plan.workers, bounds),
            trace=trace,
            connect_ahead=room.ahead,
            connection_limit=room.limit,
            placement=placement,
            directory=archive.create_directory(out, plan.name, time.time()),
        )
        return await _launch(assignment, _facts(prepared, first, placement, room), view)


async def _launch(assignment: Assignment, facts: dict[str, Any], view: View) -> tuple[Record, Closing]:
    """A launch that fails before it began leaves no directory."""
    try:
        record = Record(assignment, facts, view)
    except HostError:
        archive.discard(assignment.directory)
        raise
    allowed = host.allowed_cores()
    try:
        host.pin(assignment.placement.supervisor)
        async with profiling(assignment.plan, assignment.key, facts["target"]["probe_ns"], record.observer) as (heard, profile):
            closing = await local.launch(assignment, heard)
        for number in _ENDING:  # what was measured is about to be saved, and the signals have had their say
            signal.signal(number, signal.SIG_IGN)
        closing.facts.update(profile)
    except BaseException:
        record.abandon()
        raise
    finally:
        host.pin(allowed)
    return record, closing


def _save(record: Record, closing: Closing, view: View) -> tuple[Run, Path]:
    run, directory = record.finish(closing), record.directory
    run.check_ledger()
    try:
        archive.save(run, directory)
    except HostError as error:  # the figures are still to be shown, and the verdict says what is missing
        view.said(str(error))
        run.ended = local.DISK_FULL
    return run, directory


class Room(NamedTuple):
    """Connections: opened ahead by each worker, at most by all together, and whether this host is what limits them."""

    ahead: int
    limit: int
    ours: bool


def connections(plan: Plan, first: Probe, rate: float) -> Room:
    """Ahead: 1.5 × rate × the probe's latency (Little's law). HostError when a closed loop has no room for its slots."""
    descriptors = host.raise_descriptor_limit()
    wanted = share(plan.concurrency, 0, plan.workers) if plan.concurrency is not None else 1
    if wanted > descriptors:
        raise HostError(
            f"a worker needs {wanted} connections, and ulimit -n leaves room for {max(0, descriptors)}",
            flag=flag_of("rate" if plan.open_loop else "concurrency"),
            remedy="raise ulimit -n" + ("" if plan.open_loop else ", or add --workers"),
        )
    if plan.concurrency is not None:
        return Room(min(share(plan.concurrency, plan.workers - 1, plan.workers), _AHEAD), plan.concurrency, ours=False)
    wished, possible = plan.max_connections or NEVER, descriptors * plan.workers
    limit = min(wished, possible)
    expected = math.ceil(1.5 * rate * first.latency_ns / 1e9 / plan.workers) + 1
    return Room(min(expected, share(limit, plan.workers - 1, plan.workers), _AHEAD), limit, ours=possible < wished)


def _facts(prepared: Prepared, first: Probe, placement: host.Placement, room: Room) -> dict[str, Any]:
    arena = prepared.arena.map
    return {
        **host.facts(),
        "placement": {"workers": list(placement.workers), "supervisor": list(placement.supervisor), "shared": placement.shared},
        "arena": {"bytes": arena.size, "items": arena.items, "pool": arena.pool, "texts": prepared.arena.texts},
        "connections": {"limit": room.limit, "ours": room.ours},
        "skipped": [str(skip) for skip in prepared.skipped],
        "target": {"dim": first.dim, "probe_ns": first.latency_ns},
    }


class Record:
    """The journal and the fold of one run, fed by the launcher."""

    def __init__(self, assignment: Assignment, facts: dict[str, Any], view: View) -> None:
        self._assignment, self._facts, self._view = assignment, facts, view
        self._journal: archive.Journal | None = archive.Journal(assignment.directory / "journal.bin")
        self._folding: Folding | None = None
        self.directory = assignment.directory
        self.observer = Observer(opened=self._opened, interval=self._interval, said=view.said)

    def _opened(self, ready: list[Ready], start_ns: int) -> Folding:
        wall_s = time.time() + (start_ns - time.monotonic_ns()) / 1e9
        facts = self._facts | {
            "workers": [
                {"pid": r.pid, "cores": r.cores, "timer": r.alarm, "loop": r.loop, "connections": r.connections} for r in ready
            ]
        }
        plan = self._assignment.plan.to_dict()
        opening = Opening(
            schema=SCHEMA, plan=plan, facts=facts, bounds=self._assignment.bounds, start_ns=start_ns, start_wall_s=wall_s
        )
        self._append(opening)
        self._folding = Folding(opening)
        return self._folding

    def _interval(self, interval: Interval) -> None:
        self._append(interval)
        if self._folding is not None:
            self._view.interval(self._folding, interval)

    def _append(self, frame: Opening | Interval | Closing) -> None:
        """A disk that fills up ends the journal once; what was written stays."""
        if self._journal is None:
            return
        try:
            self._journal.append(frame)
        except HostError:
            self._journal.close()
            self._journal = None
            raise

    def abandon(self) -> None:
        """The launch failed. A run that never began leaves no directory; one that did keeps its journal."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        if self._folding is None:
            archive.discard(self.directory)

    def finish(self, closing: Closing) -> Run:
        if self._folding is None:
            raise AssertionError("a launch that returns has opened the record")
        try:
            self._append(closing)
        except HostError as error:
            self._view.said(str(error))
            closing = msgspec.structs.replace(closing, ended=local.DISK_FULL)
        self._folding.add(closing)
        if self._journal is not None:
            self._journal.close()
        return self._folding.finish()
