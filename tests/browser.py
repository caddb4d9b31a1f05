"""A headless Chromium, driven through its own DevTools protocol: what a page says, asks for, shows and does when clicked."""

from __future__ import annotations

import asyncio
import base64
import itertools
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
START_S, WAIT_S = 60.0, 60.0


def found() -> str | None:
    """The program, by any of its names."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """One tab. `complaints`: exceptions, console errors and log entries; `requests`: the URLs it asked for."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._numbers = socket, itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self.complaints: list[str] = []
        self.requests: list[str] = []

    async def listen(self) -> None:
        async for message in self._socket:
            event = message.json()
            if "id" in event:
                self._answers.pop(event["id"]).set_result(event)
            else:
                self._hear(event["method"], event["params"])

    def _hear(self, method: str, params: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"]))
        elif (method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert")) or (
            method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning")
        ):
            self.complaints.append(str(params))
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    async def ask(self, method: str, **params: Any) -> Any:
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": params})
        answer = await asyncio.wait_for(self._answers[number], WAIT_S)
        assert "error" not in answer, (method, answer["error"])
        return answer["result"]

    async def evaluate(self, expression: str) -> Any:
        """Its value as JSON; a promise is waited for."""
        done = await self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    async def open(self, path: Path, *, width: int = 1100, height: int = 900, dark: bool = False) -> None:
        """Loads a file; returns when all its charts are drawn."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.ask(f"{domain}.enable")
        phone = width < 600
        await self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2, mobile=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.ask("Emulation.setEmulatedMedia", features=[scheme])
        await self.ask("Page.navigate", url=path.absolute().as_uri())
        await self.wait_for("document.documentElement?.dataset.ready === 'true'")

    async def wait_for(self, condition: str) -> None:
        deadline = time.monotonic() + WAIT_S
        while not await self.evaluate(condition):
            assert time.monotonic() < deadline, (condition, self.complaints)
            await asyncio.sleep(0.02)

    async def click(self, selector: str) -> None:
        """With the mouse, on the middle of the first element that fits."""
        box = await self.evaluate(
            f"(() => {{ const e = document.querySelector({selector!r}); e.scrollIntoView({{block: 'center'}}); "
            "const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            await self.ask("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    async def press(self, key: str, code: str) -> None:
        for kind in ("keyDown", "keyUp"):
            await self.ask("Input.dispatchKeyEvent", type=kind, key=key, code=code)

    async def picture(self) -> bytes:
        """The whole page as PNG."""
        shot = await self.ask("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(shot["data"])

    async def printed(self) -> bytes:
        """As PDF."""
        return base64.b64decode((await self.ask("Page.printToPDF", printBackground=False))["data"])


@asynccontextmanager
async def page(profile: Path) -> AsyncIterator[Page]:
    """An empty tab of a fresh browser whose profile is in `profile`; both are gone when the block is left."""
    program = found()
    assert program is not None
    flags = (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--hide-scrollbars",
    )
    quiet = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions")
    command = [program, *flags, *quiet, "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port = await _port(profile / "DevToolsActivePort", process)
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as reply:
                tab = next(one for one in await reply.json() if one["type"] == "page")
            async with session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=2**28) as socket:
                opened = Page(socket)
                listening = asyncio.create_task(opened.listen())
                yield opened
                listening.cancel()
    finally:
        process.terminate()
        process.wait(10)


async def _port(told: Path, process: subprocess.Popen[bytes]) -> int:
    """Where it listens, as soon as it has said so."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if told.exists() and "\n" in (text := told.read_text()):
            return int(text.split()[0])
        assert process.poll() is None, f"the browser ended with {process.returncode}"
        await asyncio.sleep(0.05)
    raise AssertionError(f"the browser said nothing within {START_S} s")
