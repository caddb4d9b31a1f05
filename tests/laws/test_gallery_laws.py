"""Laws of the galleries: the same images give the same references, each is put in place once, and nothing else is touched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipload.gallery import Gallery, folder, gallery_for, name_of
from clipload.host import Placement
from clipload.plan import Plan
from clipload.sources import source_for
from clipload.values import Image, ImageRef, Item, Sample, Text
from tests.gallery.places import free_address

LAW = settings(max_examples=15, deadline=None)
PLACEMENT = Placement((0,), (0,))
TYPES = ["image/png", "image/jpeg", "image/webp", "image/x-odd"]
IMAGES = st.builds(
    Image, st.binary(min_size=1, max_size=64), st.sampled_from(TYPES), st.sampled_from(["", "", "/data/a b.jpg"])
)
ITEMS = st.one_of(IMAGES, st.builds(Text, st.text(max_size=5)), st.builds(ImageRef, st.just("http://h/x.png")))
SAMPLES = st.lists(st.lists(ITEMS, min_size=1, max_size=2).map(lambda items: Sample(tuple(items))), max_size=12)
TRANSPORTS = ("data-url", "path", "path/url", "url")


@pytest.fixture
def plan_of(tmp_path: Path) -> Callable[[str], Plan]:
    address = free_address()

    def plan_of(transport: str) -> Plan:
        values = {"images_dir": str(tmp_path)} if transport.startswith("path") else {}
        values |= {"serve_images_on": address} if transport == "url" else {}
        return Plan(image_transport=transport, **values)  # type: ignore[arg-type]

    return plan_of


def hung(plan: Plan, samples: list[Sample]) -> list[Sample]:
    with gallery_for(plan, PLACEMENT) as gallery:
        return list(gallery.hang(samples))


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_only_images_change_and_the_same_ones_alike(transport: str, plan_of: Callable[[str], Plan]) -> None:
    plan = plan_of(transport)

    @LAW
    @given(SAMPLES)
    def check(samples: list[Sample]) -> None:
        result = hung(plan, samples)
        assert [len(sample.items) for sample in result] == [len(sample.items) for sample in samples]
        became: dict[Image, Item] = {}
        for before, after in zip(flat(samples), flat(result), strict=True):
            if isinstance(before, Image) and transport != "data-url":
                assert isinstance(after, ImageRef)
                assert became.setdefault(before, after) == after
            else:
                assert after == before
        assert hung(plan, [*samples, *samples]) == result * 2

    check()


def flat(samples: list[Sample]) -> Iterator[Item]:
    return (item for sample in samples for item in sample.items)


@LAW
@given(st.lists(IMAGES, max_size=12))
def test_names_are_functions_of_the_bytes(images: list[Image]) -> None:
    names = {name_of(image) for image in images}
    assert len(names) == len({(image.data, name_of(image)[32:]) for image in images})
    assert all(name.partition(".")[0] == name[:32] for name in names)


@pytest.mark.parametrize("transport", ["path", "url"])
def test_the_same_plan_gives_the_same_references(transport: str) -> None:
    """Of two runs, whatever else they do: the default folder and address are part of no run."""
    plan = Plan(image_transport=transport, mode="image", pool=6)  # type: ignore[arg-type]
    if transport == "url":
        plan = plan.replace(serve_images_on=free_address())
    first, second = (hung(plan, list(draw(plan, threads))) for threads in (1, 3))
    assert first == second
    assert len(set(first)) == 6


def draw(plan: Plan, threads: int) -> Iterator[Sample]:
    return source_for("random", mode=plan.mode, seed=plan.seed, image_side=4, threads=threads).draw(plan.pool)


def test_each_image_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    write = folder._write

    def watched(path: Path, data: bytes) -> None:
        written.append(path.name)
        write(path, data)

    monkeypatch.setattr(folder, "_write", watched)
    plan = Plan(image_transport="path", mode="image", images_dir=str(tmp_path / "new"), pool=5)
    samples = list(draw(plan, 1))
    references = {item.reference for sample in hung(plan, samples * 3) for item in sample.items}  # type: ignore[union-attr]
    assert len(written) == len(set(written)) == 5
    assert {Path(reference) for reference in references} == set((tmp_path / "new").iterdir())
    assert {Path(reference).read_bytes() for reference in references} == {s.items[0].data for s in samples}  # type: ignore[union-attr]
    hung(plan, samples)
    assert len(written) == 5, "another run finds them there"
    next((tmp_path / "new").iterdir()).write_bytes(b"damaged")
    hung(plan, samples)
    assert len(written) == 6, "what is not the image is replaced"


def test_a_gallery_holds_one_image_at_a_time(plan_of: Callable[[str], Plan]) -> None:
    for transport in TRANSPORTS:
        ahead = 0

        def samples() -> Iterator[Sample]:
            nonlocal ahead
            for i in range(9):
                ahead += 1
                yield Sample((Image(b"%d" % i, "image/png"),))

        with gallery_for(plan_of(transport), PLACEMENT) as gallery:
            for _ in gallery.hang(samples()):
                ahead -= 1
                assert ahead == 0


def test_text_needs_no_gallery() -> None:
    with gallery_for(Plan(image_transport="path/url", mode="text"), PLACEMENT) as gallery:
        assert type(gallery) is Gallery
