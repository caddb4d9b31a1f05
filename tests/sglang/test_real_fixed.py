"""A healthy SGLang: it is fit, has the vectors of the model here, none wrong under a mixed load, and a capacity."""

from __future__ import annotations

import math
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from tests.end_to_end.runs import INCONCLUSIVE, OK, check_finished
from tests.server.wire import once
from tests.servers import ROOT, command, environment
from tests.sglang.real import URL, agreement, count, measured, only
from tests.sglang.test_real_preflight import preflight

pytestmark = only("fixed")
ITEMS, ALIKE = 12, 0.9999
MIXED = ("--mode", "mixed", "--text-tokens", "3-16", "--pool", "64", "--image-size", "224x224")
ROLES = ("tokenizer", "scheduler", "detokenizer")


def test_it_is_fit() -> None:
    code, found = preflight("--mode", "multimodal")
    assert code == OK
    assert set(found["outcomes"].values()) <= {"ok", "warning", "not probed"}, found["lines"]
    for name in (
        "the same text twice",
        "texts are seen",
        "images are seen",
        "an image is not 'padding'",
        "texts in one request",
    ):
        assert found["outcomes"][name] == "ok", found["lines"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, each with a caption."""
    place = tmp_path_factory.mktemp("pictures")
    draws = np.random.default_rng(7)
    for i in range(ITEMS):
        Pillow.fromarray(draws.integers(0, 256, (180 + i, 240, 3), np.uint8)).save(place / f"{i:02}.png")
        (place / f"{i:02}.txt").write_text(f"picture number {i} of them\n")
    return place


def embedded(folder: Path, out: Path, *flags: str) -> list[np.ndarray]:
    """The vectors of texts and of images that `clipload embed` writes with these flags."""
    out.mkdir()
    dumps = [out / f"{kind}.npy" for kind in ("text", "image")]
    arguments = ["--data", str(folder), "--dump-txt-emb", str(dumps[0]), "--dump-img-emb", str(dumps[1]), *flags]
    done = subprocess.run(
        command("embed", *arguments), capture_output=True, text=True, cwd=ROOT, timeout=300, check=False,
        env=environment({"HF_HUB_OFFLINE": "1"}),
    )  # fmt: skip
    assert done.returncode == OK, done.stderr
    return [np.load(dump) for dump in dumps]


@pytest.mark.parametrize("api", ["v1", "native"])
def test_its_vectors_are_those_of_its_own_model_here(folder: Path, tmp_path: Path, api: str) -> None:
    """Of the checkpoint that the server says it serves; both in fp32."""
    model = Path(once(URL, "GET", "/model_info").json["model_path"])
    assert once(URL, "GET", "/server_info").json["dtype"] == "float32"
    assert (model / "config.json").is_file(), f"the server's model, {model}, is not on this machine"
    here = embedded(folder, tmp_path / "here", "--model", str(model), "--num-threads", "1")
    there = embedded(folder, tmp_path / "there", "--backend", "remote", "--base-url", URL, "--api", api)
    for kind, mine, theirs in zip(("texts", "images"), here, there, strict=True):
        assert mine.shape == theirs.shape
        assert len(mine) == ITEMS
        cosines = (mine * theirs).sum(1) / np.linalg.norm(mine, axis=1) / np.linalg.norm(theirs, axis=1)
        assert cosines.min() >= ALIKE, (kind, cosines)
        others = np.corrcoef(mine)[~np.eye(ITEMS, dtype=bool)]
        assert others.min() < ALIKE, f"the {kind} are so much alike that any vector would do"


def test_none_is_wrong_under_a_mixed_load(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A minute with 32 in flight: texts and images meet in its batches, and each has the vector that it has alone."""
    done = measured(capsys, *MIXED, "--concurrency", "32", "--duration", "60s", out=tmp_path)
    check_finished(done)
    assert done.measure["ledger"]["errors"] == {}, done.stderr
    found = agreement(done)
    levels = found["levels"]
    assert count(levels, "sampled") > 1000
    assert count(levels, "wrong") == 0, found
    assert found["items"] > 20
    assert found["dtype"] == "float32"
    assert count([level for level in levels if level["in_flight"] > 24], "sampled") > 900, "under that load, not before it"


def test_a_find_ends_with_a_capacity_what_binds_it_and_who_was_busy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Begun near its ceiling: a step or two on, the queue outgrows any objective. A machine that others use scatters so much
    that two minutes may not make the pass below certain: then the answer says *perhaps*, and this says so aloud. What gave, and
    who was busy, is known all the same."""
    flags = ("--mode", "text", "--text-tokens", "3-16", "--pool", "32", "--slo", "p90<1s", "--precision", "30%")
    flags = (*flags, "--start", "90", "--budget", "120s")
    done = measured(capsys, *flags, out=tmp_path, verb="find")
    assert done.code in (OK, INCONCLUSIVE), done.stderr
    (branch,) = done.document["answer"]
    answer: dict[str, Any] = branch["answer"]
    assert answer["outcome"] == ("found" if done.code == OK else "inconclusive"), answer
    if done.code == INCONCLUSIVE:
        with capsys.disabled():
            print("\nthis machine scatters too much for two minutes: the capacity is a *perhaps*")  # noqa: T201
    assert answer["rate"] > 0, answer
    high = math.inf if answer["high"] is None else answer["high"]
    assert done.code == INCONCLUSIVE or answer["low"] <= answer["rate"] <= high, answer
    assert answer["binding"] == "latency", answer
    assert set(ROLES) & set(answer["busy"].replace(",", "").split()), answer
    assert f"bound by    latency, the target's {answer['busy']}" in done.stderr
