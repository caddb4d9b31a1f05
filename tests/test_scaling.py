"""The laws of scaling: exact points give their parameters back, noisy ones intervals that hold them, unfit ones a refusal."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipload.scaling import BatchLaw, Knee, Refusal, Rung, Usl, fit_batch_law, fit_usl, knee

LAW = settings(max_examples=30, deadline=None)
LADDER = (1, 2, 4, 8, 16, 32, 64, 128)
FINE = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)


def usl(scale: float, sigma: float, kappa: float) -> Callable[[float], float]:
    return lambda n: scale * n / (1 + sigma * (n - 1) + kappa * n * (n - 1))


def batches(fixed_s: float, each_s: float, most: int) -> Callable[[float], float]:
    return lambda n: min(n, most) / (fixed_s + each_s * min(n, most))


def rungs(law: Callable[[float], float], ladder: tuple[int, ...] = LADDER, noise: float = 0.0, seed: int = 0) -> list[Rung]:
    draws = np.random.default_rng(seed)
    return [Rung(n, law(n) * math.exp(noise * draws.normal())) for n in ladder]


def the_usl(points: list[Rung]) -> Usl:
    fit = fit_usl(points)
    assert isinstance(fit, Usl), fit
    return fit


def the_batch_law(points: list[Rung]) -> BatchLaw:
    fit = fit_batch_law(points)
    assert isinstance(fit, BatchLaw), fit
    return fit


def refused(fit: Usl | BatchLaw | Refusal) -> str:
    assert isinstance(fit, Refusal), fit
    return str(fit)


@given(st.floats(1, 1e4), st.floats(0.01, 0.3), st.floats(1e-4, 1e-2))
@LAW
def test_exact_points_give_the_usl_back(scale: float, sigma: float, kappa: float) -> None:
    fit = the_usl(rungs(usl(scale, sigma, kappa)))
    for span, value in ((fit.scale, scale), (fit.contention, sigma), (fit.coherence, kappa)):
        assert span.value == pytest.approx(value, rel=1e-6)
        assert span.low <= span.value <= span.high
    assert fit.peak.concurrency == pytest.approx(math.sqrt((1 - sigma) / kappa), rel=1e-6)
    assert fit.reading(10.0).throughput == pytest.approx(usl(scale, sigma, kappa)(10.0), rel=1e-6)


@given(st.floats(1e-4, 1.0), st.floats(1e-5, 0.1), st.sampled_from([8, 12, 16, 24, 32, 64]))
@LAW
def test_exact_points_give_the_batch_law_back(fixed_s: float, each_s: float, most: int) -> None:
    law = batches(fixed_s, each_s, most)
    points = rungs(law)
    if law(1) * 1.05 >= law(128):
        assert "does not grow" in refused(fit_batch_law(points))
        return
    fit = the_batch_law(points)
    assert fit.most.value == most
    assert fit.fixed_s.value == pytest.approx(fixed_s, rel=1e-5)
    assert fit.each_s.value == pytest.approx(each_s, rel=1e-5)
    assert fit.reached
    assert fit.peak.throughput == pytest.approx(law(most))
    assert fit.knee.concurrency == pytest.approx(law(most) * (fixed_s + each_s))


@given(st.floats(0.01, 100), st.integers(0, 1000))
@LAW
def test_another_unit_of_throughput_changes_the_scale_and_nothing_else(times: float, seed: int) -> None:
    for law, fit in ((usl(100, 0.03, 0.001), fit_usl), (batches(0.008, 0.0005, 32), fit_batch_law)):
        points = rungs(law, noise=0.02, seed=seed)
        before, after = fit(points), fit([Rung(p.concurrency, times * p.throughput) for p in points])
        assert type(before) is type(after)
        if isinstance(before, Usl) and isinstance(after, Usl):
            assert after.scale.value == pytest.approx(times * before.scale.value)
            assert after.coherence.value == pytest.approx(before.coherence.value)
        if isinstance(before, BatchLaw) and isinstance(after, BatchLaw):
            assert after.most == before.most
            assert after.fixed_s.value == pytest.approx(before.fixed_s.value / times)


def test_the_intervals_of_the_usl_hold_its_parameters() -> None:
    truth = (100.0, 0.03, 0.001)
    held = np.zeros(3)
    for seed in range(200):
        fit = the_usl(rungs(usl(*truth), noise=0.02, seed=seed))
        spans = (fit.scale, fit.contention, fit.coherence)
        held += [span.low <= value <= span.high for span, value in zip(spans, truth)]
    assert np.all(held >= 180), held


def test_the_intervals_of_the_batch_law_hold_its_parameters() -> None:
    truth = (0.008, 0.0005, 64)
    held = np.zeros(3)
    for seed in range(40):
        fit = the_batch_law(rungs(batches(*truth), FINE, noise=0.02, seed=seed))
        spans = (fit.fixed_s, fit.each_s, fit.most)
        held += [span.low <= value <= span.high for span, value in zip(spans, truth)]
    assert np.all(held >= 36), held


def test_servers_side_by_side_are_batches_without_a_cost_of_each() -> None:
    fit = the_batch_law(rungs(lambda n: min(n, 8) / 0.005))
    assert (fit.fixed_s.value, fit.each_s.value, fit.most.value) == (pytest.approx(0.005), 0.0, 8)


def test_a_reading_outside_what_was_tried_is_marked() -> None:
    fit = the_usl(rungs(usl(100, 0.01, 0.00002)))
    assert fit.peak.concurrency > 128
    assert fit.peak.extrapolated
    assert str(fit.peak).endswith("in flight (extrapolated)")
    assert not fit.reading(128).extrapolated
    assert fit.reading(0.5).extrapolated
    assert not the_usl(rungs(usl(100, 0.03, 0.001))).peak.extrapolated


def test_without_a_plateau_the_largest_batch_is_open_above() -> None:
    fit = the_batch_law(rungs(batches(0.02, 0.0005, 1000)))
    assert not fit.reached
    assert fit.most.high == math.inf
    assert fit.fixed_s.value == pytest.approx(0.02)


@pytest.mark.parametrize("fit", [fit_usl, fit_batch_law])
@pytest.mark.parametrize(
    ("points", "why"),
    [
        (rungs(usl(100, 0.03, 0.001), (1, 4, 16, 64, 128)), "5 sound concurrencies where 6 are needed"),
        (rungs(usl(100, 0.03, 0.001), (8, 10, 12, 14, 16, 18)), "they span 2.25 ×, and 16 × is needed"),
        ([*rungs(usl(100, 0.03, 0.001), (1, 1, 2, 4, 8)), Rung(16, 0.0), Rung(32, 900.0, "errors")], "4 sound"),
        (rungs(lambda n: 100.0 if n in (1, 8, 32, 128) else 180.0), "misses the points by|falls again"),
        ([], "0 sound concurrencies"),
    ],
)
def test_points_that_bear_no_fit(fit: Callable[[list[Rung]], Usl | BatchLaw | Refusal], points: list[Rung], why: str) -> None:
    said = refused(fit(points))
    assert any(part in said for part in why.split("|")), said


@pytest.mark.parametrize(
    ("law", "why"),
    [
        (lambda n: 100 * n**1.2 / (1 + 0.01 * n), "more than linearly"),
        (batches(0.008, 0.0005, 16), "a plateau from 16 in flight"),
        (usl(100, 0.03, 0.0), "no coherence"),
        (usl(100, 0.0, 0.001), "no contention"),
        (usl(100, 0.05, -1e-5), "no coherence"),
    ],
)
def test_points_that_bear_no_usl(law: Callable[[float], float], why: str) -> None:
    assert why in refused(fit_usl(rungs(law)))


def test_a_parameter_that_noise_does_not_tell_from_0_is_no_fit() -> None:
    said = [fit_usl(rungs(usl(100, 0.05, 0.00001), noise=0.05, seed=seed)) for seed in range(30)]
    assert sum(isinstance(fit, Refusal) for fit in said) >= 27
    assert any("reaches 0" in str(fit) for fit in said)


def test_batches_do_not_fall_again_and_a_flat_target_has_none() -> None:
    assert "the throughput falls again, to 21 %" in refused(fit_batch_law(rungs(usl(100, 0.03, 0.002), FINE)))
    assert "even the smallest one fills the target" in refused(fit_batch_law(rungs(lambda _n: 200.0)))


def test_flawed_points_are_left_out_and_named() -> None:
    points = rungs(usl(100, 0.03, 0.001))
    limited = Rung(96, 10.0, "client-limited")
    fit = the_usl([*points, limited])
    assert fit.left_out == (limited,)
    assert fit.contention.value == pytest.approx(0.03)


def test_the_knee_is_where_the_asymptotes_cross() -> None:
    assert knee(rungs(batches(0.008, 0.0005, 64))) == Knee(
        pytest.approx(13.6), pytest.approx(1600), pytest.approx(0.0085), True
    )
    far = knee(rungs(batches(0.008, 0.0005, 64), tuple(2 * n for n in LADDER)))
    assert far is not None
    assert far.plateau
    near = knee(rungs(batches(0.008, 0.0005, 64), (1, 2, 4, 8, 16)))
    assert near is not None
    assert (near.plateau, near.concurrency < 13.6) == (False, True)
    assert knee([]) is None
    assert knee([Rung(1, 5.0, "errors")]) is None
