"""What a preflight found: a checklist of lines, and whether the target is fit for the load."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from clipload.preflight.identity import Identity

Outcome = Literal["ok", "unfit", "warning", "not probed", "note"]


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was looked at. `remedy`: what to do about it, and what that costs."""

    name: str
    outcome: Outcome
    sentence: str
    remedy: str = ""

    @property
    def short(self) -> str:
        """What the sentence says before it goes into particulars."""
        return self.sentence.partition(": ")[0]


@dataclass(frozen=True, slots=True)
class Fitness:
    """One target, as it showed itself in `requests` requests and `took_ns`."""

    url: str
    identity: Identity
    lines: tuple[Line, ...]
    requests: int
    took_ns: int

    @property
    def reasons(self) -> tuple[Line, ...]:
        """Why it is unfit; none when it is fit."""
        return tuple(line for line in self.lines if line.outcome == "unfit")

    @property
    def fit(self) -> bool:
        return not self.reasons

    def document(self) -> dict[str, Any]:
        """For the Run and for --json."""
        lines = [
            {"name": one.name, "outcome": one.outcome, "sentence": one.sentence, "remedy": one.remedy} for one in self.lines
        ]
        who = self.identity
        server = {"name": who.name, "version": who.version, "engine": who.engine, "facts": who.facts}
        counts = {"requests": self.requests, "took_ns": self.took_ns}
        return {"url": self.url, "fit": self.fit, "server": server, "lines": lines, **counts}
