"""Options of `embed`: what they mean, and that each mistake names its flag and a remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clipload.embedding.options import EmbeddingOptions, truth
from clipload.errors import CliploadError

CAPTIONS = {"flickr_captions_file": Path("tokens.txt")}


def test_the_source_is_read_off_the_other_flags(tmp_path: Path) -> None:
    assert EmbeddingOptions(**CAPTIONS).source == "flickr8k"
    assert EmbeddingOptions(data=str(tmp_path)).source == "folder"
    assert EmbeddingOptions(data="lines.jsonl").source == EmbeddingOptions(data="-").source == "jsonl"
    assert EmbeddingOptions(data_source="random").source == "random"


def test_without_a_source_only_what_is_there_is_verified(tmp_path: Path) -> None:
    dump = {"dump_txt_emb": tmp_path / "t.npy", "verify": True}
    assert EmbeddingOptions(**dump).only_verifies
    assert not EmbeddingOptions(**dump, **CAPTIONS).only_verifies


def test_what_the_backend_is_told() -> None:
    options = EmbeddingOptions(**CAPTIONS, model="m", amp="bf16", amx="off", num_threads=3, compiled=True, seed=4, force=True)
    name, told = options.for_backend(print)
    assert name == "torch"
    assert (told.model, told.amp, told.amx, told.threads, told.compiled, told.seed, told.force, told.must_ipex) == (
        "m", "bf16", "off", 3, True, 4, True, False,
    )  # fmt: skip
    name, told = EmbeddingOptions(**CAPTIONS, backend="clip", use_ipex=True).for_backend(print)
    assert (name, told.must_ipex) == ("ipex", True)
    name, told = EmbeddingOptions(**CAPTIONS, backend="auto", openvino_cache=Path("kept")).for_backend(print)
    assert (name, told.cache) == ("auto", Path("kept"))
    name, told = EmbeddingOptions(**CAPTIONS, backend="ipex").for_backend(print)
    assert (name, told.must_ipex) == ("ipex", False)
    assert EmbeddingOptions(**CAPTIONS, use_ipex=False).for_backend(print)[0] == "torch"


def test_a_device_that_is_not_yet_known_may_have_threads() -> None:
    assert EmbeddingOptions(**CAPTIONS, device="auto", num_threads=2, amx="off").device == "auto"


def test_batch_sizes() -> None:
    assert EmbeddingOptions(**CAPTIONS).batch is None
    assert EmbeddingOptions(**CAPTIONS, batch_size="32").batch == 32


@pytest.mark.parametrize(("text", "value"), [(None, None), ("True", True), ("false", False), ("1", True), ("0", False)])
def test_truth(text: str | None, value: bool | None) -> None:
    assert truth(text) is value


def test_what_is_neither() -> None:
    with pytest.raises(CliploadError, match="neither True nor False"):
        truth("perhaps")


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        ({"data_source": None, "flickr_captions_file": None}, "--data-source"),
        ({"data_source": None, "flickr_captions_file": None, "flickr_images_dir": Path("i")}, "--data-source"),
        ({"data": "-"}, "--flickr-captions-file"),
        ({"data_source": "flickr8k", "data": "-"}, "--data"),
        ({"data_source": "random", "data": "-", "flickr_captions_file": None}, "--data"),
        ({"data_source": "random", "captions_per_image": 2, "flickr_captions_file": None}, "--captions-per-image"),
        ({"modality": "sound"}, "--modality"),
        ({"amp": "fp8"}, "--amp"),
        ({"amx": "perhaps"}, "--amx"),
        ({"flickr_caption_pick": "last"}, "--flickr-caption-pick"),
        ({"captions_per_image": 0}, "--captions-per-image"),
        ({"max_samples": 0}, "--max-samples"),
        ({"num_threads": -1}, "--num-threads"),
        ({"seed": -1}, "--seed"),
        ({"batch_size": "0"}, "--batch-size"),
        ({"batch_size": "many"}, "--batch-size"),
        ({"device": "gpu"}, "--device"),
        ({"device": "cuda:x"}, "--device"),
        ({"device": "cuda", "amx": "on"}, "--amx"),
        ({"device": "cuda", "num_threads": 2}, "--num-threads"),
        ({"device": "cuda", "use_ipex": True}, "--device"),
        ({"device": "cuda", "backend": "ipex"}, "--device"),
        ({"use_ipex": False, "backend": "ipex"}, "--use-ipex"),
        ({"use_ipex": True, "backend": "toy"}, "--use-ipex"),
        ({"use_ipex": True, "backend": "openvino"}, "--use-ipex"),
        ({"use_ipex": True, "backend": "auto"}, "--use-ipex"),
        ({"device": "cuda", "backend": "openvino"}, "--device"),
        ({"device": "auto", "backend": "openvino"}, "--device"),
        ({"device": "auto", "backend": "ipex"}, "--device"),
        ({"compiled": True, "backend": "openvino"}, "--compile"),
        ({"compiled": True, "backend": "auto"}, "--compile"),
        ({"amp": "fp16", "force": True, "backend": "openvino"}, "--amp"),
        ({"amp": "parity", "device": "cuda"}, "--amp"),
        ({"amp": "parity", "backend": "ipex"}, "--amp"),
        ({"openvino_cache": Path("kept")}, "--openvino-cache"),
        ({"openvino_cache": Path("kept"), "backend": "remote"}, "--openvino-cache"),
        ({"modality": "image", "dump_txt_emb": Path("t.pt")}, "--dump-txt-emb"),
        ({"modality": "text", "dump_img_emb": Path("i.pt")}, "--dump-img-emb"),
        ({"dump_txt_emb": Path("/none/there/t.pt")}, "--dump-txt-emb"),
        ({"dump_txt_emb": Path("t.pt"), "dump_img_emb": Path("t.pt")}, "--dump-img-emb"),
        ({"verify": True}, "--verify"),
        ({"overwrite": True}, "--overwrite"),
    ],
)
def test_mistakes(options: dict[str, Any], flag: str) -> None:
    with pytest.raises(CliploadError) as caught:
        EmbeddingOptions(**(CAPTIONS | options))
    assert (caught.value.flag, caught.value.exit_code) == (flag, 2)
    assert caught.value.remedy
