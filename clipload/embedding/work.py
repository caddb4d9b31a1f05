"""One kind of Item on its way through a Backend into a dump: prepared ahead in threads, batch by batch, resumable.

The order of a dump is that of the listing. A vector that is not finite, or zero, ends it: it would win or spoil every ranking.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import psutil
from PIL import Image as Pillow

from clipload import dumps
from clipload.backends import Backend, Prepared, Vectors
from clipload.backends.lowering import DTYPE
from clipload.dumps.formats import Chunk, Rows
from clipload.dumps.partial import Batch, Partial, check_identity
from clipload.embedding.options import DUMPS, EmbeddingOptions
from clipload.errors import ArchiveError, CliploadError, DatasetError, HostError
from clipload.growth import FIRST, Growth
from clipload.retrieval import bad_rows, unit
from clipload.sources import Skip
from clipload.sources.listing import Listed, Named, digest
from clipload.sources.pictures import draw_in_order

AHEAD = 256  # Items in hand at most; at 336² pixels 350 MB
# Of a Backend's facts, what other vectors would come of; and the model.
DECIDING = ("backend", "server", "device", "dtype", "isa")
# What Pillow and the processors raise for a file that is not the picture it says it is.
BROKEN = (OSError, ValueError, SyntaxError, EOFError, struct.error, Pillow.DecompressionBombError)


class View(Protocol):
    """Who watches."""

    def said(self, sentence: str) -> None: ...
    def advanced(self, kind: str, done: int, total: int, per_s: float) -> None: ...


@dataclass(slots=True)
class Part:
    """What became of one kind. `embedded` Items took `seconds`, decoding and all, of which `model_s` in the Backend; the
    other `count - embedded` were there from before."""

    kind: str
    path: Path | None
    count: int = 0
    dim: int = 0
    embedded: int = 0
    seconds: float = 0.0
    model_s: float = 0.0
    batch_size: int = 0
    skipped: list[str] = field(default_factory=list)
    truncated: list[str] = field(default_factory=list)

    @property
    def per_s(self) -> float:
        return self.embedded / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class Ready:
    """Entry number `place` of the listing, prepared or passed over."""

    place: int
    name: str
    what: Prepared | Skip


class Work:
    """One kind of Item on its way into one dump (or none: then only the speed is found out)."""

    def __init__(
        self, options: EmbeddingOptions, backend: Backend, view: View, clock: Callable[[], float], kind: str, entries: Listed
    ) -> None:
        self._options, self._backend, self._view, self._clock = options, backend, view, clock
        self._entries = entries
        self._growth = Growth() if options.batch is None else Growth.fixed(options.batch)
        self._flag = DUMPS[kind]
        self._largest = 0
        self._rss = psutil.Process().memory_info().rss
        self.part = Part(kind, options.dump(kind))

    def done(self) -> Part:
        """The Part, its dump in place."""
        path = self.part.path
        if path is None:
            for batch in self._batches(0):
                self._count(batch)
            return self._finished()
        identity = self._identity()
        begun = path.with_name(f"{path.name}.part")  # while there is one, the dump beside it is about to be replaced
        if not self._options.overwrite and not begun.exists() and (path.exists() or dumps.side_car_of(path).exists()):
            return self._was_there(path, identity)
        partial = Partial(begun, identity, self._flag, overwrite=self._options.overwrite)
        try:
            self._go_on(partial)
            self._save(path, identity, partial)
        except BaseException:
            partial.close() if self.part.count else partial.finish()
            raise
        partial.finish()
        return self.part

    def _identity(self) -> dict[str, Any]:
        facts = self._backend.facts()
        model = "weights" if facts.get("weights") else "model"  # the same weights may lie in two folders
        deciding = {name: facts.get(name) for name in (*DECIDING, model)}
        deciding["lowered"] = (facts.get("lowered") or {}).get(self.part.kind) or None
        if deciding["dtype"] == DTYPE and not deciding["lowered"]:  # the other tower has no say in these vectors
            deciding["dtype"] = "fp32"
        own = {"kind": self.part.kind, "normalized": self._options.normalize, "items": digest(self._entries)}
        return deciding | own

    def _was_there(self, path: Path, identity: Mapping[str, Any]) -> Part:
        """Nothing to do, when it is the dump that is asked for. ArchiveError when it is not."""
        side_car = dumps.read_side_car(path, self._flag) if path.exists() else None
        if side_car is None:
            what = f"{path} is there, or its side-car, and nothing says what it holds"
            raise ArchiveError(what, flag=self._flag, remedy="name another file, or --overwrite it")
        check_identity(path, side_car.identity, identity, self._flag)
        dumps.read(path, self._flag)
        self._view.said(f"{path} holds these vectors already")
        self.part.count, self.part.dim = side_car.count, side_car.dim
        self.part.skipped, self.part.truncated = side_car.skipped, side_car.truncated
        return self.part

    def _go_on(self, partial: Partial) -> None:
        for batch in partial.batches():
            self._count(batch)
        if partial.upto:
            self._view.said(f"going on after {self.part.count} {self.part.kind}s of an earlier attempt")
        for batch in self._batches(partial.upto):
            partial.append(batch)
            self._count(batch)

    def _count(self, batch: Batch) -> None:
        part = self.part
        if batch.names and part.dim not in (0, batch.dim):
            what = f"vectors of {batch.dim} numbers after vectors of {part.dim}"
            raise CliploadError(what, flag="--backend", remedy="mend that backend, or use torch")
        part.dim = batch.dim or part.dim
        part.count += len(batch.names)
        part.skipped += batch.skipped
        part.truncated += batch.truncated

    def _finished(self) -> Part:
        if not self.part.count:
            first = f": {self.part.skipped[0]}" if self.part.skipped else ""
            what = f"none of {len(self._entries)} {self.part.kind}s can be read{first}"
            raise DatasetError(what, flag="--data-source", remedy="is it the right dataset?")
        return self.part

    def _save(self, path: Path, identity: dict[str, Any], partial: Partial) -> None:
        part = self._finished()

        def chunks() -> Iterator[Chunk]:
            return ((batch.names, batch.vectors) for batch in partial.batches() if batch.names)

        speed = {"embedded": part.embedded, "seconds": part.seconds, "model_s": part.model_s, "batch_size": part.batch_size}
        side_car = dumps.SideCar(
            kind=part.kind,
            count=part.count,
            dim=part.dim,
            normalized=self._options.normalize,
            checksum="",
            identity=identity,
            facts=self._backend.facts() | speed,
            names=[],  # the rows have them
            skipped=part.skipped,
            truncated=part.truncated,
        )
        dumps.write(path, Rows(part.count, part.dim, chunks), side_car, self._flag)

    def _batches(self, start: int) -> Iterator[Batch]:
        """The batches from entry `start` on, each no larger than memory allows."""
        waiting: deque[Ready] = deque()
        began = self._clock()
        with closing(self._stream(start)) as stream:
            while chunk := self._chunk(waiting, stream):
                batch = self._encoded(chunk)
                if batch is None:
                    waiting.extendleft(reversed(chunk))
                    continue
                self.part.embedded += len(batch.names)
                self.part.seconds = self._clock() - began
                yield batch
                self._view.advanced(self.part.kind, batch.upto, len(self._entries), self.part.per_s)

    def _stream(self, start: int) -> Generator[Ready, None, None]:
        """Every entry from `start` on, prepared ahead by threads, in order: some two batches and no more, else the first
        would share the cores with all that can be prepared, and the size that pays is looked for in their times."""
        numbered = islice(enumerate(self._entries), start, None)
        ahead = lambda: min(AHEAD, max(2 * FIRST, 2 * self._growth.size))  # noqa: E731
        return draw_in_order(self._prepared, numbered, len(self._entries) - start, ahead=ahead)

    def _prepared(self, numbered: tuple[int, Named]) -> Ready:
        place, entry = numbered
        try:
            return Ready(place, entry.name, self._backend.prepare(entry.read()))
        except BROKEN as error:
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            return Ready(place, entry.name, Skip(entry.name, entry.line, f"cannot be read: {why}"))

    def _chunk(self, waiting: deque[Ready], stream: Iterator[Ready]) -> list[Ready]:
        """So many that a batch is full, with what is passed over between them."""
        chunk: list[Ready] = []
        good = 0
        while good < self._growth.size:
            ready = waiting.popleft() if waiting else next(stream, None)
            if ready is None:
                break
            if isinstance(ready.what, Skip) and self._options.strict:
                raise DatasetError(str(ready.what), flag="--strict", remedy="mend or remove it, or drop --strict")
            chunk.append(ready)
            good += isinstance(ready.what, Prepared)
        return chunk

    def _encoded(self, chunk: list[Ready]) -> Batch | None:
        """None when memory refused it and a smaller one is to be tried."""
        good = [(ready.name, ready.what) for ready in chunk if isinstance(ready.what, Prepared)]
        vectors: Vectors | None = None
        if good:
            began = self._clock()
            try:
                vectors = self._backend.encode([prepared for _, prepared in good])
            except MemoryError as error:
                self._shrink(len(good), error)
                return None
            self._timed(len(good), self._clock() - began, len(self._entries) - chunk[-1].place - 1)
            vectors = self._accepted(vectors, [name for name, _ in good])
        return Batch(
            upto=chunk[-1].place + 1,
            names=[name for name, _ in good],
            skipped=[str(ready.what) for ready in chunk if isinstance(ready.what, Skip)],
            truncated=[name for name, prepared in good if prepared.cut],
            dim=0 if vectors is None else vectors.shape[1],
            data=b"" if vectors is None else vectors.astype("<f4").tobytes(),
        )

    def _timed(self, count: int, seconds: float, left: int) -> None:
        self.part.model_s += seconds
        self._largest = max(self._largest, count)
        grown = psutil.Process().memory_info().rss - self._rss
        self._growth.served(count, seconds, left, room=psutil.virtual_memory().available > 2 * grown)
        self.part.batch_size = min(self._growth.size, self._largest)

    def _shrink(self, count: int, error: MemoryError) -> None:
        if self._options.batch is not None or not self._growth.refused():
            raise HostError(
                f"there is no memory for {count} {self.part.kind}s at once: {error}",
                flag="--batch-size",
                remedy="use --batch-size auto or a smaller one; what was embedded is kept for the next attempt",
            ) from error
        self._view.said(f"no memory for {count} {self.part.kind}s at once; going on with {self._growth.size}")

    def _accepted(self, vectors: Vectors, names: list[str]) -> Vectors:
        bad = bad_rows(vectors)
        if len(bad):
            raise CliploadError(
                f"the vector of {names[bad[0]]} is zero or not finite ({len(bad)} of {len(vectors)} in its batch)",
                flag="--amp" if self._options.amp != "off" else "--model",
                remedy="use --amp off" if self._options.amp != "off" else "are these the weights that you mean?",
            )
        return unit(vectors) if self._options.normalize else vectors
