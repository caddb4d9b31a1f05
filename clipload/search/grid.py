"""Searches that know their points beforehand: Once asks a single load, Grid every point of its axes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from clipload.errors import PlanError
from clipload.search.dialogue import Ask, Told, Value

MOST_POINTS = 10_000

Axes = Mapping[str, Sequence[Value]]


def cartesian(axes: Axes) -> list[dict[str, Value]]:
    """Every combination; the last axis turns fastest. PlanError beyond `MOST_POINTS`."""
    count = int(np.prod([len(values) for values in axes.values()], dtype=float))
    if count > MOST_POINTS:
        flag = _flag(max(axes, key=lambda name: len(axes[name])))
        raise PlanError(f"{count} points are more than {MOST_POINTS}", flag=flag, remedy="name fewer values")
    return [dict(zip(axes, point)) for point in itertools.product(*axes.values())]


def zipped(axes: Axes) -> list[dict[str, Value]]:
    """The first values of all axes, then the second ones … PlanError when one axis is longer than another."""
    lengths = {name: len(values) for name, values in axes.items()}
    longest, shortest = max(lengths, key=lambda name: lengths[name]), min(lengths, key=lambda name: lengths[name])
    if lengths[longest] != lengths[shortest]:
        raise PlanError(
            f"has {lengths[longest]} values where {_flag(shortest)} has {lengths[shortest]}",
            flag=_flag(longest),
            remedy="give zipped axes the same number of values",
        )
    return [dict(zip(axes, point)) for point in zip(*axes.values())]


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


class Grid:
    """Each point once, in the order given, or shuffled by `draws`: a seeded generator gives the same order each time.

    A point that was told is not asked for again, whoever asked for it: a sweep is resumed by telling it what is on disk.
    """

    def __init__(
        self,
        points: Sequence[Mapping[str, Value]],
        *,
        seconds: float | None = None,
        rest_s: float = 0.0,
        draws: np.random.Generator | None = None,
    ) -> None:
        if draws is not None:  # `random` is the one method whose stream numpy keeps stable
            points = [points[i] for i in np.argsort(draws.random(len(points)), kind="stable")]
        self._asks = [Ask(dict(point), seconds=seconds, rest_s=rest_s) for point in points]
        self._told: dict[int, Told] = {}

    def __repr__(self) -> str:
        return f"Grid({len(self._told)} of {len(self._asks)} points known)"

    @property
    def points(self) -> tuple[Ask, ...]:
        """All of them, in the order in which they are asked."""
        return tuple(self._asks)

    @property
    def known(self) -> tuple[Told, ...]:
        """What was told so far, in the order of the points."""
        return tuple(self._told[place] for place in sorted(self._told))

    @property
    def done(self) -> bool:
        return len(self._told) == len(self._asks)

    @property
    def doomed(self) -> str:
        return ""

    def ask(self) -> Ask | None:
        return next((ask for place, ask in enumerate(self._asks) if place not in self._told), None)

    def holds(self, values: Mapping[str, Value]) -> bool:
        """Whether this is one of the points."""
        return any(ask.values == values for ask in self._asks)

    def tell(self, told: Told) -> None:
        """A point told twice keeps its last telling. PlanError for one that is not of this grid."""
        place = next((i for i, ask in enumerate(self._asks) if ask.values == told.ask.values), None)
        if place is None:
            what = ", ".join(f"{name}={value}" for name, value in told.ask.values.items())
            raise PlanError(f"this sweep has no point {what}", remedy="resume it with the axes that it was begun with")
        self._told[place] = told


class Once(Grid):
    """A single load."""

    def __init__(self, ask: Ask) -> None:
        super().__init__([ask.values])
        self._asks = [replace(ask, values=dict(ask.values))]

    def __repr__(self) -> str:
        return f"Once({self._asks[0].values})"
