"""`clipload calibrate`: what the generator itself can do with a load's payload."""

from __future__ import annotations

import inspect
import json as json_format
import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from clipload import shapes
from clipload.calibration import calibrate as measured
from clipload.cli.flags import parameters, plan_from
from clipload.errors import EXIT_OK
from clipload.reports.capacity import DIM, calibration_document, calibration_table

_OUTPUT = Group("Output", sort_key=9)


def calibrate(
    *,
    config: Annotated[Path | None, Parameter(help="A Plan in TOML, such as a run's plan.toml; flags win over it.")] = None,
    dim: Annotated[int, Parameter(help="Length of the vectors that the target sends; the replies are made as long.")] = DIM,
    json: Annotated[
        bool, Parameter(help="The result as JSON on stdout; the text goes to stderr.", group=_OUTPUT, negative=())
    ] = False,
    **flags: Any,
) -> int:
    """Measure what the generator itself can do with this load's payload, against a null engine on this machine.

    Takes the flags of `clipload run`. Payload, dialect, transport and workers count; the load's rate and length, and whom it
    is for, do not: no target is asked. It takes some ten seconds and is kept in XDG_CACHE_HOME/clipload (else in
    ~/.cache/clipload); every run of that payload on this host then says how much of it the run used.
    """
    plan = plan_from(flags, config)
    shapes.make_folder()
    kept = measured(plan, dim, lambda sentence: print(sentence, file=sys.stderr, flush=True))
    path = shapes.keep(kept.shape, kept.calibration)
    text = f"{calibration_table(kept, plan.batch_size)}\nkept        {path}"
    print(text, file=sys.stderr if json else sys.stdout, flush=True)
    if json:
        print(json_format.dumps(calibration_document(kept, str(path))), flush=True)
    return EXIT_OK


_own = [p for p in inspect.signature(calibrate).parameters.values() if p.kind is inspect.Parameter.KEYWORD_ONLY]
calibrate.__signature__ = inspect.Signature([*_own, *parameters()], return_annotation=int)  # type: ignore[attr-defined]
calibrate.__annotations__ |= {p.name: p.annotation for p in parameters()}
