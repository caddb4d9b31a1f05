"""Batch size against throughput: the table and the picture say what the Runs say."""

from __future__ import annotations

from io import BytesIO

import pytest
from PIL import Image

from clipload.reports.batches import batch_chart, batch_table, check_drawing, png, points
from clipload.run import Run
from tests.reports.saved import run as measured
from tests.test_run import MS, START, answers, closed_plan, interval, run_of


def run(batch_size: int, requests: int, took_ms: int) -> Run:
    """A counted closed loop of one worker whose requests took so long, one after another."""
    tally = answers([took_ms * MS] * requests)
    tally.counts["samples"] = requests * batch_size
    samples = max(1, requests) * batch_size
    plan = closed_plan(duration=None, num_samples=samples, batch_size=batch_size, workers=1, concurrency=1)
    last = START + requests * took_ms * MS
    return run_of(plan, [interval(0, 0, {"measure": tally}, last_done_ns=last, final=True)], 1.0)


RUNS = [run(16, 4, 20), run(1, 50, 5), run(4, 10, 8)]


def test_points_are_the_runs_by_batch_size() -> None:
    found = points(RUNS)
    assert [point["batch_size"] for point in found] == [1, 4, 16]
    assert [point["throughput"] for point in found] == pytest.approx([200, 500, 800])
    assert [point["p99"] for point in found] == pytest.approx([5 * MS, 8 * MS, 20 * MS], rel=0.01)
    assert {point["not_ok"] for point in found} == {0}


def test_the_table_has_a_row_for_each() -> None:
    head, *rows = batch_table(RUNS).splitlines()
    assert head.split()[:3] == ["batch_size", "samples/s", "requests/s"]
    assert [row.split()[:3] for row in rows[::2]] == [
        ["1", "200.00", "200.00"],
        ["4", "500.00", "125.00"],
        ["16", "800.00", "50.00"],
    ]
    assert [row.split()[-1] for row in rows[::2]] == [point["generator"] for point in points(RUNS)]
    assert [row.split() for row in rows[1::2]] == [["insufficient"] * 2] * 3


def test_below_each_percentile_stands_its_interval() -> None:
    made = measured(seconds=40)
    _, above, below = batch_table([made]).splitlines()
    for place, label in ((34, "p50"), (50, "p99")):
        estimate = made.figures.quantiles["latency"][label]
        assert above[place : place + 16].strip() == estimate.said
        assert below[place : place + 16].strip() == estimate.span


def test_a_run_without_an_answer_is_a_row_too() -> None:
    nothing = run(1, 0, 1)
    assert batch_table([nothing]).splitlines()[1].split()[:5] == ["1", "0.00", "0.00", "-", "-"]


def test_the_picture_is_drawn() -> None:
    check_drawing()
    with Image.open(BytesIO(png(batch_chart(RUNS)))) as picture:
        assert picture.format == "PNG"
        colours = picture.convert("RGB").getcolors(2**20)
    assert colours is not None
    assert any(colour == (31, 111, 180) for _, colour in colours), "a sound point"


def test_the_picture_has_every_point() -> None:
    chart = batch_chart(RUNS).to_dict()
    assert chart["datasets"][chart["data"]["name"]] == points(RUNS)
    assert {layer["mark"]["type"] for layer in chart["layer"]} == {"line", "point", "text"}


def test_one_is_no_plural() -> None:
    assert batch_chart(RUNS).to_dict()["title"]["subtitle"].endswith("; 1 worker, 1 request in flight")
