"""The kinds of value that a field of the Plan may have: how each is read from text or TOML, and what its flag is called.

Law: `parse` either returns a value for which `holds` is true or raises ValueError, TypeError or CliploadError.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from clipload.errors import CliploadError
from clipload.slo import parse_objectives
from clipload.units import Duration, Size, parse_cores


@dataclass(frozen=True, slots=True)
class Kind:
    """`name` and `example` are for error messages, `metavar` for the help; `choices` is () unless words are prescribed."""

    name: str
    example: str
    metavar: str
    parse: Callable[[Any], Any]
    holds: Callable[[Any], bool]
    choices: tuple[str, ...] = ()
    many: bool = False  # a tuple; its flag may be given several times
    printed: bool = False  # kept as what was read prints itself
    shown: bool = True  # false: the value may hold a secret and is not repeated


def _whole(value: Any) -> int:
    if _is_count(value):
        return int(value)
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d{1,18}\s*", value):
        return int(value)
    raise ValueError(value)


def _is_count(value: Any) -> bool:
    """An int that every format on the way can carry."""
    return type(value) is int and abs(value) < 2**63


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(value)
    return float(value)


def _text(value: Any) -> str:
    if not _is_line(value):
        raise ValueError(value)
    return str(value)  # of a subclass, the plain text


def _is_line(value: Any) -> bool:
    """A str without control characters and lone surrogates: fit for a folder's name, a header, a line of a report."""
    return isinstance(value, str) and not any(
        letter < " " or "\x7f" <= letter <= "\x9f" or "\ud800" <= letter <= "\udfff" for letter in value
    )


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false", "1", "0"):
        return value.lower() in ("true", "1")
    raise ValueError(value)


def _duration(value: Any) -> Duration:
    if isinstance(value, Duration):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(value)
    return Duration.parse(str(value))


def _size(value: Any) -> Size:
    if isinstance(value, Size):
        return value
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError(value)
    return Size.parse(str(value))


def _cores(value: Any) -> tuple[int, ...]:
    if isinstance(value, str):
        return parse_cores(value)
    cores = tuple(value)
    if not _are_cores(cores):
        raise ValueError(value)
    return cores


def _are_cores(value: Any) -> bool:
    whole = isinstance(value, tuple) and bool(value) and all(type(core) is int and core >= 0 for core in value)
    return whole and len(set(value)) == len(value)


def _urls(value: Any) -> tuple[str, ...]:
    """One, a list, or several in one text, with blanks or commas between."""
    if isinstance(value, str):
        value = re.split(r"[\s,]+", value.strip()) if value.isprintable() else [value]
    if not isinstance(value, list | tuple):
        raise TypeError(value)
    return tuple(_text(url).rstrip("/") for url in value)


def _are_urls(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and all(_is_line(url) for url in value)


def _headers(value: Any) -> tuple[str, ...]:
    """`K=V`, one or a list; names and values are looked at by the Plan."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list | tuple):
        raise TypeError(value)
    fields = tuple("=".join(part.strip() for part in _text(field).split("=", 1)) for field in value)
    if not _are_headers(fields):
        raise ValueError(value)
    return fields


def _are_headers(value: Any) -> bool:
    return isinstance(value, tuple) and all(_is_line(field) and "=" in field for field in value)


def _objectives(value: Any) -> tuple[str, ...]:
    """One, a list, or several in one text with commas between; as they are always printed."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list | tuple):
        raise TypeError(value)
    return tuple(str(objective) for text in value for objective in parse_objectives(_text(text)))


def _are_objectives(value: Any) -> bool:
    try:
        return isinstance(value, tuple) and _objectives(value) == value
    except (CliploadError, ValueError):
        return False


WHOLE = Kind("a whole number", "8", "INT", _whole, _is_count)
NUMBER = Kind("a number", "2.5", "NUMBER", _number, lambda value: type(value) is float)
TEXT = Kind("a line of text", "'a word'", "TEXT", _text, _is_line)
FILE = replace(TEXT, metavar="FILE")
FOLDER = replace(TEXT, metavar="DIR")
PATH = replace(TEXT, metavar="PATH")
HOST_PORT = replace(TEXT, metavar="HOST:PORT")
TRUTH = Kind("true or false", "true", "", _truth, lambda value: isinstance(value, bool))
TIME = Kind("a duration", "10s, 250ms or 1m30s", "TIME", _duration, lambda value: isinstance(value, Duration) and value >= 0)
SIZE = Kind("a size", "1GiB or 64MiB", "SIZE", _size, lambda value: isinstance(value, Size) and value >= 0)
URLS = Kind("a URL", "http://127.0.0.1:30000", "URL", _urls, _are_urls, many=True)
HEADERS = Kind("a header", "--header X-Trace=load", "K=V", _headers, _are_headers, many=True, shown=False)
OBJECTIVES = Kind("an objective", "'p99<200ms'", "OBJECTIVE", _objectives, _are_objectives, many=True)
CORES = Kind("a list of cores", "0,2,4-7", "CORES", _cores, _are_cores)


def written(name: str, example: str, metavar: str, parse: Callable[[str], Any]) -> Kind:
    """A line of text that `parse` can read; it is kept as it was written."""

    def read(value: Any) -> str:
        parse(_text(value))
        return str(value).strip()

    def holds(value: Any) -> bool:
        try:
            return _is_line(value) and read(value) == value
        except CliploadError:
            return False

    return Kind(name, example, metavar, read, holds)


def printed(name: str, example: str, metavar: str, parse: Callable[[str], Any]) -> Kind:
    """As `written`, but kept as what was read prints itself: what means the same is the same."""

    def read(value: Any) -> str:
        return str(parse(_text(value)))

    def holds(value: Any) -> bool:
        try:
            return _is_line(value) and read(value) == value
        except CliploadError:
            return False

    return Kind(name, example, metavar, read, holds, printed=True)


def choice(*words: str) -> Kind:
    """One of `words`."""

    def parse(value: Any) -> str:
        if value not in words:
            raise ValueError(value)
        return str(value)

    return Kind(f"one of {', '.join(words)}", words[0], "CHOICE", parse, lambda value: value in words, words)
