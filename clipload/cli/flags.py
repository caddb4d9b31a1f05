"""Flags made from the Plan's fields, so that help, TOML keys and environment variables are one thing.

A value comes from the flag, else from CLIPLOAD_<FIELD>, else from --config, else from the Plan's default. A flag that replaces
what a TOML Plan said (--rate against concurrency, --duration against num_samples) takes its rival out.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Collection, Mapping
from dataclasses import Field, fields
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from clipload.credentials import Credentials, parse_fields
from clipload.errors import CliploadError, PlanError
from clipload.kinds import TRUTH, URLS
from clipload.plan import DEFAULT_CONCURRENCY, Plan, flag_of, kind_of, overlaid, parse_value
from clipload.units import Duration

_TITLES = ("Load", "Target", "Connections", "Samples", "Images", "Machine", "Run")  # in the order of the help
_GROUPS = {title.lower(): Group(title, sort_key=place) for place, title in enumerate(_TITLES, 1)}

# What commands that load a target share besides the Plan.
OUTPUT = Group("Output", sort_key=9)
Config = Annotated[Path | None, Parameter(help="A Plan in TOML; flags win over it. Each run saves its own as plan.toml.")]
KeyFile = Annotated[Path | None, Parameter(help="File with the target's key. Else CLIPLOAD_API_KEY is used.")]
HeaderFile = Annotated[
    Path | None, Parameter(help="File of headers that hold secrets, a line each: Name: value. No flag can hold them.")
]
Out = Annotated[Path, Parameter(help="Folder for run directories.", group=OUTPUT)]
AsJson = Annotated[bool, Parameter(help="The result as JSON on stdout; the text goes to stderr.", group=OUTPUT, negative=())]

TARGET_GROUP = Group("Target", sort_key=4)
# How a server is asked for vectors, by commands that measure no load; with the help where a load's says too much.
ASKING = {
    "base_url": "Server root: http://HOST:PORT, https://HOST:PORT or unix:/path/of/a/socket.",
    "api": "",
    "encoding_format": "",
    "timeout": "",
    "concurrency": "Requests in flight.",
    "header": "",
    "cacert": "",
    "cert": "",
    "cert_key": "",
    "insecure": "",
}


def parameters(hidden: Collection[str] = ()) -> list[inspect.Parameter]:
    """One keyword-only parameter for each field of the Plan, None when it is not given. `hidden`: not in the help."""
    return [
        _parameter(spec, _GROUPS[spec.metadata["group"]], spec.metadata["help"], shown=spec.name not in hidden)
        for spec in fields(Plan)
    ]


def _parameter(spec: Field[Any], group: Group, text: str, *, shown: bool = True) -> inspect.Parameter:
    annotation = _annotation(spec, group, text, shown=shown)
    return inspect.Parameter(spec.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def add_parameters(command: Any, names: Mapping[str, str]) -> None:
    """Puts the fields of the Plan that `names` has (name → help, "" for the field's own) where the command has `**flags`."""
    own = [one for one in inspect.signature(command).parameters.values() if one.kind is inspect.Parameter.KEYWORD_ONLY]
    known = [spec for spec in fields(Plan) if spec.name in names]
    added = [_parameter(spec, TARGET_GROUP, names[spec.name] or spec.metadata["help"]) for spec in known]
    command.__signature__ = inspect.Signature([*own, *added], return_annotation=int)
    command.__annotations__ |= {one.name: one.annotation for one in added}


def asking_from(
    given: Mapping[str, Any], names: Collection[str] = tuple(ASKING), environment: Mapping[str, str] = os.environ
) -> Plan:
    """The Plan of which only the target and how it is asked are of interest; its mode is that of what will be asked. Variables
    of other fields are not looked at."""
    variables = {f"CLIPLOAD_{name.upper()}" for name in names}
    known = {name: value for name, value in environment.items() if name in variables}
    return plan_from({**given, "mode": "text"}, None, known)


def _annotation(spec: Field[Any], group: Group, text: str, *, shown: bool) -> Any:
    """Values stay as typed: the Plan's kinds read them, so that a flag, a variable and a TOML value mean the same."""
    kind = kind_of(spec)
    words = f" [{', '.join(kind.choices)}]" if kind.choices else ""
    said: Any = spec.default
    said = said[0] if kind is URLS else said
    said = DEFAULT_CONCURRENCY if spec.name == "concurrency" and group is TARGET_GROUP else said
    default = "" if said in (None, "", False, ()) else f" (default {said})"
    described = Parameter(
        name=flag_of(spec.name),
        help=text + words + default,
        group=group,
        negative=(),
        show=shown,
    )
    word: Any = bool if kind is TRUTH else type(kind.metavar, (str,), {})  # the help names a value by its type
    if kind.many:
        word = tuple[word, ...]
    return Annotated[word | None, described]


def seconds_of(text: str, flag: str) -> float:
    """A duration of a flag that is not the Plan's. PlanError names the flag."""
    try:
        return Duration.parse(text) / 1e9
    except CliploadError as error:
        raise PlanError(error.what, flag=flag, remedy=error.remedy) from error


def plan_from(given: Mapping[str, Any], config: Path | None, environment: Mapping[str, str] = os.environ) -> Plan:
    """The Plan of flags (None: not given), environment and TOML file. PlanError names the flag, the variable or the file."""
    return Plan.from_dict(values_from(given, config, environment))


def values_from(given: Mapping[str, Any], config: Path | None, environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """What was said of the Plan's fields, one layer over the other."""
    layers = [
        _from_config(config),
        _from_environment(environment),
        {name: value for name, value in given.items() if value is not None},
    ]
    values: dict[str, Any] = {}
    for layer in layers:
        values = overlaid(values, layer)
    return values


def _from_config(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(
            f"cannot read {path}: {error}", flag="--config", remedy="name a TOML Plan, such as a run's plan.toml"
        ) from error
    values = Plan.values_from_toml(text)
    Plan.check_names(values)
    return values


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    values = {}
    for spec in fields(Plan):
        name = f"CLIPLOAD_{spec.name.upper()}"
        if environment.get(name):
            try:
                values[spec.name] = parse_value(spec, environment[name])
            except PlanError as error:
                raise PlanError(error.what, flag=name, remedy=error.remedy) from error
    return values


def read_key(path: Path | None, environment: Mapping[str, str] = os.environ) -> str:
    """The target's key: from the file when one is named, else from CLIPLOAD_API_KEY, else none. It is never echoed."""
    if path is None:
        key = environment.get("CLIPLOAD_API_KEY", "").strip()
    else:
        try:
            key = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise PlanError(
                f"cannot read {path}: {error}", flag="--api-key-file", remedy="name a file that holds the key and nothing else"
            ) from error
        if not key:
            raise PlanError(f"{path} is empty", flag="--api-key-file", remedy="put the key into it")
    flag = "--api-key-file" if path is not None else "CLIPLOAD_API_KEY"
    if not key.isascii() or not key.isprintable() or " " in key:
        why = "the key holds blanks, line ends or other characters that no HTTP header can"
        raise PlanError(why, flag=flag, remedy="one line, nothing but the key")
    return key


def read_credentials(
    plan: Plan, key_file: Path | None, header_file: Path | None, environment: Mapping[str, str] = os.environ
) -> Credentials:
    """The key and the secret headers. PlanError when one name would be said twice."""
    credentials = Credentials(read_key(key_file, environment), _read_headers(header_file))
    names = [name.lower() for name, _ in (*plan.headers, *credentials.headers)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        remedy = "leave it out of the file, or leave out --header or the key"
        raise PlanError(f"{twice} is given elsewhere too", flag="--secret-header-file", remedy=remedy)
    return credentials


def _read_headers(path: Path | None) -> tuple[tuple[str, str], ...]:
    if path is None:
        return ()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        remedy = "name a file with one field a line, like X-Api-Key: …"
        raise PlanError(f"cannot read {path}: {why}", flag="--secret-header-file", remedy=remedy) from error
    return parse_fields(text, str(path), "--secret-header-file")
