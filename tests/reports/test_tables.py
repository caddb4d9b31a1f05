"""Tables, Markdown and CSV: the figures are those of the Run, and nothing in them is taken for markup."""

from __future__ import annotations

import csv
import io
import re

import pytest

from clipload.folding import fold
from clipload.reports.markdown import cell, markdown_of, markdown_of_many
from clipload.reports.percentiles import Figure
from clipload.reports.points import labels, series_of
from clipload.reports.sheet import sheet
from clipload.reports.tables import health, ledger, runs_table, tables_of, targets, times, workers
from clipload.reports.text import describe_images
from clipload.spread import estimates
from clipload.units import format_ns
from tests.reports.saved import loop, nothing, run
from tests.reports.test_text import RUNS, of_two
from tests.test_run import MS, answers, interval, open_frames, open_plan, run_of
from tests.test_verdict import SHELF

OPEN = fold(open_frames())


@pytest.mark.parametrize("made", [*RUNS.values(), nothing()], ids=[*RUNS, "nothing"])
def test_every_row_is_as_long_as_its_head(made: object) -> None:
    for table in tables_of(made):  # type: ignore[arg-type]
        assert {len(row) for row in table.rows} == {len(table.head)}, table.name
        assert all(isinstance(text, str) for row in table.rows for text in row)


def test_times_are_those_of_the_histograms() -> None:
    found = {row[0]: row for row in times(OPEN).rows}
    latency = OPEN.measure.histogram("latency")
    assert found["latency"][1] == format_ns(latency.quantile(0.5))
    assert found["latency"][-3:-1] == (format_ns(latency.max), str(latency.total))
    assert "failed" in found
    assert "server time" not in found


def test_the_ledger_names_every_fate_once() -> None:
    book = OPEN.measure.ledger()
    counts = {row[0]: int(row[1]) for row in ledger(OPEN).rows}
    assert counts["ok"] == book.ok
    assert sum(counts.values()) == book.planned


def test_a_worker_that_is_slower_than_the_others_is_marked() -> None:
    quick, slow = answers([10 * MS] * 200), answers([40 * MS] * 200)
    parts = [interval(n, 1, {"measure": slow if n == 2 else quick}, final=True) for n in range(3)]
    made = run_of(open_plan(workers=3), parts, 3)
    assert [row[0] for row in workers(made).rows] == ["0", "1", "2 (slower than the others)"]
    assert workers(made).sentence.startswith("Worker 2 is an outlier. ")
    assert workers(OPEN).sentence == "Below each percentile its 95 % interval.", "too few requests to tell"


def test_the_percentiles_of_workers_and_targets_are_their_own_with_their_intervals() -> None:
    made = of_two()
    columns = {"workers": {3: ("latency", "p50"), 4: ("latency", "p99"), 5: ("lag", "p99")}}
    columns["targets"] = {4: ("latency", "p50"), 5: ("latency", "p99")}
    merged = made.figures.quantiles["latency"]["p99"].said
    for table, own in ((workers(made), made.own.workers), (targets(made), made.own.targets)):
        assert len(table.rows) == 2
        assert merged not in {text for row in table.rows for text in row}
        for number, row in enumerate(table.rows):
            for place, (name, label) in columns[table.name].items():
                estimate, text = own[number][name][label], row[place]
                assert isinstance(text, Figure)
                assert (text, text.below, text.pale) == (format_ns(estimate.value), estimate.span, False)
                assert f"| {text} ({text.below}) |" in markdown_of(made)


def test_a_percentile_that_rests_on_too_little_is_pale_and_leans_in_markdown() -> None:
    (row, _) = workers(OPEN).rows
    assert isinstance(row[3], Figure)
    assert (row[3].below, row[3].pale) == ("insufficient", True)
    assert f"| *{row[3]} (insufficient)* |" in markdown_of(OPEN)
    assert Figure.of({}, "p50") == "–"


def test_health_says_what_the_lag_did() -> None:
    made = run(seconds=20, ms=5, lag_ns=8 * MS)
    rows = {row[0]: row[1] for row in health(made).rows}
    shift = re.search(r"\(\+(\d+\.\d)% with it\)", rows["p99 without the generator's lag"])
    assert shift is not None
    assert float(shift[1]) > 20
    assert "nothing is said of the target" in health(made).sentence


def test_health_tells_of_images_that_travelled_apart() -> None:
    made = fold(open_frames())
    made.facts["images"] = SHELF
    assert describe_images(SHELF) in {row[1] for row in health(made).rows}


def test_markdown_begins_with_the_verdict_and_has_the_figures() -> None:
    text = markdown_of(OPEN)
    assert text.splitlines()[:3] == [
        "### open loop, poisson arrivals at 20 requests/s, 2s after 1s of warm-up", "", "**Generator sound**",
    ]  # fmt: skip
    assert f"**{OPEN.throughput:.2f} samples/s** in {OPEN.requests_per_s:.2f} requests/s" in text
    assert "\n- target: " in text
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in text.split("\n\n")[-1].splitlines()}
    assert len(widths) == 1, "every row has the same number of cells"


def test_markdown_of_an_unsound_run_says_so() -> None:
    assert "**Generator unsound**: no statement is made about the target" in markdown_of(run(seconds=20, ms=5, lag_ns=8 * MS))


def test_markdown_of_several_is_one_table() -> None:
    text = markdown_of_many([run(seconds=5, per_s=50), run(seconds=5, per_s=60)], ["a", "b"])
    assert text.count("\n| rate ") == 2
    assert len(text) < 2000


def test_a_cell_is_one_line_without_markup() -> None:
    assert cell("a|b\n*c* <d> `e` _f_") == r"a\|b \*c\* \<d\> \`e\` \_f\_"


def test_csv_has_one_row_for_each_run_and_its_figures() -> None:
    made = [OPEN, loop(8, 400), nothing(), run(seconds=5, failing=10)]
    rows = list(csv.DictReader(io.StringIO(sheet(made, ["a", "b", "c", "d,e"]))))
    assert [row["run"] for row in rows] == ["a", "b", "c", "d,e"]
    assert [row["loop"] for row in rows] == ["open", "closed", "open", "open"]
    assert float(rows[0]["samples_per_s"]) == pytest.approx(OPEN.throughput, abs=1e-3)
    assert float(rows[1]["latency_p99_ms"]) == pytest.approx(made[1].measure.histogram("latency").quantile(0.99) / MS, abs=1e-3)
    assert rows[2]["latency_p50_ms"] == ""
    assert rows[3]["all_p99_ms"] == "inf"
    assert float(rows[1]["all_p50_ms_low"]) == pytest.approx(estimates(made[1])["p50"].low / MS, abs=1e-3)
    assert [row["flaw"] for row in rows] == ["", "", "no request came back ok", ""]


def test_runs_are_labelled_by_what_they_differ_in() -> None:
    rates = [run(seconds=5, per_s=50), run(seconds=5, per_s=60)]
    assert labels(rates, ["a", "b"]) == ["rate 50", "rate 60"]
    repeats = [run(seconds=5, seed=1), run(seconds=5, seed=2)]
    assert labels(repeats, ["a", "b"]) == ["a", "b"]
    assert labels(repeats, ["a", "a"]) == ["a (1)", "a (2)"]
    assert labels([*rates, rates[0]], ["a", "b", "c"]) == ["a", "b", "c"]


def test_a_series_differs_in_nothing_but_its_axis() -> None:
    runs = [loop(n, 100, batch=size) for size in (1, 8) for n in (1, 2)] + [loop(4, 100, batch=64)]
    groups = series_of(runs, "concurrency")
    assert [[(made.plan.batch_size, made.plan.concurrency) for made in group] for group in groups] == [
        [(1, 1), (1, 2)], [(8, 1), (8, 2)],
    ]  # fmt: skip


def test_runs_that_do_not_count_are_grey() -> None:
    table = runs_table([run(seconds=5), nothing()], ["a", "b"])
    assert table.grey == {1}
    assert table.rows[1][-1] == "no request came back ok"
