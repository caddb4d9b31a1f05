"""Against a real Infinity that serves a CLIP model under /v1: CLIPLOAD_INFINITY_URL names it, and nothing here starts one.

CLIPLOAD_INFINITY_MODEL_DIR: its model, when it lies on this machine; vectors are then held against it.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from clipload.agreement import agreement_in
from tests.end_to_end.runs import OK, TARGET, check_finished, run_clipload
from tests.server.wire import Answer, once, picture
from tests.servers import ROOT, Server, command, environment, running_server

URL = os.environ.get("CLIPLOAD_INFINITY_URL", "")
MODEL_DIR = os.environ.get("CLIPLOAD_INFINITY_MODEL_DIR", "")
pytestmark = [
    pytest.mark.clock,
    pytest.mark.infinity,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not URL, reason="CLIPLOAD_INFINITY_URL names no server"),
]
PATH = "/v1/embeddings"
ONE, TWO = picture(1), picture(2, side=70)


@pytest.fixture(scope="module")
def reference() -> Iterator[Server]:
    with running_server("clip", "--size", "tiny", "--api", "infinity", "--threads", "1") as server:
        yield server


def both(server: Server, body: Any) -> tuple[Answer, Answer]:
    """Who answered: the reference server and the real one."""
    return once(server.url, "POST", PATH, body), once(URL, "POST", PATH, body)


def shape(value: Any) -> Any:
    """What remains of a JSON value without its contents; arrays of numbers are all alike."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return "numbers" if value and all(type(inner) is float for inner in value) else [shape(inner) for inner in value]
    return type(value).__name__


@pytest.mark.parametrize(
    "body",
    [
        {"input": "a dog"},
        {"input": ["a dog", "two cats"], "modality": "text", "model": "x"},
        {"input": ["a dog"], "encoding_format": "base64"},
        {"input": ["a dog"], "unknown": 1},
        {"input": ["  "]},
        {"input": ONE, "modality": "image"},
        {"input": [ONE, TWO], "modality": "image"},
    ],
    ids=lambda body: json.dumps(body)[:50],
)
def test_what_is_served_has_one_shape(reference: Server, body: Any) -> None:
    mine, real = both(reference, body)
    assert mine.status == real.status == 200, (mine.body[:300], real.body[:300])
    assert json.dumps(shape(mine.json)) == json.dumps(shape(real.json))


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        [1],
        {},
        {"input": 3},
        {"input": []},
        {"input": "a", "modality": "video"},
        {"input": ["a", {"text": "b"}]},
        {"input": [{"image": ONE}], "modality": "image"},
        {"input": [ONE] * 33, "modality": "image"},
        {"input": "a", "model": 3},
        {"input": "a", "encoding_format": "int8"},
        {"input": ["data:image/png;base64,AAAA"], "modality": "image"},
    ],
    ids=lambda body: str(body)[:50],
)
def test_what_is_refused_is_refused_alike(reference: Server, body: Any) -> None:
    """The status, and of a field's refusal what is wrong and where; Infinity goes on to name the types of its union."""
    mine, real = both(reference, body)
    assert mine.status == real.status in (400, 422), (mine.body[:300], real.body[:300])
    if real.status == 422:
        wrong = [(one["type"], one["loc"][:3]) for answer in (mine, real) for one in answer.json["detail"][:1]]
        assert wrong[0] == wrong[1]
    else:
        assert list(mine.json["error"]) == list(real.json["error"])


@pytest.mark.parametrize("encoding", ["float", "base64"])
@pytest.mark.parametrize(("mode", "batch"), [("text", 4), ("image", 2), ("mixed", 1)])
def test_a_load_without_an_error(tmp_path: Path, mode: str, batch: int, encoding: str) -> None:
    """And without a wrong vector: a sample of the replies is compared with what the same Items had alone."""
    flags = ["--api", "infinity", "--mode", mode, "--batch-size", str(batch), "--concurrency", "4", "--pool", "8"]
    flags += ["--num-samples", "64", "--encoding-format", encoding]
    done = run_clipload(*flags, url=URL, out=tmp_path, cores=None, timeout_s=500, integrity=True)
    check_finished(done)
    assert done.measure["ledger"]["errors"] == {}, done.stderr
    assert done.counts["ok"] == 64 // batch
    compared = agreement_in(done.document["facts"])
    assert compared is not None
    assert (compared.wrong, compared.sampled > 0) == (0, True), done.stderr


def preflight(*flags: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        command("preflight", URL, "--json", *flags),
        capture_output=True, text=True, cwd=ROOT, env=environment(), timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode in (OK, TARGET), done.stderr
    document = json.loads(done.stdout)["targets"][0]
    return done.returncode, document | {"lines": {line["name"]: line for line in document["lines"]}}


def test_it_is_recognised_and_fit_in_its_own_dialect() -> None:
    code, found = preflight("--api", "infinity", "--mode", "mixed")
    assert (code, found["server"]["name"]) == (OK, "Infinity")
    assert found["server"]["version"]
    assert {line["outcome"] for line in found["lines"].values()} == {"ok"}
    assert found["lines"]["speaks"]["sentence"].endswith("for Infinity, --api infinity fits")


def test_in_another_dialect_it_is_unfit_for_images_and_the_advice_holds() -> None:
    code, found = preflight("--mode", "image", "--batch-size", "2")
    assert (code, found["lines"]["speaks"]["remedy"]) == (TARGET, "use --api infinity")
    assert "modality" in found["lines"]["an image has a vector"]["sentence"]
    assert preflight("--api", "infinity", "--mode", "image", "--batch-size", "2")[0] == OK


def test_parity_with_the_model_here(tmp_path: Path) -> None:
    """Texts and images mixed, each twice, eight in flight."""
    if not MODEL_DIR:
        pytest.skip("CLIPLOAD_INFINITY_MODEL_DIR names no model")
    draws = np.random.default_rng(8)
    for i in range(12):
        Pillow.fromarray(draws.integers(0, 256, (224, 224, 3), np.uint8)).save(tmp_path / f"{i}.png")
        (tmp_path / f"{i}.txt").write_text(f"picture number {i} of the test\n")
    flags = (
        "--base-url",
        URL,
        "--api",
        "infinity",
        "--data",
        str(tmp_path),
        "--against",
        "local",
        "--against-model",
        MODEL_DIR,
    )
    done = subprocess.run(
        command("validate", *flags, "--concurrency", "8", "--json"),
        capture_output=True, text=True, cwd=ROOT, env=environment(), timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == OK, done.stderr
    assert json.loads(done.stdout)["parity"]["items"] == 24
