"""The error tree: what the *user* got wrong, each with the flag to blame and the remedy.

    CliploadError            exit 2   (usage or configuration)
    ├── PlanError            exit 2   a load that contradicts itself or cannot be
    ├── DatasetError         exit 2   a dataset that is missing or malformed (which file, which line)
    ├── HostError            exit 2   cores, limits or disk that this machine does not have
    ├── ArchiveError         exit 2   a Run that cannot be read or written
    └── TargetError          exit 3   a target that cannot be reached or does not answer as it should

The target's failures *during* a run are data (an Outcome's class), never exceptions; the generator's are a Verdict.
"""

from __future__ import annotations

from collections.abc import Iterable

EXIT_OK = 0
EXIT_MISSED = 1
EXIT_USAGE = 2
EXIT_TARGET = 3
EXIT_INCONCLUSIVE = 4
EXIT_UNSOUND = 5
EXIT_INTERNAL = 70
EXIT_INTERRUPTED = 130
_FIRST = (EXIT_USAGE, EXIT_INTERNAL, EXIT_INTERRUPTED, EXIT_TARGET, EXIT_UNSOUND, EXIT_MISSED, EXIT_INCONCLUSIVE, EXIT_OK)


def worst(codes: Iterable[int]) -> int:
    """Of many exit codes the one that stands for all: the first that applies. Of none, 0."""
    return min(codes, key=_FIRST.index, default=EXIT_OK)


class CliploadError(Exception):
    """A mistake that its user can mend: what is wrong, which flag says so, and what to type instead."""

    exit_code = EXIT_USAGE

    def __init__(self, what: str, *, flag: str = "", remedy: str = "") -> None:
        self.what = what
        self.flag = flag
        self.remedy = remedy
        super().__init__(what)

    def __str__(self) -> str:
        flag = f"{self.flag}: " if self.flag else ""
        remedy = f"\n  remedy: {self.remedy}" if self.remedy else ""
        return f"{flag}{self.what}{remedy}"


class PlanError(CliploadError):
    """A load that contradicts itself or cannot be."""


class DatasetError(CliploadError):
    """A dataset that is missing or malformed; the message names the file and, where there is one, the line."""


class HostError(CliploadError):
    """Cores, descriptors, memory or disk that this machine does not have."""


class ArchiveError(CliploadError):
    """A Run that cannot be read, or a place where it cannot be written."""


class TargetError(CliploadError):
    """A target that cannot be reached, refuses us, or does not answer as its dialect says."""

    exit_code = EXIT_TARGET
