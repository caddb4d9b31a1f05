"""`clipload preflight`: who a target is, and whether it tells the truth, before any load."""

from __future__ import annotations

import asyncio
import inspect
import json as json_format
import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from clipload.cli.flags import parameters, plan_from, read_credentials
from clipload.errors import EXIT_OK, EXIT_TARGET
from clipload.preflight import examine_all
from clipload.reports.preflight import checklist
from clipload.target import resolve_all

FIELDS = (  # of a Plan: what decides how the target is asked, and what it must be fit for
    *("api", "model", "encoding_format", "timeout", "mode", "batch_size", "canary"),
    *("transport", "header", "proxy", "cacert", "cert", "cert_key", "insecure"),
)


def preflight(
    *urls: Annotated[str, Parameter(help="Server roots, like --base-url of clipload run. [default: its default]")],
    config: Annotated[Path | None, Parameter(help="A Plan in TOML: is the target fit for this load?")] = None,
    api_key_file: Annotated[Path | None, Parameter(help="File with the target's key. Else CLIPLOAD_API_KEY is used.")] = None,
    secret_header_file: Annotated[
        Path | None, Parameter(help="File of headers that hold secrets, a line each: Name: value. No flag can hold them.")
    ] = None,
    json: Annotated[bool, Parameter(help="The result as JSON on stdout; the checklist goes to stderr.", negative=())] = False,
    **flags: Any,
) -> int:
    """Ask a target who it is and whether it tells the truth. Exit 0: fit. Exit 3: unfit, with reasons."""
    plan = plan_from({**flags, "base_url": urls or None}, config)
    credentials = read_credentials(plan, api_key_file, secret_header_file)
    found = asyncio.run(examine_all(plan, resolve_all(plan), credentials))
    print("\n\n".join(map(checklist, found)), file=sys.stderr if json else sys.stdout)
    fit = all(one.fit for one in found)
    if json:
        print(json_format.dumps({"fit": fit, "targets": [one.document() for one in found]}))
    return EXIT_OK if fit else EXIT_TARGET


_own = [p for p in inspect.signature(preflight).parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
_fields = [p for p in parameters() if p.name in FIELDS]
preflight.__signature__ = inspect.Signature([*_own, *_fields], return_annotation=int)  # type: ignore[attr-defined]
preflight.__annotations__ |= {p.name: p.annotation for p in _fields}
