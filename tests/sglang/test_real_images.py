"""Images by path and by URL, and a profile, against a real SGLang on this machine (loopback and a shared disk)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tests.end_to_end.runs import TARGET, check_finished, run_clipload
from tests.end_to_end.test_images import first_vectors
from tests.gallery.places import free_address
from tests.sglang.test_real import MODEL, URL
from tests.sglang.test_real import pytestmark as pytestmark

NEAR = any(host in URL for host in ("127.0.0.1", "localhost", "[::1]"))
COUNTED = ("--concurrency", "4", "--num-samples", "40", "--pool", "8", "--mode", "image", "--model", MODEL)
near = pytest.mark.skipif(not NEAR, reason="the server must share this machine's disk and loopback")


def by_url() -> tuple[str, ...]:
    return "--image-transport", "url", "--serve-images-on", free_address()


@near
def test_the_vectors_are_the_same_however_images_travel() -> None:
    expected = first_vectors(URL, "data-url")
    assert len(np.unique(expected[1::2].round(4), axis=0)) == 3, "three images"
    for transport in ("path", "path/url", "url"):
        values = {"serve_images_on": free_address()} if transport == "url" else {}
        np.testing.assert_allclose(first_vectors(URL, transport, **values), expected, atol=1e-4, err_msg=transport)


@near
@pytest.mark.parametrize("transport", ["path", "url"])
def test_a_load_without_an_error(tmp_path: Path, transport: str) -> None:
    flags = by_url() if transport == "url" else ("--image-transport", transport)
    done = run_clipload(*COUNTED, *flags, url=URL, out=tmp_path, cores=None, timeout_s=300)
    check_finished(done)
    assert done.counts["ok"] == done.counts["planned"] == 40, done.stderr
    if transport == "url":
        facts = done.document["facts"]["images"]
        assert facts["fetched"] == facts["requests"] == 40, "it keeps none"


@near
def test_images_that_fail_are_errors_of_the_target(tmp_path: Path) -> None:
    done = run_clipload(*COUNTED, *by_url(), "--image-error-rate", "0.3", url=URL, out=tmp_path, cores=None, timeout_s=300)
    check_finished(done)
    facts = done.document["facts"]["images"]
    assert done.counts["error.http_400"] == facts["errors"] > 0
    assert done.counts["ok"] == facts["fetched"]


@near
def test_an_image_that_takes_longer_than_sglang_waits(tmp_path: Path) -> None:
    flags = ("--image-delay", "4s", "--num-samples", "4")
    done = run_clipload(*COUNTED[:2], *COUNTED[4:], *flags, *by_url(), url=URL, out=tmp_path, cores=None, timeout_s=300)
    check_finished(done)
    assert done.counts["error.http_400"] == 4
    assert done.document["facts"]["images"]["cut"] == 4


@near
@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder: nothing can be hidden from a server")
def test_a_path_that_the_server_cannot_see(tmp_path: Path) -> None:
    (tmp_path / "hidden").mkdir(mode=0o700)
    done = run_clipload(
        *COUNTED, "--image-transport", "path", "--images-dir", str(tmp_path / "hidden"), url=URL, out=tmp_path, cores=None
    )
    assert (done.code, "on its own machine" in done.stderr) == (TARGET, True)


def test_a_profile(tmp_path: Path) -> None:
    """SGLang writes the trace before it answers, and embeds nothing meanwhile: a short load, and time."""
    flags = ("--mode", "text", "--rate", "4", "--duration", "900ms", "--profile", "--model", MODEL)
    done = run_clipload(*flags, url=URL, out=tmp_path, cores=None, timeout_s=300)
    check_finished(done)
    facts = done.document["facts"]["profile"]
    assert facts["error"] == "", done.stderr
    assert facts["started_ns"] < facts["stopped_ns"]
