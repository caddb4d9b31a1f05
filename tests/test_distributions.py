"""Beta and Student's t against closed forms, printed tables and their own symmetries."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipload.distributions import beta_cdf, beta_quantile, student_quantile

SHAPES = st.floats(0.05, 2000)
INNER = st.floats(1e-6, 1 - 1e-6)


@pytest.mark.parametrize(
    ("p", "df", "t"),
    [
        (0.975, 1, 12.706205),
        (0.975, 2, 4.302653),
        (0.975, 4, 2.776445),
        (0.99, 8, 2.896459),
        (0.975, 19, 2.093024),
        (0.975, 29, 2.045230),
        (0.975, 59, 2.000995),
        (0.9995, 3, 12.923979),
        (0.5, 7, 0.0),
        (0.7, 5, 0.559430),
    ],
)
def test_the_tables_of_t(p: float, df: float, t: float) -> None:
    assert student_quantile(p, df) == pytest.approx(t, abs=1e-6)


@given(INNER)
def test_t_of_one_and_two_degrees_has_a_closed_form(p: float) -> None:
    assert student_quantile(p, 1) == pytest.approx(-1 / math.tan(math.pi * p), rel=1e-8, abs=1e-8)
    assert student_quantile(p, 2) == pytest.approx((2 * p - 1) / math.sqrt(2 * p * (1 - p)), rel=1e-8, abs=1e-8)


@given(INNER)
def test_t_of_many_degrees_is_normal(p: float) -> None:
    assert student_quantile(p, 1e6) == pytest.approx(NormalDist().inv_cdf(p), rel=1e-4, abs=1e-6)


@given(INNER, st.floats(1, 200))
def test_t_is_symmetric_and_its_tails_thin_out(p: float, df: float) -> None:
    assert student_quantile(p, df) == pytest.approx(-student_quantile(1 - p, df), rel=1e-8, abs=1e-8)
    if p > 0.51:
        assert student_quantile(p, df) > student_quantile(p, df + 1)


@given(SHAPES, SHAPES, st.integers(0, 2**20))
def test_beta_has_a_mirror(a: float, b: float, part: int) -> None:
    x = part / 2**20  # so that 1 − x is exact
    assert beta_cdf(x, a, b) == pytest.approx(1 - beta_cdf(1 - x, b, a), abs=1e-9)


@given(st.integers(1, 60), st.integers(1, 60), st.floats(0, 1))
def test_beta_is_a_sum_of_binomial_chances(k: int, rest: int, x: float) -> None:
    """I_x(k, n − k + 1) = P(at least k of n), DLMF 8.17.5."""
    n = k + rest - 1
    chances = (math.comb(n, j) * x**j * (1 - x) ** (n - j) for j in range(k, n + 1))
    assert beta_cdf(x, k, rest) == pytest.approx(sum(chances), abs=1e-12)


@given(INNER, SHAPES, SHAPES)
def test_the_quantile_undoes_the_distribution(p: float, a: float, b: float) -> None:
    x = beta_quantile(p, a, b)
    if 1e-300 < x < 1 - 1e-5:  # nearer to an end one double more is a large step of p
        assert beta_cdf(x, a, b) == pytest.approx(p, rel=1e-7)


@given(INNER, st.floats(1, 1e9))
def test_beta_with_a_shape_of_one_has_a_closed_form(p: float, b: float) -> None:
    assert beta_quantile(p, 1.0, b) == pytest.approx(-math.expm1(math.log1p(-p) / b), rel=1e-7)


def test_the_ends_are_exact() -> None:
    assert [beta_cdf(x, 2, 3) for x in (0.0, 1.0)] == [0, 1]
    assert [beta_quantile(p, 2, 3) for p in (0.0, 1.0)] == [0, 1]


def test_what_has_no_meaning_is_refused() -> None:
    for x, a, b in ((0.5, 0, 1), (0.5, 1, -1), (-0.1, 1, 1), (1.1, 1, 1), (math.nan, 1, 1)):
        with pytest.raises(ValueError, match="beta"):
            beta_cdf(x, a, b)
    with pytest.raises(ValueError, match="a probability"):
        beta_quantile(1.5, 1, 1)
    for p, df in ((0.0, 3), (1.0, 3), (0.9, 0)):
        with pytest.raises(ValueError, match="degrees"):
            student_quantile(p, df)
