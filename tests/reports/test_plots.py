"""Every plot is a valid spec, small, and shows what its Runs say; its sentence says the same."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

pytest.importorskip("altair", reason="the extra `report` is not installed")

import vl_convert

from clipload.folding import fold
from clipload.reports.plots import Plot, plots_of, plots_of_many
from clipload.reports.plots.heatmap import heatmap, heatmap_sentence
from clipload.reports.plots.hockey_stick import hockey_stick, hockey_stick_sentence
from clipload.reports.plots.ladder import ladder, ladder_sentence
from clipload.reports.plots.palette import inked, printed
from clipload.reports.plots.sightings import MOST_DRAWN, sightings_chart, sightings_sentence
from clipload.reports.plots.spectrum import SERIES, spectra, spectrum, spectrum_sentence
from clipload.reports.plots.timeline import timeline, timeline_sentence
from clipload.run import Run
from clipload.sightings import ACTIVE, ITEMS, QUEUED, Glimpse, Sighting, TargetSeen
from clipload.spread import estimates
from clipload.units import format_ns
from tests.reports.saved import loop, nothing, run, total
from tests.test_run import MS, START, S, open_frames
from tests.test_sightings import seconds

RUN = run(seconds=60, failing=1)
OPEN = fold(open_frames())
SEEN = run(seconds=10)
SEEN.sightings = seconds(
    {"tokenizer": 0.9, "scheduler": 0.4, "other": 0.001}, gauges={ACTIVE: 6.0, QUEUED: 3.0}, growing={ITEMS: 40.0},
    gpus={0: 0.25}, cores=4, taken=0.5, start_ns=START,
)  # fmt: skip
RATES = [run(per_s=rate, ms=ms, seed=rate, seconds=20) for rate, ms in ((200, 60), (50, 10), (100, 15))]
UNSOUND = run(per_s=150, ms=5, lag_ns=8 * MS, seconds=20)
LADDER = [loop(n, round(min(n, 32) / (0.008 + 0.0005 * min(n, 32)))) for n in (1, 2, 4, 8, 16, 32, 64)]
MANY = {
    "rates": ([*RATES, UNSOUND], {"hockey_stick", "spectra_open"}),
    "ladder": (LADDER, {"ladder", "spectra_closed"}),
    "batches": ([run(per_s=40, batch=n, seconds=5) for n in (1, 4, 16)], {"batch_size", "spectra_open"}),
    "repeats": ([run(seed=n, seconds=5) for n in (1, 2)], {"spectra_open"}),
    "both loops": ([RATES[0], LADDER[0]], set()),
}


def rows(spec: dict[str, Any], *wanted: str) -> list[dict[str, Any]]:
    """All rows of data in a spec that have these columns."""
    return [row for row in _rows(spec) if set(wanted) <= set(row)]


def _rows(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        for data in (node.get("values"), *(node["datasets"].values() if "datasets" in node else ())):
            yield from data if isinstance(data, list) and data and isinstance(data[0], dict) else ()
        for name, child in node.items():
            if name != "datasets":
                yield from _rows(child)
    elif isinstance(node, list):
        for child in node:
            yield from _rows(child)


def told(plots: list[Any]) -> dict[str, Any]:
    return {plot.name: plot for plot in plots}


@pytest.mark.parametrize("made", [RUN, OPEN, LADDER[2]], ids=["failing", "something of everything", "closed"])
def test_the_plots_of_one_run_are_valid_and_finite(made: Run) -> None:
    found = told(plots_of(made))
    assert set(found) == {"spectrum", "timeline", "heatmap"}
    for plot in found.values():
        json.dumps(plot.chart.to_dict(validate=True), allow_nan=False)
        assert plot.sentence[-1] == "."


@pytest.mark.parametrize("name", MANY)
def test_the_plots_of_several_runs_are_those_that_they_bear(name: str) -> None:
    runs, expected = MANY[name]
    found = told(plots_of_many(runs, [f"run {i}" for i in range(len(runs))]))
    assert set(found) == expected
    for plot in found.values():
        json.dumps(plot.chart.to_dict(validate=True), allow_nan=False)
        assert plot.sentence[-1] == "."


@cache
def kinds() -> list[Plot]:
    """One of each at least."""
    return [*plots_of(SEEN), *plots_of_many(RATES, "abc"), *plots_of_many(LADDER, "abcdefg")]


@pytest.mark.slow
def test_every_kind_can_be_drawn_without_a_browser() -> None:
    """By vega itself; a spec that is valid may still make no picture."""
    for plot in kinds():
        picture = vl_convert.vegalite_to_svg(printed(plot.chart))
        assert picture.startswith("<svg")
        assert "NaN" not in picture, plot.name


def test_nothing_is_drawn_of_a_run_without_an_answer() -> None:
    assert plots_of(nothing()) == []
    assert plots_of_many([nothing(), nothing()], "ab") == []
    assert hockey_stick_sentence([nothing(), RATES[1]]).count("no request came back ok") == 1


def test_the_spectrum_is_the_histograms() -> None:
    found = rows(inked(spectrum(RUN)), "odds")
    for name, label in (pair for pair in SERIES.items() if pair[0] != "server_time"):
        histogram, line = RUN.measure.histogram(name), [row for row in found if row["series"] == label]
        assert line[0]["ms"] == pytest.approx(histogram.min / MS, rel=1e-3)
        assert (line[-1]["odds"], line[-1]["ms"]) == (histogram.total, pytest.approx(histogram.max / MS, rel=1e-3))
        assert [row["ms"] for row in line] == sorted(row["ms"] for row in line)
        for row in line[1:-1]:
            assert row["ms"] == pytest.approx(histogram.quantile(1 - 1 / row["odds"]) / MS, rel=0.01)
    said = spectrum_sentence(RUN)
    assert f"99 % at most {format_ns(RUN.measure.histogram('latency').quantile(0.99))}" in said
    assert f"The {RUN.measure.not_ok} requests that were not ok are not drawn" in said
    assert "hardly any of it was spent waiting" in said
    assert "the rest was spent waiting" in spectrum_sentence(run(lag_ns=9 * MS))


def test_a_spectrum_of_an_hour_is_as_small_as_one_of_a_minute() -> None:
    assert len(rows(inked(spectra([("a", RUN)])), "odds")) <= 160


def test_each_answer_is_in_one_cell_of_the_heat_map() -> None:
    for made in (RUN, OPEN):
        cells = rows(inked(heatmap(made)), "n")
        latency = total(made).histogram("latency")
        assert sum(cell["n"] for cell in cells) == latency.total
        assert min(cell["low"] for cell in cells) * MS <= latency.min
        assert max(cell["high"] for cell in cells) * MS >= latency.max
    assert heatmap_sentence(RUN).startswith("Latency is even over time")


def test_what_was_seen_of_the_target_is_drawn_and_said() -> None:
    (plot,) = [plot for plot in plots_of(SEEN) if plot.name == "sightings"]
    json.dumps(plot.chart.to_dict(validate=True), allow_nan=False)
    found = inked(plot.chart)
    panels = [panel["layer"][-1]["encoding"] for panel in found["vconcat"]]
    assert [encoding["y"]["title"] for encoding in panels] == ["CPU (cores)", "requests", "items/s", "busy (%)"]
    assert [encoding["x"]["axis"]["labels"] for encoding in panels] == [False, False, False, True]
    lines: dict[str, list[float]] = {}
    for row in rows(found, "series", "t"):
        lines.setdefault(row["series"], []).extend([] if row["y"] is None else [row["y"]])
    shown = {"tokenizer": 0.9, "scheduler": 0.4, "active": 6, "queued": 3, "items done": 40, "GPU 0": 25}
    assert lines == {name: [value] * 10 for name, value in (shown | {"its cores, whoever uses them": 50}).items()}
    assert plot.title == "What was seen of the target"
    assert plot.sentence == (
        "Of the whole run: the busiest process was the tokenizer, at 90 % of a core around second 0; most requests were queued "
        "around second 0: 3; most items were done around second 0: 40/s; GPU 0: at most 25 % around second 0; "
        "its cores, whoever uses them: at most 50 % around second 0. Not drawn: 1 more process, at most at 0.1 % of a core."
    )


def test_what_was_seen_is_drawn_of_a_target_that_never_answered_too() -> None:
    silent = nothing()
    silent.sightings = seconds({"server": 1.0}, start_ns=START, n=3)
    assert [plot.name for plot in plots_of(silent)] == ["sightings"]


def test_where_all_processes_idle_they_are_drawn_and_of_very_many_the_busiest() -> None:
    made = run(seconds=3)
    made.sightings = seconds({"server": 0.0}, start_ns=START, n=3, cores=0)
    assert {row["y"] for row in rows(inked(sightings_chart(made)), "series", "t")} == {0.0, None}
    busy = [{n: Glimpse("server", 10 * n * i) for n in range(1, 21)} for i in (0, 1)]
    made.sightings = [Sighting(START + i * S, {0: TargetSeen(processes=found)}) for i, found in enumerate(busy)]
    drawn = {row["series"] for row in rows(inked(sightings_chart(made)), "series", "t")}
    assert drawn == {f"server {n}" for n in range(20, 20 - MOST_DRAWN, -1)}
    assert sightings_sentence(made).endswith("Not drawn: 12 more processes, at most at 12 % of a core.")


def test_a_line_of_one_stretch_is_a_line_and_gaps_are_none() -> None:
    made = run(seconds=30)
    told = [1.0, 2.0, *[None] * 20, 5.0, 6.0, 7.0]
    made.sightings = [
        Sighting(START + i * S, {0: TargetSeen({} if value is None else {QUEUED: value})}) for i, value in enumerate(told)
    ]
    found = [(row["t"], row["y"]) for row in rows(inked(sightings_chart(made)), "series", "t")]
    assert found == [(0.0, 2.0), (1.0, 2.0), (1.0, None), (22.5, 6.0), (23.5, 7.0), (24.0, None)]


def test_the_timeline_shows_what_was_due_what_came_back_and_what_failed() -> None:
    found = inked(timeline(RUN))
    assert [panel["layer"][-1]["encoding"]["y"]["title"] for panel in found["vconcat"]] == [
        "requests/s", "latency (ms)", "errors/s", "unanswered", "lag (ms)",
    ]  # fmt: skip
    by = {name: [row["y"] for row in rows(found, "series", "t") if row["series"] == name] for name in ("due", "done ok", "p99")}
    assert by["due"] == [51] * 60
    assert by["done ok"] == [50] * 60
    assert len(by["p99"]) == 60
    assert {row["rate"] for row in rows(found, "rate")} == {1}
    said = timeline_sentence(RUN)
    assert "most errors came around second" in said
    assert "4; " in said, "in flight and waiting together"
    assert "no request failed" in timeline_sentence(RATES[0])
    assert len(inked(timeline(RATES[0]))["vconcat"]) == 4, "no panel of errors without any"


def test_phases_are_marked_where_they_begin() -> None:
    marks = rows(inked(timeline(OPEN)), "phase")
    assert {(row["t"], row["phase"]) for row in marks} == {(1.0, "measure")}


def test_the_hockey_stick_greys_what_does_not_count_and_says_why() -> None:
    found = rows(inked(hockey_stick([*RATES, UNSOUND])), "series", "ms")
    counted = {row["offered"] for row in found if not row["flaw"]}
    assert counted == {50, 100, 200}
    assert {(row["offered"], row["flaw"][:27]) for row in found if row["flaw"]} == {(150, "the generator itself was la")}
    said = hockey_stick_sentence([*RATES, UNSOUND])
    assert "greyed, as they do not count: 150 requests/s (the generator itself was late" in said
    for made in RATES:
        p99 = estimates(made)["p99"]
        (row,) = [row for row in found if row["series"] == "p99" and row["offered"] == made.plan.rate]
        assert row["ms"] == pytest.approx(p99.value / MS, rel=1e-3)
        assert row["open"] is math.isinf(p99.high)
        assert row["low"] <= row["ms"] <= row["high"]


def test_what_is_infinite_stands_at_the_top() -> None:
    failing = run(per_s=50, failing=5, seconds=20)
    found = rows(inked(hockey_stick([RATES[1], failing])), "series", "ms")
    top = max(row["high"] for row in found)
    assert {row["ms"] for row in found if row["said"] == "∞"} == {top}
    assert f"to ∞ (∞) at {55:.4g}" in hockey_stick_sentence([RATES[1], failing])


def test_an_objective_and_a_capacity_are_drawn_where_they_are_given() -> None:
    plain, more = (inked(hockey_stick(RATES, *marks)) for marks in ((), (200 * MS, (90.0, math.inf))))
    assert not rows(plain, "word")
    assert [(row["ms"], row["word"]) for row in rows(more, "word")] == [(200, "objective 200 ms")]
    assert [row["high"] for row in rows(more, "high") if "series" not in row] == [200]


def test_the_ladder_has_the_fit_that_the_points_bear_and_the_reason_of_the_one_that_they_do_not() -> None:
    found = inked(ladder(LADDER))
    curves = rows(found, "piece")
    assert {row["series"] for row in curves} == {"batch law"}
    assert {row["piece"] for row in curves if row["n"] > 64} == {"extrapolated"}
    assert {row["piece"] for row in curves if row["n"] < 64} == {"tried"}
    assert max(row["x"] for row in curves) == pytest.approx(32 / (0.008 + 0.0005 * 32), rel=0.05)
    said = ladder_sentence(LADDER)
    assert re.search(
        r"Batch law: (7\.9|8\.0)\d ms a batch and 50\d µs a request, 1333 requests/s in the fullest batch, 32\.", said
    )
    assert "USL: no fit: " in said
    few = ladder_sentence(LADDER[:3])
    assert few.count("no fit: 3 sound concurrencies where 6 are needed") == 2
    assert not rows(inked(ladder(LADDER[:3])), "piece")


def test_a_client_limited_rung_does_not_count() -> None:
    limited = loop(128, 1300)
    for account in limited.workers.values():
        account.loads = dict.fromkeys(account.loads, (950 * MS, 0))
    assert "Greyed, as they do not count: 128 (client-limited" in ladder_sentence([*LADDER, limited])
    grey = [row for row in rows(inked(ladder([*LADDER, limited])), "n", "x_low") if row["flaw"]]
    assert {row["n"] for row in grey} == {128}


def test_a_legend_can_be_clicked() -> None:
    for plot in kinds():
        if plot.name != "heatmap":
            params = inked(plot.chart)["params"]
            assert all(param["bind"] == "legend" for param in params)
            assert len({param["name"] for param in params}) == len(params)


def test_the_page_has_its_own_title_and_a_picture_its_own_ground() -> None:
    (plot,) = [plot for plot in plots_of_many(MANY["batches"][0], "abc") if plot.name == "batch_size"]
    assert (inked(plot.chart)["background"], "title" in inked(plot.chart)) == ("transparent", False)
    assert (printed(plot.chart)["background"], "title" in printed(plot.chart)) == ("white", True)
