"""Cases of `clipload.units`: what people write, what is printed, and that each mistake comes with its remedy."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from clipload.errors import CliploadError
from clipload.units import Duration, Size, format_bytes, format_cores, format_ns, parse_cores

MS, S = 10**6, 10**9


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("0", 0),
        ("0s", 0),
        ("10", 10 * S),
        ("10s", 10 * S),
        ("1.5s", 1500 * MS),
        ("1.5", 1500 * MS),
        ("250ms", 250 * MS),
        ("3us", 3000),
        ("3µs", 3000),
        ("7ns", 7),
        ("1m30s", 90 * S),
        ("1h1m1s", 3661 * S),
        ("0.000000001s", 1),
        ("  2 m ", 120 * S),
    ],
)
def test_durations_read_as_they_are_written(text: str, ns: int) -> None:
    assert Duration.parse(text) == ns
    assert type(Duration.parse(text)) is Duration


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1500, "1500ns"),
        (3000, "3us"),
        (1500 * MS, "1500ms"),
        (90 * S, "90s"),
        (120 * S, "2m"),
        (7200 * S, "2h"),
        (S + 1, "1.000000001s"),
    ],
)
def test_durations_print_in_the_largest_unit_that_fits(ns: int, text: str) -> None:
    assert str(Duration(ns)) == text
    assert repr(Duration(ns)) == f"Duration({text})"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("17", 17),
        ("17B", 17),
        ("1KiB", 1024),
        ("1.5KiB", 1536),
        ("64 MiB", 2**26),
        ("1GiB", 2**30),
        ("500kB", 500_000),
    ],
)
def test_sizes_read_as_they_are_written(text: str, size: int) -> None:
    assert Size.parse(text) == size


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0B"), (1000, "1000B"), (1024, "1KiB"), (2**26, "64MiB"), (2**30, "1GiB"), (1025, "1025B")],
)
def test_sizes_print_in_the_largest_binary_unit_that_fits(size: int, text: str) -> None:
    assert str(Size(size)) == text
    assert repr(Size(size)) == f"Size({text})"


def test_cores_read_as_they_are_written() -> None:
    assert parse_cores("0,2,4-7") == (0, 2, 4, 5, 6, 7)
    assert parse_cores(" 3 , 1 ") == (3, 1)
    assert format_cores((0, 2, 4, 5, 6, 7)) == "0,2,4-7"
    assert format_cores((3, 2, 1)) == "3,2,1"


MISTAKES: list[tuple[Callable[[str], object], str]] = [
    *[
        (Duration.parse, text)
        for text in ("", " ", "s", "soon", "-1s", "+1s", "1d", "1 hour", "1.s", ".5s", "1,5s", "1e3", "inf")
    ],
    *[(Size.parse, text) for text in ("", "GiB", "-1", "1gib", "1TiB", "1.5.5MiB", "1e9", "1GiB 1MiB", "inf")],
    *[(parse_cores, text) for text in ("", ",", "0,", "a", "-1", "1-", "3-1", "0,0", "0-3,2", "1.5", "0 1")],
]


@pytest.mark.parametrize(("parse", "text"), MISTAKES, ids=lambda value: value if isinstance(value, str) else value.__qualname__)
def test_a_mistake_comes_with_its_remedy(parse: Callable[[str], object], text: str) -> None:
    with pytest.raises(CliploadError) as caught:
        parse(text)
    assert caught.value.remedy
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(("parse", "text"), [(Duration.parse, "1.5ns"), (Size.parse, "1.5B")])
def test_a_part_of_the_smallest_unit_is_a_mistake(parse: Callable[[str], object], text: str) -> None:
    with pytest.raises(CliploadError, match="finer"):
        parse(text)


@pytest.mark.parametrize(("parse", "text"), [(Duration.parse, "1.5ns"), (Size.parse, "1.5B")])
def test_a_part_of_the_smallest_unit_comes_with_its_remedy(parse: Callable[[str], object], text: str) -> None:
    with pytest.raises(CliploadError) as caught:
        parse(text)
    assert caught.value.remedy


@pytest.mark.parametrize("text", ["10 20", "1h30", "5ms3"])
def test_a_bare_number_is_seconds_only_when_it_stands_alone(text: str) -> None:
    with pytest.raises(CliploadError):
        Duration.parse(text)


def test_figures_for_people_have_three_digits() -> None:
    assert [format_ns(ns) for ns in (0, 999, 1234, 12_345_678, 1.5e9, 123e9, math.inf)] == [
        "0 ns", "999 ns", "1.23 µs", "12.3 ms", "1.50 s", "123 s", "∞",
    ]  # fmt: skip
    assert [format_bytes(size) for size in (0, 999, 3_200_000, 1e9)] == ["0 B", "999 B", "3.20 MB", "1.00 GB"]


def test_a_core_beyond_any_machine_is_refused_at_once() -> None:
    with pytest.raises(CliploadError, match="no core 99999999"):
        parse_cores("0-99999999")
