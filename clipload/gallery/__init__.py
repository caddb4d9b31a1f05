"""Galleries: how the images of the Samples reach the target, by `--image-transport`.

Laws: the same Plan and the same images give the same references, on any machine and in any run; an image is put in place once,
however often it is drawn; no more than one image is held in memory by the way; references that the source gave are left alone.

| transport | an image becomes | what stands behind it |
|---|---|---|
| `data-url` | itself, inside the request | nothing |
| `path`, `path/url` | the path of its own file, else of one that is written | `gallery.folder` |
| `url` | a URL | `gallery.shelf`, and a process of its own (`gallery.server`) |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from hashlib import blake2b
from importlib import import_module
from typing import Any, cast

from clipload.host import Placement
from clipload.plan import Plan
from clipload.values import Image, ImageRef, Item, Sample

GALLERIES = {
    "data-url": "clipload.gallery:inside_requests",
    "path": "clipload.gallery.folder:folder",
    "path/url": "clipload.gallery.folder:folder",
    "url": "clipload.gallery.shelf:shelf",
}
_EXTENSIONS = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp", "image/gif": ".gif", "image/bmp": ".bmp"}


class Gallery:
    """`data-url`: images stay what they are. The others replace `place` and what they need of the rest."""

    def __init__(self) -> None:
        self.foreign = 0  # references that the source gave

    def place(self, image: Image) -> Item:
        """What is sent for `image`."""
        return image

    def hang(self, samples: Iterable[Sample]) -> Iterator[Sample]:
        """The same Samples with their images in place."""
        for sample in samples:
            self.foreign += sum(isinstance(item, ImageRef) for item in sample.items)
            yield Sample(tuple(self.place(item) if isinstance(item, Image) else item for item in sample.items))

    def show(self) -> None:
        """All images hang: from now on the target may ask for them."""

    def begin(self) -> None:
        """The load is about to begin: what is counted and scripted is counted and scripted from here."""

    def end(self) -> dict[str, Any]:
        """The load is over; facts for the Run."""
        return {}


def name_of(image: Image) -> str:
    """A file's name that is a function of the bytes."""
    return blake2b(image.data, digest_size=16).hexdigest() + _EXTENSIONS.get(image.media_type, "")


@contextmanager
def inside_requests(plan: Plan, placement: Placement) -> Iterator[Gallery]:  # noqa: ARG001 - the interface
    yield Gallery()


def gallery_for(plan: Plan, placement: Placement) -> AbstractContextManager[Gallery]:
    """The Plan's gallery; nothing of it is left when the block is. HostError when a folder or an address cannot be had."""
    module, _, name = GALLERIES[plan.image_transport if plan.images_per_request else "data-url"].partition(":")
    make = cast(Callable[[Plan, Placement], AbstractContextManager[Gallery]], getattr(import_module(module), name))
    return make(plan, placement)
