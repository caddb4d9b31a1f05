"""A real SGLang in a mode that is known: what the tests of one mode share. `scripts/test-sglang` starts it and says the mode.

The modes are those of the script that starts the server: `fixed` is healthy, `stock` is what was published (images are
ignored, texts leak, sixteen of them kill it), `image` embeds images and dies of a text and an image in one batch; `radix` is
that with the radix cache on. Tests that need a fault, or kill, run only where that mode was named: never against a server of
which no more than the address is known.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from clipload.host import allowed_cores
from tests.end_to_end.runs import UNSOUND, Finished, run_clipload

URL = os.environ.get("CLIPLOAD_SGLANG_URL", "")
MODE = os.environ.get("CLIPLOAD_SGLANG_MODE", "")
CORE = str(min(allowed_cores()))  # the server is on another one, where there is another
SHORT_TEXTS = ("--mode", "text", "--text-tokens", "3-4", "--pool", "40")  # 14 of the tiny vocabulary at most: four are under 77
RUN_S = 180.0


def only(mode: str) -> list[pytest.MarkDecorator]:
    """The marks of a file for one mode."""
    return [
        pytest.mark.clock,
        pytest.mark.sglang,
        pytest.mark.timeout(600),
        pytest.mark.skipif(not URL, reason="CLIPLOAD_SGLANG_URL names no server"),
        pytest.mark.skipif(mode != MODE, reason=f"CLIPLOAD_SGLANG_MODE is {MODE or 'not set'}; these are for {mode}"),
    ]


def measured(capsys: pytest.CaptureFixture[str], *flags: str, out: Path, verb: str = "run") -> Finished:
    """All that clipload does of its own accord, as a user has it. A generator that had no core is asked once more, aloud: that
    says something of this machine, and nothing of the server."""

    def once(place: Path) -> Finished:
        return run_clipload(*flags, url=URL, out=place, cores=CORE, timeout_s=RUN_S, preflight=True, integrity=True, verb=verb)

    done = once(out / "first")
    if done.code == UNSOUND:
        with capsys.disabled():
            print(f"\nthe generator was unsound on this machine ({why(done)}): measured once more")  # noqa: T201
        done = once(out / "second")
    return done


def why(done: Finished) -> str:
    """What a run's verdict, or a find's answer, says of it."""
    if "verdict" not in done.document:
        return f"{done.document.get('answer')}"
    return "; ".join(one["sentence"] for one in done.document["verdict"]["findings"] if one["weight"] == "fatal")


def agreement(done: Finished) -> dict[str, Any]:
    """What integrity under load found; it went through."""
    found: dict[str, Any] = done.document["facts"]["integrity"]
    assert found["skipped"] == found["error"] == "", found
    return found


def count(levels: Sequence[dict[str, Any]], what: str) -> int:
    """`sampled` or `wrong` replies of all levels."""
    return sum(level[what] for level in levels)


def check_death(done: Finished, load: str) -> None:
    """One sentence says when it died, or that it never answered, and at what load; its outage is open."""
    (outage,) = done.document["outages"]
    assert outage["end_ns"] is None
    (sentence,) = [said for said in done.findings if "died or was stopped" in said]
    answered = sum(phase["counts"].get("ok", 0) for phase in done.document["phases"].values())
    assert load in sentence
    assert (f"after the start, {load}, after {answered} ok replies" if answered else "at once, before its first") in sentence
    assert done.counts["error.connect"] > 0
