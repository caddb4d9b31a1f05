"""What may be asked of a Run: objectives (`p99<200ms`) and precisions (`p99±10%`), read from text and printed again.

Laws: `Objective.parse(str(o)) == o` and `Precision.parse(str(p)) == p`. What cannot be read is a CliploadError with an example.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, Self

from clipload.errors import CliploadError
from clipload.judgement import Relation
from clipload.units import Duration

Metric = Literal["latency", "service", "errors", "throughput"]
LOWEST_PERCENT, HIGHEST_PERCENT = 50.0, 99.9
EXAMPLES = "'p99<200ms', 'service.p90<50ms', 'errors<0.1%' or 'throughput>400/s'"

_NUMBER = r"\d+(?:\.\d+)?"
_SUBJECT = rf"(?P<service>service\.)?p(?P<percent>{_NUMBER})|(?P<word>errors|throughput)"
_OBJECTIVE = re.compile(rf"(?:{_SUBJECT})\s*(?P<relation><|>)\s*(?P<limit>\S(?:.*\S)?)")
_PRECISION = re.compile(rf"(?:{_SUBJECT})\s*(?:±|\+-|\+/-)\s*(?P<width>{_NUMBER})\s*%")


@dataclass(frozen=True, slots=True)
class Subject:
    """What is looked at: a percentile of latency or service time, the share of `errors`, or `throughput` in samples/s."""

    metric: Metric
    percent: float | None = None  # of a percentile

    @property
    def label(self) -> str:
        """`p99`, whatever its metric; the metric itself when it has no percentiles."""
        return self.metric if self.percent is None else f"p{plain(self.percent)}"

    @property
    def q(self) -> float:
        """The percentile as a quantile. AssertionError when it is none."""
        if self.percent is None:
            raise AssertionError(f"{self.metric} has no quantiles")
        return float(Decimal(repr(self.percent)) / 100)

    def __str__(self) -> str:
        return f"service.{self.label}" if self.metric == "service" else self.label


@dataclass(frozen=True, slots=True)
class Objective:
    """`subject` shall be on the right side of `limit`: ns, a share from 0 to 1, or samples/s."""

    subject: Subject
    relation: Relation
    limit: float
    written: str  # the limit as text

    @classmethod
    def parse(cls, text: str) -> Self:
        match = _OBJECTIVE.fullmatch(text.strip())
        if match is None:
            raise CliploadError(f"{text!r} is not an objective", remedy=f"write {EXAMPLES}")
        subject = _subject(match, text)
        relation: Relation = ">" if subject.metric == "throughput" else "<"
        if match["relation"] != relation:
            raise CliploadError(f"{text!r} asks for the wrong side", remedy=f"turn it round: {EXAMPLES}")
        return cls(subject, relation, *_limit(subject, match["limit"], text))

    def __str__(self) -> str:
        return f"{self.subject}{self.relation}{self.written}"


@dataclass(frozen=True, slots=True)
class Precision:
    """How well `subject` shall be known: half its interval is at most `width` of it (0.1: ±10 %)."""

    subject: Subject
    percent: float

    @property
    def width(self) -> float:
        return self.percent / 100

    @classmethod
    def parse(cls, text: str) -> Self:
        match = _PRECISION.fullmatch(text.strip())
        if match is None or match["word"] == "errors":
            raise CliploadError(f"{text!r} is not a precision", remedy="write 'p99±10%' or 'p99+-10%'")
        percent = float(match["width"])
        if not 0 < percent <= 100:
            raise CliploadError(f"±{plain(percent)} % cannot be", remedy="use more than 0 % and at most 100 %, like 'p99±10%'")
        return cls(_subject(match, text), percent)

    def __str__(self) -> str:
        return f"{self.subject}±{plain(self.percent)}%"


def parse_objectives(text: str) -> tuple[Objective, ...]:
    """One, or several with commas between."""
    return tuple(Objective.parse(part) for part in text.split(","))


def _subject(match: re.Match[str], text: str) -> Subject:
    if match["word"]:
        return Subject("errors" if match["word"] == "errors" else "throughput")
    percent = float(match["percent"])
    if not LOWEST_PERCENT <= percent <= HIGHEST_PERCENT:
        raise CliploadError(f"{text!r} asks for a percentile that is not judged", remedy="use p50 to p99.9")
    return Subject("service" if match["service"] else "latency", percent)


def _limit(subject: Subject, text: str, whole: str) -> tuple[float, str]:
    """(the limit, its text as it is always printed)."""
    if subject.percent is not None:
        limit = _duration(text, whole)
        return float(limit), str(limit)
    unit = "%" if subject.metric == "errors" else "/s"
    match = re.fullmatch(rf"({_NUMBER})\s*{unit}", text)
    if match is None:
        example = "errors<0.1%" if unit == "%" else "throughput>400/s"
        raise CliploadError(f"{whole!r} has no limit in {unit}", remedy=f"write '{example}'")
    number = float(match[1])
    if unit == "%" and not 0 < number <= 100:
        raise CliploadError(f"{plain(number)} % of errors cannot be", remedy="use more than 0 % and at most 100 %")
    return (float(Decimal(repr(number)) / 100) if unit == "%" else number), plain(number) + unit


def _duration(text: str, whole: str) -> Duration:
    try:
        limit = Duration.parse(text)
    except CliploadError as error:
        raise CliploadError(f"{whole!r} has no duration as its limit", remedy="write 'p99<200ms'") from error
    if not limit or re.fullmatch(_NUMBER, text):
        what = "leaves no time at all" if not limit else "does not say whether ms or s"
        raise CliploadError(f"{whole!r} {what}", remedy="write 'p99<200ms'")
    return limit


def plain(number: float) -> str:
    """The shortest decimal that reads back as `number`, without an exponent or a needless point."""
    text = format(Decimal(repr(number)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
