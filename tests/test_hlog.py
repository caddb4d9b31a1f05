"""Cases of `clipload.hlog`, and its agreement with the `hdrhistogram` package's log reader."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from clipload.histogram import DIGITS, HIGHEST, LOWEST, Histogram
from clipload.hlog import HlogRow, read_hlog, write_hlog

START = 1_700_000_000.25


def histogram_of(count: int, seed: int) -> Histogram:
    histogram = Histogram()
    histogram.record(np.random.default_rng(seed).lognormal(math.log(2e7), 0.8, count).astype(np.int64))
    return histogram


def as_decoded(row: HlogRow) -> HlogRow:
    return HlogRow(row.tag, row.start_s, row.length_s, Histogram.decode_v2(row.histogram.encode_v2()))


ROWS = [
    HlogRow("", 0.0, 1.0, histogram_of(1_000, 1)),
    HlogRow("image.service", 0.0, 1.0, histogram_of(2_000, 2)),
    HlogRow("", 1.0, 0.125, histogram_of(4_000, 3)),
    HlogRow("", 1.125, 0.875, Histogram()),
]


def test_the_text_is_the_format() -> None:
    histogram = Histogram()
    histogram.record(np.array([900_000, 130_679_400]))
    lines = list(write_hlog(START, [HlogRow("", 0.0, 1.0, histogram), HlogRow("lag", 1.0, 1.0, histogram)]))
    assert lines[:4] == [
        "#[Histogram log format version 1.3]\n",
        "#[StartTime: 1700000000.250 (seconds since epoch), Tue Nov 14 22:13:20 UTC 2023]\n",
        "#[BaseTime: 1700000000.250 (seconds since epoch)]\n",
        '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"\n',
    ]
    assert lines[4].startswith("0.000,1.000,130.679,HISTFAAA")
    assert lines[5].startswith("Tag=lag,1.000,1.000,130.679,HISTFAAA")
    assert len(lines) == 6


def test_reads_back_what_it_wrote() -> None:
    assert read_hlog(write_hlog(START, ROWS)) == (START, [as_decoded(row) for row in ROWS])


def test_reading_skips_comments_and_blank_lines() -> None:
    lines = [line for text in write_hlog(START, ROWS) for line in ("#[a note]\n", "\n", text)]
    assert read_hlog(lines) == read_hlog(write_hlog(START, ROWS))


def test_an_empty_log() -> None:
    assert read_hlog([]) == (0.0, [])
    assert read_hlog(write_hlog(START, [])) == (START, [])


def row_at(stamp: float) -> str:
    """One interval line, as another writer might stamp it."""
    return list(write_hlog(0.0, [HlogRow("", stamp, 1.0, ROWS[0].histogram)]))[-1]


def start_line(start: float) -> str:
    return list(write_hlog(start, []))[1]


@pytest.mark.parametrize(
    ("lines", "start", "starts"),
    [
        ([row_at(50.0), row_at(51.0)], 50.0, [0.0, 1.0]),  # no StartTime: the first stamp is the start
        ([start_line(START), row_at(START + 2)], START, [2.0]),  # no BaseTime: stamps are absolute …
        ([start_line(START), row_at(2.0), row_at(3.0)], START, [2.0, 3.0]),  # … unless a year too early
    ],
)
def test_logs_without_times(lines: list[str], start: float, starts: list[float]) -> None:
    found, rows = read_hlog(lines)
    assert (found, [row.start_s for row in rows]) == (start, starts)


@pytest.mark.parametrize(
    "line", ["rubbish", "1,2,3", "0.0,1.0,x,HISTF", "0.0,1.0,2.0,HISTFAAA", "0.0,1.0,2.0,A", "Tag=,0.0,1.0,2.0,AAAA"]
)
def test_a_malformed_line_is_named(line: str) -> None:
    with pytest.raises(ValueError, match=r"^line 5: "):
        read_hlog([*write_hlog(START, []), line])


@pytest.mark.parametrize("tag", ["a,b", "a b", "a\n"])
def test_a_tag_has_neither_comma_nor_blank(tag: str) -> None:
    with pytest.raises(ValueError, match="tag"):
        HlogRow(tag, 0.0, 1.0, Histogram())


@pytest.mark.parametrize(("start", "length"), [(-1.0, 1.0), (0.0, -1.0), (math.nan, 1.0), (0.0, math.inf)])
def test_an_interval_is_a_stretch_of_time(start: float, length: float) -> None:
    with pytest.raises(ValueError, match="interval"):
        HlogRow("", start, length, Histogram())


def test_the_package_reads_it(tmp_path: Path) -> None:
    """Same instants, tags and percentiles.

    Not compared: Interval_Max (its reader ignores the column; its writer floors it). With N a multiple of 1 000 its rank
    int(p/100 · N + 0.5) is Java's for the percentiles asked. It never clamps to the exact max, nor do decoded rows here.
    """
    path = tmp_path / "latency.hlog"
    path.write_text("".join(write_hlog(START, ROWS)), encoding="utf-8")
    reader = HistogramLogReader(str(path), HdrHistogram(LOWEST, HIGHEST, DIGITS))
    try:
        for row in map(as_decoded, ROWS):
            theirs = reader.get_next_interval_histogram()
            assert theirs.get_start_time_stamp() == pytest.approx((START + row.start_s) * 1e3, abs=0.01)
            assert theirs.get_end_time_stamp() - theirs.get_start_time_stamp() == pytest.approx(row.length_s * 1e3, abs=0.01)
            assert (theirs.get_tag() or "", theirs.get_total_count()) == (row.tag, row.histogram.total)
            for percent in (1, 50, 90, 99, 99.9) if row.histogram.total else ():
                assert theirs.get_value_at_percentile(percent) == row.histogram.quantile(percent / 100)
        assert reader.get_next_interval_histogram() is None
    finally:
        reader.close()
