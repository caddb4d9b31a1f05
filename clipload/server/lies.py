"""Scripted lies: a server that answers 200 with wrong vectors, or dies, as SGLang does for CLIP, or is quicker than it is. To
try what finds it out.

| lie | what comes | where it shows |
|---|---|---|
| `ignore-images` | an image has the vector of its text, or of "padding" | any image |
| `leak` | a text's vector depends on those before it in the request, and on those being served | several at once |
| `swap` | the vectors of a request come in another order; one alone gets that of another being served | several at once |
| `nan` | the first number of each vector is none | any request |
| `radix` | a text has another vector from the second time on | a text that is sent again |
| `die-on-mixed` | texts and images at once, in a request or in two, end the process | several at once |
| `cache` | the truth, and no service time for a request whose Items were all answered before | Items that are sent again |

A new one is a function and a line of `LIES`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Literal, Protocol

import numpy as np

from clipload.dialects import ServerItem, Vectors

LieName = Literal["ignore-images", "leak", "swap", "nan", "radix", "die-on-mixed", "cache"]
VectorOf = Callable[[ServerItem], Vectors]
"""The true vector of an item, shape [dim]."""


class Lie(Protocol):
    def __call__(self, items: Sequence[ServerItem], served: Sequence[ServerItem], vector: VectorOf) -> list[Vectors]:
        """What is said of a request's `items` while those of other requests are being `served`."""


def ignore_images(items: Sequence[ServerItem], served: Sequence[ServerItem], vector: VectorOf) -> list[Vectors]:  # noqa: ARG001
    return [vector(ServerItem(text=prompt(item))) for item in items]


def leak(items: Sequence[ServerItem], served: Sequence[ServerItem], vector: VectorOf) -> list[Vectors]:
    """As one causal sequence would: each text sees those before it."""
    before = [prompt(item) for item in served if item.image is None]
    found = []
    for item in items:
        if item.image is None:
            before.append(prompt(item))
        found.append(vector(item) if item.image is not None else vector(ServerItem(text=" ".join(before))))
    return found


def swap(items: Sequence[ServerItem], served: Sequence[ServerItem], vector: VectorOf) -> list[Vectors]:
    if len(items) == 1 and served:
        return [vector(served[-1])]
    return [vector(item) for item in (*items[1:], *items[:1])]


def nan(items: Sequence[ServerItem], served: Sequence[ServerItem], vector: VectorOf) -> list[Vectors]:  # noqa: ARG001
    found = [vector(item).copy() for item in items]
    for one in found:
        one[0] = np.nan
    return found


class Radix:
    """Remembers every text."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def __call__(self, items: Sequence[ServerItem], served: Sequence[ServerItem], vector: VectorOf) -> list[Vectors]:  # noqa: ARG002
        return [self._remembered(item, vector) for item in items]

    def _remembered(self, item: ServerItem, vector: VectorOf) -> Vectors:
        text = prompt(item)
        if item.image is not None or text not in self._seen:
            self._seen.add(text)
            return vector(item)
        return vector(ServerItem(text=f"{text} (cached)"))


def die_on_mixed(items: Sequence[ServerItem], served: Sequence[ServerItem], vector: VectorOf) -> list[Vectors]:
    if len({item.image is None for item in (*items, *served)}) > 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return [vector(item) for item in items]


class Cache:
    """Remembers the Items that were answered. Each vector is true, whoever asks: only time lies."""

    def __init__(self) -> None:
        self._answered: set[bytes] = set()

    def __call__(self, items: Sequence[ServerItem], served: Sequence[ServerItem], vector: VectorOf) -> list[Vectors]:  # noqa: ARG002
        return [vector(item) for item in items]

    def knows(self, items: Sequence[ServerItem]) -> bool:
        """Whether all were answered before."""
        return self._keys(items) <= self._answered

    def answered(self, items: Sequence[ServerItem]) -> None:
        self._answered |= self._keys(items)

    @staticmethod
    def _keys(items: Sequence[ServerItem]) -> set[bytes]:
        return {sha256(repr(item).encode(errors="surrogatepass")).digest() for item in items}


def prompt(item: ServerItem) -> str:
    """The text that is embedded in the place of an image that is dropped."""
    return "padding" if item.text is None else item.text


LIES: dict[LieName, Callable[[], Lie]] = {
    "ignore-images": lambda: ignore_images,
    "leak": lambda: leak,
    "swap": lambda: swap,
    "nan": lambda: nan,
    "radix": Radix,
    "die-on-mixed": lambda: die_on_mixed,
    "cache": Cache,
}
