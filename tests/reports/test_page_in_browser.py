"""report.html in a real browser: no complaint, no request, charts that answer to a click, light, dark, on a phone, on paper."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from PIL import Image

from clipload.cli import _exit_code
from tests import browser
from tests.reports.saved import frames_of, loop, measured, save, saved_run

pytest.importorskip("altair", reason="the extra `report` is not installed")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.found() is None, reason="no Chromium here: scripts/install-chromium"),
]
LINES = "document.querySelectorAll('[data-plot=spectrum] .mark-line path')"
FADED = f"[...{LINES}].map((line) => Number(line.getAttribute('opacity') ?? getComputedStyle(line).opacity))"
WORDS = "[data-plot=spectrum] .role-legend-label text"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Of one Run, of several open loops (one unsound), of several closed ones."""
    folder = tmp_path_factory.mktemp("pages")
    saved_run(folder / "one" / "run")
    for rate, lag_ns in ((50, 20_000), (100, 20_000), (150, 90_000_000)):
        plan, frames = measured(seconds=15, per_s=rate, ms=10 + rate / 10, lag_ns=lag_ns)
        save(folder / "rates" / f"rate{rate}", frames_of(plan, frames, 15.0))
    for n in (1, 2, 4, 8, 16, 32, 64):
        made = loop(n, round(min(n, 32) / (0.008 + 0.0005 * min(n, 32))))
        plan, frames = measured(seconds=20, per_s=made.measure["ok"] // 20, ms=20, concurrency=n)
        save(folder / "loops" / f"loop{n}", frames_of(plan, frames, 20.0))
    for name in ("one", "rates", "loops"):
        assert _exit_code(["report", str(folder / name), "--html", "--out", str(folder / name)]) == 0
    return {name: folder / name / "report.html" for name in ("one", "rates", "loops")}


def visit(
    profile: Path, path: Path, work: Callable[[browser.Page], Awaitable[None]], *, dark: bool = False, width: int = 1100
) -> browser.Page:
    """Opens, works, and checks what holds whatever was done: no complaint, nothing asked for but the file itself."""

    async def main() -> browser.Page:
        async with browser.page(profile) as page:
            await page.open(path, dark=dark, width=width)
            await work(page)
            return page

    page = asyncio.run(main())
    assert page.complaints == []
    assert page.requests == [path.as_uri()]
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


@pytest.mark.parametrize("name", ["one", "rates", "loops"])
def test_it_opens_from_the_disk_with_its_charts(pages: dict[str, Path], name: str, tmp_path: Path) -> None:
    visit(tmp_path, pages[name], _charts)


@pytest.mark.parametrize("name", ["one", "rates"])
def test_it_fits_a_phone(pages: dict[str, Path], name: str, tmp_path: Path) -> None:
    visit(tmp_path, pages[name], _charts, width=390)


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
