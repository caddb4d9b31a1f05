"""Validation: are the vectors right? Captions scored against images, whole-set retrieval, parity with another side."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from clipload.backends import Vectors
from clipload.backends.inquiry import Inquiry
from clipload.embedding.work import View
from clipload.errors import EXIT_MISSED, EXIT_OK, HostError
from clipload.files import replacing
from clipload.retrieval import bad_rows
from clipload.sources import Skip
from clipload.sources.flickr8k import read_captions
from clipload.sources.listing import ListingOptions, listing_for
from clipload.validation import comparison, scores, sides
from clipload.validation.comparison import Parity, Rejected, held_against
from clipload.validation.doubts import doubts
from clipload.validation.groups import Scored, dump_text
from clipload.validation.oddities import Oddities, oddities
from clipload.validation.options import LOCAL_WORD, ValidationOptions
from clipload.validation.sets import Set, gather
from clipload.verification import Verification

__all__ = ["Parity", "Rejected", "Scored", "Validation", "ValidationOptions", "save", "validate"]


@dataclass(slots=True)
class Validation:
    """What was found. With `rejected` nothing was ranked, compared or dumped."""

    server: str = ""
    oddities: Oddities = field(default_factory=Oddities)
    skipped: list[Skip] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    groups: list[Scored] = field(default_factory=list)
    dump: Path | None = None
    html: Path | None = None
    recall: Verification | None = None
    parity: Parity | None = None
    rejected: Rejected | None = None

    @property
    def exit_code(self) -> int:
        missed = self.rejected or (self.parity and self.parity.failed) or (self.recall and self.recall.exit_code)
        return EXIT_MISSED if missed else EXIT_OK


def validate(options: ValidationOptions, view: View) -> Validation:
    """What can be refused is refused before the server is asked; nothing is written unless all was answered."""
    if options.from_dumps:
        return Validation(recall=comparison.from_dumps(options))
    return _groups(options, view) if options.groups else _whole(options, view)


def _groups(options: ValidationOptions, view: View) -> Validation:
    given = ListingOptions(
        data_source="flickr8k",
        modality="both",
        flickr_images_dir=options.flickr_images_dir,
        flickr_captions_file=options.flickr_captions_file,
    )
    listing_for(given)  # says what is wrong with the two
    captioned = read_captions(_there(options.flickr_captions_file))
    folder = _there(options.flickr_images_dir)
    present = {path.name for path in folder.iterdir()}
    drawn = scores.draw(options, captioned, present, folder)
    found = Validation(oddities=replace(oddities(captioned, present), broken=tuple(drawn.broken)), notes=drawn.notes)
    inquiry = Inquiry(options.plan, options.credentials)
    try:
        found.server = inquiry.endpoint.url
        found.groups, bad, said = scores.score(inquiry, drawn.pictured, view)
    finally:
        inquiry.close()
    found.notes += said
    if bad:
        found.rejected = Rejected(found.server, bad)
    elif options.dump is not None:
        found.dump = options.dump
        save(options.dump.expanduser(), dump_text(found.groups), "--dump")
    return found


def _whole(options: ValidationOptions, view: View) -> Validation:
    listing = listing_for(options.listing())
    whole = gather(listing, options.kinds, references=LOCAL_WORD not in options.against)
    found = Validation(oddities=_oddities(options), skipped=whole.skipped)
    if options.source != "flickr8k":
        found.skipped = [*listing.skipped, *whole.skipped]
    with ExitStack() as held:
        server = held.enter_context(closing(sides.subject(options, view)))
        other = held.enter_context(closing(sides.reference(options, view))) if options.against else None
        keep = other.has(whole) if other else range(len(whole.items))
        if other and len(keep) < len(whole.items):
            found.notes.append(f"{len(whole.items) - len(keep)} of {len(whole.items)} Items are not in {other.title}")
        if not options.recall:  # the server is asked for no more than is compared
            whole, keep = whole.only(keep), range(len(keep))
        answers = server.repeated(whole, options.value("repeat") if other else 1, options.seed, view)
        found.server = server.title
        found.rejected = _rejected(found.server, whole, answers)
        if found.rejected is None:
            found.notes += _doubts(whole, answers)
        if found.rejected is None and options.recall:
            found.recall = comparison.retrieval(whole, answers[0])
        if found.rejected is None and other is not None:
            compared = held_against(options, whole.only(keep), [one[keep] for one in answers], server, other, view)
            found.parity = compared if isinstance(compared, Parity) else None
            found.rejected = compared if isinstance(compared, Rejected) else None
    return found


def _doubts(whole: Set, answers: Sequence[Vectors]) -> list[str]:
    rows = [row for row, item in enumerate(whole.items) if item.kind == "image"]
    names = [whole.items[row].name for row in rows]
    return doubts(np.concatenate([one[rows] for one in answers]), names * len(answers))


def _rejected(whose: str, whole: Set, answers: Sequence[Vectors]) -> Rejected | None:
    rows = sorted({int(row) for one in answers for row in bad_rows(one)})
    return Rejected(whose, [whole.items[row].name for row in rows]) if rows else None


def _oddities(options: ValidationOptions) -> Oddities:
    """Of Flickr8k; text alone has no images to miss."""
    if options.source != "flickr8k":
        return Oddities()
    captioned = read_captions(_there(options.flickr_captions_file))
    if "image" not in options.kinds:
        return oddities(captioned, [one.name for one in captioned])
    return oddities(captioned, {path.name for path in _there(options.flickr_images_dir).iterdir()})


def _there(path: Path | None) -> Path:
    if path is None:
        raise AssertionError("the listing has asked for it")
    return path.expanduser()


def save(path: Path, text: str, flag: str) -> None:
    """Whole or not at all. HostError when it cannot be."""
    try:
        with replacing(path) as file:
            file.write(text.encode())
    except OSError as error:
        remedy = "name a file in a folder that can be written to"
        raise HostError(f"cannot write {path}: {error.strerror or error}", flag=flag, remedy=remedy) from error
