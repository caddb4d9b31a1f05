"""docs/how-the-numbers-are-made.md keeps its word: its tests exist, its examples are computed, each claim has its proof."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

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


SIXTEEN = [[cell.strip() for cell in row.split("|")[1:-1]] for row in claims(sections()["## Sixteen tests"])]
NOTES = {"": {"short"}, "*full*": {"full"}, "*also full*": {"short", "full"}}


def test_the_sixteen_are_all_there() -> None:
    assert [int(row[0]) for row in SIXTEEN] == list(range(1, 17))


def marks_of(found: Any) -> list[Any]:
    marks = getattr(found, "pytestmark", [])
    return marks if isinstance(marks, list) else [marks]


def is_slow(mark: Any) -> bool:
    return getattr(mark, "name", "") == "slow"


def suites(name: str) -> set[str]:
    """In which suites a test has a case, by its marks and by those of its parameters."""
    file, *path = name.split("::")
    found: list[Any] = [importlib.import_module(file.removesuffix(".py").replace("/", "."))]
    for part in path:
        found.append(getattr(found[-1], part))
    marks = [mark for one in found for mark in marks_of(one)]
    if any(map(is_slow, marks)):
        return {"full"}
    cases = [
        [any(map(is_slow, getattr(case, "marks", ()))) for case in mark.args[1]] for mark in marks if mark.name == "parametrize"
    ]
    return {suite for suite, has in (("short", not any(map(all, cases))), ("full", any(map(any, cases)))) if has}


@pytest.mark.parametrize("row", SIXTEEN, ids=lambda row: row[0])
def test_the_suite_of_each_of_the_sixteen_is_that_of_its_tests(row: list[str]) -> None:
    """So that nobody believes to be run with every change what is run now and then."""
    named = re.findall(r"`(tests/[^`]+)`(?: (\*[a-z ]+\*))?", row[3])
    assert named
    assert [(name, NOTES[note]) for name, note in named] == [(name, suites(name)) for name, _ in named]
    assert set(row[2].split(" and ")) == set().union(*(suites(name) for name, _ in named))


def test_the_suite_of_a_test_is_told_from_its_marks() -> None:
    """One of each kind: never marked, marked itself, marked by its file, and in some of its cases."""
    here = "tests/end_to_end/"
    assert suites("tests/test_verdict.py::test_all_is_well") == {"short"}
    assert suites(f"{here}test_stall.py::test_a_closed_loop_hides_a_stall") == {"full"}
    assert suites(f"{here}test_memory.py::test_the_arena_is_shared") == {"full"}
    assert suites(f"{here}test_endings.py::test_a_dead_worker_ends_the_run_and_its_share_is_lost") == {"short", "full"}
    assert suites("tests/test_histogram.py::TestV2::test_payload_by_hand") == {"short"}


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
