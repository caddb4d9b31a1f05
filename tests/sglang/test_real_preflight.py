"""The preflight of a real SGLang, in whatever mode it runs: what it must find is first seen with plain requests of our own."""

from __future__ import annotations

import json
import secrets
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.end_to_end.runs import OK, TARGET, run_clipload
from tests.server.wire import embed, once, picture, vectors
from tests.servers import ROOT, command, environment
from tests.sglang.test_real import URL
from tests.sglang.test_real import pytestmark as pytestmark


def preflight(*flags: str) -> tuple[int, dict[str, Any]]:
    """Exit code and document of `clipload preflight`."""
    done = subprocess.run(
        command("preflight", URL, "--json", *flags),
        capture_output=True, text=True, cwd=ROOT, env=environment(), timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode in (OK, TARGET), done.stderr
    document = json.loads(done.stdout)["targets"][0]
    document["outcomes"] = {line["name"]: line["outcome"] for line in document["lines"]}
    return done.returncode, document


def cosine(one: Any, other: Any) -> float:
    a, b = np.asarray(one, float).ravel(), np.asarray(other, float).ravel()
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.fixture(scope="module")
def sees_images() -> bool:
    two = [vectors(embed(URL, [{"image": picture(seed)}]))[0] for seed in (1, 2)]
    return cosine(*two) < 0.9999


@pytest.fixture(scope="module")
def repeats_itself() -> bool:
    """Whether a text has the same vector the second time."""
    text = f"a word that nobody said {secrets.token_hex(2)}"
    return cosine(*(vectors(embed(URL, [text]))[0] for _ in range(2))) > 0.999


def test_images_are_ignored_or_seen(sees_images: bool) -> None:
    code, found = preflight("--mode", "image")
    assert found["outcomes"]["images are seen"] == ("ok" if sees_images else "unfit")
    assert code == (OK if sees_images else TARGET)
    assert "the same text twice" not in found["outcomes"], "a load of images has no texts"
    if not sees_images:
        line = next(line for line in found["lines"] if line["name"] == "images are seen")
        assert line["sentence"].startswith("images are ignored")


def test_the_radix_cache_is_named(repeats_itself: bool) -> None:
    _, found = preflight("--mode", "text")
    cache_off = once(URL, "GET", "/model_info").json["embedding"]["cache"]["radix_cache_disabled"]
    assert found["server"]["facts"]["disable_radix_cache"] is cache_off
    assert found["outcomes"]["the same text twice"] == ("ok" if repeats_itself else "unfit")
    if not repeats_itself:
        assert "--disable-radix-cache" in json.dumps(found["lines"])


def test_who_it_is_and_no_secret() -> None:
    _, found = preflight()
    server = once(URL, "GET", "/server_info").json
    assert (found["server"]["name"], found["server"]["version"]) == ("SGLang", server["version"])
    assert found["server"]["facts"]["dtype"] == server["dtype"]
    assert not {name for name in found["server"]["facts"] if "key" in name or "password" in name}
    spoken = next(line["sentence"] for line in found["lines"] if line["name"] == "speaks")
    assert spoken == "texts as v1, v1 base64, native, openai; for SGLang, --api v1 or native fits"


def test_it_survives() -> None:
    """What kills it was not sent: it answers as before, and a pair was kept from it unless it takes one request at a time."""
    before = vectors(embed(URL, ["red"]))
    for _ in range(3):
        _, found = preflight()
    one_at_a_time = 1 in (found["server"]["facts"].get(name) for name in ("prefill_max_requests", "max_running_requests"))
    if not one_at_a_time:
        assert found["outcomes"]["a text and an image in one request"] == "not probed"
    assert vectors(embed(URL, ["red"])).shape == before.shape


def test_a_run_asks_first(tmp_path: Path, sees_images: bool) -> None:
    """With images that are ignored it ends before it began, unless that is allowed; then the Run says so."""
    flags = ("--mode", "image", "--concurrency", "1", "--num-samples", "4", "--pool", "2")
    done = run_clipload(*flags, url=URL, out=tmp_path / "asked", cores=None, timeout_s=200, preflight=True)
    assert done.code == (OK if sees_images else TARGET), done.stderr
    assert (tmp_path / "asked").exists() is sees_images
    branded = run_clipload(
        *flags, "--allow-unfit", url=URL, out=tmp_path / "allowed", cores=None, timeout_s=200, preflight=True
    )
    assert branded.document["facts"]["preflight"][0]["fit"] is sees_images
    assert any(said.startswith("UNFIT (images are seen)") for said in branded.findings) is not sees_images
