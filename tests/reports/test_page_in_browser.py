"""report.html and a validation's page in a real browser: no complaint, no request, charts that answer to clicks, any screen."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from PIL import Image

from clipload.cli import _exit_code
from clipload.validation import Validation
from clipload.values import Text
from tests import browser
from tests.reports.saved import frames_of, loop, measured, save, saved_run
from tests.reports.validations import REMOTE, clip_like, items_of, parity_of, validation
from tests.test_run import START
from tests.test_sightings import seconds

pytest.importorskip("altair", reason="the extra `report` is not installed")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.found() is None, reason="no Chromium here: scripts/install-chromium"),
]
LINES = "document.querySelectorAll('[data-plot=spectrum] .mark-line path')"
FADED = f"[...{LINES}].map((line) => Number(line.getAttribute('opacity') ?? getComputedStyle(line).opacity))"
EVIL = "</script><img src=x onerror=window.hit=1>"
WORDS = "[data-plot=spectrum] .role-legend-label text"

_POINTS = "[...document.querySelectorAll('[data-plot=map] .role-mark.mark-symbol path')]"
_NAMES = f"{_POINTS}.map((one) => one.__data__.datum.name)"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Of one Run, of several open loops (one unsound), of several closed ones, of validations that failed and passed."""
    folder = tmp_path_factory.mktemp("pages")
    saved_run(folder / "one" / "run")
    for rate, lag_ns in ((50, 20_000), (100, 20_000), (150, 90_000_000)):
        plan, frames = measured(seconds=15, per_s=rate, ms=10 + rate / 10, lag_ns=lag_ns)
        save(folder / "rates" / f"rate{rate}", frames_of(plan, frames, 15.0))
    for n in (1, 2, 4, 8, 16, 32, 64):
        made = loop(n, round(min(n, 32) / (0.008 + 0.0005 * min(n, 32))))
        plan, frames = measured(seconds=20, per_s=made.measure["ok"] // 20, ms=20, concurrency=n)
        save(folder / "loops" / f"loop{n}", frames_of(plan, frames, 20.0))
    plan, frames = measured(seconds=12)
    *before, end = frames_of(plan, frames, 12.0)
    save(folder / "seen" / "run", [*before, *seconds({"tokenizer": 0.9, "other": 0.0}, gpus={0: 0.4}, start_ns=START), end])
    for name in ("one", "rates", "loops", "seen"):
        assert _exit_code(["report", str(folder / name), "--html", "--out", str(folder / name)]) == 0
    named = {name: folder / name / "report.html" for name in ("one", "rates", "loops", "seen")}
    from clipload.reports.validation_page import validation_page

    named["validation"] = folder / "validation.html"
    found = validation(60, 40, (EVIL, Text(EVIL)), REMOTE)
    named["validation"].write_text(validation_page(found, 12, 42, 0.0), encoding="utf-8")
    items = items_of(9, 6)
    vectors = clip_like([item.kind for item in items])
    named["passed"] = folder / "passed.html"
    passed = Validation(server="s", parity=parity_of(items, vectors, vectors))
    named["passed"].write_text(validation_page(passed, 12, 42, 0.0), encoding="utf-8")
    return named


def visit(
    profile: Path, path: Path, work: Callable[[browser.Page], Awaitable[None]], *, dark: bool = False, width: int = 1100
) -> browser.Page:
    """Opens, works, and checks what holds whatever was done: no complaint, nothing asked for but the file and what is in it."""

    async def main() -> browser.Page:
        async with browser.page(profile) as page:
            await page.open(path, dark=dark, width=width)
            await work(page)
            return page

    page = asyncio.run(main())
    assert page.complaints == []
    assert [one for one in page.requests if not one.startswith("data:")] == [path.as_uri()]
    return page


async def _charts(page: browser.Page) -> None:
    """Each place has a drawing with marks in it, as wide as the page at most."""
    drawn = await page.evaluate(
        "[...document.querySelectorAll('.chart')].map((place) => [place.dataset.plot, place.dataset.drawn, "
        "place.querySelectorAll('svg .role-mark path, svg .role-mark rect').length, place.querySelector('svg').clientWidth])"
    )
    assert drawn
    for name, done, marks, width in drawn:
        assert done == "true", name
        assert marks > 0, name
        assert width > 0, name
    scroll, inner = await page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert scroll <= inner, "the page itself never scrolls sideways"


@pytest.mark.parametrize("name", ["one", "rates", "loops", "seen", "validation", "passed"])
def test_it_opens_from_the_disk_with_its_charts(pages: dict[str, Path], name: str, tmp_path: Path) -> None:
    visit(tmp_path, pages[name], _charts)


@pytest.mark.parametrize("name", ["one", "rates", "seen", "validation"])
def test_it_fits_a_phone(pages: dict[str, Path], name: str, tmp_path: Path) -> None:
    visit(tmp_path, pages[name], _charts, width=390)


@pytest.mark.parametrize("dark", [False, True])
def test_what_was_seen_of_a_target_is_a_chart_beside_its_table(pages: dict[str, Path], dark: bool, tmp_path: Path) -> None:
    async def work(page: browser.Page) -> None:
        lines = "document.querySelectorAll('[data-plot=sightings] .mark-line path').length"
        assert await page.evaluate(lines) == 3, "the process, the GPU, the cores"
        words = "[...document.querySelectorAll('[data-plot=sightings] .role-legend-label text')].map((one) => one.textContent)"
        assert set(await page.evaluate(words)) == {"tokenizer", "GPU 0", "its cores, whoever uses them"}
        assert await page.evaluate("document.querySelector('table.limit').rows.length") == 3

    visit(tmp_path, pages["seen"], work, dark=dark)


def test_light_and_dark_are_what_the_reader_asked_for(pages: dict[str, Path], tmp_path: Path) -> None:
    grounds, words = {}, {}
    for dark in (False, True):

        async def look(page: browser.Page, dark: bool = dark) -> None:
            picture = Image.open(io.BytesIO(await page.picture())).convert("L")
            grounds[dark] = picture.getpixel((2, 2)), picture.getpixel((picture.width // 2, picture.height - 4))
            words[dark] = await page.evaluate(f"getComputedStyle(document.querySelector('{WORDS}')).fill")

        visit(tmp_path / str(dark), pages["one"], look, dark=dark)
    assert min(grounds[False]) > 240  # type: ignore[type-var]
    assert max(grounds[True]) < 40  # type: ignore[type-var]
    assert words[False] != words[True], "the words of the charts follow"


def test_a_click_on_a_legend_shows_one_series_and_another_brings_all_back(pages: dict[str, Path], tmp_path: Path) -> None:
    async def work(page: browser.Page) -> None:
        assert await page.evaluate(FADED) == [1, 1]
        await page.click(WORDS)
        await page.wait_for(f"{FADED}.filter((opacity) => opacity < 0.5).length === 1")
        await page.click(WORDS)
        await page.wait_for(f"{FADED}.every((opacity) => opacity === 1)")

    visit(tmp_path, pages["one"], work)


def test_the_keyboard_reaches_the_legends(pages: dict[str, Path], tmp_path: Path) -> None:
    async def work(page: browser.Page) -> None:
        await page.evaluate(f"document.querySelector('{WORDS}').focus()")
        assert await page.evaluate("document.activeElement.getAttribute('role')") == "button"
        await page.press("Enter", "Enter")
        await page.wait_for(f"{FADED}.filter((opacity) => opacity < 0.5).length === 1")
        await page.press("Enter", "Enter")
        await page.wait_for(f"{FADED}.every((opacity) => opacity === 1)")

    visit(tmp_path, pages["one"], work)


def test_it_is_drawn_anew_when_the_window_changes(pages: dict[str, Path], tmp_path: Path) -> None:
    async def work(page: browser.Page) -> None:
        await page.ask("Emulation.setDeviceMetricsOverride", width=700, height=900, deviceScaleFactor=1, mobile=False)
        await page.wait_for("document.querySelector('[data-plot=timeline] svg').getBoundingClientRect().width <= 700")
        await _charts(page)

    visit(tmp_path, pages["one"], work)


def test_it_prints(pages: dict[str, Path], tmp_path: Path) -> None:
    async def work(page: browser.Page) -> None:
        assert (await page.printed()).startswith(b"%PDF-")

    visit(tmp_path, pages["one"], work, dark=True)


@pytest.mark.parametrize("width", [1100, 390])
def test_thumbnails_are_loaded_and_no_text_is_markup(pages: dict[str, Path], width: int, tmp_path: Path) -> None:
    """Not in a pair, nor in what the chart tells of a point: the text whose name and words are markup is one of the worst."""

    async def work(page: browser.Page) -> None:
        shown = await page.evaluate(
            "[...document.images].map((one) => [one.complete, one.naturalWidth, one.getBoundingClientRect().width])"
        )
        assert len(shown) == 3, "of the images that stray or are far off; one is the server's alone to open"
        assert all(complete and 0 < natural <= 128 and abs(natural - drawn) <= 1 for complete, natural, drawn in shown)
        assert await page.evaluate("document.querySelectorAll('.pairs li').length") == 12
        words = await page.evaluate("[...document.querySelectorAll('.pairs .words')].map((one) => one.textContent)")
        assert EVIL in words
        spec = await page.evaluate("JSON.stringify(specs.map)")
        assert "onerror" in spec, "it is on the map"
        place = next(number for number, name in enumerate(await page.evaluate(_NAMES)) if EVIL in name)
        await page.evaluate(f"{_POINTS}[{place}].setAttribute('id', 'evil')")
        await page.click("#evil")
        await page.wait_for("document.querySelector('#vg-tooltip-element.visible')?.textContent.includes('onerror')")
        assert await page.evaluate("document.images.length") == 3
        assert await page.evaluate("window.hit === undefined")

    visit(tmp_path, pages["validation"], work, width=width)


def test_the_map_shows_both_sides(pages: dict[str, Path], tmp_path: Path) -> None:
    """Joined where they differ; a click on a kind's word leaves the other pale."""

    async def work(page: browser.Page) -> None:
        drawn = await page.evaluate(
            f"[document.querySelectorAll('[data-plot=map] .mark-rule.role-mark line').length, {_POINTS}.length]"
        )
        assert drawn == [8, 102 + 8]
        pale = f"{_POINTS}.filter((one) => Number(one.getAttribute('opacity') ?? 1) < 0.5).length"
        assert await page.evaluate(pale) == 0
        await page.click("[data-plot=map] .role-legend-label text")
        await page.wait_for(f"{pale} === 41 + 4")
        await page.click("[data-plot=map] .role-legend-label text")
        await page.wait_for(f"{pale} === 0")

    visit(tmp_path, pages["validation"], work)
