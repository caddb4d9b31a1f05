"""`--open-images`: what is opened, what is refused, with SGLang's statuses and words; and that nothing is without it."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web

from clipload.gallery import gallery_for
from clipload.host import Placement
from clipload.plan import Plan
from clipload.server import opening
from clipload.server.engines import Refusal
from clipload.server.images import decode_image
from clipload.server.opening import Opener
from clipload.values import Image, ImageRef
from tests.gallery.places import free_address
from tests.server.wire import Answer, embed, picture, vectors
from tests.servers import Server, running_server

pytestmark = pytest.mark.clock


@pytest.fixture
def image(tmp_path: Path) -> tuple[str, Path]:
    """A data URI and a file of the same bytes, whose name needs quoting in a URL."""
    uri = picture(1)
    path = tmp_path / "a b.png"
    path.write_bytes(base64.b64decode(uri.partition(",")[2]))
    return uri, path


def said(answer: Answer) -> tuple[int, str]:
    document = answer.json
    assert document["code"] == answer.status
    return answer.status, document["message"]


def test_a_path_and_a_url_give_the_vector_of_the_bytes(opens: Server, image: tuple[str, Path]) -> None:
    uri, path = image
    expected = vectors(embed(opens.url, [{"image": uri}]))[0]
    plan = Plan(image_transport="url", serve_images_on=free_address())
    with gallery_for(plan, Placement((0,), (0,))) as gallery:
        reference = gallery.place(Image(path.read_bytes(), "image/png"))
        assert isinstance(reference, ImageRef)
        gallery.show()
        items = [str(path), path.as_uri(), f"file://{path}", reference.reference, uri]
        got = vectors(embed(opens.url, [{"image": item} for item in items]))
    for item, vector in zip(items, got):
        np.testing.assert_allclose(vector, expected, atol=1e-6, err_msg=item[:60])
    assert not np.allclose(vectors(embed(opens.url, [{"image": picture(2)}]))[0], expected, atol=1e-3)


def test_what_cannot_be_opened_is_refused_as_sglang_refuses_it(opens: Server, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    for reference, status, words in (
        (f"{tmp_path}/none.png", 500, "No such file or directory"),
        (f"file://{tmp_path}/none.png", 500, "No such file or directory"),
        (str(tmp_path), 500, "Is a directory"),
        (f"{tmp_path}/text.png", 400, "Could not decode image"),
        ("relative.png", 400, "Could not decode image"),
        (f"http://{free_address()}/x.png", 400, "Cannot connect"),
        (opens.url + "/none.png", 400, "404 Client Error"),
        (opens.url + "/v1/models", 400, "Could not decode image"),
    ):
        code, message = said(embed(opens.url, [{"image": reference}]))
        assert (code, words in message) == (status, True), message
        began = "Internal server error: " if status == 500 else "An exception occurred while loading IMAGE data at index 0: "
        assert message.startswith(f"{began}Error while loading data ")
        assert reference[:100] in message


def test_nothing_is_opened_unless_it_is_said(image: tuple[str, Path]) -> None:
    """What the clip engine does: nobody opens, and what was not opened cannot be decoded."""
    opener = Opener(allowed=False)
    for reference in (str(image[1]), image[1].as_uri(), "http://127.0.0.1:1/x.png"):
        assert asyncio.run(opener.open(reference)) is None
        with pytest.raises(Refusal, match="--open-images") as caught:
            decode_image(reference)
        assert caught.value.status == 400


def test_the_simulated_engine_fetches_at_each_request(image: tuple[str, Path]) -> None:
    plan = Plan(image_transport="url", serve_images_on=free_address(), image_error_rate=1.0)
    flags = ["--open-images", "--law", "constant(1us)"]
    with running_server("sim", *flags) as sim, gallery_for(plan, Placement((0,), (0,))) as gallery:
        reference = gallery.place(Image(image[1].read_bytes(), "image/png"))
        assert isinstance(reference, ImageRef)
        gallery.show()
        item = [{"image": reference.reference}, {"image": str(image[1])}, {"text": "a"}]
        assert len(vectors(embed(sim.url, item))) == 3
        gallery.begin()
        assert said(embed(sim.url, item))[0] == 400
        assert gallery.end()["images"]["requests"] == 1
        image[1].unlink()
        assert said(embed(sim.url, item[1:]))[0] == 500


async def _small(_: web.Request) -> web.Response:
    return web.Response(body=b"12345678")


async def _never(_: web.Request) -> web.Response:
    await asyncio.sleep(60)
    return web.Response()


async def _hop(request: web.Request) -> web.Response:
    left = int(request.match_info["left"])
    raise web.HTTPFound(f"/hop/{left - 1}" if left else "/small")


@pytest.mark.parametrize(
    ("path", "outcome"),
    [("/small", b"12345678"), ("/hop/4", b"12345678"), ("/hop/5", ""), ("/never", "timed out"), ("/large", "download limit")],
)
def test_the_limits_of_a_fetch(path: str, outcome: bytes | str, monkeypatch: pytest.MonkeyPatch) -> None:
    """5 redirects, a total time, a size; each shortened here."""
    monkeypatch.setattr(opening, "LARGEST", 9)
    monkeypatch.setattr(opening, "FETCH_S", 0.3 if path == "/never" else 10.0)

    async def large(_: web.Request) -> web.Response:
        return web.Response(body=b"1234567890")

    async def fetch() -> bytes | str | None:
        app = web.Application()
        app.router.add_get("/small", _small)
        app.router.add_get("/large", large)
        app.router.add_get("/never", _never)
        app.router.add_get("/hop/{left}", _hop)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        address = free_address()
        host, _, port = address.partition(":")
        await web.TCPSite(runner, host, int(port)).start()
        opener = Opener(allowed=True)
        try:
            return await opener.open(f"http://{address}{path}")
        except Refusal as refusal:
            return f"{refusal.status} {refusal.message}"
        finally:
            await opener.close()
            await runner.cleanup()

    got = asyncio.run(fetch())
    if isinstance(outcome, bytes):
        assert got == outcome
    else:
        assert isinstance(got, str)
        assert got.startswith("400 ")
        assert outcome in got
