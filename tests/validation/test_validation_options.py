"""Options of `validate`: what is done, and that each mistake names its flag and a remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clipload.errors import CliploadError
from clipload.plan import Plan, flag_of
from clipload.validation.options import GROUPS_ONLY, PARITY_ONLY, SET_ONLY, ValidationOptions

FLICKR: dict[str, Any] = {"flickr_images_dir": Path("i"), "flickr_captions_file": Path("t.txt")}
RECALL: dict[str, Any] = FLICKR | {"recall": True}
LOCAL: dict[str, Any] = FLICKR | {"against": ("local",)}
DUMPS: dict[str, Any] = {"target": None, "from_dumps": (Path("t.npy"), Path("i.npy"))}
OPENAI = Plan(api="openai", mode="text")


def test_defaults() -> None:
    options = ValidationOptions(**FLICKR)
    assert options.groups
    assert {name: options.value(name) for name in GROUPS_ONLY} == {
        "samples": 1, "group_size": 5, "distractors": 2, "start_group": 0, "pick_file": "", "dump": None,
    }  # fmt: skip
    assert (options.seed, options.value("repeat"), options.value("worst"), options.as_paths) == (42, 2, 10, False)


def test_what_is_done() -> None:
    assert not ValidationOptions(**RECALL).groups
    assert not ValidationOptions(**LOCAL).groups
    assert not ValidationOptions(**DUMPS).groups
    assert ValidationOptions(**LOCAL, modality="text").kinds == ("text",)
    assert ValidationOptions(against=("local",), data="x.jsonl").source == "jsonl"
    assert ValidationOptions(**LOCAL | {"against": ("a.npy", "b.npy")}).value("limit") is None


def test_every_flag_that_means_something_in_one_mode_has_a_default() -> None:
    named = {*GROUPS_ONLY, *SET_ONLY, *PARITY_ONLY}
    assert len(named) == len(GROUPS_ONLY) + len(SET_ONLY) + len(PARITY_ONLY)
    assert all(getattr(ValidationOptions(**FLICKR), name) is None for name in named)


Cases = list[tuple[dict[str, Any], str]]


def zeros(given: dict[str, Any], *names: str) -> Cases:
    return [(given | {name: 0}, flag_of(name)) for name in names]


def misplaced(given: dict[str, Any], table: dict[str, Any], *but: str) -> Cases:
    """Each flag of `table`, where it would be ignored."""
    return [(given | {name: value or 1}, flag_of(name)) for name, value in table.items() if name not in but]


@pytest.mark.parametrize(
    ("given", "flag"),
    [
        ({}, "--flickr-captions-file"),
        *zeros(FLICKR, "samples", "group_size"),
        *zeros(LOCAL, "max_samples", "captions_per_image", "repeat", "worst"),
        *((FLICKR | {name: -1}, flag_of(name)) for name in ("distractors", "start_group", "seed")),
        *misplaced(RECALL, GROUPS_ONLY),
        *misplaced(FLICKR, SET_ONLY, "modality"),
        *misplaced(RECALL, PARITY_ONLY, "dtype", "amp"),
        (FLICKR | {"modality": "text"}, "--modality"),
        (RECALL | {"dtype": "bf16"}, "--dtype"),
        (LOCAL | {"dtype": "fp8"}, "--dtype"),
        (LOCAL | {"amp": "fp8"}, "--amp"),
        (LOCAL | {"modality": "sound"}, "--modality"),
        (LOCAL | {"backend": "remote"}, "--backend"),
        (LOCAL | {"device": "gpu"}, "--device"),
        (LOCAL | {"backend": "openvino", "device": "cuda"}, "--device"),
        (LOCAL | {"backend": "ipex", "device": "cuda:1"}, "--device"),
        (LOCAL | {"backend": "openvino", "amp": "fp16"}, "--amp"),
        (LOCAL | {"openvino_cache": Path("c")}, "--openvino-cache"),
        (LOCAL | {"html": Path("/no/such/folder/p.html")}, "--html"),
        (LOCAL | {"html": Path("/")}, "--html"),
        (FLICKR | {"against": ("http://h",), "backend": "openvino"}, "--backend"),
        (FLICKR | {"against": ("t.npy",), "openvino_cache": Path("c")}, "--openvino-cache"),
        (FLICKR | {"image_transport": "url"}, "--image-transport"),
        (LOCAL | {"limit": 0.0}, "--limit"),
        (LOCAL | {"limit": float("nan")}, "--limit"),
        (FLICKR | {"against": ("t.npy",), "amp": "bf16"}, "--amp"),
        (FLICKR | {"against": ("local", "t.npy")}, "--against"),
        (FLICKR | {"against": ("a.npy", "b.npy", "c.npy")}, "--against"),
        (FLICKR | {"target": OPENAI}, "--api"),
        (LOCAL | {"target": OPENAI}, "--api"),
        (RECALL | {"modality": "text"}, "--modality"),
        ({"recall": True}, "--flickr-captions-file"),
        (RECALL | {"data_source": "random"}, "--flickr-images-dir"),
        ({"recall": True, "data_source": "random", "data": "x"}, "--data"),
        (DUMPS | {"from_dumps": (Path("t.npy"),)}, "--from-dumps"),
        (DUMPS | {"against": ("local",)}, "--against"),
        (DUMPS | {"max_samples": 3}, "--max-samples"),
        (DUMPS | {"image_transport": "path"}, "--image-transport"),
        (DUMPS | FLICKR, "--flickr-images-dir"),
    ],
)
def test_mistakes(given: dict[str, Any], flag: str) -> None:
    with pytest.raises(CliploadError) as caught:
        ValidationOptions(**given)
    assert (caught.value.flag, caught.value.exit_code) == (flag, 2)
    assert caught.value.remedy


def test_texts_alone_can_be_compared_by_openai() -> None:
    ValidationOptions(**LOCAL, target=OPENAI, modality="text")
