"""Laws of `clipload.units`: what is printed reads back to the same number, whatever the number."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from clipload.errors import CliploadError
from clipload.units import Duration, Size, format_cores, format_ns, parse_cores

UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
NUMBERS = st.one_of(
    st.integers(0, 10**22),
    st.builds(lambda n, unit: n * unit, st.integers(0, 10**6), st.sampled_from([*UNITS.values(), 2**10, 2**20, 2**30])),
)


@given(NUMBERS)
def test_a_duration_reads_back(ns: int) -> None:
    assert Duration.parse(str(Duration(ns))) == ns


@given(NUMBERS)
def test_a_size_reads_back(size: int) -> None:
    assert Size.parse(str(Size(size))) == size


@given(st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from(sorted(UNITS))), min_size=1, max_size=5))
def test_a_duration_is_the_sum_of_its_parts(parts: list[tuple[int, str]]) -> None:
    assert Duration.parse("".join(f"{n}{unit}" for n, unit in parts)) == sum(n * UNITS[unit] for n, unit in parts)


@given(st.integers(0, 10**9), st.integers(0, 10**9 - 1))
def test_a_decimal_fraction_is_exact(seconds: int, ns: int) -> None:
    assert Duration.parse(f"{seconds}.{ns:09d}s") == seconds * 10**9 + ns


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=60, unique=True).map(tuple))
def test_cores_read_back_in_their_order(cores: tuple[int, ...]) -> None:
    text = format_cores(cores)
    assert parse_cores(text) == cores
    assert format_cores(parse_cores(text)) == text


@given(st.text(st.sampled_from("0123456789.-,hmsunBKiMG eE+µ\n"), max_size=12))
def test_any_text_is_read_or_refused_with_an_error_of_ours(text: str) -> None:
    digits = max(map(len, re.findall(r"\d+", text)), default=0)
    for parse in (Duration.parse, Size.parse, parse_cores):
        if parse is parse_cores and digits > 5:
            continue  # a range of a billion cores is a list of a billion numbers
        try:
            value = parse(text)
        except CliploadError as error:
            assert str(error)  # noqa: PT017  - either outcome is right, a crash is not
        else:
            assert value == () or value >= 0 if isinstance(value, int) else all(core >= 0 for core in value)


@given(st.floats(1, 1e15))
def test_a_figure_for_people_is_within_half_a_percent(ns: float) -> None:
    number, unit = format_ns(ns).split()
    scale = {"ns": 1, "µs": 10**3, "ms": 10**6, "s": 10**9}[unit]
    assert abs(float(number) * scale - ns) <= max(0.5, 0.005 * ns) + 1e-6
