"""The checklist: a golden page, and the lines of a Run's report."""

from __future__ import annotations

import os
from pathlib import Path

from clipload.preflight import Fitness, Identity, Line
from clipload.preflight.known import ONE_AT_A_TIME
from clipload.reports.preflight import checklist, preflight_lines

GOLDEN = Path(__file__).parents[1] / "golden" / "preflight.txt"

WHO = Identity(
    "SGLang",
    "0.5.23",
    "",
    {
        "served_model_name": "openai/clip-vit-large-patch14-336", "architectures": ["CLIPModel"], "dtype": "float16",
        "device": "cuda", "tp_size": 1, "dp_size": 2, "tokenizer_worker_num": 1, "disable_radix_cache": False,
        "max_req_input_len": 71,
    },
)  # fmt: skip
LINES = (
    Line("ready", "ok", "/ready answered 200", "never shown"),
    Line(
        "images are seen", "unfit", "images are ignored: what differs has the same vector (cosine 1.0000)", "use another build"
    ),
    Line("texts in one request", "unfit", "texts together disturb each other: 3 of 4 vectors are wrong", ONE_AT_A_TIME),
    Line("a text and an image in one request", "not probed", "SGLang is known to die of it"),
    Line("pairs may kill", "warning", "SGLang up to 0.5.23 dies of a text and an image in one batch", ONE_AT_A_TIME),
    Line("speaks", "note", "texts as v1, native"),
)
UNFIT = Fitness("http://127.0.0.1:30000", WHO, LINES, 19, 515_000_000)
FIT = Fitness("http://127.0.0.1:30001", Identity(), LINES[:1], 7, 12_000_000)


def test_the_checklist_is_the_golden_one() -> None:
    page = f"{checklist(UNFIT)}\n\n{checklist(FIT)}\n"
    if os.environ.get("CLIPLOAD_REWRITE_GOLDEN"):
        GOLDEN.write_text(page)
    assert page == GOLDEN.read_text()
    assert max(map(len, page.splitlines())) <= 118


def test_the_outcome_stands_last() -> None:
    assert checklist(UNFIT).splitlines()[-1] == (
        "UNFIT: images are ignored; texts together disturb each other, with 1 warning (19 requests, 515 ms)"
    )
    assert checklist(FIT).splitlines()[-1] == "fit (7 requests, 12.0 ms)"


def test_a_run_of_one_target_and_of_two() -> None:
    assert preflight_lines([FIT.document()]) == ["preflight   fit: of no known name"]
    assert preflight_lines([]) == []
    assert preflight_lines([], skipped=True)[0].startswith("preflight   none (--no-preflight)")
    two = preflight_lines([UNFIT.document(), FIT.document()])
    assert two == [
        "preflight   UNFIT (--allow-unfit): SGLang 0.5.23 http://127.0.0.1:30000; known of it: pairs may kill",
        "            images are seen: images are ignored: what differs has the same vector (cosine 1.0000)",
        "            texts in one request: texts together disturb each other: 3 of 4 vectors are wrong",
        "preflight   fit: of no known name http://127.0.0.1:30001",
    ]
