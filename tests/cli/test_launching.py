"""What a campaign's loads keep for each other, and when it is given up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipload.cli import _exit_code, launching
from clipload.credentials import Credentials
from clipload.errors import EXIT_INTERRUPTED, TargetError
from clipload.integrity.kept import Alone, Kept, Whom
from clipload.run import Run
from clipload.transports import Endpoint
from tests.test_outages import AWAY, OPEN, run_with
from tests.test_run import FACTS, closed_plan

OURS = ("run", "--mode", "text", "--rate", "10", "--duration", "1s", "--base-url", "http://127.0.0.1:9")
WHOM = Whom(Endpoint("http://a:1", "a", 2, ("127.0.0.1", 1)), "/v1/embeddings", (), b"")
EXAMINED = {"preflight": [{"url": "http://a:1"}]}


@pytest.mark.parametrize("late", ["_shown", "judge", "summary"])
def test_ctrl_c_once_a_run_is_saved_says_where_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], late: str
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    @contextmanager
    def shown(*_: Any) -> Iterator[None]:
        yield
        interrupted()

    monkeypatch.setattr("clipload.cli.run.measure", lambda *_: (well(), Path("runs/one")))
    monkeypatch.setattr("clipload.cli.run.judge", lambda _: None)
    monkeypatch.setattr(f"clipload.cli.run.{late}", shown if late == "_shown" else interrupted)
    assert _exit_code([*OURS]) == EXIT_INTERRUPTED
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "clipload: interrupted; the Run is saved in runs/one; clipload report runs/one shows it\n"


class Measured:
    """In the place of `measure`: a load that keeps a reference; what each was given."""

    def __init__(self, *runs: Run | TargetError) -> None:
        self._runs = list(runs)
        self.given: list[tuple[Any, int]] = []

    def __call__(self, *arguments: Any) -> tuple[Run, Path]:
        examined, kept = arguments[-2:]
        assert isinstance(kept, Kept)
        self.given.append((examined, len(kept.of(WHOM))))
        kept.of(WHOM).keep(b"item", Alone(np.ones(3, np.float32), 0))
        run = self._runs.pop(0)
        if isinstance(run, TargetError):
            raise run
        return run, Path()


def well() -> Run:
    run = run_with([])
    run.facts = FACTS | EXAMINED
    return run


@pytest.mark.parametrize(
    "broken",
    [run_with(AWAY), run_with(OPEN, gone=(0,)), run_with([], ended="target died"), TargetError("nobody there")],
    ids=["away", "gone", "died", "unreachable"],
)
def test_what_is_known_of_a_target_lasts_until_it_goes_away(monkeypatch: pytest.MonkeyPatch, broken: Run | TargetError) -> None:
    measured = Measured(well(), well(), broken, well(), well())
    monkeypatch.setattr(launching, "measure", measured)
    launch = launching.launcher(Path(), Credentials())
    for number in range(5):
        if number == 2 and isinstance(broken, TargetError):
            with pytest.raises(TargetError):
                launch(closed_plan())
        else:
            launch(closed_plan())
    assert measured.given == [(None, 0), (EXAMINED, 1), (EXAMINED, 1), (None, 0), (EXAMINED, 1)]
