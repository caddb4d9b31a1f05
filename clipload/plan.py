"""The Plan: everything that determines a run, frozen and validated at birth.

Law: the same Plan gives the same bodies, the same URLs and the same due instants at any number of workers. Flags, TOML
keys, environment variables and help are all read off the fields below, so they cannot drift apart. A secret is never part
of a Plan.
"""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

import tomli_w

from clipload.errors import CliploadError, PlanError
from clipload.pacing import NEVER, Constant, InFlight, Pacer, Poisson, bounds_by_count, bounds_by_time
from clipload.units import Duration, Size, format_cores, parse_cores

Arrival = Literal["constant", "poisson"]
Mode = Literal["text", "image", "multimodal"]
SIDES = {"base": 224, "large-336": 336}  # clip_variant -> image side in pixels

DEFAULT_CONCURRENCY = 8
DEFAULT_DURATION = Duration.seconds(10)


def _field(default: Any, group: str, text: str) -> Any:
    return field(default=default, metadata={"group": group, "help": text})


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One load, fully described. Raises `PlanError` naming the flag when it contradicts itself."""

    name: str = _field("run", "run", "A word for the run directory's name.")
    seed: int = _field(42, "run", "Seed of arrivals, bodies and synthetic Samples (>= 0).")

    base_url: str = _field("http://127.0.0.1:30000", "target", "Server root, http://HOST:PORT.")
    api: Literal["v1"] = _field("v1", "target", "The dialect to speak.")
    model: str = _field("default", "target", "The `model` field of each request.")
    encoding_format: Literal["float", "base64"] = _field("float", "target", "How vectors are asked for.")
    timeout: Duration = _field(Duration.seconds(120), "target", "Per request, from the demand for a connection.")
    max_connections: int | None = _field(
        None, "target", "Most connections at once, all workers together. Default: as many as it takes."
    )

    concurrency: int | None = _field(None, "load", "Closed loop: requests in flight, all workers together.")
    rate: float | None = _field(None, "load", "Open loop: requests/s, all workers together.")
    arrival: Arrival = _field("poisson", "load", "Open loop: the law of the arrivals.")
    duration: Duration | None = _field(None, "load", "Length of the measured phase, like 30s or 2m.")
    num_samples: int | None = _field(None, "load", "Measure this many Samples instead of a duration.")
    warmup: Duration = _field(Duration(0), "load", "Load that is sent first and not part of the answer.")
    cooldown: Duration = _field(Duration(0), "load", "Open loop: load that goes on after the measured phase.")
    max_backlog: int | None = _field(
        None, "load", "Open loop: end early when this many wait for a connection. Default: 10 s of arrivals."
    )
    grace: Duration | None = _field(None, "load", "How long to wait for replies at the end. Default: the time-out.")

    mode: Mode = _field("multimodal", "samples", "A Sample is a text, an image, or a (text, image) pair.")
    data_source: Literal["random", "flickr8k"] = _field("random", "samples", "Where Samples come from.")
    batch_size: int = _field(1, "samples", "Samples per request.")
    clip_variant: Literal["base", "large-336"] = _field("base", "samples", "Side of random images: 224 or 336 pixels.")
    image_format: Literal["png", "jpeg"] = _field("png", "samples", "How images are encoded.")
    pool: int = _field(256, "samples", "Distinct Samples held ready; requests draw from them in shuffled rounds.")
    flickr_images_dir: str = _field("", "samples", "Folder of Flickr8k's images.")
    flickr_captions_file: str = _field("", "samples", "Flickr8k.token.txt.")
    flickr_caption_pick: Literal["first", "random"] = _field("first", "samples", "Which caption of an image is used.")
    strict: bool = _field(False, "samples", "Make a Sample that cannot be read an error instead of skipping it.")
    arena_limit: Size = _field(Size(2**30), "samples", "Most memory for encoded Items.")

    workers: int = _field(1, "machine", "Worker processes, one core each.")
    cores: tuple[int, ...] | None = _field(None, "machine", "The workers' cores, like 0,2,4-7. Default: chosen and printed.")
    use_taskset: bool = _field(False, "machine", "Pin with the taskset program instead of psutil.")

    def __post_init__(self) -> None:
        if self.concurrency is None and self.rate is None:
            object.__setattr__(self, "concurrency", DEFAULT_CONCURRENCY)
        if self.duration is None and self.num_samples is None:
            object.__setattr__(self, "duration", DEFAULT_DURATION)
        if self.rate is not None and not isinstance(self.rate, str | bool):
            object.__setattr__(self, "rate", float(self.rate))
        object.__setattr__(self, "base_url", self.base_url.rstrip("/"))
        for check in (_check_types, _check_ranges, _check_load, _check_samples, _check_machine, _check_url):
            check(self)

    @property
    def open_loop(self) -> bool:
        return self.rate is not None

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
        """Requests that may wait for a connection, all workers together."""
        return self.max_backlog if self.max_backlog is not None else max(1000, round(10 * (self.rate or 0)))

    @property
    def pacer(self) -> Pacer:
        """The open loop's pacer; a closed loop has `in_flight` instead."""
        if self.rate is None:
            raise AssertionError("a closed loop has no pacer")
        return Constant(self.rate) if self.arrival == "constant" else Poisson(self.rate)

    @property
    def in_flight(self) -> InFlight:
        if self.concurrency is None:
            raise AssertionError("an open loop has no slots")
        return InFlight(self.concurrency)

    def bounds(self) -> tuple[int, int, int, int]:
        """Phase starts and the end of all in ns from the start (`pacing.Horizon`). A counted closed loop has no end in time."""
        warmup, cooldown = int(self.warmup), int(self.cooldown)
        if self.requests is None:
            return bounds_by_time(warmup, int(self.duration or 0), cooldown)
        if self.open_loop:
            return bounds_by_count(self.pacer, self.seed, warmup, self.requests, cooldown)
        return bounds_by_time(warmup, NEVER // 2, 0)

    def replace(self, **changes: Any) -> Plan:
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Field name → plain TOML value, fields that are None left out. `Plan.from_dict` is its inverse."""
        values = {f.name: _plain(f.name, getattr(self, f.name)) for f in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Plan:
        known = {f.name: f for f in fields(cls)}
        for name in values:
            if name not in known:
                close = difflib.get_close_matches(name, known, 1)
                raise PlanError(
                    f"a Plan has no field {name!r}",
                    remedy=f"did you mean {close[0]!r}?" if close else "see clipload run --help",
                )
        return cls(**{name: parse_value(known[name], value) for name, value in values.items()})

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
        values: dict[str, Any] = {}
        for key, value in document.items():
            values.update(value if isinstance(value, dict) else {key: value})
        return {key.replace("-", "_"): value for key, value in values.items()}

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
    kind = str(spec.type)
    try:
        if kind.startswith("Duration"):
            return value if isinstance(value, Duration) else Duration.parse(str(value))
        if kind.startswith("Size"):
            return value if isinstance(value, Size) else Size.parse(str(value))
        if kind.startswith("tuple"):
            return parse_cores(value) if isinstance(value, str) else tuple(value)
        if kind.startswith("float") and isinstance(value, str | int):
            return float(value)
        if kind.startswith("int") and isinstance(value, str):
            return int(value)
        if kind == "bool" and isinstance(value, str):
            return {"true": True, "1": True, "false": False, "0": False}[value.lower()]
    except CliploadError as error:
        raise PlanError(error.what, flag=flag_of(spec.name), remedy=error.remedy) from error
    except (ValueError, KeyError) as error:
        raise PlanError(f"{value!r} is not {_KIND_NAMES[kind.split()[0]]}", flag=flag_of(spec.name)) from error
    return value


_KIND_NAMES = {"float": "a number", "int": "a whole number", "bool": "true or false"}
_TYPES: dict[str, type | tuple[type, ...]] = {"str": str, "int": int, "float": (float, int), "bool": bool}
_CHOICES: dict[str, tuple[Any, ...]] = {"Arrival": get_args(Arrival), "Mode": get_args(Mode)}


def choices_of(spec: Field[Any]) -> tuple[str, ...]:
    """The allowed words of a field, or () when it is not a choice."""
    kind = str(spec.type)
    if kind.startswith("Literal["):
        return tuple(word.strip(" \"'") for word in kind[len("Literal[") : -1].split(","))
    return _CHOICES.get(kind, ())


def _check_types(plan: Plan) -> None:
    for spec in fields(plan):
        value, kind = getattr(plan, spec.name), str(spec.type).split(" |")[0]
        if value is None and "None" in str(spec.type):
            continue
        allowed = choices_of(spec)
        if allowed and value not in allowed:
            raise PlanError(f"{value!r} is not one of {', '.join(allowed)}", flag=flag_of(spec.name))
        wanted = _TYPES.get(kind)
        if wanted and (not isinstance(value, wanted) or (kind != "bool" and isinstance(value, bool))):
            raise PlanError(f"{value!r} is not {_KIND_NAMES.get(kind, 'a text')}", flag=flag_of(spec.name))


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
        if getattr(plan, name) is not None and getattr(plan, name) <= 0:
            raise PlanError("must be longer than nothing", flag=flag_of(name), remedy="write 10s, 1.5s or 2m")
    if plan.seed < 0:
        raise PlanError(f"{plan.seed} is negative", flag="--seed", remedy="use a whole number >= 0")
    if plan.rate is not None and not 0 < plan.rate <= 10_000_000:
        raise PlanError(f"{plan.rate} requests/s cannot be", flag="--rate", remedy="use a number above 0, at most 1e7")
    if not plan.name or set(plan.name) & set("/\\\0\n") or plan.name.startswith("."):
        raise PlanError(
            f"{plan.name!r} cannot be part of a folder's name", flag="--name", remedy="use letters, digits and dashes"
        )


def _check_load(plan: Plan) -> None:
    if plan.concurrency is not None and plan.rate is not None:
        raise PlanError(
            "contradicts --rate",
            flag="--concurrency",
            remedy="a closed loop has --concurrency, an open loop has --rate: give one",
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
        for name, why in (("max_backlog", "nothing waits in a closed loop"), ("max_connections", "--concurrency is the cap")):
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
    url = urlsplit(plan.base_url)
    try:
        port_ok = url.port is None or url.port > 0
    except ValueError:
        port_ok = False
    if url.scheme != "http" or not url.hostname or not port_ok or url.query or url.fragment:
        raise PlanError(
            f"{plan.base_url!r} is not http://HOST:PORT",
            flag="--base-url",
            remedy="write http://127.0.0.1:30000 (TLS is not spoken yet)",
        )
    if url.username or url.password:
        raise PlanError(
            "holds a password", flag="--base-url", remedy="put the key into CLIPLOAD_API_KEY or a file (--api-key-file)"
        )
