"""The run directory: an append-only journal, and documents that are pure functions of it.

`journal.bin` is a magic word and then frames, each `u32 length | u32 crc32 | msgpack`, one write each: whatever dies, at most
the frame being written is lost. Documents go to a temporary name and are renamed, so they are whole or absent.
"""

from __future__ import annotations

import base64
import errno
import os
import re
import shutil
import struct
import time
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from clipload.bottleneck import limit_document
from clipload.capacity import capacity
from clipload.certainty import estimates_document, quantiles_document, steadiness_document
from clipload.errors import ArchiveError, CliploadError, HostError, PlanError
from clipload.figures import Quantiles
from clipload.files import replacing
from clipload.folding import fold
from clipload.frames import Frame
from clipload.histogram import Histogram
from clipload.hlog import HlogRow, write_hlog
from clipload.outages import outages_document
from clipload.outliers import outliers
from clipload.payload import payload_document
from clipload.rows import intervals_csv
from clipload.run import Run, Target
from clipload.sightings import timeline
from clipload.signals import health_of
from clipload.tally import HISTOGRAMS, Tally

SCHEMA = 2  # of run.json: 1 had no estimates
MAGIC = b"clipload-journal-1\n"
_HEAD = struct.Struct("<II")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Frame).decode
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}


def create_directory(out: Path, name: str, now_s: float) -> Path:
    """`out/<UTC time>-<name>`, new; a number is added when the second already has one. HostError when it cannot be made."""
    stem = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now_s))}-{name}"
    for attempt in range(1, 1000):
        path = out / (stem if attempt == 1 else f"{stem}-{attempt}")
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            if out.exists() and not out.is_dir():
                raise HostError(f"{out} is not a folder", flag="--out", remedy="name a folder") from None
        except OSError as error:
            raise HostError(
                f"cannot make {path}: {error.strerror}", flag="--out", remedy="name a folder that can be written to"
            ) from error
        else:
            return path
    raise HostError(f"{out} holds a thousand runs of this second", flag="--out", remedy="name another folder")


def discard(directory: Path) -> None:
    """Removes the directory of a run that never began, unless a worker's last words are in it. What cannot be removed stays:
    whoever calls has an error of its own to tell."""
    if not any(path.stat().st_size for path in directory.glob("worker_*")):
        shutil.rmtree(directory, ignore_errors=True)


class Journal:
    """The append-only record of a run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise HostError(
                f"cannot make {path}: {error.strerror}", flag="--out", remedy="name a folder that can be written to"
            ) from error
        try:
            self._write(MAGIC)
        except HostError:
            self.close()
            raise

    def append(self, frame: Frame) -> None:
        """HostError when the disk is full; what was appended before stays readable."""
        payload = _encode(frame)
        self._write(_HEAD.pack(len(payload), zlib.crc32(payload)) + payload)

    def _write(self, data: bytes) -> None:
        try:
            written = os.write(self._fd, data)
        except OSError as error:
            raise HostError(
                f"cannot write {self.path}: {error.strerror}", flag="--out", remedy="free some disk, or name another folder"
            ) from error
        if written < len(data):
            raise HostError(
                f"cannot write {self.path}: the disk is full", flag="--out", remedy="free some disk, or name another folder"
            )

    def close(self) -> None:
        os.close(self._fd)


def read_journal(path: Path) -> Iterator[Frame]:
    """The frames up to the first that is damaged (a process died while writing it). ArchiveError when it is none of ours."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ArchiveError(f"cannot read {path}: {error.strerror}", remedy="name a run directory") from error
    if not data.startswith(MAGIC):
        raise ArchiveError(f"{path} is not a journal of clipload", remedy="name a run directory")
    at = len(MAGIC)
    while at + _HEAD.size <= len(data):
        length, crc = _HEAD.unpack_from(data, at)
        payload = data[at + _HEAD.size : at + _HEAD.size + length]
        if not length or len(payload) < length or zlib.crc32(payload) != crc:
            return
        try:
            yield _decode(payload)
        except msgspec.ValidationError as error:
            raise ArchiveError(f"{path} holds a frame of a kind unknown here: {error}", remedy="update clipload") from error
        at += _HEAD.size + length


def load(directory: Path) -> Run:
    """The Run of a directory, from its journal alone."""
    return fold(read_journal(directory / "journal.bin"))


def load_all(places: Iterable[Path]) -> list[tuple[Path, Run]]:
    """All that `load_each` gives."""
    return list(load_each(places))


def load_each(places: Iterable[Path]) -> Iterator[tuple[Path, Run]]:
    """The Runs of run directories, and of folders that hold some, each by its own path, in that order and once.

    ArchiveError, which names the directory, when one cannot be read or a place holds none.
    """
    directories = dict.fromkeys(directory for place in places for directory in _run_directories(place))
    for directory in directories:
        try:
            run = load(directory)
        except CliploadError as error:
            said = error.what if str(directory) in error.what else f"{directory}: {error.what}"
            raise ArchiveError(said, remedy="update clipload" if isinstance(error, PlanError) else error.remedy) from error
        yield directory, run


def _run_directories(place: Path) -> list[Path]:
    if (place / "journal.bin").exists():
        return [place]
    found = sorted(journal.parent for journal in place.glob("*/journal.bin"))
    if not found:
        what = (
            f"{place} holds no run"
            if place.is_dir()
            else f"{place} is no run directory"
            if place.exists()
            else f"there is no {place}"
        )
        raise ArchiveError(what, remedy="name a run directory, like runs/20260101T000000Z-run, or a folder of them")
    return found


def save(run: Run, directory: Path) -> None:
    """Writes every document of a Run. HostError when the disk is full; no document is ever half-written."""
    write_atomically(directory / "plan.toml", run.plan.to_toml())
    write_atomically(directory / "intervals.csv", intervals_csv(run))
    write_atomically(directory / "latency.hlog", "".join(latency_hlog(run)))
    write_atomically(directory / "run.json", msgspec.json.format(msgspec.json.encode(document(run)), indent=1).decode())


def write_atomically(path: Path, content: str | bytes) -> None:
    try:
        with replacing(path) as file:
            file.write(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise HostError(
            f"cannot write {path}: {error.strerror}", flag="--out", remedy="free some disk; journal.bin holds what was measured"
        ) from error


def document(run: Run) -> dict[str, Any]:
    """run.json: the whole Run but its series (that is in intervals.csv and latency.hlog). Instants ns, sizes bytes."""
    return {
        "schema": SCHEMA,
        "ended": run.ended,
        "start_wall_s": run.start_wall_s,
        "start_ns": run.start_ns,
        "stop_ns": run.stop_ns,
        "end_ns": run.end_ns,
        "measured_ns": run.measured_ns,
        "requests_per_s": run.requests_per_s,
        "throughput": run.throughput,
        "steady_requests_per_s": run.steady_per_s,
        "capacity": msgspec.to_builtins(capacity(run)),
        "plan": run.plan.to_dict(),
        "facts": run.facts,
        "estimates": estimates_document(run.figures),
        "steadiness": steadiness_document(run.figures),
        "phases": {name: tally_document(tally) for name, tally in run.phases.items() if tally.counts},
        "canary": None if run.canary is None else _canary(run.canary),
        "targets": [_target(target, run.own.targets.get(number, {})) for number, target in enumerate(run.targets)],
        "workers": {
            str(number): {
                "cpu_ns": account.cpu_ns,
                "starved_ns": account.starved_ns,
                "gc_ns": account.gc_ns,
                "rss": account.rss,
                "capped": account.capped,
                "refused_here": account.refused_here,
                "lacking": {errno.errorcode.get(code, str(code)): count for code, count in account.lacking.items()},
                "measured_load": run.load(number)._asdict(),
                "loop_lag": histogram_document(account.late) if account.late.total else None,
                "withheld": histogram_document(account.withheld) if account.withheld.total else None,
                "measure": tally_document(account.phases["measure"]),
                "estimates": quantiles_document(run.own.workers.get(number, {})),
            }
            for number, account in run.workers.items()
        },
        "examples": run.examples,
        "health": {
            "signals": msgspec.to_builtins(health_of(run), str_keys=True),
            "outliers": {str(outlier.worker): outlier.sentence for outlier in outliers(run)},
            "readings": len(run.readings),
        },
        "outages": outages_document(run),
        "payload": payload_document(run),
        "limit": limit_document(run),
        "sightings": timeline(run.sightings, run.start_ns),
    }


def _canary(run: Run) -> dict[str, Any]:
    """The stream beside the load: its own Plan, its own closed ledger, its own estimates."""
    said = {"ended": run.ended, "measured_ns": run.measured_ns, "requests_per_s": run.requests_per_s}
    phases = {name: tally_document(tally) for name, tally in run.phases.items() if tally.counts}
    estimates = estimates_document(run.figures)
    said |= {"plan": run.plan.to_dict(), "phases": phases, "estimates": estimates}
    return said | {"examples": run.examples, "facts": run.facts}


def _target(target: Target, own: dict[str, Quantiles]) -> dict[str, Any]:
    said = {"url": target.url, "requests_per_s": target.requests_per_s, "gone": target.gone}
    return said | tally_document(target.tally) | {"estimates": quantiles_document(own)}


def tally_document(tally: Tally) -> dict[str, Any]:
    ledger = msgspec.to_builtins(tally.ledger())
    histograms = {name: histogram_document(tally.histogram(name)) for name in HISTOGRAMS if tally.histogram(name).total}
    return {"ledger": ledger, "counts": dict(sorted(tally.counts.items())), "histograms": histograms}


def histogram_document(histogram: Histogram) -> dict[str, Any]:
    """Percentiles for readers, and the V2 form from which they can be recomputed."""
    numbers = {label: histogram.quantile(q) for label, q in PERCENTILES.items()}
    v2 = base64.b64encode(histogram.encode_v2()).decode()
    return {"count": histogram.total, "min": histogram.min, "mean": histogram.mean, "max": histogram.max, **numbers, "v2": v2}


def latency_hlog(run: Run) -> Iterator[str]:
    """latency.hlog: untagged lines are the latency of ok requests; the other histograms are tagged with their names."""
    return write_hlog(run.start_wall_s, _hlog_rows(run))


def _hlog_rows(run: Run) -> Iterator[HlogRow]:
    """Second by second: an hour of dense histograms would fill the memory."""
    for second in run.seconds:
        tally = second.tally
        for name in HISTOGRAMS:
            histogram = tally.histogram(name)
            if histogram.total:
                tag = "" if name == "latency" else re.sub(r"[ ,]", "_", name)
                yield HlogRow(tag=tag, start_s=float(second.index), length_s=1.0, histogram=histogram)
