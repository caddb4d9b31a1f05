"""A campaign: asked, launched, judged, told, kept on disk, gone on with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clipload import archive
from clipload.campaign import DOCUMENT, Campaign, known, read, resumable
from clipload.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_TARGET, ArchiveError, HostError, PlanError, TargetError
from clipload.plan import Plan
from clipload.reports.campaigns import sweep_table
from clipload.run import Run
from clipload.search import Grid
from tests.test_run import MS, answers, closing, interval, opening

BASE = {"duration": "2s", "mode": "text"}
POINTS = [{"rate": rate} for rate in (10.0, 20.0, 30.0)]


def keep(plan: Plan, directory: Path, **fields: Any) -> Run:
    """A Run of two seconds as its journal would have it, read back."""
    n = round(plan.rate or 1)
    frames = [interval(0, i, {"measure": answers([5 * MS] * n)}, steady_ok=[n * (i + 1)]) for i in range(2)]
    journal = archive.Journal(directory / "journal.bin")
    for frame in (opening(plan), *frames, closing({0: {"measure": {"planned": 2 * n}}}, 2, **fields)):
        journal.append(frame)
    journal.close()
    return archive.load(directory)


def campaign(directory: Path, **fields: Any) -> Campaign[Grid]:
    directory.mkdir(exist_ok=True)
    return Campaign("sweep", BASE, Grid(POINTS, rest_s=1.5), {"axes": {"rate": [10.0, 20.0, 30.0]}}, directory, **fields)


def launcher(directory: Path, before: Callable[[Plan], None] = lambda _: None) -> Callable[[Plan], tuple[Run, Path]]:
    def launch(plan: Plan) -> tuple[Run, Path]:
        before(plan)
        place = archive.create_directory(directory, "run", 1.7e9)
        return keep(plan, place), place

    return launch


def test_each_ask_is_launched_rested_before_and_told(tmp_path: Path) -> None:
    one, seen, rests = campaign(tmp_path), [], []
    points = list(one.pursue(launcher(tmp_path, seen.append), rests.append))
    assert [plan.rate for plan in seen] == [10.0, 20.0, 30.0]
    assert all(plan.mode == "text" for plan in seen)
    assert rests == [1.5, 1.5], "nothing is to be drained before the first"
    assert [known.fate for known in one.search.known] == ["pass"] * 3
    assert [point.told for point in points] == list(one.search.known)
    assert (one.ended, one.exit_code) == ("complete", EXIT_OK)


@pytest.mark.parametrize("reseed", [False, True])
def test_seeds(tmp_path: Path, reseed: bool) -> None:
    seen: list[Plan] = []
    list(campaign(tmp_path, reseed=reseed).pursue(launcher(tmp_path, seen.append), lambda _: None))
    assert [plan.seed - seen[0].seed for plan in seen] == ([0, 1, 2] if reseed else [0, 0, 0])


def stop_at(rate: float, error: BaseException) -> Callable[[Plan], None]:
    def before(plan: Plan) -> None:
        if plan.rate == rate:
            raise error

    return before


def test_an_interruption_keeps_what_was_measured_and_the_rest_is_measured_later(tmp_path: Path) -> None:
    first = campaign(tmp_path)
    list(first.pursue(launcher(tmp_path, stop_at(20.0, KeyboardInterrupt())), lambda _: None))
    assert (first.ended, first.exit_code, len(first.points)) == ("interrupted", EXIT_INTERRUPTED, 1)
    document = read(tmp_path)
    assert (document.ended, [entry.ask.values for entry in document.points]) == ("interrupted", POINTS[:1])
    again, seen = campaign(tmp_path), []
    again.recall(known(tmp_path, document))
    assert again.search.known == first.search.known
    list(again.pursue(launcher(tmp_path, seen.append), lambda _: None))
    assert [plan.rate for plan in seen] == [20.0, 30.0]
    assert [entry.ask.values for entry in read(tmp_path).points] == POINTS


def test_a_run_that_was_interrupted_is_not_told(tmp_path: Path) -> None:
    def launch(plan: Plan) -> tuple[Run, Path]:
        place = archive.create_directory(tmp_path, "run", 1.7e9)
        return keep(plan, place, **({"ended": "interrupted"} if plan.rate == 20.0 else {})), place

    one = campaign(tmp_path)
    assert len(list(one.pursue(launch, lambda _: None))) == 1
    assert (one.ended, one.exit_code) == ("interrupted", EXIT_INTERRUPTED)


def test_a_first_run_that_was_interrupted_leaves_a_campaign_to_go_on_with(tmp_path: Path) -> None:
    def launch(plan: Plan) -> tuple[Run, Path]:
        place = archive.create_directory(tmp_path, "run", 1.7e9)
        return keep(plan, place, ended="interrupted"), place

    one = campaign(tmp_path)
    assert list(one.pursue(launch, lambda _: None)) == []
    assert (one.saved, one.ended, one.exit_code) == (True, "interrupted", EXIT_INTERRUPTED)
    assert (read(tmp_path).ended, read(tmp_path).points) == ("interrupted", [])
    assert sweep_table(one).endswith(f"unfinished  3 of 3 left: clipload sweep --resume {tmp_path}")
    again, seen = campaign(tmp_path), []
    again.recall(known(tmp_path, resumable(tmp_path, "sweep", [])))
    list(again.pursue(launcher(tmp_path, seen.append), lambda _: None))
    assert [plan.rate for plan in seen] == [10.0, 20.0, 30.0]


def test_interrupted_before_anything_was_sent_there_is_nothing_to_go_on_with(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    with pytest.raises(KeyboardInterrupt):
        list(campaign(empty).pursue(launcher(empty, stop_at(10.0, KeyboardInterrupt())), lambda _: None))
    assert not empty.exists()


def test_a_first_load_that_was_under_way_is_kept_whatever_ended_it(tmp_path: Path) -> None:
    """Its journal says so: Ctrl-C between the saved Run and its verdict, or workers that were lost."""
    for error in (KeyboardInterrupt(), HostError("the disk is full")):
        place = tmp_path / type(error).__name__

        def launch(plan: Plan, place: Path = place, error: BaseException = error) -> tuple[Run, Path]:
            keep(plan, archive.create_directory(place, "run", 1.7e9))
            raise error

        one, raised = campaign(place), None
        try:
            list(one.pursue(launch, lambda _: None))
        except (HostError, KeyboardInterrupt) as caught:
            raised = caught
        assert raised is (error if isinstance(error, HostError) else None), "Ctrl-C ends a campaign that can be gone on with"
        assert one.saved
        assert read(place).points == []


def test_flags_beside_resume_and_directories_of_another_kind_are_refused(tmp_path: Path) -> None:
    list(campaign(tmp_path).pursue(launcher(tmp_path), lambda _: None))
    assert resumable(tmp_path, "sweep", []).kind == "sweep"
    for kind, given, flag, remedy in (
        ("sweep", ["--rate", "--axis"], "--rate", "clipload sweep, without --resume"),
        ("find", [], "--resume", "use clipload sweep --resume"),
        ("repeats", ["--rate"], "--resume", "use clipload sweep --resume"),
    ):
        with pytest.raises(PlanError) as caught:
            resumable(tmp_path, kind, given)
        assert caught.value.flag == flag
        assert remedy in caught.value.remedy


def test_a_target_that_is_gone_later_is_a_point_and_at_the_first_an_error(tmp_path: Path) -> None:
    gone = TargetError("nobody listens", flag="--base-url")
    one = campaign(tmp_path)
    points = list(one.pursue(launcher(tmp_path, stop_at(20.0, gone)), lambda _: None))
    assert [point.told.fate for point in points] == ["pass", "died", "pass"]
    assert points[1].told.sentence == "nobody listens"
    assert one.exit_code == EXIT_TARGET
    assert [point.told.fate for point in known(tmp_path, read(tmp_path))] == ["pass", "died", "pass"]
    empty = tmp_path / "empty"
    with pytest.raises(TargetError):
        list(campaign(empty).pursue(launcher(empty, stop_at(10.0, gone)), lambda _: None))
    assert not empty.exists(), "nothing measured leaves nothing behind"


def test_a_mistake_that_a_later_point_shows_ends_it_and_keeps_the_rest(tmp_path: Path) -> None:
    one = campaign(tmp_path)
    with pytest.raises(PlanError):
        list(one.pursue(launcher(tmp_path, stop_at(30.0, PlanError("no such file", flag="--data"))), lambda _: None))
    assert (read(tmp_path).ended, len(read(tmp_path).points)) == ("no such file", 2)


def test_records_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="cannot read"):
        read(tmp_path)
    list(campaign(tmp_path).pursue(launcher(tmp_path), lambda _: None))
    path = tmp_path / DOCUMENT
    good = json.loads(path.read_text())
    for text, said in (
        ("{", "damaged"),
        (json.dumps(good | {"schema": 99, "kind": 5}), "newer"),
        (json.dumps(good | {"kind": "stroll"}), "damaged"),
    ):
        path.write_text(text)
        with pytest.raises(ArchiveError, match=said):
            read(tmp_path)
    path.write_text(json.dumps(good))
    (tmp_path / good["points"][1]["directory"] / "journal.bin").unlink()
    with pytest.raises(ArchiveError, match=r"journal\.bin"):
        known(tmp_path, read(tmp_path))
