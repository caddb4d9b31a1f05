"""The preflight as a checklist, for people; and the one line of it that a Run's report has."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from clipload.preflight import Fitness, Identity, Outcome
from clipload.units import format_ns

SIGNS: Mapping[Outcome, str] = {"ok": "✓", "unfit": "✗", "warning": "!", "not probed": "-", "note": "·"}
WIDTH = 118
_NAME = 36  # columns of a line's name
_FACTS = (  # fact → how it is told
    ("dtype", "{}"),
    ("quantization", "{}"),
    ("device", "on {}"),
    ("tp_size", "tp {}"),
    ("dp_size", "dp {}"),
    ("tokenizer_worker_num", "tokenizer workers {}"),
    ("disable_radix_cache", "radix cache {}"),
    ("prefill_max_requests", "prefill-max-requests {}"),
    ("max_running_requests", "max-running-requests {}"),
    ("max_queued_requests", "max-queued-requests {}"),
    ("max_req_input_len", "texts of at most {} tokens"),
)


def checklist(found: Fitness) -> str:
    """Who it is, what was looked at, and the outcome."""
    head = f"preflight   {found.url}\nserver      {found.identity}"
    facts = _wrapped(described_facts(found.identity), " " * 12)
    lines = [part for line in found.lines for part in _line(line.name, line.outcome, line.sentence, line.remedy)]
    return "\n".join([head, *facts, "", *lines, "", _outcome(found)])


def described_facts(who: Identity) -> str:
    """The model, then what it runs on and with."""
    facts = who.facts
    model = str(facts.get("served_model_name") or facts.get("model_path") or "")
    kinds = facts.get("architectures") or []
    told = [f"{model}{f' ({kinds[0]})' if kinds else ''}"] if model else []
    for name, form in _FACTS:
        value = facts.get(name)
        if value is not None:
            told.append(form.format(value if name != "disable_radix_cache" else "off" if value else "ON"))
    return ", ".join(told)


def _line(name: str, outcome: Outcome, sentence: str, remedy: str) -> list[str]:
    said = sentence if outcome != "not probed" else f"not probed: {sentence}"
    first, *more = _wrapped(said, " " * (_NAME + 4)) or [""]
    lines = [f"  {SIGNS[outcome]} {name:<{_NAME}}{first.strip()}", *more]
    return lines + (_wrapped(f"→ {remedy}", " " * (_NAME + 4)) if remedy and outcome != "ok" else [])


def _hanging(text: str) -> list[str]:
    first, *more = _wrapped(text, " " * 12)
    return [f"preflight   {first.strip()}", *more]


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False)


def _outcome(found: Fitness) -> str:
    cost = f"{found.requests} requests, {format_ns(found.took_ns)}"
    warnings = sum(line.outcome == "warning" for line in found.lines)
    more = f", with {warnings} warning{'' if warnings == 1 else 's'}" if warnings else ""
    if found.fit:
        return f"fit{more} ({cost})"
    return f"UNFIT: {'; '.join(dict.fromkeys(line.short for line in found.reasons))}{more} ({cost})"


def preflight_lines(documents: Sequence[Mapping[str, Any]], *, skipped: bool = False) -> list[str]:
    """What the heading of a Run's report says of the preflight: a line for each target, and each reason why one is unfit."""
    lines = ["preflight   none (--no-preflight): whether its vectors are right was not asked"] if skipped else []
    for one in documents:
        server = one["server"]
        name = " ".join(filter(None, [server["name"], server["version"]])) or "of no known name"
        where = f" {one['url']}" if len(documents) > 1 else ""
        known = [line["name"] for line in one["lines"] if line["outcome"] == "warning"]
        more = f"; known of it: {', '.join(known)}" if known else ""
        lines += _hanging(f"{'fit' if one['fit'] else 'UNFIT (--allow-unfit)'}: {name}{where}{more}")
        reasons = [line for line in one["lines"] if line["outcome"] == "unfit"]
        lines += [part for line in reasons for part in _wrapped(f"{line['name']}: {line['sentence']}", " " * 12)]
    return lines
