"""The `.hlog` text format, version 1.3: one line per interval and tag, each with its histogram. Opens in HdrHistogram's tools.

Laws: `read_hlog(write_hlog(start, rows))` gives start and rows back, instants rounded to the millisecond and histograms as
`Histogram.decode_v2` rebuilds them. Pure functions over lines: opening and closing files is the archive's work.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from clipload.histogram import Histogram

_LEGEND = '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"'
_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)"
_ROW = re.compile(rf"(?:Tag=([^,\s]+),)?{_NUMBER},{_NUMBER},{_NUMBER},([A-Za-z0-9+/]+=*)")
_TIME = re.compile(rf"#\[(Start|Base)Time: *{_NUMBER} ")
_TAG = re.compile(r"[^,\s]*")
_YEAR_S = 365 * 24 * 3600.0
_NS_PER_MS = 1e6


@dataclass(frozen=True, slots=True)
class HlogRow:
    """One interval: `start_s` and `length_s` in seconds ≥ 0, the start counted from the log's own; '' is no tag."""

    tag: str
    start_s: float
    length_s: float
    histogram: Histogram

    def __post_init__(self) -> None:
        if not _TAG.fullmatch(self.tag):
            raise ValueError(f"the tag {self.tag!r} has a comma or a blank")
        if not (0.0 <= self.start_s < float("inf") and 0.0 <= self.length_s < float("inf")):
            raise ValueError(f"an interval of {self.length_s} s at {self.start_s} s")


def write_hlog(start_wall_s: float, rows: Iterable[HlogRow]) -> Iterator[str]:
    """The lines of a log, each with its newline. `start_wall_s`: seconds since the epoch. Interval_Max is in ms."""
    asctime = datetime.fromtimestamp(start_wall_s, UTC).ctime()  # English in every locale
    yield "#[Histogram log format version 1.3]\n"
    yield f"#[StartTime: {start_wall_s:.3f} (seconds since epoch), {asctime[:-4]}UTC {asctime[-4:]}]\n"
    yield f"#[BaseTime: {start_wall_s:.3f} (seconds since epoch)]\n"
    yield _LEGEND + "\n"
    yield from map(_line, rows)


def _line(row: HlogRow) -> str:
    tag = f"Tag={row.tag}," if row.tag else ""
    packed = base64.b64encode(row.histogram.encode_v2()).decode("ascii")
    return f"{tag}{row.start_s:.3f},{row.length_s:.3f},{row.histogram.max / _NS_PER_MS:.3f},{packed}\n"


def read_hlog(lines: Iterable[str]) -> tuple[float, list[HlogRow]]:
    """(start in seconds since the epoch, rows in order). A line that is no comment, legend or row: ValueError with its number.

    Logs of other writers: without a StartTime the first row's stamp is the start; without a BaseTime stamps are absolute,
    unless the first lies more than a year before the start (the rule of HdrHistogram's own readers).
    """
    times: dict[str, float] = {}
    rows: list[HlogRow] = []
    for number, line in enumerate(lines, 1):
        try:
            _read_line(line.strip(), times, rows)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
    return times.get("Start", 0.0), rows


def _read_line(line: str, times: dict[str, float], rows: list[HlogRow]) -> None:
    """Take one line into `times` (Start, Base) or `rows`."""
    if match := _TIME.match(line):
        times[match[1]] = float(match[2])
    elif line and not line.startswith(("#", '"StartTimestamp"')):
        match = _ROW.fullmatch(line)
        if not match:
            raise ValueError(f"{line[:40]!r} is not an interval")
        rows.append(_row(match, times))


def _row(match: re.Match[str], times: dict[str, float]) -> HlogRow:
    stamp = float(match[2])
    start = times.setdefault("Start", stamp)
    base = times.setdefault("Base", start if stamp < start - _YEAR_S else 0.0)
    histogram = Histogram.decode_v2(base64.b64decode(match[5], validate=True))
    # base − start first: it is exactly 0 in our own logs, so that no digit of the stamp is lost to an epoch's magnitude
    return HlogRow(match[1] or "", stamp + (base - start), float(match[3]), histogram)
