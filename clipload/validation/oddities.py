"""Oddities of a Flickr8k dataset: named with their lines and counted, never fatal. The real one has a few of each."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from clipload.sources.flickr8k import MISSING, Captioned

_SUFFIX = re.compile(r"\.(jpe?g|png|webp|bmp|gif)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Oddities:
    """A sentence for each."""

    malformed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    duplicates: tuple[str, ...] = ()

    @property
    def titled(self) -> list[tuple[str, tuple[str, ...]]]:
        """With what a reader is told that they are."""
        return [
            ("names without an image's suffix", self.malformed),
            ("images that are not there", self.missing),
            ("images that cannot be read", self.broken),
            ("captions that stand there more than once", self.duplicates),
        ]


def oddities(captioned: Sequence[Captioned], present: Collection[str]) -> Oddities:
    """`present`: the names of the files in the images folder. Duplicate captions may be of one image or of several."""
    malformed = [one for one in captioned if not _SUFFIX.fullmatch(_ending(one.name))]
    missing = [one for one in captioned if one.name not in present]
    where: dict[str, list[int]] = {}
    for one in captioned:
        for line, caption in zip(one.lines, one.captions):
            where.setdefault(caption, []).append(line)
    twice = sorted((sorted(lines), caption) for caption, lines in where.items() if len(lines) > 1)
    return Oddities(
        malformed=tuple(f"{one.name} ({_lines(one.lines)})" for one in malformed),
        missing=tuple(f"{one.name} ({_lines(one.lines)}): {MISSING}" for one in missing),
        duplicates=tuple(f"{_lines(lines)}: {caption!r}" for lines, caption in twice),
    )


def _ending(name: str) -> str:
    return name[name.rfind(".") :] if "." in name else ""


def _lines(lines: Sequence[int]) -> str:
    numbers = ", ".join(map(str, sorted(lines)))
    return f"line{'s' if len(lines) > 1 else ''} {numbers}"
