"""intervals.csv: the columns of a second, and the intervals that it has from its own requests alone."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from clipload.estimate import quantile_of
from clipload.folding import fold
from clipload.rows import intervals_csv
from tests.test_run import MS, answers, interval, open_frames, open_plan, run_of, tally


def test_the_columns_of_the_series() -> None:
    rows = list(csv.DictReader(io.StringIO(intervals_csv(fold(open_frames())))))
    assert list(rows[0]) == [
        "second", "ok", "samples", "errors", "timeout", "in_flight", "waiting", "connections",
        "latency_p50_ms", "latency_p50_ms_low", "latency_p50_ms_high",
        "latency_p99_ms", "latency_p99_ms_low", "latency_p99_ms_high", "latency_max_ms",
        "service_p50_ms", "service_p50_ms_low", "service_p50_ms_high",
        "service_p99_ms", "service_p99_ms_low", "service_p99_ms_high",
        "lag_p99_ms", "lag_p99_ms_low", "lag_p99_ms_high",
        "worker_cpu", "starved_ms",
    ]  # fmt: skip
    assert [row["second"] for row in rows] == ["0", "1", "2"]
    assert [(row["ok"], row["errors"], row["timeout"]) for row in rows] == [("19", "0", "0"), ("18", "3", "0"), ("9", "0", "1")]
    one = rows[1]
    assert (one["samples"], one["in_flight"], one["waiting"], one["connections"]) == ("18", "1", "2", "9")
    assert (one["worker_cpu"], one["starved_ms"]) == ("0.225", "2.000")  # 450 ms of two cores
    assert one["latency_max_ms"] == "8.000"
    assert float(one["latency_p50_ms"]) == pytest.approx(7, rel=1e-3)
    assert float(one["lag_p99_ms"]) == pytest.approx(0.02, abs=0.0006)


def test_nothing_recorded_is_an_empty_cell() -> None:
    run = run_of(open_plan(), [interval(0, 1, {"measure": tally({"scheduled": 1, "error.connect": 1}, failed=[MS])})], 3)
    (row,) = csv.DictReader(io.StringIO(intervals_csv(run)))
    assert {cell for name, cell in row.items() if "_ms" in name and name != "starved_ms"} == {""}
    assert (row["ok"], row["errors"]) == ("0", "1")


def row_of(latencies_ns: list[int]) -> dict[str, str]:
    """The row of a second of these, whose neighbours are ten times as slow."""
    parts = [answers([10 * ns for ns in latencies_ns]), answers(latencies_ns), answers([10 * ns for ns in latencies_ns])]
    run = run_of(open_plan(), [interval(i % 2, i, {"measure": part}) for i, part in enumerate(parts)], 3)
    return list(csv.DictReader(io.StringIO(intervals_csv(run))))[1]


def test_the_bounds_of_a_second_are_its_own_order_statistics() -> None:
    """1 … 2000 ms. p50: ranks 1000 ± 43.8; p99: 1980 ± 8.7; outwards, and to a bucket."""
    row = row_of([ms * MS for ms in range(1, 2001)])
    for label, low, value, high in (("p50", 956, 1000, 1045), ("p99", 1971, 1980, 1990)):
        cells = [float(row[f"latency_{label}_ms{end}"]) for end in ("_low", "", "_high")]
        assert cells == pytest.approx([low, value, high], rel=1e-3)
    assert row["latency_max_ms"] == "2000.000"


@pytest.mark.parametrize(
    ("count", "low", "high"), [(1, False, False), (100, True, False), (999, True, False), (1000, True, True)]
)
def test_a_bound_that_few_requests_do_not_give_is_an_empty_cell(count: int, low: bool, high: bool) -> None:
    """Of p99: 999 requests have a rank above it, but fewer than ten in the tail; one request has none below it."""
    values = np.random.default_rng(1).exponential(20 * MS, count).astype(np.int64).tolist()
    row = row_of(values)
    assert [row["latency_p99_ms_low"] != "", row["latency_p99_ms_high"] != ""] == [low, high]
    assert row["latency_p99_ms"] != ""
    whole = tally(None, latency=values).histograms["latency"]
    if low:
        assert float(row["latency_p99_ms_low"]) == pytest.approx(quantile_of(whole, 0.99).low / MS, abs=1e-3)
