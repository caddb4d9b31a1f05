"""Principal components: what they are is checked by other means than the SVD that they are computed with."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipload.principal import principal


def test_known_directions_come_back_with_their_shares() -> None:
    """On a cross whose arms are 6, 3 and 1 long, turned and moved: variances 36, 9 and 1."""
    turn, _ = np.linalg.qr(np.random.default_rng(4).normal(size=(5, 5)))
    arms = np.concatenate([sign * length * turn[None, place] for place, length in enumerate((6, 3, 1)) for sign in (1, -1)])
    found = principal(arms + 7.0)
    assert found.mean == pytest.approx(np.full(5, 7.0))
    assert found.shares == pytest.approx([36 / 46, 9 / 46])
    for axis, true in zip(found.axes, turn):
        assert abs(float(axis @ true)) == pytest.approx(1)
        assert axis[np.abs(axis).argmax()] > 0
    assert np.abs(found.project(arms + 7.0)).max(axis=0) == pytest.approx([6, 3])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), count=st.integers(2, 40), dim=st.integers(2, 24))
def test_laws(seed: int, count: int, dim: int) -> None:
    """Orthonormal axes, the largest number positive; variances are the covariance's own; the same for the same, or mirrored."""
    vectors = np.random.default_rng(seed).normal(size=(count, dim)) * np.random.default_rng(seed + 1).uniform(0.1, 4, dim)
    found = principal(vectors)
    of_covariance = np.linalg.eigvalsh(np.cov(vectors.T, bias=True))[::-1]
    assert found.shares == pytest.approx(of_covariance[:2] / of_covariance.sum(), abs=1e-9)
    placed = found.project(vectors)
    assert placed.mean(axis=0) == pytest.approx([0, 0], abs=1e-9)
    assert placed.var(axis=0) == pytest.approx(of_covariance[:2], abs=1e-9 * of_covariance.sum())
    if count > 2:  # else there is one direction, and the second is of no meaning
        assert found.axes @ found.axes.T == pytest.approx(np.eye(2), abs=1e-9)
        assert (found.axes[[0, 1], np.abs(found.axes).argmax(axis=1)] > 0).all()
    again = principal(vectors.copy())
    assert (again.axes.tobytes(), again.shares.tobytes()) == (found.axes.tobytes(), found.shares.tobytes())
    if found.shares[0] - found.shares[1] > 1e-3:  # else hardly any direction is the first
        assert principal(-vectors).axes[0] == pytest.approx(found.axes[0], abs=1e-6)


def test_the_order_of_the_vectors_turns_no_axis_round() -> None:
    vectors = np.random.default_rng(1).normal(size=(30, 8)) * np.arange(1, 9)
    assert principal(vectors[::-1]).axes == pytest.approx(principal(vectors).axes)


@pytest.mark.parametrize("vectors", [np.ones((5, 4)), np.ones((1, 4))])
def test_without_variance_nothing_is_shared(vectors: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> None:
    found = principal(vectors)
    assert found.shares.tolist() == [0, 0]
    assert found.project(vectors) == pytest.approx(np.zeros((len(vectors), 2)))


def test_fewer_directions_than_asked_for_are_filled_up() -> None:
    found = principal(np.array([[0.0], [2.0]]))
    assert (found.shares.tolist(), found.axes.tolist()) == ([1, 0], [[1], [0]])
    with pytest.raises(ValueError, match="no vector"):
        principal(np.empty((0, 3)))
