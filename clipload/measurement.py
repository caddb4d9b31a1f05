"""One load measured: Plan -> Samples -> Arena -> probe -> launch -> Run on disk."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import msgspec

from clipload import archive, host, shapes
from clipload.agreement import FACT
from clipload.arena import mean_body
from clipload.canary import canary_beside
from clipload.credentials import Credentials
from clipload.dialects import dialect_of
from clipload.errors import HostError
from clipload.folding import Folding
from clipload.frames import SCHEMA, Closing, Frame, Interval, Opening, Part
from clipload.gallery import gallery_for
from clipload.integrity.kept import Kept
from clipload.integrity.standing import Standing
from clipload.integrity.standing import before_a_load as alone
from clipload.integrity.watching import watching
from clipload.launchers import Assignment, Observer, local
from clipload.lookout import looking_out
from clipload.pacing import horizon
from clipload.plan import Plan
from clipload.preflight import before_a_load
from clipload.preparation import Prepared, payload, prepare
from clipload.profiler import profiling
from clipload.room import Room, connections
from clipload.run import Run
from clipload.schedule import Schedule, schedule
from clipload.target import Heard, Probe, nobody, probe_all, resolve_all
from clipload.traces import holding
from clipload.transports import Endpoint
from clipload.vitals import limits
from clipload.wire import Ready

_ENDING = (signal.SIGINT, signal.SIGTERM)


class View(Protocol):
    """Who watches: a live view, plain lines, or nobody."""

    def said(self, sentence: str) -> None:
        """Something worth a line."""

    def preparing(self, done: int, total: int) -> None:
        """`done` of `total` Samples are encoded."""

    def interval(self, folding: Folding, interval: Interval) -> None:
        """One worker's second has come home."""

    def close(self) -> None: ...


def measure(
    plan: Plan,
    credentials: Credentials,
    out: Path,
    view: View,
    heard: Heard = nobody,
    examined: dict[str, Any] | None = None,
    kept: Kept | None = None,
) -> tuple[Run, Path]:
    """One load, from Plan to saved Run. CliploadError when it cannot begin; afterwards everything is data.

    To be called from the main thread and outside of any event loop: Ctrl-C then ends the encoding of Samples at once.
    `examined`: what the preflight found before an earlier load of the same kind; else it is asked now. `kept`: the references
    of earlier loads, to which those of this one are added.
    """
    by_url = plan.image_transport == "url"
    placement = host.place(plan.workers, plan.cores, host.allowed_cores(), images=by_url, share=plan.share_cores)
    due = schedule(plan)
    if plan.insecure:
        view.said("WARNING: --insecure: whoever answers in TLS is not verified; anybody can read what is sent, keys too")
    endpoints = resolve_all(plan)
    if examined is None:
        examined = before_a_load(plan, endpoints, credentials, view.said)
    as_before = {number: signal.getsignal(number) for number in _ENDING}
    try:
        with gallery_for(due.plan, placement) as gallery:
            prepared = prepare(due.plan, gallery, view.preparing, due.requests if due.plan.unique else 0)
            try:
                gallery.show()
                record, closing = asyncio.run(
                    _load(prepared, due, endpoints, placement, credentials, out, view, heard, examined, kept or Kept())
                )
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
    prepared: Prepared,
    due: Schedule,
    endpoints: tuple[Endpoint, ...],
    placement: host.Placement,
    credentials: Credentials,
    out: Path,
    view: View,
    heard: Heard,
    examined: dict[str, Any],
    kept: Kept,
) -> tuple[Record, Closing]:
    """From the probe to the last worker's end."""
    plan = prepared.plan
    dialect = dialect_of(plan)
    probes = await probe_all(plan, endpoints, dialect, payload(prepared), credentials, heard)
    standing = await alone(plan, prepared.arena.map, endpoints, credentials, examined, kept, view.said)
    prepared.gallery.begin()
    bounds, room = plan.bounds(due.pacer), connections(plan, max(probe.latency_ns for probe in probes), due.rate)
    facts = _facts(prepared, probes, placement, room) | {"limits": limits(endpoints)}
    with holding(due.trace) as trace:
        assignment = Assignment(
            plan=plan,
            arena=prepared.arena.map,
            endpoints=endpoints,
            credentials=credentials,
            bounds=bounds,
            pacer=due.pacer,
            horizon=None if due.pacer is None else horizon(due.pacer, plan.seed, plan.workers, bounds),
            trace=trace,
            connect_ahead=room.ahead,
            connection_limit=room.limit,
            placement=placement,
            directory=archive.create_directory(out, plan.name, time.time()),
        )
        return await _launch(assignment, facts | examined | {FACT: msgspec.to_builtins(standing.agreement)}, standing, view)


async def _launch(assignment: Assignment, facts: dict[str, Any], standing: Standing, view: View) -> tuple[Record, Closing]:
    """A launch that fails before it began leaves no directory."""
    try:
        record = Record(assignment, facts, view)
    except HostError:
        archive.discard(assignment.directory)
        raise
    allowed = host.allowed_cores()
    try:
        host.pin(assignment.placement.supervisor)
        a, probe_ns = assignment, max(facts["target"]["probe_ns"])
        async with (
            watching(a, standing) as watch,
            looking_out(a.plan, a.endpoints, a.credentials, record.observer) as (observer, seen),
            profiling(a.plan, a.endpoints, a.credentials, probe_ns, observer) as (heard, profile),
            canary_beside(a, heard) as canary,
        ):
            closing = await local.launch(watch.assignment, watch.beside(heard if canary is None else canary.beside(heard)))
            if canary is not None:
                await canary.end(closing)
                record.later(canary.take())
        for number in _ENDING:  # what was measured is about to be saved, and the signals have had their say
            signal.signal(number, signal.SIG_IGN)
        closing.facts.update(profile | seen | watch.facts)
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


def _facts(prepared: Prepared, probes: list[Probe], placement: host.Placement, room: Room) -> dict[str, Any]:
    arena, plan = prepared.arena.map, prepared.plan
    body_bytes = mean_body(arena, plan.batch_size, dialect_of(plan).frame())
    shape = shapes.shape_of(plan, dim=probes[0].dim, body_bytes=body_bytes, shared=placement.shared)
    return {
        **host.facts(),
        "shape": msgspec.to_builtins(shape),
        "calibration": msgspec.to_builtins(shapes.find(shape)),
        **({"tls": {"verified": not prepared.plan.insecure}} if prepared.plan.tls else {}),
        "placement": {"workers": list(placement.workers), "supervisor": list(placement.supervisor), "shared": placement.shared},
        "arena": {"bytes": arena.size, "items": arena.items, "pool": arena.pool, "texts": prepared.arena.texts},
        "payload": prepared.weight,
        "connections": {"limit": room.limit, "ours": room.ours},
        "skipped": [str(skip) for skip in prepared.skipped],
        "target": {"dim": probes[0].dim, "probe_ns": [probe.latency_ns for probe in probes]},
    }


class Record:
    """The journal and the fold of one run, fed by the launcher."""

    def __init__(self, assignment: Assignment, facts: dict[str, Any], view: View) -> None:
        self._assignment, self._facts, self._view = assignment, facts, view
        self._journal: archive.Journal | None = archive.Journal(assignment.directory / "journal.bin")
        self._folding: Folding | None = None
        self._later: list[Part] = []
        self.directory = assignment.directory
        self.observer = Observer(opened=self._opened, frame=self._heard, said=view.said)

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

    def _heard(self, frame: Part) -> None:
        self._append(frame)
        if self._folding is not None and isinstance(frame, Interval):
            self._view.interval(self._folding, frame)

    def later(self, parts: Iterable[Part]) -> None:
        """What came when the launch was over: it is recorded before the last frame."""
        self._later += parts

    def _append(self, frame: Frame) -> None:
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
        for part in self._later:
            self._folding.add(part)
        try:
            for frame in (*self._later, closing):
                self._append(frame)
        except HostError as error:
            self._view.said(str(error))
            closing = msgspec.structs.replace(closing, ended=local.DISK_FULL)
        self._folding.add(closing)
        if self._journal is not None:
            self._journal.close()
        return self._folding.finish()
