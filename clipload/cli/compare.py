"""`clipload compare`: two saved loads against each other, with a gate against regressions."""

from __future__ import annotations

import json as json_format
import re
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from clipload import archive
from clipload.compare import LIMIT, CompareError, document
from clipload.compare import compare as compared
from clipload.reports.comparison import comparison_markdown, comparison_text


def compare(
    before: Annotated[Path, Parameter(help="A run directory, or a folder of repeats of one load.")],
    after: Annotated[Path, Parameter(help="Another.")],
    /,
    *,
    limit: Annotated[
        str, Parameter(help="A change that matters: what is surely worse by more is a regression.")
    ] = f"{LIMIT:.0%}",
    md: Annotated[bool, Parameter(help="As Markdown, for a pull request.", negative=())] = False,
    json: Annotated[bool, Parameter(help="As JSON.", negative=())] = False,
) -> int:
    """Say what changed from one load to another: exit 1 for a regression, 4 when it can be neither seen nor excluded."""
    if md and json:
        raise CompareError("there is one answer", flag="--md", remedy="leave out --md or --json")
    share = parse_limit(limit)
    sides = [[run for _, run in archive.load_all([path])] for path in (before, after)]
    comparison = compared(sides[0], sides[1], share)
    names = (str(before), str(after))
    if json:
        print(json_format.dumps({"before": names[0], "after": names[1], **document(comparison)}))
    else:
        print(comparison_markdown(comparison, names) if md else comparison_text(comparison, names))
    return comparison.exit_code


def parse_limit(text: str) -> float:
    """`5%` → 0.05. CompareError unless it is a percentage from 0 to below 100."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", text)
    if match is None or not float(match[1]) < 100:
        raise CompareError(f"{text!r} is not a limit", flag="--limit", remedy="write a percentage, like 5%")
    return float(match[1]) / 100
