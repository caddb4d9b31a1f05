"""Which of the flags of a sweep are axes: those whose value is a list or a range where the Plan has one value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import Field, fields
from typing import Any

from clipload.errors import CliploadError, PlanError
from clipload.kinds import URLS, WHOLE
from clipload.plan import RIVALS, Plan, flag_of, kind_of, parse_value, plain
from clipload.search import parse_axis
from clipload.search.grid import Axes

_REMEDY = "write --axis batch_size=1,8,32"


def axes_from(values: Mapping[str, Any], extra: Sequence[str]) -> tuple[dict[str, Any], Axes]:
    """(what every point has, field -> its values as TOML has them). `extra`: FIELD=VALUES, for fields of any kind."""
    known = {spec.name: spec for spec in fields(Plan)}
    fixed: dict[str, Any] = {}
    axes: dict[str, Sequence[Any]] = {}
    for name, value in values.items():
        text = value[0] if isinstance(value, tuple) and len(value) == 1 else value
        if is_axis(known[name], text):
            axes[name] = _values(known[name], str(text), flag_of(name))
        else:
            fixed[name] = value
    for text in extra:
        name, equals, listed = text.partition("=")
        name = name.strip().lstrip("-").replace("-", "_")
        if not equals:
            raise PlanError(f"{text!r} is not FIELD=VALUES", flag="--axis", remedy=_REMEDY)
        Plan.check_names({name: None}, flag="--axis")
        if name in axes:
            raise PlanError(f"{name} is given twice", flag="--axis", remedy="name each axis once")
        fixed.pop(name, None)
        axes[name] = _values(known[name], listed, "--axis")
    _check_rivals(fixed, axes)
    return plain(fixed), axes


def _check_rivals(fixed: Mapping[str, Any], axes: Axes) -> None:
    """A point would take the rival of what it says out, in silence."""
    for rivals in RIVALS:
        here, there = rivals & axes.keys(), rivals & fixed.keys()
        if here and there:
            flags = flag_of(min(here)), flag_of(min(there))
            raise PlanError(f"contradicts {flags[1]}", flag=flags[0], remedy="give one of the two")


def is_axis(spec: Field[Any], value: Any) -> bool:
    """A text that is no value of the field but looks like a list or a range; of URLs a list, where a run takes a flag each."""
    if not isinstance(value, str) or not ("," in value or ".." in value):
        return False
    if kind_of(spec) is URLS:
        return True
    try:
        parse_value(spec, value)
    except CliploadError:
        return True
    return False


def _values(spec: Field[Any], text: str, flag: str) -> list[Any]:
    """Each value is read as the field reads it, so that a mistake is found before anything begins."""
    values = parse_axis(text, flag, whole=kind_of(spec) is WHOLE)
    return [plain({spec.name: value})[spec.name] for value in values]
