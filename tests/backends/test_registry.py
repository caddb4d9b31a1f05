"""The table of backends, and packages that bring their own."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from clipload.backends import BACKENDS, BackendOptions, Bare, Prepared, backend_for, checked
from clipload.errors import CliploadError
from clipload.values import Image, Text


class Counting:
    """Only `encode`: the length of a text."""

    def encode(self, items: Sequence[Any]) -> Any:
        return np.array([[len(item.text)] for item in items], np.float32)


def test_a_class_with_encode_is_enough() -> None:
    backend = Bare("counting", Counting())
    prepared = backend.prepare(Text("four"))
    assert backend.encode([prepared, Text("a")]).tolist() == [[4], [1]]
    assert backend.facts() == {"backend": "counting", "dtype": "fp32"}
    backend.close()


def test_what_else_it_has_is_used() -> None:
    class Whole(Counting):
        closed = False

        def prepare(self, item: Any) -> Prepared:
            return Prepared(Text(item.text.upper()), cut=3)

        def facts(self) -> dict[str, Any]:
            return {"dtype": "int8", "device": "abacus"}

        def close(self) -> None:
            self.closed = True

    whole = Whole()
    backend = Bare("whole", whole)
    assert backend.prepare(Text("a")) == Prepared(Text("A"), 3)
    assert backend.facts() == {"backend": "whole", "dtype": "int8", "device": "abacus"}
    backend.close()
    assert whole.closed


def test_a_picture_that_is_cut_short_is_found_before_it_is_sent() -> None:
    file = io.BytesIO()
    Pillow.new("RGB", (50, 50), "red").save(file, "JPEG")
    backend = Bare("counting", Counting())
    backend.prepare(Image(file.getvalue(), "image/jpeg"))
    with pytest.raises(OSError, match=r"(?i)truncated"):
        backend.prepare(Image(file.getvalue()[:-200], "image/jpeg"))


@pytest.mark.parametrize(
    "vectors",
    [[[1.0]], None, np.ones(2, np.float32), np.ones((3, 4), np.float32), np.ones((2, 4)), np.ones((2, 4), np.float16)],
)
def test_what_is_no_batch_of_vectors_is_refused(vectors: Any) -> None:
    with pytest.raises(CliploadError, match="toy gave") as caught:
        checked(vectors, 2, "toy")
    assert caught.value.flag == "--backend"


def test_unknown_names() -> None:
    with pytest.raises(CliploadError, match="did you mean 'torch'") as caught:
        backend_for("torhc", BackendOptions())
    assert (caught.value.flag, caught.value.exit_code) == ("--backend", 2)
    with pytest.raises(CliploadError, match="use torch, clip, ipex, openvino"):
        backend_for("xyz", BackendOptions())


def test_entries_name_modules_of_this_family() -> None:
    assert all(where.startswith("clipload.backends.") and where.endswith(":make") for where in BACKENDS.values())
    assert BACKENDS["clip"] == BACKENDS["torch"]


def test_options_do_not_compare_or_show_the_listener() -> None:
    listen: Callable[[str], None] = [].append
    assert BackendOptions(say=listen) == BackendOptions()
    assert "say" not in repr(BackendOptions())
