"""Profiles of changing rates by hand, and the words that make them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipload.errors import CliploadError
from clipload.rates import Burst, Piece, Profile, bursts, parse_burst, parse_ramp, parse_steps, ramp, steps
from clipload.units import Duration

RATES = st.floats(0.1, 1e4)
S = 10**9


@st.composite
def profiles(draw: st.DrawFn) -> Profile:
    begin, length = draw(st.floats(0, 100)), draw(st.floats(0.1, 1000))
    kind = draw(st.sampled_from(["ramp", "steps", "bursts"]))
    if kind == "ramp":
        return ramp(draw(RATES), draw(RATES), begin, length)
    if kind == "steps":
        return steps(tuple(draw(st.lists(RATES, min_size=2, max_size=6))), begin, length)
    period = Duration.seconds(length / draw(st.integers(1, 9)))
    return bursts(draw(RATES), Burst(draw(RATES), Duration(period // 3), period), begin, length)


@given(profiles(), st.lists(st.floats(0, 2000), min_size=1, max_size=50).map(sorted))
def test_the_integral_never_goes_back_and_its_inverse_undoes_it(profile: Profile, times: list[float]) -> None:
    t = np.array(times)
    expected = profile.expected(t)
    assert (np.diff(expected) >= 0).all()
    assert profile.instant(expected) == pytest.approx(t, rel=1e-9, abs=1e-9)


@given(profiles(), st.lists(st.floats(0, 1e6), min_size=1, max_size=50).map(sorted))
def test_the_instant_of_n_is_when_n_are_expected(profile: Profile, numbers: list[float]) -> None:
    n = np.array(numbers)
    assert profile.expected(profile.instant(n)) == pytest.approx(n, rel=1e-9, abs=1e-6)


@given(profiles(), st.floats(0, 1500), st.floats(1e-4, 1e-3))
def test_the_rate_is_the_slope_of_the_integral(profile: Profile, t: float, h: float) -> None:
    edges = [piece.start for piece in profile.pieces]
    if any(t <= edge <= t + h for edge in edges):
        return
    slope = np.diff(profile.expected(np.array([t, t + h])))[0] / h
    assert slope == pytest.approx(float(profile.rate(np.array([t + h / 2]))[0]), rel=1e-4, abs=1e-3)


def test_a_ramp_by_hand() -> None:
    """10/s for 2 s, then up to 30/s over 4 s: 20 + 80 arrivals, and 30/s from then on."""
    profile = ramp(10.0, 30.0, 2.0, 4.0)
    t = np.array([0.0, 2.0, 4.0, 6.0, 7.0])
    assert profile.rate(t).tolist() == [10, 10, 20, 30, 30]
    assert profile.expected(t).tolist() == [0, 20, 50, 100, 130]


def test_steps_by_hand() -> None:
    profile = steps((10.0, 40.0, 20.0), 1.0, 6.0)
    assert profile.rate(np.array([0.0, 2.9, 3.0, 4.9, 5.0, 99.0])).tolist() == [10, 10, 40, 40, 20, 20]
    assert profile.expected(np.array([3.0, 5.0, 7.0])).tolist() == [30, 110, 150]


def test_bursts_by_hand() -> None:
    """Two whole periods fit; the half one at the end has no burst."""
    profile = bursts(5.0, Burst(50.0, Duration(S), Duration(4 * S)), 1.0, 10.0)
    assert profile.rate(np.array([0.0, 3.9, 4.0, 4.9, 5.0, 8.0, 8.9, 9.0, 12.0])).tolist() == [5, 5, 50, 50, 5, 50, 50, 5, 5]
    assert profile.expected(np.array([11.0])).tolist() == [9 * 5 + 2 * 50]


def test_what_is_never_reached_is_never_due() -> None:
    profile = Profile((Piece(0.0, 10.0), Piece(2.0, 0.0)))
    assert profile.instant(np.array([0.0, 10.0, 20.0, 20.5])).tolist() == [0.0, 1.0, 2.0, np.inf]


def test_words() -> None:
    assert parse_ramp("50:400") == (50.0, 400.0)
    assert parse_ramp(" 0.5 : 2.25 ") == (0.5, 2.25)
    assert parse_steps("100, 200,400.5") == (100.0, 200.0, 400.5)
    assert parse_burst("800:1s/10s") == Burst(800.0, Duration(S), Duration(10 * S))
    assert parse_burst("8:100ms/1m") == Burst(8.0, Duration(S // 10), Duration(60 * S))


@pytest.mark.parametrize("text", ["", "50", "50:", ":50", "50:400:1", "a:b", "-1:5", "0:5", "5:0", "1e3:5", "5:99999999"])
def test_no_ramp(text: str) -> None:
    with pytest.raises(CliploadError) as caught:
        parse_ramp(text)
    assert caught.value.remedy


@pytest.mark.parametrize("text", ["", "5", "5,", ",5", "5;6", "5,x", "5,0", "5,-6", "5,99999999"])
def test_no_steps(text: str) -> None:
    with pytest.raises(CliploadError) as caught:
        parse_steps(text)
    assert caught.value.remedy


@pytest.mark.parametrize(
    "text", ["", "800", "800:1s", "800:1s/1s", "800:2s/1s", "800:0s/1s", "x:1s/10s", "8:1x/10s", "0:1s/9s"]
)
def test_no_burst(text: str) -> None:
    with pytest.raises(CliploadError) as caught:
        parse_burst(text)
    assert caught.value.remedy
