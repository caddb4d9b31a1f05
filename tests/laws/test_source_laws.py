"""Laws of every Source in the registry: determinism, the prefix law, the bound, and independence of threads."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import islice
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from clipload.mixes import Mix, parse_lengths, parse_sizes
from clipload.sources import CAPTION_PICKS, IMAGE_FORMATS, IMAGE_KINDS, MODES, SOURCES, Skip, Source, source_for
from clipload.sources.pictures import draw_in_order
from clipload.values import Image, Sample, Text


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve small images with three captions each, as each of the Sources reads them; one more is named but missing,
    one more is broken."""
    root = tmp_path_factory.mktemp("dataset")
    (root / "images").mkdir()
    draws = np.random.default_rng(1)
    for k in range(12):
        Pillow.fromarray(draws.integers(0, 256, (8, 12, 3), np.uint8)).save(root / "images" / f"{k}.jpg")
    (root / "images" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    names = [*map(str, range(12)), "missing", "broken"]
    (root / "captions.txt").write_text("".join(f"{n}.jpg#{i}\tCaption {i} of {n} .\n" for n in names for i in range(3)))
    for n in [*map(str, range(12)), "broken"]:
        (root / "images" / f"{n}.txt").write_text(f"Caption of {n} .\n")
    rows = [{"text": f"Caption of {n} .", "image": f"images/{n}.jpg"} for n in names]
    (root / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


@pytest.fixture(params=sorted(SOURCES))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


OPTIONS = st.fixed_dictionaries(
    {
        "mode": st.sampled_from(MODES),
        "seed": st.integers(0, 2**63),
        "image_side": st.integers(1, 9),
        "image_format": st.sampled_from(IMAGE_FORMATS),
        "image_sizes": st.sampled_from([None, parse_sizes("7x5"), parse_sizes("8x8:3,9x6:1")]),
        "image_kind": st.sampled_from(IMAGE_KINDS),
        "text_lengths": st.sampled_from([None, parse_lengths("5"), parse_lengths("5-9:2,76")]),
        "text_share": st.sampled_from([0.0, 0.3, 0.5, 1.0]),
        "flickr_caption_pick": st.sampled_from(CAPTION_PICKS),
        "threads": st.sampled_from([None, 1, 3]),
    }
)
Law = Callable[[Callable[[dict[str, object], int, int], None]], None]
LAW = settings(max_examples=40, deadline=None)


def make(name: str, dataset: Path, options: dict[str, object]) -> Source:
    data = {"folder": dataset / "images", "jsonl": dataset / "rows.jsonl"}.get(name, "")
    files = {"flickr_images_dir": dataset / "images", "flickr_captions_file": dataset / "captions.txt", "data": data}
    return source_for(name, **files, **options)


@pytest.fixture
def law() -> Law:
    """Runs one check over options and two counts; a test closes over its fixtures, which hypothesis could not bind."""
    return lambda check: LAW(given(options=OPTIONS, m=st.integers(0, 20), n=st.integers(0, 20))(check))()


def test_the_same_options_give_the_same_bytes(name: str, dataset: Path, law: Law) -> None:
    def check(options: dict[str, object], m: int, n: int) -> None:
        del m
        first, again = make(name, dataset, options), make(name, dataset, {**options, "threads": 2})
        drawn = list(first.draw(n))
        assert drawn == list(again.draw(n)), "another Source, another number of threads"
        assert drawn == list(first.draw(n)), "the same Source again"
        assert first.skipped == again.skipped

    law(check)


def test_a_shorter_draw_is_a_prefix(name: str, dataset: Path, law: Law) -> None:
    def check(options: dict[str, object], m: int, n: int) -> None:
        m, n = sorted((m, n))
        source = make(name, dataset, options)
        long = list(source.draw(n))
        assert list(source.draw(m)) == long[:m]
        assert list(islice(source.draw(n), m)) == long[:m], "a draw that is abandoned"

    law(check)


def test_no_more_than_available_and_all_distinct(name: str, dataset: Path, law: Law) -> None:
    def check(options: dict[str, object], m: int, n: int) -> None:
        del m
        options = {**options, "image_side": 9}
        source = make(name, dataset, options)
        drawn = list(source.draw(n))
        assert len(drawn) <= n
        captions = drawn.count(Sample((Text("a beautiful landscape"),)))  # in mixed mode, of the Source that has but one
        assert len(set(drawn)) == len(drawn) - max(0, captions - 1)
        assert captions <= 1 or (name, options["mode"], options["text_lengths"]) == ("random", "mixed", None)
        if source.available is None:
            assert len(drawn) == n
        elif n > source.available:
            lost = sum("not a readable image" in skip.why for skip in source.skipped)
            assert len(drawn) == source.available - lost

    law(check)


def test_a_sample_is_what_the_mode_says(name: str, dataset: Path, law: Law) -> None:
    kinds = {"text": {(Text,)}, "image": {(Image,)}, "multimodal": {(Text, Image)}, "mixed": {(Text,), (Image,)}}

    def check(options: dict[str, object], m: int, n: int) -> None:
        del m
        for sample in make(name, dataset, options).draw(n):
            assert tuple(type(item) for item in sample.items) in kinds[str(options["mode"])]
            for item in sample.items:
                if isinstance(item, Image):
                    original = "jpeg" if name != "random" and options["image_sizes"] is None else "png"
                    wanted = str(options["image_format"]).replace("original", original)
                    assert item.media_type == f"image/{wanted}"
                    assert_size(item, options, name)

    law(check)


def assert_size(item: Image, options: dict[str, object], name: str) -> None:
    sizes = options["image_sizes"]
    allowed = set(sizes.parts) if isinstance(sizes, Mix) else {(options["image_side"],) * 2} if name == "random" else {(12, 8)}
    with Pillow.open(BytesIO(item.data)) as picture:
        assert picture.size in allowed


def test_a_share_of_texts_is_met(name: str, dataset: Path) -> None:
    for share in (0.0, 0.25, 1.0):
        source = make(name, dataset, {"mode": "mixed", "seed": 3, "text_share": share, "text_lengths": parse_lengths("9")})
        drawn = list(source.draw(400))
        texts = sum(isinstance(sample.items[0], Text) for sample in drawn)
        if share in (0.0, 1.0):
            assert texts == share * len(drawn)
        elif name == "random":
            assert 70 <= texts <= 130  # 100 ± 3.5 standard deviations
        else:
            assert texts, "the stream ends when one kind has run out"
            assert len(drawn) > texts


def test_a_draw_of_none_and_of_less(name: str, dataset: Path) -> None:
    for mode in MODES:
        source = make(name, dataset, {"mode": mode, "seed": 1})
        assert list(source.draw(0)) == list(source.draw(-1)) == []


def test_registry_entries_name_module_and_class() -> None:
    """Each entry is "module:Class" in this family, so that a grep for a class finds its word."""
    assert all(re.fullmatch(r"clipload\.sources\.[a-z0-9]+:[A-Z]\w+", where) for where in SOURCES.values())


@LAW
@given(wanted=st.integers(0, 30), threads=st.integers(1, 4), bad=st.sets(st.integers(0, 30)))
def test_in_order_keeps_order_and_starts_no_more_than_wanted(wanted: int, threads: int, bad: set[int]) -> None:
    started: list[int] = []
    skipped: list[Skip] = []

    def inputs() -> Iterator[int]:
        for value in range(30):
            started.append(value)
            yield value

    def job(value: int) -> Sample | Skip:
        return Skip(str(value), 0, "bad") if value in bad else Sample((Text(str(value)),))

    drawn = list(draw_in_order(job, inputs(), wanted, threads=threads, on_skip=skipped.append))
    good = [value for value in range(30) if value not in bad]
    assert [s.items[0] for s in drawn] == [Text(str(value)) for value in good[:wanted]]
    last = good[wanted - 1] if 0 < wanted <= len(good) else 29 if wanted else -1
    assert started == list(range(last + 1)), "an input that the answer does not need was begun"
    assert [s.file for s in skipped] == [str(value) for value in sorted(bad) if value <= last]


def test_one_of_its_own_threads_may_be_who_ends_it() -> None:
    """A garbage collection runs in whatever thread is at it when the time has come."""
    read_on, ended = Event(), list[BaseException | None]()

    def job(value: int) -> Sample:
        if value == 1:
            read_on.wait(10)
            try:
                drawn.close()
            except RuntimeError as error:
                ended.append(error)
            else:
                ended.append(None)
            finished.set()
        return Sample((Text(str(value)),))

    finished = Event()
    drawn = draw_in_order(job, range(9), 9, threads=2)
    assert next(drawn).items == (Text("0"),)
    read_on.set()
    assert finished.wait(10)
    assert ended == [None]
