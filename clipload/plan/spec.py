"""One field of a Plan: its kind, group and help, the flag that it is said by, and how its text is read."""

from __future__ import annotations

import difflib
from dataclasses import Field, field
from typing import Any

from clipload.errors import CliploadError, PlanError
from clipload.kinds import URLS, Kind


def plan_field(kind: Kind, default: Any, group: str, text: str) -> Any:
    """A field that may be None only when that is its default."""
    return field(default=default, metadata={"kind": kind, "group": group, "help": text})


def kind_of(spec: Field[Any]) -> Kind:
    kind: Kind = spec.metadata["kind"]
    return kind


def flag_of(name: str) -> str:
    """The command-line flag of a Plan field: `base_url` → `--base-url`."""
    return "--" + name.replace("_", "-")


def parse_value(spec: Field[Any], value: Any) -> Any:
    """One field's value from its text or TOML form; `PlanError` names the flag."""
    kind = kind_of(spec)
    try:
        return kind.parse(value)
    except CliploadError as error:
        raise PlanError(error.what, flag=flag_of(spec.name), remedy=error.remedy) from error
    except (ValueError, TypeError) as error:
        raise wrong_kind(spec, value) from error


def wrong_kind(spec: Field[Any], value: Any) -> PlanError:
    """What is said of a value that its field cannot have."""
    kind, shown = kind_of(spec), repr(value)[:60]
    if not kind.shown or (kind is URLS and "@" in shown):
        shown = "what was given"  # it may hold a secret
    close = difflib.get_close_matches(str(value), kind.choices, 1)
    remedy = f"did you mean {close[0]!r}?" if close else f"write {kind.example}"
    return PlanError(f"{shown} is not {kind.name}", flag=flag_of(spec.name), remedy=remedy)
