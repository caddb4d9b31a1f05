"""The Plan: everything that determines a run, frozen and validated at birth.

Law: the same Plan gives the same bodies, the same URLs and the same due instants at any number of workers. Flags, TOML
keys, environment variables and help are all read off the fields below, so they cannot drift apart. A secret is never part
of a Plan.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import tomli_w

from clipload.errors import PlanError
from clipload.kinds import NUMBER
from clipload.pacing import NEVER, Constant, Gamma, InFlight, Pacer, Poisson, Shaped, bounds_by_count, bounds_by_time
from clipload.plan.images import ADDRESS, check_images
from clipload.plan.load import check_load, check_machine, check_shape, check_until
from clipload.plan.ranges import check_ranges
from clipload.plan.samples import check_samples
from clipload.plan.schema import DEFAULT_CONCURRENCY, DEFAULT_DURATION, LOADS, SIDES, Arrival, Fields, Mode
from clipload.plan.spec import flag_of, kind_of, parse_value, wrong_kind
from clipload.plan.target import check_api, check_connections, check_headers, check_urls
from clipload.rates import Profile, bursts, parse_burst, parse_ramp, parse_steps, ramp, steps
from clipload.units import Duration, Size, format_cores

__all__ = [
    "DEFAULT_CONCURRENCY",
    "LOADS",
    "RIVALS",
    "SIDES",
    "Arrival",
    "Mode",
    "Plan",
    "flag_of",
    "kind_of",
    "overlaid",
    "parse_value",
    "plain",
]

RIVALS = (set(LOADS), {"duration", "num_samples"})
_CHECKS = (
    *(check_ranges, check_load, check_shape, check_until, check_samples, check_machine),
    *(check_urls, check_connections, check_headers, check_api, check_images),
)


@dataclass(frozen=True, kw_only=True)
class Plan(Fields):
    """One load, fully described. Raises `PlanError` naming the flag when it contradicts itself."""

    def __post_init__(self) -> None:
        for name, value in _resolved(self).items():
            object.__setattr__(self, name, value)
        for check in _CHECKS:
            check(self)

    @property
    def peak_rate(self) -> float:
        """The highest rate of an open loop in requests/s; 0 for a closed one."""
        if self.shape is not None:
            return max(float(self.shape.rate(np.array([piece.start for piece in self.shape.pieces])).max()), 0.0)
        return self.rate or 0.0

    @property
    def shape(self) -> Profile | None:
        """How the rate changes; None when it does not."""
        begin, length = self.warmup / 1e9, (self.duration or 0) / 1e9
        if self.ramp is not None:
            return ramp(*parse_ramp(self.ramp), begin, length)
        if self.steps is not None:
            return steps(parse_steps(self.steps), begin, length)
        if self.burst is not None and self.rate is not None:
            return bursts(self.rate, parse_burst(self.burst), begin, length)
        return None

    @property
    def items_per_sample(self) -> int:
        return 2 if self.mode == "multimodal" else 1

    @property
    def vectors_per_request(self) -> int:
        return self.items_per_sample * self.batch_size

    @property
    def images_per_request(self) -> int:
        """In mixed mode, at most so many."""
        return 0 if self.mode == "text" else self.batch_size

    @property
    def requests(self) -> int | None:
        """Requests of the measured phase when they are counted: ⌈num_samples / batch_size⌉."""
        return None if self.num_samples is None else -(-self.num_samples // self.batch_size)

    @property
    def grace_ns(self) -> int:
        return int(self.timeout if self.grace is None else self.grace)

    @property
    def backlog_limit(self) -> int:
        """Requests that may be due and unanswered, all workers together."""
        return self.max_backlog if self.max_backlog is not None else max(1000, round(10 * self.peak_rate))

    @property
    def pacer(self) -> Pacer:
        """The open loop's pacer; a closed loop has `in_flight` instead, and a trace is made of its file (`traces`)."""
        if not self.open_loop or self.trace is not None:
            raise AssertionError("a closed loop has no pacer, and a trace's arrivals are not in the Plan")
        shape = self.shape
        return self._law(self.rate or 1.0) if shape is None else Shaped(self._law(1.0), shape)

    def _law(self, rate: float) -> Constant | Poisson | Gamma:
        if self.arrival == "gamma":
            return Gamma(rate, self.cv or 1.0)
        return Constant(rate) if self.arrival == "constant" else Poisson(rate)

    @property
    def in_flight(self) -> InFlight:
        if self.concurrency is None:
            raise AssertionError("an open loop has no slots")
        return InFlight(self.concurrency)

    def bounds(self, pacer: Pacer | None = None) -> tuple[int, int, int, int]:
        """Phase starts and the end of all in ns from the start (`pacing.Horizon`). A counted closed loop has no end in time.

        `pacer`: the trace's, when there is one.
        """
        warmup, cooldown = int(self.warmup), int(self.cooldown)
        if self.requests is None:
            return bounds_by_time(warmup, int(self.duration or 0), cooldown)
        if self.open_loop:
            return bounds_by_count(pacer or self.pacer, self.seed, warmup, self.requests, cooldown)
        return bounds_by_time(warmup, NEVER // 2, 0)

    def replace(self, **changes: Any) -> Plan:
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Field name → plain TOML value, fields that are None left out. `Plan.from_dict` is its inverse."""
        values = {f.name: _plain(f.name, getattr(self, f.name)) for f in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Plan:
        cls.check_names(values)
        known = {f.name: f for f in fields(cls)}
        return cls(**{name: parse_value(known[name], value) for name, value in values.items()})

    @classmethod
    def check_names(cls, values: Mapping[str, Any], flag: str = "--config") -> None:
        known = [f.name for f in fields(cls)]
        for name in values:
            if name not in known:
                close = difflib.get_close_matches(name, known, 1)
                remedy = f"did you mean {close[0]!r}?" if close else "see clipload run --help"
                raise PlanError(f"a Plan has no field {name!r}", flag=flag, remedy=remedy)

    def to_toml(self) -> str:
        """One table for each group of flags; `from_toml` reads it back to an equal Plan."""
        groups: dict[str, dict[str, Any]] = {}
        values = self.to_dict()
        for f in fields(self):
            if f.name in values:
                groups.setdefault(f.metadata["group"], {})[f.name] = values[f.name]
        return tomli_w.dumps(groups)

    @classmethod
    def values_from_toml(cls, text: str, where: str = "--config") -> dict[str, Any]:
        """The values of a TOML Plan, grouped in tables or flat; groups are for people and carry no meaning."""
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise PlanError(f"not TOML: {error}", flag=where, remedy="compare with a run's plan.toml") from error
        groups = [value if isinstance(value, dict) else {key: value} for key, value in document.items()]
        values: dict[str, Any] = {}
        for key, value in (pair for group in groups for pair in group.items()):
            name = key.replace("-", "_")
            if name in values:
                raise PlanError(f"is given twice in {where}", flag=flag_of(name), remedy="give each field once")
            values[name] = value
        return values

    @classmethod
    def from_toml(cls, text: str, where: str = "--config") -> Plan:
        return cls.from_dict(cls.values_from_toml(text, where))


def overlaid(values: Mapping[str, Any], layer: Mapping[str, Any]) -> dict[str, Any]:
    """`layer` over `values`: what it says replaces what they say, and takes their rivals out (--rate against concurrency)."""
    for rivals in RIVALS:
        if rivals & layer.keys():
            values = {name: value for name, value in values.items() if name not in rivals}
    return {**values, **layer}


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same as TOML and JSON have them, each read as its field reads it."""
    known = {f.name: f for f in fields(Plan)}
    return {name: _plain(name, parse_value(known[name], value)) for name, value in values.items()}


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, Duration | Size):
        return str(value)
    if name == "base_url":
        return value[0] if len(value) == 1 else list(value)
    if name in ("header", "slo"):
        return list(value)
    return format_cores(value) if name == "cores" and value is not None else value


def _resolved(plan: Plan) -> dict[str, Any]:
    """What stands in place of values left out or written in another way. PlanError for a value of a wrong kind."""
    changed: dict[str, Any] = {}
    for spec in fields(plan):
        value = getattr(plan, spec.name)
        if (kind_of(spec).many or kind_of(spec).printed) and isinstance(value, str | list | tuple):
            value = changed[spec.name] = parse_value(spec, value)
        if kind_of(spec) is NUMBER and type(value) is int:
            value = changed[spec.name] = float(value)
        if not kind_of(spec).holds(value) and (value is not None or spec.default is not None):
            raise wrong_kind(spec, value)
    if all(getattr(plan, name) is None for name in LOADS):
        changed["concurrency"] = DEFAULT_CONCURRENCY
    if plan.duration is None and plan.num_samples is None and plan.trace is None:
        changed["duration"] = DEFAULT_DURATION
    if plan.image_transport == "url" and not plan.serve_images_on:
        changed["serve_images_on"] = ADDRESS
    return changed
