"""The page and the texts of a campaign: the answer first, every figure that of its Runs, words for each chart, clear errors."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clipload.campaign import DOCUMENT
from clipload.cli import _exit_code
from clipload.errors import EXIT_OK, EXIT_USAGE
from clipload.reports.answers import Head, head_of_campaign
from clipload.reports.campaign_tables import probes, tables_of_campaign
from clipload.reports.points import offered
from clipload.search import Over
from clipload.searches import answer_of, recalled
from tests import browser
from tests.reports import campaigns, saved

pytest.importorskip("altair", reason="the extra `report` is not installed")
from clipload.reports.campaign_plots import plots_of_campaign
from clipload.reports.plots.ladder import ladder

LATE = 9  # the probe of the made-up find whose generator is late


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("campaigns")
    return {
        "find": campaigns.find(folder / "find", unsound=LATE),
        "doomed": campaigns.find(folder / "doomed", slo="p90<2ms"),
        "sweep": campaigns.sweep(folder / "sweep"),
        "repeats": campaigns.repeated(folder / "repeats"),
    }


def head(directory: Path) -> Head:
    return head_of_campaign(recalled(directory))


def values(chart: Any) -> list[dict[str, Any]]:
    """All rows of a chart's data."""
    spec = chart.to_dict(validate=True)
    found = list(spec.get("datasets", {}).values())

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if isinstance(node.get("data"), dict) and "values" in node["data"]:
                found.append(node["data"]["values"])
            for child in node.values():
                walk(child)
        elif isinstance(node, list):
            for child in node:
                walk(child)

    walk(spec)
    return [row for rows in found for row in rows]


def test_a_campaign_that_is_read_again_has_the_answer_that_it_had(made: dict[str, Path]) -> None:
    for name, directory in made.items():
        campaign = recalled(directory)
        kept = json.loads((directory / DOCUMENT).read_text())
        assert json.loads(msgspec.json.encode(answer_of(campaign))) == kept["answer"], name
        assert json.loads(msgspec.json.encode(campaign.document())) == kept, name


def test_the_head_of_a_find_is_its_answer(made: dict[str, Path]) -> None:
    campaign = recalled(made["find"])
    search: Over = campaign.search
    (branch,) = search.branches
    answer, found = branch.answer, head_of_campaign(campaign)
    assert answer.outcome == "found"
    figures = {name: (value, below) for name, value, below in found.figures}
    assert figures["requests/s"] == (f"{answer.rate:.4g}", f"{answer.low:.4g} … {answer.high:.4g}")
    assert figures["bound by"][0] == "latency"
    assert figures["bound by"][1].startswith(answer.shape or "cliff or smooth")
    assert figures["confirmed"][0] == ("yes" if answer.confirmed else "no")
    assert figures["ceiling"][0] == "160"
    assert f"{answer.rate:.4g} requests/s" in found.verdict
    said = [remark.sentence.lower() for remark in found.findings if remark.about == "left out"]
    assert said == [f"{sentence.lower()}." for sentence in answer.left_out] != []
    assert found.tone == ("sound" if answer.confirmed and answer.monotone else "degraded")


def test_a_find_without_an_answer_says_why(made: dict[str, Path]) -> None:
    found = head(made["doomed"])
    assert (found.tone, found.figures) == ("degraded", ())
    assert "No capacity is stated: even the lowest load, 8/s, misses the objective" in found.verdict


def test_a_find_that_is_under_way_says_so(made: dict[str, Path], tmp_path: Path) -> None:
    document = json.loads((made["find"] / DOCUMENT).read_text())
    for path in made["find"].iterdir():
        if path.is_dir():
            (tmp_path / path.name).symlink_to(path)
    for count, said in ((2, "not known yet"), (6, "sustains perhaps|sustains at least|not known yet")):
        short = document | {"points": document["points"][:count], "ended": "interrupted"}
        (tmp_path / DOCUMENT).write_text(json.dumps(short))
        found = head(tmp_path)
        assert found.tone == "degraded"
        assert re.search(said, found.verdict), found.verdict
        assert f"clipload find --resume {tmp_path}" in [remark.remedy for remark in found.findings]


def test_the_capacity_chart_has_objective_band_and_greyed_points(made: dict[str, Path]) -> None:
    campaign = recalled(made["find"])
    plots = {plot.name: plot for plot in plots_of_campaign(campaign)}
    answer = campaign.search.branches[0].answer
    rows = values(plots["capacity"].chart)
    assert {"ms": 100.0, "word": "objective 100 ms"} in rows
    assert {"offered": answer.low, "high": pytest.approx(answer.high)} in rows
    late = campaign.points[LATE]
    assert late.told.fate == "unsound"
    assert late.run is not None
    grey = [row for row in rows if row.get("flaw")]
    assert {row["offered"] for row in grey} == {float(f"{offered(late.run):.4g}")}
    assert all("the generator itself was late" in row["flaw"] for row in grey)
    assert "greyed, as they do not count" in plots["capacity"].sentence
    course = [row for row in values(plots["course"].chart) if "purpose" in row]
    assert {(row["n"], row["rate"]) for row in course} == {
        (place + 1, point.ask.values["rate"]) for place, point in enumerate(campaign.points) if "rate" in point.ask.values
    }


def test_intervals_that_nothing_bounds_have_no_bar() -> None:
    """Vega complains of a layer without a number; a few requests a second give such a ladder."""
    runs = [saved.run(concurrency=n, per_s=2, ms=400.0, seconds=4, seed=n) for n in (1, 2)]
    rows, chart = [row for row in values(ladder(runs)) if "r" in row], ladder(runs).to_dict(validate=False)
    assert rows
    assert all(row["r_high"] is None for row in rows), "the case that it is about"
    response = chart["vconcat"][1]["layer"]
    assert [layer["mark"]["type"] for layer in response] == ["point"]


@pytest.mark.slow
def test_every_chart_is_said_in_words(made: dict[str, Path]) -> None:
    names = {
        "find": {"capacity", "course", "ceiling", "edge"},
        "doomed": {"capacity", "course", "ceiling"},
        "sweep": {"batch_size", "spectra_closed"},
        "repeats": {"over_runs", "spectra_open"},
    }
    for kind, directory in made.items():
        plots = plots_of_campaign(recalled(directory))
        assert {plot.name for plot in plots} == names[kind], kind
        for plot in plots:
            assert len(plot.sentence.split()) > 5, plot.name
            assert plot.sentence.endswith("."), plot.name


def test_a_sweep_over_batch_size_has_the_law_of_its_target(made: dict[str, Path]) -> None:
    """8 ms a batch and half a millisecond a sample, whose throughput goes on rising."""
    campaign = recalled(made["sweep"])
    (plot,) = [plot for plot in plots_of_campaign(campaign) if plot.name == "batch_size"]
    match = re.search(r"the batch law: ([\d.]+) ms \(.*\) a batch and (\d+) µs \(.*\) a sample, so at least", plot.sentence)
    assert match, plot.sentence
    assert float(match[1]) == pytest.approx(8.0, rel=0.03)
    assert float(match[2]) == pytest.approx(500, rel=0.03)
    sizes = {row["batch_size"] for row in values(plot.chart)}
    assert {1, 2, 4, 8, 16, 32, 64} < sizes, "the points, and the law between them"
    assert head_of_campaign(campaign).verdict == "The most is 1600 samples/s, at batch-size 64."


def test_probes_are_told_one_by_one(made: dict[str, Path]) -> None:
    campaign = recalled(made["find"])
    table = probes(campaign)
    assert [int(row[0]) for row in table.rows] == list(range(1, len(campaign.points) + 1))
    assert table.grey == {LATE}
    assert table.rows[LATE][-1].startswith("no statement: the generator itself was late")
    for row, point in zip(table.rows, campaign.points):
        assert point.run is not None
        assert row[3] == f"{point.run.requests_per_s:.4g}"
        if "rate" in point.ask.values:
            assert row[2] == f"{point.ask.values['rate']:g}/s"
    assert [len(table.head)] * len(table.rows) == [len(row) for row in table.rows]


@pytest.mark.slow
def test_each_format_of_each_kind(made: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    for kind, directory in made.items():
        campaign = recalled(directory)
        found = head_of_campaign(campaign)
        assert _exit_code(["report", str(directory), "--md"]) == EXIT_OK
        text = capsys.readouterr().out
        assert text.replace("\\", "").startswith(f"### {found.title}\n\n**{found.verdict}**"), kind
        assert [f"#### {table.title}" in text for table in tables_of_campaign(campaign)] == [True] * text.count("#### ")
        assert _exit_code(["report", str(directory), "--csv"]) == EXIT_OK
        rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
        assert [row["run"] for row in rows] == [point.directory.name for point in campaign.points if point.directory]
        assert [row["fate"] for row in rows] == [point.told.fate for point in campaign.points]
        assert _exit_code(["report", str(directory), "--json"]) == EXIT_OK
        kept = json.loads((directory / DOCUMENT).read_text())
        assert json.loads(capsys.readouterr().out) == kept | {"directory": str(directory)}


def test_a_campaign_that_cannot_be_read(made: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = json.loads((made["sweep"] / DOCUMENT).read_text())
    cases = {
        "damaged": ("{", "is damaged", f"clipload report {tmp_path}/*/"),
        "newer": (json.dumps(kept | {"schema": 99}), "has schema 99, which is newer", "update clipload"),
        "gone": (json.dumps(kept), "run000", "can still be reported"),
    }
    for name, (text, said, remedy) in cases.items():
        (tmp_path / DOCUMENT).write_text(text)
        assert _exit_code(["report", str(tmp_path), "--md"]) == EXIT_USAGE, name
        err = capsys.readouterr().err
        assert said in err, name
        assert remedy in err, name


SHOWN = ("find", "sweep", "repeats")


@pytest.mark.slow
@pytest.mark.skipif(browser.found() is None, reason="no Chromium here: scripts/install-chromium")
@pytest.mark.parametrize("kind", SHOWN)
@pytest.mark.parametrize(("width", "dark"), [(1100, False), (1100, True), (390, False)])
def test_the_page_opens(made: dict[str, Path], tmp_path: Path, kind: str, width: int, dark: bool) -> None:
    """No complaint, no request but for the file, the answer above the charts, every chart drawn within the page's width."""
    assert _exit_code(["report", str(made[kind]), "--out", str(tmp_path)]) == EXIT_OK
    path = tmp_path / "report.html"

    async def main() -> None:
        async with browser.page(tmp_path / "profile") as page:
            await page.open(path, width=width, dark=dark)
            drawn = await page.evaluate(
                "[...document.querySelectorAll('.chart')].map((one) => [one.dataset.plot, one.dataset.drawn, "
                "one.querySelectorAll('svg .role-mark path, svg .role-mark rect').length])"
            )
            assert [name for name, _, _ in drawn] == [plot.name for plot in plots_of_campaign(recalled(made[kind]))]
            assert all(done == "true" and marks > 0 for _, done, marks in drawn), drawn
            said = await page.evaluate("document.querySelector('.verdict').textContent")
            assert head(made[kind]).verdict in said.replace("\u00a0", " ")
            scroll, inner = await page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
            assert scroll <= inner
            if kind == "find":
                paths = "[...document.querySelectorAll('[data-plot=capacity] .mark-line path')]"
                faded = f"{paths}.filter((line) => Number(line.getAttribute('opacity') ?? 1) < 0.5).length"
                assert await page.evaluate(faded) == 0
                await page.click("[data-plot=capacity] .role-legend-label text")
                await page.wait_for(f"{faded} === 2")
            assert page.complaints == []
            assert page.requests == [path.as_uri()]

    asyncio.run(main())
