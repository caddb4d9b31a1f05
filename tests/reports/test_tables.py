"""Tables, Markdown and CSV: the figures are those of the Run, and nothing in them is taken for markup."""

from __future__ import annotations

import csv
import io
import math
import re

import pytest

from clipload.agreement import Agreement
from clipload.archive import PERCENTILES
from clipload.folding import fold
from clipload.likeness import CLASSES
from clipload.reports.markdown import cell, markdown_of, markdown_of_many
from clipload.reports.percentiles import Figure, interval_said
from clipload.reports.points import labels, series_of
from clipload.reports.sheet import sheet
from clipload.reports.tables import health, ledger, runs_table, tables_of, targets, times, workers
from clipload.reports.text import describe_images
from clipload.spread import estimates
from clipload.units import format_ns
from tests.reports.saved import loop, nothing, run
from tests.reports.test_integrity_report import LEAK, run_with
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


def test_with_each_of_the_times_stands_its_interval_and_a_p999_that_the_data_cannot_carry_is_pale() -> None:
    """2000 requests hold two beyond p99.9, and twenty beyond p99."""
    made = run(seconds=40)
    for row in times(made).rows:
        for label, text in zip(PERCENTILES, row[1:6]):
            estimate = made.figures.quantiles[row[0].replace(" ", "_")][label]
            assert isinstance(text, Figure)
            assert text.pale is not estimate.sufficient
            assert text.below == ("" if text == "< 1 µs" and not text.pale else interval_said(estimate))
    latency = times(made).rows[0]
    assert [text.pale for text in latency[1:6]] == [False] * 4 + [True]
    assert latency[1].below == made.figures.quantiles["latency"]["p50"].span
    assert f"| *{latency[5]} (insufficient)* |" in markdown_of(made)
    assert f"| {latency[4]} ({latency[4].below}) |" in markdown_of(made)


def test_health_has_the_interval_of_its_percentile() -> None:
    made = run(seconds=40)
    (text,) = [row[1] for row in health(made).rows if row[0] == "p99 without the generator's lag"]
    assert isinstance(text, Figure)
    assert text.below == made.figures.quantiles["unlagged"]["p99"].span


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
    assert workers(OPEN).sentence.startswith("With each percentile its 95 % interval"), "too few requests to tell"


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
    shift = re.search(r"\(\+(\d+\.\d) % with it\)", rows["p99 without the generator's lag"])
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


def test_csv_has_the_bounds_of_each_percentile_and_none_above_where_it_rests_on_too_little() -> None:
    made = run(seconds=40, per_s=20)
    (row,) = csv.DictReader(io.StringIO(sheet([made], ["a"])))
    for what, found in (
        ("latency", made.figures.quantiles["latency"]),
        ("service", made.figures.quantiles["service"]),
        ("all", {label: made.figures.with_failures["latency"][label] for label in ("p50", "p90", "p99")}),
    ):
        for label, estimate in found.items():
            cells = [float(row[f"{what}_{label}_ms{end}"]) for end in ("", "_low", "_high")]
            high = estimate.high / MS if estimate.sufficient else math.inf
            assert cells == pytest.approx([estimate.value / MS, estimate.low / MS, high], abs=1e-3)
    assert row["latency_p99_ms_high"] == "inf"
    assert made.figures.quantiles["latency"]["p99"].bounded, "eight requests beyond it are too few all the same"
    (empty,) = csv.DictReader(io.StringIO(sheet([nothing()], ["a"])))
    assert {empty[f"latency_p99_ms{end}"] for end in ("", "_low", "_high")} == {""}


def test_csv_has_what_was_compared_and_the_share_of_wrong_vectors_with_its_bounds() -> None:
    """Nothing, not 0, where nothing was compared."""
    made = [run_with(found) for found in (LEAK, Agreement(skipped="--no-integrity"), None)]
    leak, skipped, old = csv.DictReader(io.StringIO(sheet(made, "abc")))
    share = LEAK.share
    assert share is not None
    assert (leak["compared"], leak["wrong"], leak["wrong_class_different"], leak["wrong_class_swapped"]) == (
        "245",
        "35",
        "31",
        "4",
    )
    assert sum(int(leak[f"wrong_class_{name}"]) for name in CLASSES) == LEAK.wrong
    cells = [float(leak[f"wrong_share{end}"]) for end in ("", "_low", "_high")]
    assert cells == pytest.approx([share.value, share.low, share.high], abs=1e-6)
    for row in (skipped, old):
        assert {cell for name, cell in row.items() if name == "compared" or name.startswith("wrong")} == {""}


def test_of_several_runs_each_percentile_has_as_much_of_its_interval_as_is_believed() -> None:
    made = run(seconds=40, per_s=20)
    (row,) = runs_table([made], ["a"]).rows
    p50, p90, p99 = row[3:6]
    assert (p50, p50.below) == (format_ns(estimates(made)["p50"].value), estimates(made)["p50"].span)
    assert (p90.pale, p99.pale) == (False, True)
    assert p99.below == f"few: ≥ {format_ns(estimates(made)['p99'].low)}"


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
