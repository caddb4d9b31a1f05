"""A reply's body read strictly: its vectors, or the class of what is wrong with it."""

from __future__ import annotations

import re

import numpy as np

from clipload.dialects import Dialect, ReplyError, Vectors

_NULL = re.compile(rb"[\[,]\s*null\s*[,\]]")  # among numbers: how JSON prints NaN
_CLASSES = {"count": "count", "not_json": "unreadable", "shape": "unreadable", "index": "unreadable"}


class Unreadable(ValueError):  # noqa: N818 - it is data: one of the classes of `likeness`
    """`name` is the class, the text says what the dialect said."""

    def __init__(self, name: str, said: str) -> None:
        self.name = name
        super().__init__(said)


def read(dialect: Dialect, body: bytes, expected: int) -> Vectors:
    """One vector for each of `expected` Items. Unreadable otherwise."""
    try:
        with np.errstate(all="ignore"):
            return dialect.decode(body, expected)
    except ReplyError as error:
        if error.kind == "shape" and _NULL.search(body):
            raise Unreadable("nan", "a number is null, which is how JSON prints NaN") from None
        raise Unreadable(_CLASSES[error.kind], str(error)) from None
