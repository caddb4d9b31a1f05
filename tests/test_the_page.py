"""docs/how-the-numbers-are-made.md keeps its word: its tests exist, its examples are computed, each claim has its proof."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.bad_examples import EXAMPLES

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "how-the-numbers-are-made.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`(tests/[\w/]+\.py)::([\w:]+)`")
BARE = ("## Sixteen tests",)  # sections without an example


def sections() -> dict[str, str]:
    parts = re.split(r"(?m)^(## .+)$", PAGE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def claims(text: str) -> list[str]:
    """The rows of its tables, headings and rules left out."""
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return [row for row in rows if not row.startswith("|---") and "proven by |" not in row]


@cache
def named_in(file: str) -> frozenset[str]:
    """`test_x` and `TestY::test_x` that stand in it, by its syntax tree."""

    def found(body: list[ast.stmt], prefix: str = "") -> Iterator[str]:
        for node in body:
            if isinstance(node, ast.ClassDef):
                yield from found(node.body, f"{node.name}::")
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                yield prefix + node.name

    return frozenset(found(ast.parse((ROOT / file).read_text(encoding="utf-8")).body))


def missing(page: str) -> list[str]:
    """The tests that it names and that do not exist."""
    return [
        f"{file}::{name}" for file, name in NAMED.findall(page) if not (ROOT / file).is_file() or name not in named_in(file)
    ]


def test_every_test_that_is_named_exists() -> None:
    assert missing(PAGE) == []
    assert len(NAMED.findall(PAGE)) > 200
    assert PAGE.count("`tests/") == len(NAMED.findall(PAGE)) + PAGE.count("`tests/bad_examples.py`"), "one is misspelt"


@pytest.mark.parametrize(
    "wrong",
    ["tests/test_none.py::test_it", "tests/test_timer.py::test_it", "tests/test_histogram.py::test_is_that_of_the_package"],
)
def test_a_name_that_does_not_exist_is_found(wrong: str) -> None:
    assert missing(f"| claim | `{wrong}` |") == [wrong]


@pytest.mark.parametrize("heading", sections())
def test_every_claim_has_its_proof(heading: str) -> None:
    text = sections()[heading]
    assert claims(text)
    assert [row for row in claims(text) if not NAMED.search(row)] == []
    assert (heading in BARE) or "> › " in text, "no example of how it would be wrong"


def test_the_sixteen_are_all_there() -> None:
    numbers = [int(row.split("|")[1]) for row in claims(sections()["## Sixteen tests"])]
    assert numbers == list(range(1, 17))


DEAR = ("changed_by_chance", "departing_by_chance", "narrow_by_luck", "one_short_probe")


@pytest.mark.parametrize(
    "example",
    [pytest.param(one, id=one.__name__, marks=[pytest.mark.slow] * (one.__name__ in DEAR)) for one in EXAMPLES],
)
def test_an_example_is_computed(example: Callable[[], Iterator[str]]) -> None:
    """Where this fails after a change of numpy, look at the figures before you write them down."""
    computed = "\n\n".join(f"> › {line}" for line in example())
    assert computed in PAGE


@pytest.mark.slow
def test_the_examples_are_in_their_order_and_none_is_invented() -> None:
    assert re.findall(r"(?m)^> › (.+)$", PAGE) == [line for example in EXAMPLES for line in example()]
