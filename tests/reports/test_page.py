"""The page: one file, whole in itself, the verdict first, nothing of a Run taken for markup."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

pytest.importorskip("altair", reason="the extra `report` is not installed")
pytest.importorskip("jinja2", reason="the extra `report` is not installed")

from clipload.folding import fold
from clipload.reports import page as module
from clipload.reports.page import head_of, head_of_many, page, tied
from clipload.reports.plots import Plot, plots_of
from clipload.reports.plots.spectrum import spectra
from clipload.reports.tables import runs_table, tables_of
from clipload.run import Run
from tests.reports.saved import loop, nothing, run
from tests.test_run import MS, open_frames

OPEN, UNSOUND = fold(open_frames()), run(seconds=20, ms=5, lag_ns=8 * MS)
EVIL = "</script><img src=x onerror=alert(1)>"


class Seen(HTMLParser):
    """Tags with their attributes, and the text of the page without scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words, self._in = "", ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in = tag

    def handle_endtag(self, tag: str) -> None:
        self._in = self._in if tag != self._in else ""

    def handle_data(self, data: str) -> None:
        self.words += "" if self._in in ("script", "style") else data


@pytest.fixture(scope="module", autouse=True)
def _no_vega() -> Any:
    """Vega itself takes seconds to bundle; the tests in a browser have it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.vl_convert, "javascript_bundle", lambda snippet: f"/* vega */ {snippet}")
        yield


def page_of(made: Run) -> str:
    return page(head_of(made), plots_of(made), tables_of(made), ["20260101T000000Z-run"])


def test_nothing_is_fetched() -> None:
    seen = Seen(page_of(OPEN))
    names = {name for _, attributes in seen.tags for name in attributes}
    assert names & {"src", "href", "srcset", "action", "data"} == set()
    (policy,) = [one["content"] for tag, one in seen.tags if tag == "meta" and one.get("http-equiv")]
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    assert "http" not in policy


def test_the_verdict_comes_first_and_every_plot_has_its_words() -> None:
    text = page_of(OPEN)
    seen = Seen(text)
    places = [seen.words.index(word) for word in ("The generator was sound", "samples/s", "How long requests took", "Ledger")]
    assert places == sorted(places)
    specs = json.loads(re.search(r'id="specs">(.*?)</script>', text)[1])
    drawn = [one["data-plot"] for tag, one in seen.tags if one.get("class") == "chart"]
    assert drawn == list(specs) == ["spectrum", "timeline", "heatmap"]
    for plot in plots_of(OPEN):
        assert specs[plot.name]["description"] == plot.sentence
        assert tied(plot.sentence) in seen.words


def test_below_a_percentile_stands_its_interval_and_what_rests_on_too_little_is_pale() -> None:
    own = OPEN.own.of_worker(0, "latency")["p99"]
    assert f'<td class=pale>{own.said}<span class="within">insufficient</span></td>' in page_of(OPEN)
    enough = run(seconds=40).own.of_worker(0, "latency")["p50"]
    assert f'<td>{enough.said}<span class="within">{tied(enough.span)}</span></td>' in page_of(run(seconds=40))


def test_what_a_run_holds_is_never_markup() -> None:
    made = fold(open_frames())
    made.plan = made.plan.replace(model=EVIL, data_source="folder", data=EVIL)
    made.examples["http_500"] = EVIL
    text = page_of(made)
    assert EVIL not in text
    assert text.count("<script") == text.count("</script>") == 3
    assert "img" not in {tag for tag, _ in Seen(text).tags}
    assert Seen(text).words.count(EVIL) >= 3, "and is shown all the same"


def test_not_even_in_a_chart() -> None:
    plot = Plot("spectra", EVIL, EVIL, spectra([(EVIL, OPEN)]))
    text = page(head_of(OPEN), [plot], [], [EVIL])
    assert EVIL not in text
    assert text.count("<script") == text.count("</script>") == 3
    specs = json.loads(re.search(r'id="specs">(.*?)</script>', text)[1])
    assert specs["spectra"]["description"] == EVIL


def test_an_unsound_generator_makes_no_statement() -> None:
    text = page_of(UNSOUND)
    assert "No statement is made about the target." in text
    assert "<main class=doubtful>" in text
    assert 'class="fatal"' in text
    assert "the generator itself was late" in text


def test_a_run_that_ended_early_says_so() -> None:
    assert "It ended early: overload." in page_of(run(seconds=5, ended="overload"))
    assert "It ended early" not in page_of(OPEN)


def test_a_page_without_an_answer_says_why_it_is_empty() -> None:
    text = page_of(nothing())
    assert "There is nothing to draw: no request came back ok." in text
    assert "5 × connect" in text


def test_several_runs_have_one_table_and_the_grey_ones_say_why() -> None:
    runs = [run(seconds=5, per_s=50), run(seconds=5, per_s=60), UNSOUND]
    text = page(head_of_many(runs), [], [runs_table(runs, "abc")], ["a", "b", "c"])
    assert "2 of 3 Runs count; the others are grey." in text
    assert text.count("<tr class=grey>") == 1
    assert Seen(text).words.count("the generator itself was late") == 1
    both = runs_table([runs[0], loop(4, 100)], "ab")
    assert "Closed and open loops stand side by side here" in both.sentence


def test_the_page_is_a_function_of_the_run() -> None:
    assert page_of(fold(open_frames())) == page_of(fold(open_frames()))


def test_a_figure_and_its_unit_stay_together() -> None:
    assert tied("p99 is 12.3 ms of 5 s, 3 samples") == "p99 is 12.3\u00a0ms of 5\u00a0s, 3 samples"
    assert tied("at most 40 % of a core") == "at most 40\u00a0% of a core"
