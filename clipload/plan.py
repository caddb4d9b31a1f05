"""The Plan: everything that determines a run, frozen and validated at birth.

Law: the same Plan gives the same bodies, the same URLs and the same due instants at any number of workers. Flags, TOML
keys, environment variables and help are all read off the fields below, so they cannot drift apart. A secret is never part
of a Plan.
"""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np
import tomli_w

from clipload.errors import CliploadError, PlanError
from clipload.kinds import CORES, NUMBER, SIZE, TEXT, TIME, TRUTH, WHOLE, Kind, choice, written
from clipload.pacing import NEVER, Constant, Gamma, InFlight, Pacer, Poisson, Shaped, bounds_by_count, bounds_by_time
from clipload.rates import (
    HIGHEST_RATE,
    LOWEST_RATE,
    MOST_PIECES,
    Profile,
    bursts,
    parse_burst,
    parse_ramp,
    parse_steps,
    ramp,
    steps,
)
from clipload.units import Duration, Size, format_cores

Arrival = Literal["constant", "poisson", "gamma"]
Mode = Literal["text", "image", "multimodal"]
SIDES = {"base": 224, "large-336": 336}  # clip_variant -> image side in pixels

DEFAULT_CONCURRENCY = 8
DEFAULT_DURATION = Duration.seconds(10)
LONGEST = Duration.seconds(30 * 24 * 3600)
LONGEST_NAME = 100  # bytes: it is part of a folder's name
LOWEST_CV, HIGHEST_CV = 0.01, 10.0
LOWEST_SPEEDUP, HIGHEST_SPEEDUP = 1e-3, 1e3
LOADS = ("concurrency", "rate", "ramp", "steps", "trace")  # a Plan has one of them
SHAPES = ("ramp", "steps", "burst")  # what makes the rate of an open loop change


def _field(kind: Kind, default: Any, group: str, text: str) -> Any:
    """A field that may be None only when that is its default."""
    return field(default=default, metadata={"kind": kind, "group": group, "help": text})


def kind_of(spec: Field[Any]) -> Kind:
    kind: Kind = spec.metadata["kind"]
    return kind


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One load, fully described. Raises `PlanError` naming the flag when it contradicts itself."""

    name: str = _field(TEXT, "run", "run", "A word for the run directory's name.")
    seed: int = _field(WHOLE, 42, "run", "Seed of arrivals, bodies and synthetic Samples (>= 0).")

    base_url: str = _field(TEXT, "http://127.0.0.1:30000", "target", "Server root, http://HOST:PORT.")
    api: Literal["v1"] = _field(choice("v1"), "v1", "target", "The dialect to speak.")
    model: str = _field(TEXT, "default", "target", "The `model` field of each request.")
    encoding_format: Literal["float", "base64"] = _field(
        choice("float", "base64"), "float", "target", "How vectors are asked for."
    )
    timeout: Duration = _field(TIME, Duration.seconds(120), "target", "Per request, from the demand for a connection.")
    max_connections: int | None = _field(
        WHOLE, None, "target", "Most connections at once, all workers together. Default: as many as it takes."
    )

    concurrency: int | None = _field(WHOLE, None, "load", "Closed loop: requests in flight, all workers together.")
    rate: float | None = _field(NUMBER, None, "load", "Open loop: requests/s, all workers together.")
    ramp: str | None = _field(
        written("a ramp", "50:400", "FROM:TO", parse_ramp),
        None,
        "load",
        "Open loop: the rate goes from FROM to TO over --duration.",
    )
    steps: str | None = _field(
        written("a list of steps", "100,200,400", "RATES", parse_steps),
        None,
        "load",
        "Open loop: these rates, in equal parts of --duration.",
    )
    burst: str | None = _field(
        written("a burst", "800:1s/10s", "RATE:LENGTH/PERIOD", parse_burst),
        None,
        "load",
        "Open loop, beside --rate: another rate at the end of each period.",
    )
    trace: str | None = _field(
        TEXT, None, "load", "Open loop: a file of recorded arrivals, one timestamp a line, replayed. Default length: all of it."
    )
    speedup: float | None = _field(NUMBER, None, "load", "With --trace: so many times as fast as it was recorded.")
    arrival: Arrival = _field(
        choice("constant", "poisson", "gamma"), "poisson", "load", "Open loop: the law of the arrivals. gamma needs --cv."
    )
    cv: float | None = _field(
        NUMBER, None, "load", "gamma: variation of the gaps; 1 is poisson, more is burstier, less is evener."
    )
    duration: Duration | None = _field(TIME, None, "load", "Length of the measured phase, like 30s or 2m.")
    num_samples: int | None = _field(WHOLE, None, "load", "Measure this many Samples instead of a duration.")
    warmup: Duration = _field(TIME, Duration(0), "load", "Load that is sent first and not part of the answer.")
    cooldown: Duration = _field(TIME, Duration(0), "load", "Open loop: load that goes on after the measured phase.")
    max_backlog: int | None = _field(
        WHOLE,
        None,
        "load",
        "Open loop: end early when this many are due and unanswered. Default: 10 s of arrivals, at least 1000.",
    )
    grace: Duration | None = _field(TIME, None, "load", "How long to wait for replies at the end. Default: the time-out.")

    mode: Mode = _field(
        choice("text", "image", "multimodal"), "multimodal", "samples", "A Sample is a text, an image, or a (text, image) pair."
    )
    data_source: Literal["random", "flickr8k"] = _field(
        choice("random", "flickr8k"), "random", "samples", "Where Samples come from."
    )
    batch_size: int = _field(WHOLE, 1, "samples", "Samples per request.")
    clip_variant: Literal["base", "large-336"] = _field(
        choice(*SIDES), "base", "samples", "Side of random images: 224 or 336 pixels."
    )
    image_format: Literal["png", "jpeg"] = _field(choice("png", "jpeg"), "png", "samples", "How images are encoded.")
    pool: int = _field(WHOLE, 256, "samples", "Distinct Samples held ready; requests draw from them in shuffled rounds.")
    flickr_images_dir: str = _field(TEXT, "", "samples", "Folder of Flickr8k's images.")
    flickr_captions_file: str = _field(TEXT, "", "samples", "Flickr8k.token.txt.")
    flickr_caption_pick: Literal["first", "random"] = _field(
        choice("first", "random"), "first", "samples", "Which caption of an image is used."
    )
    strict: bool = _field(TRUTH, False, "samples", "Make a Sample that cannot be read an error instead of skipping it.")
    arena_limit: Size = _field(SIZE, Size(2**30), "samples", "Most memory for encoded Items.")

    workers: int = _field(WHOLE, 1, "machine", "Worker processes, one core each.")
    cores: tuple[int, ...] | None = _field(
        CORES, None, "machine", "The workers' cores, like 0,2,4-7. Default: chosen and printed."
    )
    use_taskset: bool = _field(TRUTH, False, "machine", "Pin with the taskset program instead of psutil.")

    def __post_init__(self) -> None:
        for name, value in _resolved(self).items():
            object.__setattr__(self, name, value)
        for check in (_check_ranges, _check_load, _check_shape, _check_samples, _check_machine, _check_url):
            check(self)

    @property
    def open_loop(self) -> bool:
        return self.concurrency is None

    @property
    def peak_rate(self) -> float:
        """The highest rate of an open loop in requests/s; 0 for a closed one."""
        if self.profile is not None:
            return max(float(self.profile.rate(np.array([piece.start for piece in self.profile.pieces])).max()), 0.0)
        return self.rate or 0.0

    @property
    def profile(self) -> Profile | None:
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
        profile = self.profile
        return self._law(self.rate or 1.0) if profile is None else Shaped(self._law(1.0), profile)

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
    def check_names(cls, values: dict[str, Any]) -> None:
        known = [f.name for f in fields(cls)]
        for name in values:
            if name not in known:
                close = difflib.get_close_matches(name, known, 1)
                remedy = f"did you mean {close[0]!r}?" if close else "see clipload run --help"
                raise PlanError(f"a Plan has no field {name!r}", flag="--config", remedy=remedy)

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


def flag_of(name: str) -> str:
    """The command-line flag of a Plan field: `base_url` → `--base-url`."""
    return "--" + name.replace("_", "-")


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, Duration | Size):
        return str(value)
    return format_cores(value) if name == "cores" and value is not None else value


def parse_value(spec: Field[Any], value: Any) -> Any:
    """One field's value from its text or TOML form; `PlanError` names the flag."""
    kind = kind_of(spec)
    try:
        return kind.parse(value)
    except CliploadError as error:
        raise PlanError(error.what, flag=flag_of(spec.name), remedy=error.remedy) from error
    except (ValueError, TypeError) as error:
        raise _wrong_kind(spec, value) from error


def _wrong_kind(spec: Field[Any], value: Any) -> PlanError:
    kind, shown = kind_of(spec), repr(value)[:60]
    close = difflib.get_close_matches(str(value), kind.choices, 1)
    remedy = f"did you mean {close[0]!r}?" if close else f"write {kind.example}"
    return PlanError(f"{shown} is not {kind.name}", flag=flag_of(spec.name), remedy=remedy)


def _resolved(plan: Plan) -> dict[str, Any]:
    """What stands in place of values left out or written in another way. PlanError for a value of a wrong kind."""
    changed: dict[str, Any] = {}
    for spec in fields(plan):
        value = getattr(plan, spec.name)
        if kind_of(spec) is NUMBER and type(value) is int:
            value = changed[spec.name] = float(value)
        if not kind_of(spec).holds(value) and (value is not None or spec.default is not None):
            raise _wrong_kind(spec, value)
    if all(getattr(plan, name) is None for name in LOADS):
        changed["concurrency"] = DEFAULT_CONCURRENCY
    if plan.duration is None and plan.num_samples is None and plan.trace is None:
        changed["duration"] = DEFAULT_DURATION
    return changed | {"base_url": plan.base_url.rstrip("/")}


_AT_LEAST = {
    "concurrency": 1,
    "num_samples": 1,
    "batch_size": 1,
    "pool": 1,
    "workers": 1,
    "max_connections": 1,
    "max_backlog": 1,
}


def _check_ranges(plan: Plan) -> None:
    for name, least in _AT_LEAST.items():
        value = getattr(plan, name)
        if value is not None and value < least:
            raise PlanError(f"{value} is too small", flag=flag_of(name), remedy=f"use at least {least}")
    for name in ("duration", "timeout"):
        if getattr(plan, name) == 0:
            raise PlanError("must be longer than nothing", flag=flag_of(name), remedy="write 10s, 1.5s or 2m")
    for spec in fields(plan):
        if kind_of(spec) is TIME and (getattr(plan, spec.name) or 0) > LONGEST:
            raise PlanError(f"longer than {LONGEST}", flag=flag_of(spec.name), remedy="split the run")
    if not 0 <= plan.seed < 2**63:
        raise PlanError(f"{plan.seed} cannot be a seed", flag="--seed", remedy="use a whole number from 0 to 2^63 - 1")
    if plan.rate is not None and not LOWEST_RATE <= plan.rate <= HIGHEST_RATE:
        remedy = f"use a number from {LOWEST_RATE:g} to {HIGHEST_RATE:g}"
        raise PlanError(f"{plan.rate:g} requests/s cannot be", flag="--rate", remedy=remedy)
    if not plan.arena_limit:
        raise PlanError("holds no Sample", flag="--arena-limit", remedy="use 64MiB or more")
    if len(plan.name.encode()) > LONGEST_NAME:
        raise PlanError(f"longer than {LONGEST_NAME} bytes", flag="--name", remedy="use a word or two")
    if not plan.name or set(plan.name) & set("/\\\0\n") or plan.name.startswith("."):
        raise PlanError(
            f"{plan.name!r} cannot be part of a folder's name", flag="--name", remedy="use letters, digits and dashes"
        )


def _check_load(plan: Plan) -> None:
    given = [name for name in LOADS if getattr(plan, name) is not None]
    if len(given) > 1:
        raise PlanError(
            f"contradicts {flag_of(given[1])}",
            flag=flag_of(given[0]),
            remedy="a closed loop has --concurrency, an open loop has --rate, --ramp, --steps or --trace: give one",
        )
    if plan.duration is not None and plan.num_samples is not None:
        raise PlanError("contradicts --num-samples", flag="--duration", remedy="give one of the two")
    if plan.concurrency is not None:
        if plan.concurrency < plan.workers:
            raise PlanError(
                f"{plan.workers} workers cannot share {plan.concurrency} requests in flight",
                flag="--workers",
                remedy="use at most one worker for each request in flight",
            )
        for name, why in (
            ("max_backlog", "--concurrency is all that can be outstanding"),
            ("max_connections", "--concurrency is the cap"),
        ):
            if getattr(plan, name) is not None:
                raise PlanError(
                    f"means nothing in a closed loop: {why}", flag=flag_of(name), remedy="leave it out, or use --rate"
                )
        if plan.cooldown:
            raise PlanError("means nothing in a closed loop", flag="--cooldown", remedy="leave it out, or use --rate")
    if plan.max_connections is not None and plan.max_connections < plan.workers:
        raise PlanError(
            f"{plan.workers} workers cannot share {plan.max_connections} connections",
            flag="--max-connections",
            remedy="allow at least one for each worker",
        )


def _check_shape(plan: Plan) -> None:
    """What an open loop's rate and gaps may look like, together."""
    if (plan.arrival == "gamma") != (plan.cv is not None):
        what = "is needed with --arrival gamma" if plan.cv is None else "means nothing without --arrival gamma"
        raise PlanError(what, flag="--cv", remedy="write --arrival gamma --cv 2, or leave both out")
    if plan.cv is not None and not plan.open_loop:
        raise PlanError("means nothing in a closed loop", flag="--cv", remedy="leave it out, or use --rate")
    if plan.cv is not None and not LOWEST_CV <= plan.cv <= HIGHEST_CV:
        raise PlanError(f"{plan.cv:g} cannot be", flag="--cv", remedy=f"use a number from {LOWEST_CV:g} to {HIGHEST_CV:g}")
    if plan.trace is not None and plan.arrival == "gamma":
        raise PlanError("has a law of its own, whatever it is", flag="--trace", remedy="leave out --arrival and --cv")
    if plan.speedup is not None and (plan.trace is None or not LOWEST_SPEEDUP <= plan.speedup <= HIGHEST_SPEEDUP):
        what = "means nothing without --trace" if plan.trace is None else f"{plan.speedup:g} cannot be"
        raise PlanError(what, flag="--speedup", remedy=f"with --trace, use {LOWEST_SPEEDUP:g} to {HIGHEST_SPEEDUP:g}")
    if plan.burst is not None and plan.rate is None:
        raise PlanError("needs a rate between the bursts", flag="--burst", remedy="give --rate as well")
    for name in SHAPES:
        if getattr(plan, name) is not None and plan.num_samples is not None:
            raise PlanError("lies within a duration", flag=flag_of(name), remedy="give --duration instead of --num-samples")
    if plan.burst is not None:
        period = parse_burst(plan.burst).period
        if period > int(plan.duration or 0):
            raise PlanError(f"no period of {period} ends in {plan.duration}", flag="--burst", remedy="use a longer --duration")
        if int(plan.duration or 0) // period > MOST_PIECES:
            raise PlanError(f"more than {MOST_PIECES} bursts", flag="--burst", remedy="use a longer period")


def _check_samples(plan: Plan) -> None:
    if plan.data_source == "flickr8k":
        for name in ("flickr_images_dir", "flickr_captions_file"):
            if not getattr(plan, name):
                raise PlanError(
                    "is needed with --data-source flickr8k",
                    flag=flag_of(name),
                    remedy="name the dataset's folder and its Flickr8k.token.txt",
                )


def _check_machine(plan: Plan) -> None:
    if plan.cores is not None and len(plan.cores) < plan.workers:
        raise PlanError(
            f"{len(plan.cores)} cores for {plan.workers} workers",
            flag="--cores",
            remedy="name one core for each worker: two on one core slow each other, and the figures would say so of the server",
        )


def _check_url(plan: Plan) -> None:
    flag = "--base-url"
    if "@" in plan.base_url:  # first of all: what follows repeats the URL
        raise PlanError("holds a user name or password", flag=flag, remedy="use CLIPLOAD_API_KEY or --api-key-file for a key")
    try:
        url = urlsplit(plan.base_url)
        good = url.scheme == "http" and url.hostname and url.port != 0
    except ValueError:
        good = False
    if not good or url.query or url.fragment or not plan.base_url.isascii() or " " in plan.base_url:
        remedy = "write http://127.0.0.1:30000 (TLS is not spoken yet)"
        raise PlanError(f"{plan.base_url!r} is not http://HOST:PORT", flag=flag, remedy=remedy)
    if url.path:
        raise PlanError(
            f"{plan.base_url!r} has a path", flag=flag, remedy="write the server's root, without /v1 or any other path"
        )
