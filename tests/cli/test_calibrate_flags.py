"""The command line of `calibrate`: mistakes are one error each, told before anything is started."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from clipload.cli import _exit_code
from clipload.errors import EXIT_OK, EXIT_USAGE
from clipload.plan import Plan, flag_of


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--dim", "0"), "--dim"),
        (("--dim", "many"), "--dim"),
        (("--mode", "txt"), "--mode"),
        (("--cores", "99999"), "--cores"),
        (("--data-source", "jsonl", "--data", "-"), "--data"),
        (("--config", "absent.toml"), "--config"),
        (("--repeats", "3"), "--repeats"),
    ],
    ids=" ".join,
)
def test_a_mistake_is_one_error_with_its_remedy(
    flags: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert _exit_code(["calibrate", *flags]) == EXIT_USAGE
    shown = capsys.readouterr()
    assert shown.out == ""
    assert said in shown.err
    assert "remedy: " in shown.err
    assert len(shown.err.splitlines()) <= 3


def test_a_cache_that_cannot_be_made_is_told_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert _exit_code(["calibrate", "--mode", "text"]) == EXIT_USAGE
    shown = capsys.readouterr().err
    assert "XDG_CACHE_HOME" in shown
    assert "closed loop" not in shown


def test_it_takes_the_flags_of_a_plan(capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_code(["calibrate", "--help"]) == EXIT_OK
    shown = capsys.readouterr().out
    assert all(flag_of(spec.name) in shown for spec in fields(Plan))
    assert "--dim" in shown
