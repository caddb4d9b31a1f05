"""Drift, warm-up and Little's law: by hand, on known transients, and how often they are wrong on simulated queues."""

from __future__ import annotations

import math

import numpy as np
import pytest

from clipload.pacing import generator
from clipload.steadiness import Drift, drift, little, warm_up
from tests.queues import Path, Reals, mm1


def noise(seed: int, n: int) -> Reals:
    """Normal, by Box and Muller."""
    u, v = generator(seed, 7).random((2, n))
    found: Reals = np.sqrt(-2 * np.log1p(-u)) * np.cos(2 * np.pi * v)
    return found


# drift


def test_a_drift_by_hand() -> None:
    """0, 2, 1, 3, 4: slope 0.9 a reading, residuals −0.2, 0.9, −1, 0.1, 0.2, hence t = 0.9 / √(1.9 / 3 / 10) with t₃."""
    found = drift([0, 2, 1, 3, 4], 100)
    assert found.growth == pytest.approx(4.5)
    assert found.t == pytest.approx(0.9 / math.sqrt(1.9 / 3 / 10))
    assert found.critical == pytest.approx(4.5407, abs=1e-4)
    assert not found.drifting
    assert repr(found) == "Drift(+4.5 in flight of 100 arrivals, t 3.58, steady)"


def test_a_straight_line_drifts_if_it_grows_by_more_than_a_hundredth_of_the_arrivals() -> None:
    assert drift(range(100), 5000).drifting
    assert not drift(range(100), 20_000).drifting
    assert not drift(range(100, 0, -1), 5000).drifting
    assert drift([7] * 100, 5000) == Drift(0.0, 5000, 0.0, pytest.approx(2.8965, abs=1e-4))


def test_four_readings_are_too_short_to_tell() -> None:
    found = drift([0, 10, 20, 30], 100)
    assert (found.growth, found.t, found.drifting) == (40, None, False)
    assert repr(found) == "Drift(+40 in flight of 100 arrivals, too short to tell)"
    for readings in ([], [1], [1, math.nan, 2], [[1, 2], [3, 4]]):
        with pytest.raises(ValueError, match="finite"):
            drift(readings, 100)  # type: ignore[arg-type]


def later_half(path: Path) -> Drift:
    level = path.level()[path.seconds // 2 :]
    return drift(level, path.arrived(len(level)))


def flagged(load: float, seeds: int = 100) -> float:
    return sum(later_half(mm1(seed, 20_000, load)).drifting for seed in range(seeds)) / seeds


def test_a_steady_queue_raises_no_alarm_and_an_overload_does() -> None:
    assert max(flagged(0.7), flagged(0.9), flagged(0.95)) <= 0.02
    assert flagged(1.05) >= 0.9
    assert flagged(1.2) == 1.0


def test_readings_taken_for_independent_would_raise_alarms() -> None:
    """Why batch means: at ρ = 0.95 the slope's t on readings 0.1 s apart exceeds its limit in far more than 1 %."""
    alarms = 0
    for seed in range(100):
        path = mm1(seed, 20_000, 0.95)
        level = Path(path.arrivals * 10, path.sojourns * 10).level()
        at = np.arange(len(level)) - (len(level) - 1) / 2
        slope = (at * level).sum() / (at**2).sum()
        rest = level - level.mean() - slope * at
        alarms += slope / math.sqrt((rest**2).sum() / (len(level) - 2) / (at**2).sum()) > 2.33
    assert alarms >= 10


def test_an_overload_grows_as_theory_says() -> None:
    """ρ = 1.2: of the arrivals a share of 1 − 1/ρ stays."""
    found = later_half(mm1(1, 50_000, 1.2))
    assert found.growth / found.arrivals == pytest.approx(1 - 1 / 1.2, rel=0.1)


# warm-up


def test_a_step_is_cut_where_it_ends() -> None:
    found = warm_up([30.0] * 10 + [10.0, 11.0] * 20)
    assert (found.cut, found.values, found.settled) == (10, 50, True)
    assert warm_up([30.0] * 7 + [10.0, 11.0] * 20, batch=1).cut == 7
    assert repr(found) == "WarmUp(cut 10 of 50)"


def test_a_series_without_end_of_its_transient_has_not_settled() -> None:
    found = warm_up(list(range(60, 0, -1)))
    assert not found.settled
    assert repr(found) == "WarmUp(cut 30 of 60, not settled)"


def test_nothing_is_cut_from_what_does_not_change() -> None:
    assert warm_up([5.0] * 40).cut == 0
    assert warm_up([1e9] * 40).settled


def test_a_cut_needs_four_batches() -> None:
    for values, batch in (([1.0] * 19, 5), ([1.0, 2.0, 3.0], 1), ([1.0] * 20 + [math.inf], 5)):
        with pytest.raises(ValueError, match="finite"):
            warm_up(values, batch)
    with pytest.raises(ValueError, match="batches"):
        warm_up([1.0] * 20, 0)


def test_a_known_transient_is_found_and_none_is_invented() -> None:
    """Three times the level at first, decaying with τ = 10 s under noise of a tenth: 2τ to 4τ are cut, of noise little."""
    transient = 20 * np.exp(-np.arange(300) / 10)
    cuts = [warm_up(10 + transient + noise(seed, 300)).cut for seed in range(100)]
    steady = [warm_up(10 + noise(seed, 300)) for seed in range(100)]
    assert np.percentile(cuts, 5) >= 20
    assert np.median(cuts) <= 40
    assert np.median([found.cut for found in steady]) <= 10
    assert sum(found.settled for found in steady) >= 95


# Little's law


def test_little_by_hand() -> None:
    """100/s of 50 ms each are 5 in flight. Averages: 5 % of that, and 5 · 0.05 s / 10 s for the edges."""
    assert little([5.0] * 10, 100, 50e6, averages=True).margin == pytest.approx(0.25 + 5 * 0.05 / 10)
    assert little([5.2] * 10, 100, 50e6, averages=True).holds
    assert not little([5.4] * 10, 100, 50e6, averages=True).holds
    assert repr(little([5.4] * 10, 100, 50e6)) == "Little(5.4 in flight, 5 expected ± 0.28: fails)"
    with pytest.raises(ValueError, match="finite"):
        little([5.0], 100, 50e6)


def test_readings_have_the_margin_of_their_mean() -> None:
    """4 and 6 in turn: the mean of ten has a standard error of 1/3, times t₉."""
    extra = little([4.0, 6.0] * 5, 100, 50e6).margin - little([4.0, 6.0] * 5, 100, 50e6, averages=True).margin
    assert extra == pytest.approx(2.26216 / 3, rel=1e-4)


def checked(seed: int, load: float, latency_scale: float = 1.0) -> bool:
    path = mm1(seed, 20_000, load, 0.005)
    done = path.arrivals + path.sojourns < path.seconds
    mean_ns = float(path.sojourns[done].mean()) * 1e9 * latency_scale
    return little(path.level(), float(done.sum()) / path.seconds, mean_ns).holds


def test_little_holds_in_a_queue_and_fails_when_a_clock_is_wrong() -> None:
    """A latency twice too long, as when starts are stamped too early, is noticed. The law holds in overload too."""
    assert sum(checked(seed, load) for load in (0.5, 0.9, 1.2) for seed in range(20)) >= 58
    assert sum(checked(seed, 0.5, 2.0) for seed in range(20)) == 0
