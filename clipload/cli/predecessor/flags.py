"""How the older commands read their flags: `--base_url` or `--base-url`, abbreviations included; a mistake names its remedy."""

from __future__ import annotations

import argparse
import difflib
import re
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, NoReturn

from clipload.cli import with_dashes
from clipload.errors import PlanError
from clipload.kinds import TRUTH, URLS
from clipload.plan import Plan, flag_of, kind_of
from clipload.units import format_cores

KEY_VARIABLE, MASK = "CLIPLOAD_API_KEY", "***"
_KEY_FLAG = re.compile(r"--api[-_](k(e(y)?)?)?")  # abbreviations too
_UNKNOWN = re.compile(r"unrecognized arguments: (.*)")


class Parser(argparse.ArgumentParser):
    """An argparse whose mistakes are PlanErrors; flags are declared with dashes."""

    hint = "see --help"

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        return self.parse_args(with_dashes(arguments))

    def error(self, message: str) -> NoReturn:
        """A word without a flag is not repeated: it may be a part of a key."""
        unknown = _UNKNOWN.fullmatch(message)
        if unknown is None:
            raise PlanError(message, remedy=self.hint)
        first = unknown[1].split()[0].partition("=")[0]
        if not first.startswith("-"):
            raise PlanError("there is a word that belongs to no flag", remedy=self.hint)
        known = [flag for action in self._actions for flag in action.option_strings]
        close = difflib.get_close_matches(first, known, 1)
        raise PlanError("is no flag of this command", flag=first, remedy=f"did you mean {close[0]}?" if close else self.hint)


def say(sentence: str) -> None:
    """What is for people goes to stderr."""
    print(sentence, file=sys.stderr, flush=True)


def warn_of_key() -> None:
    say(f"warning: a key on the command line can be read by everybody on this machine; set {KEY_VARIABLE} instead")


def masked(arguments: Iterable[str]) -> list[str]:
    """The same arguments with the value of --api_key, however it was given, hidden."""
    shown: list[str] = []
    hide = False
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        key = bool(_KEY_FLAG.fullmatch(name))
        shown.append(MASK if hide else f"{name}={MASK}" if key and equals else argument)
        hide = key and not equals
    return shown


def without_key(arguments: Iterable[str]) -> list[str]:
    """The same arguments without --api_key and its value."""
    kept: list[str] = []
    skip = False
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        key = bool(_KEY_FLAG.fullmatch(name))
        if not skip and not key:
            kept.append(argument)
        skip = key and not equals
    return kept


def run_command(values: Mapping[str, Any], *flags: str) -> list[str]:
    """The `clipload run` that has these values of a Plan."""
    specs = {spec.name: spec for spec in fields(Plan)}
    command = ["clipload", "run"]
    for name, value in values.items():
        if kind_of(specs[name]) is TRUTH:
            command += [flag_of(name)] if value else []
        elif kind_of(specs[name]) is URLS and not isinstance(value, str):
            command += [word for url in value for word in (flag_of(name), str(url))]
        else:
            text = str(value) if not isinstance(value, tuple) else format_cores(value)
            command += [f"{flag_of(name)}={text}"] if text.startswith("-") else [flag_of(name), text]
    return [*command, *flags]


def echo(command: Sequence[str], *, keyed: bool = False) -> None:
    """Says what is done in place of the old command."""
    key = f"{KEY_VARIABLE}='{MASK}' " if keyed else ""
    say(f"clipload: this is now\n  {key}{shlex.join(command)}")
