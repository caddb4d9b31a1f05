"""The views of a run in progress: what they say of a second, and that they wait until every worker has reported it."""

from __future__ import annotations

import io
import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from clipload.agreement import Checked, Level
from clipload.estimate import Estimate, quantile_of
from clipload.folding import Folding
from clipload.frames import Interval, Opening
from clipload.plan import Plan
from clipload.reports.live import ALONE, Line, LiveView, PlainView, Seconds, view_for
from clipload.reports.percentiles import narrow_said
from clipload.units import format_ns
from tests.test_run import MS, answers, closed_plan, interval, open_frames, open_plan, opening, tally


def folding_of(plan: Plan, *frames: Interval) -> Folding:
    folding = Folding(opening(plan))
    for frame in frames:
        folding.add(frame)
    return folding


def feed(view: PlainView | LiveView, folding: Folding, *frames: Interval) -> None:
    """As the launcher does: first into the fold, then to the view."""
    for frame in frames:
        folding.add(frame)
        view.interval(folding, frame)


# ---- which seconds are whole


def test_a_second_is_whole_when_all_workers_have_reported_it() -> None:
    seconds = Seconds(3)
    found = [seconds.whole(interval(*which)) for which in ((0, 0), (1, 0), (0, 1), (2, 0), (2, 1), (1, 1))]
    assert found == [None, None, None, 0, None, 1]


def test_one_worker_is_all_workers() -> None:
    seconds = Seconds(1)
    assert [seconds.whole(interval(0, index)) for index in range(3)] == [0, 1, 2]


def test_the_last_part_of_a_second_is_none() -> None:
    seconds = Seconds(1)
    assert seconds.whole(interval(0, 0)) == 0
    assert seconds.whole(interval(0, 1, final=True)) is None


@given(st.integers(1, 5), st.integers(1, 6), st.randoms(use_true_random=False))
def test_each_second_is_given_out_once_and_in_order(workers: int, length: int, random: Any) -> None:
    """However the workers' reports interleave, each in its own order."""
    queues = {worker: list(range(length)) for worker in range(workers)}
    seconds, found = Seconds(workers), []
    while queues:
        worker = random.choice(sorted(queues))
        found.append(seconds.whole(interval(worker, queues[worker].pop(0))))
        if not queues[worker]:
            del queues[worker]
    assert [index for index in found if index is not None] == list(range(length))


# ---- what is said of one


def test_a_line_says_what_a_second_was() -> None:
    frames = [frame for frame in open_frames() if isinstance(frame, Interval)]
    text = str(Line(folding_of(open_plan(), *frames), 1))
    words = text.split()
    assert words[:2] == ["2", "s"]
    assert words[2:4] == ["18", "ok/s"]
    assert "3 not ok" in text
    assert "1 in flight" in text
    assert "2 waiting" in text
    for part in ("p50  7.00 ms", "p99  8.00 ms"):
        assert part in text
    assert "lag p99  20.0 µs" in text or "lag p99  20.5 µs" in text


def test_a_second_without_an_answer_has_no_quantiles() -> None:
    line = Line(folding_of(open_plan(), interval(0, 0, {"warmup": tally({"scheduled": 1})})), 0)
    assert str(line).count("-") == 3
    assert line.not_ok == 0


def checked(sampled: int, wrong: int) -> Checked:
    return Checked(levels={4: Level(4, sampled - 5, wrong), 2: Level(2, 5)})


def test_a_line_says_how_many_vectors_were_wrong_so_far_and_nothing_when_none_were_compared() -> None:
    folding = folding_of(open_plan(), interval(0, 0, {"measure": answers([MS])}))
    assert "wrong" not in str(Line(folding, 0))
    folding.add(checked(40, 0))
    assert str(Line(folding, 0)).endswith("     40 compared so far      0 wrong so far")
    folding.add(checked(60, 3))
    assert str(Line(folding, 0)).endswith("    100 compared so far      3 wrong so far")


def second_of(latencies: list[int]) -> Line:
    return Line(folding_of(open_plan(), interval(0, 0, {"measure": answers(latencies)})), 0)


def test_behind_each_percentile_of_a_line_stands_its_interval_in_the_same_unit() -> None:
    """1 … 2000 ms / 100: as intervals.csv has them."""
    line = second_of([n * MS // 100 for n in range(1, 2001)])
    whole = line.tally.histogram("latency")
    found = re.findall(r"(?<!lag )p\d+ +(\S+ \S+) \((\S+)–(\S+)\)", str(line))
    assert len(found) == 2
    for (value, low, high), q in zip(found, (0.5, 0.99)):
        estimate = quantile_of(whole, q)
        assert (value, f"{low} ms", f"{high} ms") == tuple(map(format_ns, (estimate.value, estimate.low, estimate.high)))
    assert "lag p99  20.0 µs (20.0)" in str(line)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ((10e6, 8e6, 12e6, True), "8.00–12.0"),
        ((1.1e6, 0.9e6, 1.2e6, True), "900 µs–1.20 ms"),
        ((10e6, 8e6, 12e6, False), "≥ 8.00"),
        ((1.1e6, 0.9e6, 1.2e6, False), "≥ 900 µs"),
        ((10e6, 8e6, math.inf, False), "≥ 8.00"),
        ((10e6, 0.0, 12e6, False), "?"),
        ((10e6, 10e6, 10e6, True), "10.0"),
        ((200.0, 100.0, 300.0, True), ""),
    ],
)
def test_the_narrow_form_of_an_interval(values: tuple[float, float, float, bool], said: str) -> None:
    value, low, high, enough = values
    assert narrow_said(Estimate("latency", value, low, high, 1.0, 10.0, enough)) == said


# ---- plain lines


def test_plain_lines_come_when_the_second_is_whole() -> None:
    stream = io.StringIO()
    view = PlainView(open_plan(), stream)
    folding = folding_of(open_plan())
    feed(view, folding, interval(0, 0, {"warmup": answers([5 * MS] * 10)}))
    assert stream.getvalue() == ""
    feed(view, folding, interval(1, 0, {"warmup": answers([5 * MS] * 7)}))
    label, line = stream.getvalue().splitlines()
    assert label == f"in brackets behind a percentile: {ALONE}"
    assert "17 ok/s" in line
    feed(view, folding, interval(0, 1, final=True), interval(1, 1, final=True))
    assert len(stream.getvalue().splitlines()) == 2
    feed(view, folding, interval(0, 2), interval(1, 2))
    assert stream.getvalue().count("in brackets") == 1, "said once"
    view.close()


def test_plain_lines_of_what_is_said_and_prepared() -> None:
    stream = io.StringIO()
    view = PlainView(open_plan(), stream)
    for done in (1, 2, 3):
        view.preparing(done, 3)
    view.said("worker 1 died [exit status 9]")
    assert stream.getvalue() == "encoded 3 Samples\nworker 1 died [exit status 9]\n"


# ---- the live view


def live(plan: Plan) -> tuple[LiveView, io.StringIO]:
    stream = io.StringIO()
    console = Console(force_terminal=True, file=stream, width=120, color_system=None, legacy_windows=False)
    return LiveView(plan, console), stream


def test_the_live_view_shows_the_second() -> None:
    view, stream = live(open_plan())
    folding = folding_of(open_plan())
    measured = answers([8 * MS] * 8) + tally({"scheduled": 2, "error.http_500": 2}, failed=[MS] * 2)
    feed(
        view,
        folding,
        interval(0, 1, {"measure": answers([7 * MS] * 10)}, in_flight=4),
        interval(1, 1, {"measure": measured}, in_flight=1, waiting=6),
    )
    view.close()
    text = stream.getvalue()
    for heading in ("ok/s", "not ok/s", "in flight", "waiting", "p50", "p99", "lag p99"):
        assert heading in text
    row = next(line for line in text.splitlines() if "7.00 ms" in line)
    assert row.split()[:4] == ["18", "2", "5", "6"]  # rate, errors, in flight, waiting
    assert row.split()[4:8] == ["7.00", "ms", "8.00", "ms"]
    assert "µs" in row
    assert "measuring" in text


def test_the_live_view_has_the_intervals_below_and_what_rests_on_too_little_is_pale() -> None:
    console = Console(force_terminal=True, file=io.StringIO(), width=120, color_system="standard", legacy_windows=False)
    view = LiveView(open_plan(workers=1), console)
    folding = folding_of(open_plan(workers=1))
    feed(view, folding, interval(0, 1, {"measure": answers([n * MS // 10 for n in range(1, 201)])}))
    view.close()
    text = console.file.getvalue()  # type: ignore[attr-defined]
    plain = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", text)
    (below,) = {line for line in plain.splitlines() if "≥" in line}
    latency = folding.seconds[1].tally.histogram("latency")
    assert below.split() == [
        narrow_said(quantile_of(latency, 0.5)), "≥", "19.5", "≥", "20.0",
    ]  # fmt: skip
    assert re.search(r"\x1b\[2m19\.8 ms\x1b", text), "two requests lie beyond p99"
    assert re.search(r"(?<!\[2m)10\.0 ms", text)
    assert ALONE.split(",")[0] in plain


@pytest.mark.parametrize("wrong", [0, 3])
def test_the_live_view_has_a_column_of_wrong_vectors_once_any_were_compared(wrong: int) -> None:
    console = Console(force_terminal=True, file=io.StringIO(), width=120, color_system="standard", legacy_windows=False)
    view, folding = LiveView(open_plan(workers=1), console), folding_of(open_plan(workers=1))
    feed(view, folding, interval(0, 0, {"measure": answers([MS])}))
    view.close()
    assert "wrong so far" not in console.file.getvalue()  # type: ignore[attr-defined]
    folding.add(checked(40, wrong))
    feed(view, folding, interval(0, 1, {"measure": answers([MS])}))
    view.close()
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "wrong so far" in text
    assert f"{wrong} of 40" in text.replace("\x1b[0m", "").replace("\x1b[31m", "").replace("\x1b[39m", "")
    assert (f"\x1b[31m{wrong}" in text) is (wrong > 0)


def test_the_live_view_shows_the_preparation() -> None:
    view, stream = live(open_plan())
    view.preparing(64, 256)
    view.close()
    assert "encoding Samples" in stream.getvalue()
    assert "25 %" in stream.getvalue()


@pytest.mark.parametrize(("second", "what"), [(0, "warm-up"), (1, "measuring"), (2, "measuring"), (3, "draining")])
def test_the_live_view_says_which_phase_it_is(second: int, what: str) -> None:
    view, stream = live(open_plan(workers=1))
    feed(view, folding_of(open_plan(workers=1)), interval(0, second, {"measure": answers([MS])}))
    view.close()
    assert what in stream.getvalue()


def test_a_counted_closed_loop_advances_by_requests() -> None:
    plan = closed_plan(workers=1, duration=None, num_samples=40)
    view, stream = live(plan)
    feed(view, folding_of(plan), interval(0, 0, {"measure": answers([MS] * 10)}))
    view.close()
    assert "25 %" in stream.getvalue()


def test_what_is_said_is_said_as_it_stands() -> None:
    view, stream = live(open_plan())
    view.said("worker [bold]1[/bold] died")
    assert "worker [bold]1[/bold] died\n" in stream.getvalue()
    view.close()
    view.close()


def test_nothing_is_drawn_before_there_is_something_to_show() -> None:
    view, stream = live(open_plan())
    feed(view, folding_of(open_plan()), interval(0, 0, {"warmup": answers([MS])}))
    view.close()
    assert stream.getvalue() == ""


def test_without_a_terminal_lines_are_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    assert isinstance(view_for(open_plan()), PlainView)
    assert isinstance(opening(open_plan()), Opening)
