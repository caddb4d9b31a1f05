"""The whole set that is validated: each distinct Item once, under all the names that it has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO

from PIL import Image as Pillow

from clipload.arena import item_key
from clipload.embedding.work import BROKEN
from clipload.errors import DatasetError
from clipload.sources import Skip
from clipload.sources.listing import Listing, Named
from clipload.sources.pictures import draw_in_order
from clipload.values import Image, ImageRef

Key = tuple[str, str | bytes]


@dataclass(slots=True)
class Set:
    """`rows`: (kind, name) → the row of its Item. Two Items are the same when their bytes are."""

    items: list[Named] = field(default_factory=list)
    rows: dict[tuple[str, str], int] = field(default_factory=dict)
    skipped: list[Skip] = field(default_factory=list)

    def names(self, kind: str) -> list[str]:
        return [name for of, name in self.rows if of == kind]

    def only(self, keep: Sequence[int]) -> Set:
        """The Items of these rows, in this order."""
        place = {row: at for at, row in enumerate(keep)}
        rows = {key: place[row] for key, row in self.rows.items() if row in place}
        return Set([self.items[row] for row in keep], rows, self.skipped)


def gather(listing: Listing, kinds: Sequence[str], *, references: bool) -> Set:
    """Reads every Item, and decodes every picture, once. Without `references` those are passed over: only a server opens them.
    DatasetError when nothing is left."""
    entries: dict[str, Iterable[Named]] = {"text": listing.texts, "image": listing.images}
    whole = Set(skipped=[])
    known: dict[Key, int] = {}
    for kind in kinds:
        for entry, key in _keyed(entries[kind], whole.skipped, references):
            row = known.setdefault(key, len(whole.items))
            if row == len(whole.items):
                whole.items.append(entry)
            whole.rows[kind, entry.name] = row
        if not whole.names(kind):
            why = f": {whole.skipped[0]}" if whole.skipped else ""
            raise DatasetError(f"there is no {kind} that can be read{why}", flag="--data-source", remedy="is it the right one?")
    return whole


def _keyed(entries: Iterable[Named], skipped: list[Skip], references: bool) -> Iterator[tuple[Named, Key]]:
    def job(entry: Named) -> tuple[Named, Key] | Skip:
        try:
            item = entry.read()
            if isinstance(item, ImageRef) and not references:
                return Skip(entry.name, entry.line, "a URL, which only a server opens")
            if isinstance(item, Image):
                with Pillow.open(BytesIO(item.data)) as picture:
                    picture.load()
        except BROKEN as error:
            return Skip(entry.name, entry.line, f"cannot be read: {getattr(error, 'strerror', None) or error}")
        return entry, item_key(item)

    listed = list(entries)
    yield from draw_in_order(job, listed, len(listed), on_skip=skipped.append)


def as_reference(entry: Named) -> Named:
    """An image file by its path, for a server on this machine; whatever else it is, as it was."""
    if entry.kind != "image" or isinstance(entry.content, str) or not hasattr(entry.content, "absolute"):
        return entry
    return replace(entry, content=ImageRef(str(entry.content.absolute())))
