"""The clip engine (tiny, random weights) over real sockets: batching changes nothing, items are told apart, refusals."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipload.server import ServerOptions
from clipload.server.engines import clip as clip_engine
from tests.server.wire import Answer, embed, once, picture, vectors
from tests.servers import ROOT, Server, environment

TEXTS = ["a dog", "two black dogs run on the grass", "a man in a red shirt is riding a wave", "ünïcödé 漢字", "d"]
PICTURES = [picture(1), picture(2, side=70), picture(3, image_format="JPEG"), picture(4, side=20, image_format="WEBP")]


def _cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return (left * right).sum(axis=1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)


def test_a_batch_gives_what_single_requests_give(clip: Server) -> None:
    items: list[dict[str, str]] = [{"text": text} for text in TEXTS] + [{"image": image} for image in PICTURES]
    together = vectors(embed(clip.url, items))
    alone = np.concatenate([vectors(embed(clip.url, [item])) for item in items])
    assert _cosines(together, alone).min() > 0.9999
    assert np.linalg.norm(together, axis=1) == pytest.approx(1, abs=1e-5)


def test_requests_that_meet_do_not_mix(clip: Server) -> None:
    """More items than --max-batch, texts and images at once, from many connections."""
    items: list[dict[str, str]] = [{"text": text} for text in TEXTS] + [{"image": image} for image in PICTURES]
    alone = np.concatenate([vectors(embed(clip.url, [item])) for item in items])
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda number: vectors(embed(clip.url, [items[number % len(items)]]))[0], range(54)))
    assert _cosines(np.stack(answers), alone[np.arange(54) % len(items)]).min() > 0.9999


def test_different_items_differ(clip: Server) -> None:
    found = vectors(embed(clip.url, [{"text": text} for text in TEXTS] + [{"image": image} for image in PICTURES]))
    gram = found @ found.T - 2 * np.eye(len(found))
    assert gram.max() < 0.999


def test_a_pair_in_one_item_is_the_image_and_nothing_is_padding(clip: Server) -> None:
    both, image, nothing, padding = vectors(
        embed(clip.url, [{"text": "a dog", "image": PICTURES[0]}, {"image": PICTURES[0]}, {}, {"text": "padding"}])
    )
    assert both == pytest.approx(image, abs=1e-5)
    assert nothing == pytest.approx(padding, abs=1e-5)


def test_plain_strings_and_bare_base64_are_read_too(clip: Server) -> None:
    plain = vectors(embed(clip.url, TEXTS))
    wrapped = vectors(embed(clip.url, [{"text": text} for text in TEXTS]))
    assert _cosines(plain, wrapped).min() > 0.9999
    bare = PICTURES[0].partition("base64,")[2]
    assert vectors(embed(clip.url, [{"image": bare}]))[0] == pytest.approx(
        vectors(embed(clip.url, [{"image": PICTURES[0]}]))[0], abs=1e-5
    )


def test_usage_counts_text_tokens(clip: Server) -> None:
    assert embed(clip.url, "a dog").json["usage"]["prompt_tokens"] == 4
    assert embed(clip.url, [{"text": "a dog"}, {"text": "a dog"}]).json["usage"]["total_tokens"] == 8
    once_more = embed(clip.url, [{"image": PICTURES[0]}]).json["usage"]["prompt_tokens"]
    assert once_more == embed(clip.url, "padding").json["usage"]["prompt_tokens"]


@pytest.mark.parametrize(
    "given", ["a " * 75, [{"text": "a " * 75}], [{"text": "a " * 75, "image": PICTURES[0]}], ["a", "a " * 75]]
)
def test_77_tokens_are_too_many(clip: Server, given: Any) -> None:
    _refused(embed(clip.url, given), 400, "The input (77 tokens) is longer than the model's context length (77 tokens).")


def test_76_tokens_are_not(clip: Server) -> None:
    assert vectors(embed(clip.url, "a " * 74)).shape == (1, 32)


@pytest.mark.parametrize(
    ("image", "says"),
    [
        ("data:image/png;base64,AAAA", "Could not decode image: cannot identify image file"),
        ("data:image/png;base64,!!!!", "Could not decode image"),
        ("junk", "Could not decode image"),
        ("", "Could not decode image"),
        (PICTURES[0][:-400], "Could not decode image"),
        ("http://127.0.0.1:9/x.png", "send a data URI"),
        ("/etc/passwd", "Could not decode image"),
    ],
)
def test_an_image_that_is_none_fails_the_whole_request(clip: Server, image: str, says: str) -> None:
    answer = embed(clip.url, [{"text": "a"}, {"image": image}])
    _refused(answer, 400, "An exception occurred while loading IMAGE data at index 0: Error while loading data")
    assert says in answer.json["message"]
    assert len(answer.body) < 1000


def _refused(answer: Answer, status: int, says: str) -> None:
    assert (answer.status, list(answer.json)) == (status, ["object", "message", "type", "param", "code"])
    assert (answer.json["type"], answer.json["code"]) == ("BadRequestError", status)
    assert says in answer.json["message"]


def test_token_ids_are_refused_and_the_server_lives(clip: Server) -> None:
    _refused(embed(clip.url, [1, 2, 3]), 400, "Token ids")
    _refused(embed(clip.url, [[10**9]]), 400, "Token ids")
    assert embed(clip.url, "a").status == 200


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_pictures_of_every_kind_are_read(clip: Server, mode: str) -> None:
    from io import BytesIO

    from PIL import Image as Pillow

    file = BytesIO()
    Pillow.new(mode, (50, 30), 1 if mode in ("L", "P", "1") else None).save(file, "TIFF")
    uri = "data:image/tiff;base64," + base64.b64encode(file.getvalue()).decode()
    assert vectors(embed(clip.url, [{"image": uri}])).shape == (1, 32)


def test_the_server_says_that_the_weights_are_random(clip: Server) -> None:
    info = once(clip.url, "GET", "/server_info").json
    assert (info["engine"], info["random_weights"], info["max_batch"]) == ("clip", True, 8)
    assert (info["backend"], info["dtype"]) == ("torch", "float32")
    assert info["threads"] == len(os.sched_getaffinity(clip.pid))
    assert embed(clip.url, "a").json["model"] == "clipload/random-clip-tiny"


def test_the_vocabulary_is_the_same_in_every_process_and_loses_nothing() -> None:
    program = (
        "import json, hashlib; from clipload.backends.vocabulary import build_vocabulary as b; v, m = b();"
        "print(len(v), len(set(v.values())), hashlib.sha256(json.dumps([v, m]).encode()).hexdigest())"
    )
    seen = set()
    for seed in ("1", "2"):
        env = environment({"PYTHONHASHSEED": seed})
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, env=env, timeout=60, check=True
        )
        seen.add(done.stdout)
    assert len(seen) == 1
    assert seen.pop().startswith("49408 49408 ")


def test_malformed_bodies_are_refused_here_too(clip: Server) -> None:
    answer = once(clip.url, "POST", "/v1/embeddings", json.dumps({"input": []}).encode())
    _refused(answer, 400, "Input cannot be empty")


@pytest.mark.slow
def test_a_conversion_is_kept_for_the_next_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="the extra `openvino` is not installed")
    options = ServerOptions(size="tiny", backend="openvino", openvino_cache=tmp_path / "kept", threads=1)
    assert clip_engine.make(options).facts()["backend"] == "openvino"
    (kept,) = (tmp_path / "kept").glob("clip-*")
    monkeypatch.setattr("clipload.backends.conversions.convert", lambda *_: pytest.fail("converted, though it was kept"))
    assert clip_engine.make(options).facts()["backend"] == "openvino"
    assert list((tmp_path / "kept").iterdir()) == [kept]
