"""The worst pairs of a validation as a page shows them: the picture or the words, and the figures of its two vectors."""

from __future__ import annotations

from dataclasses import dataclass

from clipload.embedding.work import BROKEN
from clipload.reports.thumbnails import Thumbnail, thumbnail
from clipload.sources.listing import Named
from clipload.validation import Parity
from clipload.values import Image, Text

MOST = 24  # on a page, however many are asked for
WORDS = 200  # letters of a text
_NAME = 80


@dataclass(frozen=True, slots=True)
class ShownPair:
    """`words`: the text, or why there is no picture. `stray`: to whose vector it is nearer. `wrong`: it failed."""

    name: str
    kind: str
    words: str
    thumbnail: Thumbnail | None
    figures: tuple[tuple[str, str], ...]
    stray: str
    wrong: bool


@dataclass(frozen=True, slots=True)
class ShownPairs:
    """All of them, the worst first, under their title."""

    title: str
    sentence: str
    shown: tuple[ShownPair, ...]


def worst_pairs(parity: Parity, count: int) -> ShownPairs:
    """At most MOST. A picture that cannot be read any more is said to be so."""
    rows = parity.worst(min(count, MOST))
    several = f"The {len(rows)} Items" if len(rows) > 1 else "The Item"
    sentence = (
        f"{several} of {len(parity.names)} with the lowest cosine of the server's vector and the other side's, first those "
        "that are nearer to another Item's. Difference: the largest of a component, both at unit length. Norm: as it came."
    )
    failed = set(parity.failed)
    return ShownPairs("Worst pairs", sentence, tuple(_shown(parity, row, wrong=row in failed) for row in rows))


def _shown(parity: Parity, row: int, *, wrong: bool) -> ShownPair:
    pair, compared = parity.pairs.pair(row), parity.compared
    nearest = int(compared.nearest[row])
    figures = (
        ("cosine", f"{pair.cosine:.6f}".replace("-", "−")),
        ("1 − cosine", f"{compared.distance[row]:.2e}"),
        ("difference", f"{pair.apart:.2e}"),
        ("norm, server's", f"{pair.norms[0]:.5g}"),
        ("norm, other side's", f"{pair.norms[1]:.5g}"),
    )
    stray = "" if nearest == row else f"nearer to {shortened(parity.names[nearest], _NAME)} ({parity.kinds[nearest]})"
    words, picture = _content(pair.item)
    return ShownPair(shortened(parity.names[row], _NAME), parity.kinds[row], words, picture, figures, stray, wrong)


def _content(named: Named) -> tuple[str, Thumbnail | None]:
    try:
        item = named.read()
        if isinstance(item, Text):
            return shortened(item.text, WORDS) or "(an empty text)", None
        if isinstance(item, Image):
            return "", thumbnail(item.data)
        return f"(a picture that the server opens: {shortened(item.reference, WORDS)})", None
    except BROKEN as error:
        return f"(cannot be read any more: {getattr(error, 'strerror', None) or error})", None


def shortened(text: str, most: int) -> str:
    """At most so many letters, the last one … where some are missing."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
