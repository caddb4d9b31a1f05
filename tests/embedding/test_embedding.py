"""Embedding in process, with a backend whose vectors say which item they are of and which fails when it is told to."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from clipload import dumps, embedding
from clipload.backends import Bare, Prepared
from clipload.embedding import Embedding, embed
from clipload.embedding.options import EmbeddingOptions
from clipload.errors import ArchiveError, CliploadError, DatasetError, HostError
from clipload.retrieval import unit
from clipload.values import Text

COUNT = 40


class Scripted:
    """A text's vector is (its number, 1); an image's (its red, 2). `most` is how large a batch may be; `before` runs first."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.most = 10**6
        self.before: Callable[[int], None] = lambda _: None
        self.deciding: dict[str, Any] = {"weights": "w1"}

    def encode(self, items: Sequence[Any]) -> Any:
        if len(items) > self.most:
            raise MemoryError("the fake is full")
        self.before(len(self.sizes))
        self.sizes.append(len(items))
        return np.array([self.vector(item) for item in items], np.float32)

    def vector(self, item: Any) -> tuple[float, float]:
        if isinstance(item, Text):
            return float(item.text.split()[0]), 1.0
        with Pillow.open(BytesIO(item.data)) as picture:
            return float(picture.convert("RGB").getpixel((0, 0))[0]), 2.0  # type: ignore[index]

    def facts(self) -> dict[str, Any]:
        return self.deciding


class Watching:
    """A View that remembers."""

    def __init__(self) -> None:
        self.sentences: list[str] = []
        self.steps: list[tuple[str, int, int]] = []

    def said(self, sentence: str) -> None:
        self.sentences.append(sentence)

    def advanced(self, kind: str, done: int, total: int, per_s: float) -> None:
        assert per_s >= 0
        self.steps.append((kind, done, total))


Embed = Callable[..., Embedding]


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    backend = Scripted()
    monkeypatch.setattr(embedding, "backend_for", lambda name, _: Bare(name, backend))
    return backend


@pytest.fixture
def view() -> Watching:
    return Watching()


@pytest.fixture
def run(scripted: Scripted, view: Watching, tmp_path: Path) -> Embed:
    """Embeds 40 images (red 0, 1, … as PNGs) with one caption each; two images are no images, one is missing."""
    (tmp_path / "images").mkdir()
    lines = []
    for i in range(COUNT):
        lines.append(f"{i:02}.png#0\t{i} is its number\n")
        if i in (7, 20):
            (tmp_path / "images" / f"{i:02}.png").write_bytes(b"no picture")
        elif i != 30:
            Pillow.new("RGB", (4, 4), (i, 0, 0)).save(tmp_path / "images" / f"{i:02}.png")
    (tmp_path / "tokens.txt").write_text("".join(lines))
    clock = iter(range(10**6))

    def run(**options: Any) -> Embedding:
        files = {"flickr_captions_file": tmp_path / "tokens.txt", "flickr_images_dir": tmp_path / "images"}
        given = EmbeddingOptions(**({"dump_img_emb": tmp_path / "i.npy", "dump_txt_emb": tmp_path / "t.npy"} | files | options))
        return embed(given, view, clock=lambda: float(next(clock)))

    return run


GOOD = [i for i in range(COUNT) if i not in (7, 20, 30)]


def test_a_dump_is_in_the_order_of_the_listing_and_says_what_it_is(run: Embed, view: Watching, tmp_path: Path) -> None:
    done = run(batch_size="9")
    texts, images = dumps.read(tmp_path / "t.npy"), dumps.read(tmp_path / "i.npy")
    assert images.vectors.tolist() == [[i, 2] for i in GOOD]
    assert images.names == [f"{i:02}.png" for i in GOOD]
    assert texts.vectors.tolist() == [[i, 1] for i in range(COUNT) if i != 30]
    side_car = images.side_car
    assert side_car is not None
    assert (side_car.kind, side_car.count, side_car.dim, side_car.normalized) == ("image", 37, 2, False)
    assert side_car.identity["weights"] == "w1"
    assert [skip.split(" ")[0] for skip in side_car.skipped] == ["07.png", "20.png"]
    assert len(done.missing) == 1
    assert "30.png" in done.missing[0]
    assert [(part.kind, part.count, part.embedded) for part in done.parts] == [("text", 39, 39), ("image", 37, 37)]
    assert view.steps[-1] == ("image", 39, 39)
    assert sorted(file.suffix for file in tmp_path.glob("[it].npy*")) == [".json", ".json", ".npy", ".npy"], "no .part is left"


def test_normalised_when_asked(run: Embed, tmp_path: Path) -> None:
    run(normalize=True)
    found = dumps.read(tmp_path / "i.npy")
    assert found.side_car is not None
    assert found.side_car.normalized
    assert found.vectors == pytest.approx(unit(np.array([[i, 2] for i in GOOD], np.float32)))


def test_no_more_than_two_batches_are_prepared_ahead(run: Embed, scripted: Scripted) -> None:
    """Else the first batches would share the cores with all that can be prepared, and be slower than those to come."""
    prepared: list[int] = []
    most = []

    def prepare(item: Any) -> Prepared:
        prepared.append(1)
        return Prepared(item)

    def look(_: int) -> None:
        time.sleep(0.02)  # for the threads to do all that they were given
        most.append(len(prepared) - sum(scripted.sizes))

    scripted.prepare, scripted.before = prepare, look  # type: ignore[attr-defined]
    run(batch_size="9", modality="text", dump_img_emb=None)
    assert len(prepared) == COUNT
    assert 2 * 9 < max(most) <= 3 * 9, "the batch itself, and two"


@pytest.mark.parametrize("at", range(0, 9, 2))
def test_a_stopped_one_goes_on_and_ends_the_same(
    at: int, run: Embed, scripted: Scripted, view: Watching, tmp_path: Path
) -> None:
    def stop(call: int) -> None:
        if call == at:
            raise KeyboardInterrupt

    scripted.before = stop
    with pytest.raises(KeyboardInterrupt):
        run(batch_size="9")
    assert not (tmp_path / "i.npy").exists()
    scripted.before = lambda _: None
    done = run(batch_size="5")
    assert dumps.read(tmp_path / "i.npy").vectors.tolist() == [[i, 2] for i in GOOD]
    assert dumps.read(tmp_path / "t.npy").names == [f"{i:02}.png#0" for i in range(COUNT) if i != 30]
    assert [len(part.skipped) for part in done.parts] == [0, 2], "those passed over before the stop are told too"
    assert sum(part.embedded for part in done.parts) == 39 + 37 - sum(scripted.sizes[:at])
    assert (sum(part.count for part in done.parts)) == 39 + 37


def test_a_finished_one_is_not_done_again(run: Embed, scripted: Scripted, view: Watching) -> None:
    run()
    calls = len(scripted.sizes)
    done = run()
    assert len(scripted.sizes) == calls
    assert [(part.count, part.embedded, part.dim) for part in done.parts] == [(39, 0, 2), (37, 0, 2)]
    assert [len(part.skipped) for part in done.parts] == [0, 2]
    assert "already" in view.sentences[-1]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"weights": "w2"}, "--model"),
        ({"weights": "w1", "dtype": "bf16"}, "--amp"),
        ({"weights": "w1", "lowered": {"text": 0.7, "image": 0.5}}, "--amp"),
        ({"weights": "w1", "isa": "AVX2"}, "--amx"),
        ({"weights": "w1", "device": "cuda"}, "--device"),
    ],
)
def test_vectors_of_another_embedding_are_left_alone(
    change: dict[str, Any], word: str, run: Embed, scripted: Scripted, tmp_path: Path
) -> None:
    run()
    before = (tmp_path / "t.npy").read_bytes()
    scripted.deciding = change
    with pytest.raises(ArchiveError, match=word) as caught:
        run()
    assert caught.value.flag == "--dump-txt-emb"
    assert (tmp_path / "t.npy").read_bytes() == before
    run(overwrite=True)
    side_car = dumps.read_side_car(tmp_path / "t.npy")
    assert side_car is not None
    lowered = {"lowered": change["lowered"]["text"]} if "lowered" in change else {}
    assert side_car.identity.items() >= (change | lowered).items()


def test_how_the_other_tower_was_lowered_does_not_matter(run: Embed, scripted: Scripted) -> None:
    scripted.deciding = {"weights": "w1", "lowered": {"text": 0.7, "image": 0.5}}
    run()
    scripted.deciding["lowered"] = {"text": 0.7, "image": 0.4}
    with pytest.raises(ArchiveError, match=r"0\.5 there, 0\.4 here") as caught:
        run()
    assert caught.value.flag == "--dump-img-emb"


def test_a_tower_that_was_not_lowered_is_fp32s(run: Embed, scripted: Scripted, tmp_path: Path) -> None:
    """Whatever became of the other."""
    scripted.deciding = {"weights": "w1", "dtype": "fp32+bf16", "lowered": {"text": 0.0, "image": 0.5}}
    run()
    text, image = (dumps.read_side_car(tmp_path / name) for name in ("t.npy", "i.npy"))
    assert text is not None
    assert image is not None
    assert (text.identity["dtype"], text.identity["lowered"]) == ("fp32", None)
    assert (image.identity["dtype"], image.identity["lowered"]) == ("fp32+bf16", 0.5)


@pytest.mark.parametrize(("options", "word"), [({"normalize": True}, "--normalize"), ({"max_samples": 5}, "--data-source")])
def test_other_options_are_another_embedding(options: dict[str, Any], word: str, run: Embed) -> None:
    run()
    with pytest.raises(ArchiveError, match=word):
        run(**options)


def test_a_file_without_a_side_car_is_not_replaced_unasked(run: Embed, tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", np.ones((2, 2)))
    with pytest.raises(ArchiveError, match="nothing says what it holds"):
        run()
    run(overwrite=True)
    assert dumps.read(tmp_path / "t.npy").side_car is not None


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_a_vector_that_could_spoil_a_ranking_ends_it(value: float, run: Embed, scripted: Scripted, tmp_path: Path) -> None:
    scripted.vector = lambda item: (value, 0.0) if "13" in getattr(item, "text", "") else (1.0, 1.0)  # type: ignore[method-assign]
    with pytest.raises(CliploadError, match=r"the vector of 13\.png#0 is zero or not finite") as caught:
        run(amp="bf16")
    assert (caught.value.flag, caught.value.remedy) == ("--amp", "use --amp off")
    assert not (tmp_path / "t.npy").exists()


def test_the_batch_shrinks_when_memory_says_no(run: Embed, scripted: Scripted, view: Watching, tmp_path: Path) -> None:
    scripted.most = 5
    run()
    assert max(scripted.sizes) == 4
    assert dumps.read(tmp_path / "i.npy").vectors.tolist() == [[i, 2] for i in GOOD], "in order, nothing lost or twice"
    assert any("no memory for 8 texts" in sentence for sentence in view.sentences)
    scripted.most = 0
    with pytest.raises(HostError, match="no memory for 1 ") as caught:
        run(overwrite=True, normalize=True)
    assert caught.value.flag == "--batch-size"


def test_a_batch_that_was_asked_for_does_not_shrink_in_silence(run: Embed, scripted: Scripted) -> None:
    scripted.most = 5
    with pytest.raises(HostError, match="no memory for 9 texts"):
        run(batch_size="9")


def test_strict(run: Embed, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"30\.png"):
        run(strict=True)
    Pillow.new("RGB", (4, 4)).save(tmp_path / "images" / "30.png")
    with pytest.raises(DatasetError, match=r"07\.png.*cannot be read"):
        run(strict=True)


def test_nothing_that_can_be_read(run: Embed, tmp_path: Path) -> None:
    for file in (tmp_path / "images").iterdir():
        file.write_bytes(b"")
    with pytest.raises(DatasetError, match="none of 39 images can be read: 00"):
        run(modality="image", dump_txt_emb=None)
    assert list(tmp_path.glob("i.npy*")) == [], "nothing was embedded, so nothing is kept"


def test_without_a_dump_only_the_speed_is_found(run: Embed, tmp_path: Path) -> None:
    done = run(dump_txt_emb=None, dump_img_emb=None)
    assert [part.count for part in done.parts] == [39, 37]
    assert list(tmp_path.glob("*.npy*")) == []


def test_vectors_of_changing_length(run: Embed, scripted: Scripted) -> None:
    scripted.vector = lambda _: (1.0,) * (2 + len(scripted.sizes))  # type: ignore[method-assign,assignment]
    with pytest.raises(CliploadError, match="vectors of 4 numbers after vectors of 3"):
        run()


def test_what_the_context_cut_off_is_named(run: Embed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    prepare = Bare.prepare
    cut = {"13 is its number"}

    def cutting(self: Bare, item: Any) -> Any:
        prepared = prepare(self, item)
        return type(prepared)(prepared.content, cut=3) if getattr(item, "text", "") in cut else prepared

    monkeypatch.setattr(Bare, "prepare", cutting)
    assert run().parts[0].truncated == ["13.png#0"]
    assert json.loads((tmp_path / "t.npy.json").read_text())["truncated"] == ["13.png#0"]


@pytest.mark.parametrize("killed_in", [0, 9])  # the texts' dump; the images'
def test_auto_goes_on_with_what_an_earlier_attempt_took(run: Embed, scripted: Scripted, view: Watching, killed_in: int) -> None:
    """The vectors of one dump are of one backend, however a trial ends the next time."""

    def kill(number: int) -> None:
        if number == killed_in + 1:
            raise KeyboardInterrupt

    scripted.before = kill
    with pytest.raises(KeyboardInterrupt):
        run(backend="openvino", batch_size="5")
    scripted.before = lambda _: None
    assert run(backend="auto", batch_size="5").facts["backend"] == "openvino"
    assert "--backend auto takes openvino: an earlier attempt did" in view.sentences
    assert any(sentence.startswith("going on after ") for sentence in view.sentences)
    assert run(backend="auto").facts["backend"] == "openvino", "of dumps that are whole"
    assert run(backend="auto", overwrite=True).facts["backend"] == "auto", "here nobody chooses: the name is what was asked for"
