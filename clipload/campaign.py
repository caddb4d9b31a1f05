"""A campaign of many loads: ask -> rest -> launch -> judge -> tell, until the search is done. What was measured stays on disk.

`campaign.json` in its directory is written anew when a load has ended, and holds the search, what it asked and what it was
told; beside it are the Runs. A campaign is resumed by telling a new search what those Runs say; a Run that was interrupted
stays beside them untold, and its load is measured anew.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import msgspec

from clipload import archive
from clipload.errors import EXIT_INTERRUPTED, EXIT_TARGET, ArchiveError, CliploadError, PlanError, TargetError, worst
from clipload.plan import Plan
from clipload.run import Run
from clipload.search import Ask, Search, Told
from clipload.trials import interrupted, plan_for, told
from clipload.verdict import Verdict, judge

SCHEMA, DOCUMENT = 1, "campaign.json"
UPDATE = "update clipload"
BESIDE = "name another; the Runs beside it can still be reported"
Kind = Literal["sweep", "find", "repeats"]
VERBS: dict[Kind, str] = {"sweep": "sweep", "find": "find", "repeats": "run"}  # the command that each belongs to


class Point(NamedTuple):
    """One load of a campaign: what was asked, what came of it, and where it is saved. No Run: it could not begin."""

    told: Told
    run: Run | None
    verdict: Verdict | None
    directory: Path | None

    @property
    def ask(self) -> Ask:
        return self.told.ask

    @property
    def exit_code(self) -> int:
        return EXIT_TARGET if self.verdict is None else self.verdict.exit_code


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A Point on disk. `directory` is the Run's, beside the document; null when it could not begin."""

    ask: Ask
    seconds: float
    directory: str | None
    fate: str
    achieved: float
    exit_code: int
    sentence: str


class Document(msgspec.Struct, kw_only=True):
    """campaign.json. `base`: the Plan's values that every load has; `search`: what makes the same search again."""

    schema: int
    kind: Kind
    base: dict[str, Any]
    search: dict[str, Any]
    reseed: bool
    ended: str
    points: list[Entry]
    answer: Any = None


S = TypeVar("S", bound=Search)


@dataclass
class Campaign(Generic[S]):
    """A search under way. `reseed`: each load has a seed of its own, so that it is evidence of its own."""

    kind: Kind
    base: dict[str, Any]
    search: S
    described: dict[str, Any]
    directory: Path
    reseed: bool = False

    def __post_init__(self) -> None:
        self.points: list[Point] = []
        self.ended = "under way"
        self.answer: Any = None
        self.saved = False

    @property
    def exit_code(self) -> int:
        """That of the worst load."""
        return worst(
            [*(point.exit_code for point in self.points), *([EXIT_INTERRUPTED] if self.ended == "interrupted" else [])]
        )

    def recall(self, points: list[Point]) -> None:
        """Tells the search what is known from before."""
        for point in points:
            self.points.append(point)
            self.search.tell(point.told)

    def pursue(self, launch: Callable[[Plan], tuple[Run, Path]], rest: Callable[[float], None] = time.sleep) -> Iterator[Point]:
        """Each Point once its load has ended. An interruption ends the campaign and keeps what was measured, be it but a part
        of the first load; when no load has begun the directory goes, since there is nothing to go on with. CliploadError when
        the first load cannot begin, or a later one for a mistake of the user's.
        """
        try:
            while (ask := self.search.ask()) is not None:
                point = self._measure(ask, launch, rest)
                if point is None:
                    self._end("interrupted")
                    return
                self.points.append(point)
                self.search.tell(point.told)
                self.save()
                yield point
            self._end("complete")
        except KeyboardInterrupt:
            self._end("interrupted")
            if not self.saved:
                raise
        except CliploadError as error:
            self._end(error.what)
            raise

    def _measure(self, ask: Ask, launch: Callable[[Plan], tuple[Run, Path]], rest: Callable[[float], None]) -> Point | None:
        """None when it was interrupted."""
        plan = plan_for(self.base, ask)
        plan = plan.replace(seed=plan.seed + len(self.points)) if self.reseed else plan
        began = time.monotonic()
        if self.points:  # before the first nothing is to be drained
            rest(ask.rest_s)
        try:
            run, directory = launch(plan)
        except TargetError as error:
            if not self.points:
                raise
            spent = time.monotonic() - began
            return Point(Told(ask, "died", 0.0, spent, sentence=error.what), None, None, None)
        verdict = judge(run)
        if interrupted(verdict):
            return None
        return Point(told(ask, run, verdict, time.monotonic() - began), run, verdict, directory)

    def _end(self, how: str) -> None:
        self.ended = how
        if self.points or any(self.directory.glob("*/journal.bin")):
            self.save()
        else:
            with contextlib.suppress(OSError):  # not empty: a worker's last words are in it
                self.directory.rmdir()

    def document(self) -> Document:
        return Document(
            schema=SCHEMA,
            kind=self.kind,
            base=self.base,
            search=self.described,
            reseed=self.reseed,
            ended=self.ended,
            points=[_entry(point) for point in self.points],
            answer=self.answer,
        )

    def save(self) -> None:
        text = msgspec.json.format(msgspec.json.encode(self.document()), indent=1)
        archive.write_atomically(self.directory / DOCUMENT, text)
        self.saved = True


def _entry(point: Point) -> Entry:
    one = point.told
    return Entry(
        ask=one.ask,
        seconds=one.seconds,
        directory=None if point.directory is None else point.directory.name,
        fate=one.fate,
        achieved=one.achieved,
        exit_code=point.exit_code,
        sentence=one.sentence,
    )


def read(directory: Path, *, flag: str = "--resume", remedy: str = BESIDE) -> Document:
    """The record of a campaign; `flag` is what named it, `remedy` is for one that is damaged. ArchiveError when it cannot be
    read, or was written by a newer clipload."""
    path = directory / DOCUMENT
    try:
        text = path.read_bytes()
    except OSError as error:
        what = f"cannot read {path}: {error.strerror}"
        raise ArchiveError(what, flag=flag, remedy="name the directory of a campaign") from error
    try:
        schema = msgspec.json.decode(text, type=dict[str, Any]).get("schema")
        if isinstance(schema, int) and schema > SCHEMA:
            what = f"{path} has schema {schema}, which is newer than this clipload knows"
            raise ArchiveError(what, flag=flag, remedy=UPDATE)
        return msgspec.json.decode(text, type=Document)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ArchiveError(f"{path} is damaged: {error}", flag=flag, remedy=remedy) from error


def resumable(directory: Path, kind: Kind, given: Sequence[str]) -> Document:
    """The record of a campaign to be gone on with. PlanError when it is of another kind, or a flag would make another of it."""
    document = read(directory)
    if document.kind != kind:
        remedy = f"use clipload {VERBS[document.kind]} --resume"
        raise PlanError(f"{directory} holds a campaign of the kind {document.kind}", flag="--resume", remedy=remedy)
    if given:
        what = f"{directory} has its own"
        raise PlanError(
            what, flag=given[0], remedy=f"leave it out, or begin anew with clipload {VERBS[kind]}, without --resume"
        )
    return document


def known(directory: Path, document: Document) -> list[Point]:
    """The Points of a record, judged anew from their Runs. ArchiveError when a Run is gone, broken, or of a newer clipload."""
    return [_point(directory, entry) for entry in document.points]


def _point(directory: Path, entry: Entry) -> Point:
    if entry.directory is None:
        return Point(Told(entry.ask, "died", 0.0, entry.seconds, sentence=entry.sentence), None, None, None)
    place = directory / entry.directory
    try:
        run = archive.load(place)
    except CliploadError as error:
        said = error.what if str(place) in error.what else f"{place}: {error.what}"
        newer = isinstance(error, PlanError) or error.remedy == UPDATE
        raise ArchiveError(said, remedy=UPDATE if newer else BESIDE) from error
    verdict = judge(run)
    return Point(told(entry.ask, run, verdict, entry.seconds), run, verdict, place)


def remaining_s(plans: list[Plan], rests: float) -> float:
    """How long the loads of these Plans take by themselves; ∞ when one is counted in a closed loop."""
    lengths = [plan.warmup + (plan.duration or 0) + plan.cooldown if plan.duration is not None else math.inf for plan in plans]
    return sum(lengths) / 1e9 + rests
