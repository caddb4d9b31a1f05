"""How commands of many loads launch one and show what became of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console

from clipload.credentials import Credentials
from clipload.errors import TargetError
from clipload.folding import Folding
from clipload.frames import Interval
from clipload.integrity.kept import Kept
from clipload.measurement import View, measure
from clipload.outages import dead, outages
from clipload.plan import Plan
from clipload.reports.exchange import exchange_text
from clipload.reports.live import view_for
from clipload.run import Run
from clipload.target import Heard, nobody


class QuietView:
    """What is said is shown; seconds are not, since a table of loads grows beside it."""

    def said(self, sentence: str) -> None:
        show(sentence, sys.stderr)

    def preparing(self, done: int, total: int) -> None:
        """A load among many is soon encoded."""

    def interval(self, folding: Folding, interval: Interval) -> None:
        """A load among many is told of in one line, when it has ended."""

    def close(self) -> None:
        """Nothing is held open."""


EXAMINED = ("base_url", "api", "model", "mode", "encoding_format", "image_transport", "no_preflight", "allow_unfit", "canary")
"""Fields of the Plan that a preflight depends on; and whether Items go together."""


def launcher(directory: Path, credentials: Credentials, *, debug: bool = False) -> Callable[[Plan], tuple[Run, Path]]:
    """Measures each load into `directory`; on a terminal it is seen while it lasts. The preflight is asked once for all loads
    that are alike to it: a target that has just been loaded is not idle. References for integrity are kept from load to load.
    After a death or an outage both are taken anew: what comes back may be another. `debug`: the first exchange is told."""
    console, known, kept = Console(stderr=True), dict[tuple[Any, ...], dict[str, Any]](), Kept()
    first = True

    def forget() -> None:
        known.clear()
        kept.forget()

    def launch(plan: Plan) -> tuple[Run, Path]:
        nonlocal first
        view: View = view_for(plan) if console.is_terminal and not console.is_dumb_terminal else QuietView()
        kind = (*(getattr(plan, name) for name in EXAMINED), plan.batch_size > 1)
        heard = teller(view, credentials) if debug and first else nobody
        first = False
        try:
            run, place = measure(plan, credentials, directory, view, heard, known.get(kind), kept)
        except TargetError:
            forget()
            raise
        known[kind] = {name: run.facts[name] for name in ("preflight",) if name in run.facts}
        if outages(run) or dead(run):
            forget()
        return run, place

    return launch


def teller(view: View, credentials: Credentials) -> Heard:
    """Tells the view what the probe said, without the key."""
    return lambda exchange: view.said(credentials.mask(exchange_text(exchange)))


@contextmanager
def saving() -> Iterator[list[Path]]:
    """Ctrl-C once a Run is on disk says where: whoever measures it puts its directory into the list."""
    places: list[Path] = []
    try:
        yield places
    except KeyboardInterrupt:
        if not places:
            raise
        raise KeyboardInterrupt(f"the Run is saved in {places[-1]}; clipload report {places[-1]} shows it") from None


def show(text: str, stream: TextIO) -> None:
    """Whoever reads may have gone (`| head`): what was measured is saved, and its exit code stands."""
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
