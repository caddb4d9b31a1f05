"""What a search says and hears: an Ask is the next load, a Told is what became of it.

A search reads no clock, does no I/O and draws nothing itself. Its state is the history of what it was told: a new search told
the same history, in the same order, asks the same thing next. That is how an interrupted one is resumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from clipload.estimate import Estimate

Value = str | int | float
Fate = Literal["pass", "fail", "inconclusive", "unsound", "overload", "died"]
Binding = Literal["latency", "errors", "throughput", "generator", "network"]
Purpose = Literal["point", "ceiling", "start", "bracket", "bisect", "extend", "again", "confirm", "repeat", "check"]


@dataclass(frozen=True, slots=True)
class Ask:
    """One load: Plan fields with their values, and how it is to be measured. Seconds, all of them.

    `rest_s` is quiet time before it begins, in which the target drains; `settle_s` is load before the measured part.
    `backlog`: end early once so many requests are due and unanswered. None leaves a thing as the Plan has it.
    """

    values: Mapping[str, Value]
    why: Purpose = "point"
    seconds: float | None = None
    settle_s: float = 0.0
    rest_s: float = 0.0
    backlog: int | None = None

    @property
    def load(self) -> str:
        """In words."""
        return f"{self.values['rate']:g}/s" if "rate" in self.values else f"{self.values['concurrency']} in flight"


@dataclass(frozen=True, slots=True)
class Told:
    """What became of an Ask.

    `fate`: *pass* and *fail* are certain (the interval lies on one side of the objective), *overload* is a probe that ended
    early because the backlog grew, *unsound* one of which nothing can be said, *died* a target that is gone. `seconds` is all
    the time it took, rest and settling included. `achieved` counts ok replies/s. `quantile` is the judged quantile of latency
    in ns. `meets` says whether the estimates, intervals aside, meet all objectives; None where they are too poor to lean on.
    `binding` is the objective that was missed. `limited`: a closed loop whose worker had no core left, so that the server does
    at least this much. `busy`: what of the target was full meanwhile ("tokenizer full"), as far as it was seen.
    """

    ask: Ask
    fate: Fate
    achieved: float
    seconds: float
    quantile: Estimate | None = None
    meets: bool | None = None
    binding: Binding | None = None
    limited: bool = False
    sentence: str = field(default="", compare=False)
    busy: str = field(default="", compare=False)

    @property
    def leaning(self) -> bool | None:
        """Whether the objective looks met; None when nothing can be said."""
        if self.fate == "inconclusive":
            return self.meets
        return {"pass": True, "fail": False, "overload": False}.get(self.fate)


class Search(Protocol):
    """Asks for the next load, is told what became of it."""

    @property
    def done(self) -> bool:
        """Nothing more is to be asked."""

    @property
    def doomed(self) -> str:
        """Why no answer can be found; empty unless that is so."""

    def ask(self) -> Ask | None:
        """The next load; the same one until something is told. None when done."""

    def tell(self, told: Told) -> None:
        """What became of a load, asked for now or known from before."""
