"""The text summary of Runs made by hand, byte for byte. CLIPLOAD_REWRITE_GOLDEN=1 writes the golden files anew."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest

from clipload.folding import fold
from clipload.histogram import Histogram
from clipload.plan import Plan
from clipload.reports.descriptions import describe_load, describe_requests
from clipload.reports.text import describe_images, four_lines, summary, worker_lines
from clipload.run import PRECISE, Run
from clipload.tally import Tally
from clipload.units import Duration, format_ns
from clipload.verdict import judge
from tests.queues import mm1
from tests.simulated import intervals_of, plan_of
from tests.test_run import FACTS, MS, START, S, answers, closed_plan, interval, late, open_frames, open_plan, run_of, tally
from tests.test_verdict import SHELF

GOLDEN = Path(__file__).parents[1] / "golden"


def closed_run() -> Run:
    """A counted closed loop: 96 samples in 12 requests of two workers, one of which had no core left."""
    six, one, five = (answers([ms * MS for ms in of]) for of in (range(80, 86), [90], [120] * 5))
    for part in (six, one, five):
        part.counts["samples"] = 8 * part["ok"]
    frames = [
        interval(0, 0, {"measure": six}, cpu_ns=960 * MS, steady_ok=[5]),
        interval(0, 1, {"measure": one}, cpu_ns=94 * MS, steady_ok=[5], last_done_ns=START + 1100 * MS, final=True),
        interval(1, 0, {"measure": five}, cpu_ns=300 * MS, starved_ns=40 * MS, steady_ok=[4]),
        interval(1, 1, last_done_ns=START + 999 * MS, steady_ok=[4], final=True),
    ]
    plan = closed_plan(duration=None, num_samples=96, batch_size=8, base_url=("http://gpu.example:8000",), model="clip-vit-b32")
    facts = FACTS | {"skipped": ["images/7.jpg (named on line 31): truncated", "images/9.jpg: missing"]}
    return run_of(plan, frames, 1.1, facts=facts, steady_ns=START + 1050 * MS)


def two_servers() -> Run:
    """An open loop to two base URLs, one of which died."""
    quick, failing = answers([ms * MS for ms in range(5, 9)]), tally({"scheduled": 2, "error.connect": 2}, failed=[MS] * 2)
    parts = {0: (quick + Tally({"planned": 4})).to_wire(), 1: (failing + Tally({"planned": 2})).to_wire()}
    frames = [
        interval(
            0, 1, {"measure": quick + failing}, targets=parts, steady_ok=[4, 0], gone=[1],
            examples={1: "Connection refused"}, final=True,
        ),
        interval(1, 1, final=True),
    ]  # fmt: skip
    return run_of(open_plan(base_url=("http://a:30000", "http://b:30000")), frames, 3)


def with_objectives() -> Run:
    """Twenty seconds of a queue at ρ = 0.7; in every other one a request was refused."""
    slo = ("p50<50ms", "p90<20ms", "p99.9<1s", "errors<5%", "throughput>500/s")
    plan = plan_of(140, 20, warmup=Duration.seconds(1), slo=slo, until="p50±25%")
    frames = intervals_of(mm1(8, 3500, 0.7, 0.005), 1, 20)
    refused = tally({"scheduled": 1, "error.http_503": 1}, failed=[2 * MS])
    for frame in frames[2:20:2]:
        frame.phases["measure"] = (Tally.from_wire(frame.phases["measure"]) + refused).to_wire()
    return run_of(plan, frames, 21, facts=FACTS | {"placement": {"workers": [0], "supervisor": [1], "shared": False}})


RUNS = {"objectives": with_objectives(), "open": fold(open_frames()), "closed": closed_run(), "two_servers": two_servers()}


@pytest.mark.parametrize("name", RUNS)
def test_the_summary_is_the_golden_one(name: str) -> None:
    run, path = RUNS[name], GOLDEN / f"summary_{name}.txt"
    run.check_ledger()
    text = summary(run, judge(run), "runs/20231114T221320Z-run") + "\n"
    if os.environ.get("CLIPLOAD_REWRITE_GOLDEN") == "1":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", RUNS)
def test_the_figures_of_the_summary_are_those_of_the_run(name: str) -> None:
    """Independently of the golden file: what a reader would look for stands there."""
    run = RUNS[name]
    text = summary(run, judge(run), "somewhere")
    assert f"throughput  {run.throughput:.2f} samples/s in {run.requests_per_s:.2f} requests/s" in text
    book = run.measure.ledger()
    assert f"planned {book.planned} = scheduled {book.scheduled} + not due {book.not_due}" in text
    assert f"= attempted {book.attempted} + unsent {book.unsent} + lost {book.lost}" in text
    assert text.count("\ngenerator   sound") == 1
    assert f"\nsaved       somewhere\n\n{four_lines(run)}" in text
    assert text.endswith(four_lines(run))
    assert (
        len(re.findall(r"^ +[01] +\d+ +[\d-]", text.partition("\nworker ")[2], re.MULTILINE)) == run.plan.workers
    )  # a row for each


def test_each_percentile_stands_above_its_interval() -> None:
    run = RUNS["objectives"]
    text = summary(run, judge(run), "x")
    header, *rows = text.partition("% interval\n")[2].partition("\n\n")[0].split("\n")
    assert header.split() == ["p50", "p90", "p99", "p99.9", "max"]
    labels = {"latency": "latency", "service": "service", "first byte": "first_byte", "delay": "delay", "lag": "lag"}
    checked = 0
    for figures, intervals in zip(rows[::2], rows[1::2]):
        name = labels.get(figures[:12].strip())
        for place, label in enumerate(header.split()[:-1] if name else []):
            estimate = run.figures.quantiles[str(name)][label]
            here = slice(12 + 16 * place, 28 + 16 * place)
            assert figures[here].strip() == format_ns(estimate.value)
            assert intervals[here].strip() == (estimate.span if estimate.sufficient else "insufficient")
            checked += 1
    assert checked == 20
    assert "insufficient" in text
    assert re.search(r"\d–\d+\.\d ms", text)


@pytest.mark.parametrize("name", RUNS)
def test_the_figures_fit_into_a_hundred_columns(name: str) -> None:
    """Findings and objectives are sentences, which a terminal may fold; tables it may not."""
    text = summary(RUNS[name], judge(RUNS[name]), "x")
    assert max(map(len, text.partition("\nthroughput")[2].partition("\ngenerator")[0].splitlines())) <= 100


def of_two() -> Run:
    """Forty seconds of two workers, one of which is twice as slow, each to both of two servers."""
    draw, frames = np.random.default_rng(1), []
    for second in range(40):
        for worker in (0, 1):
            parts = {target: answers(draw.integers(10 * MS, 20 * MS, 60) * (1 + worker + 4 * target)) for target in (0, 1)}
            seen = late([MS, 2 * MS] * 20, [0] * 40)
            wires = {target: part.to_wire() for target, part in parts.items()}
            frames.append(
                interval(
                    worker, second, {"measure": parts[0] + parts[1]}, targets=wires, steady_ok=[60 * (second + 1)] * 2, **seen
                )
            )
    return run_of(plan_of(240, 40, workers=2, base_url=("http://a:1", "http://b:1")), frames, 40)


def test_below_each_percentile_of_a_worker_and_of_a_target_stands_its_own_interval() -> None:
    run = of_two()
    text = summary(run, judge(run), "x")
    tables = {"target\n": ((38, 54), run.own.targets), "wait for core\n": ((14, 30, 46, 62), run.own.workers)}
    shown = (("latency", "p50"), ("latency", "p99"), ("lag", "p99"), ("loop_lag", "p99"))
    for head, (places, own) in tables.items():
        rows = text.partition(head)[2].partition("\n\n")[0].split("\n")
        assert len(rows) == 4
        for number, (figures, intervals) in enumerate(zip(rows[::2], rows[1::2])):
            for place, (name, label) in zip(places, shown):
                estimate = own[number][name][label]
                assert figures[place : place + 16].strip() == format_ns(estimate.value)
                assert intervals[place : place + 16].strip() == estimate.span
                assert estimate.sufficient
    merged = run.figures.quantiles["latency"]["p99"]
    assert f"{merged.said:>16}" not in text.partition(" p50 latency")[2], "a merged percentile is in neither table"


def test_what_is_insufficient_is_pale_on_a_terminal_and_nothing_else_changes() -> None:
    run = RUNS["objectives"]
    plain, pale = (summary(run, judge(run), "x", grey=grey) for grey in (False, True))
    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[2?2m", "", pale) == plain
    assert "insufficient" in set(re.findall(r"\x1b\[2m +([a-z]+)\x1b", pale))
    assert pale.count("\x1b[2m") == 2 * plain.count("insufficient"), "the figure and the word below it"


def test_a_run_that_ended_early_says_of_what() -> None:
    plan = plan_of(140, 20, until="p50±25%")
    run = run_of(plan, intervals_of(mm1(8, 3500, 0.7, 0.005), 0, 8), 8, ended=PRECISE)
    assert "\nended       precise, measured for 8.000 s of at most 20s\n" in summary(run, judge(run), "x")


def test_objectives_stand_below_the_soundness_of_the_generator() -> None:
    run = RUNS["objectives"]
    verdict = judge(run)
    text = summary(run, verdict, "x")
    assert text.index("\ngenerator   sound") < text.index(f"\nobjective   {verdict.objective}\n") < text.index("\nsaved")
    assert {judged.judgement for judged in verdict.objectives} == {"met", "missed", "inconclusive"}
    assert all(f"\n  {judged.sentence}\n" in text for judged in verdict.objectives)
    assert "objective" not in summary(RUNS["open"], judge(RUNS["open"]), "x")


def test_the_older_tools_four_lines() -> None:
    """As its guide shows them: 10 000 samples in batches of 100 at 512 dimensions."""
    plan = Plan(concurrency=1, num_samples=10_000, batch_size=100)
    last = START + round(12.3456 * S)
    frames = [interval(0, 12, {"measure": answers([123 * MS] * 100, samples=10_000)}, last_done_ns=last, final=True)]
    assert four_lines(run_of(plan, frames, 12.3456)).splitlines() == [
        "==== Summary ====",
        "mode=multimodal, data_source=random, num_samples=10000, batch_size=100",
        "shape=(10000, 512) (dim=512)",
        "time(s)=12.3456, throughput(samples/s)=810.01",
    ]


def test_a_run_by_duration_names_the_samples_that_came_back() -> None:
    lines = four_lines(RUNS["open"]).splitlines()
    assert lines[1] == "mode=multimodal, data_source=random, num_samples=27, batch_size=1"
    assert lines[2:] == ["shape=(27, 512) (dim=512)", "time(s)=2.0000, throughput(samples/s)=13.50"]


def test_a_run_without_an_answer_can_be_told() -> None:
    """Nothing measured at all, and nothing but failures."""
    nothing = fold(open_frames()[:1])
    text = summary(nothing, judge(nothing), "x")
    assert "planned 0 = scheduled 0" in text
    assert "p50 latency" in text
    failed = tally({"scheduled": 2, "error.connect": 1, "unsent": 1}, failed=[5 * MS], bound=[9 * MS])
    run = run_of(closed_plan(), [interval(0, 0, {"measure": failed})], 2, steady_ns=START + 2 * S)
    text = summary(run, judge(run), "x")
    assert re.search(r"^of all +∞ +∞ +∞ +∞\n.* 2 not ok are infinite$", text, re.MULTILINE)
    assert "ok 0 + connect 1 + timeout 0" in text
    assert "no answer" in text


def test_an_unsound_generator_makes_no_statement() -> None:
    run = run_of(closed_plan(), [interval(0, 0, {"measure": answers([10 * MS] * 50, lag_ns=8 * MS)})], 2)
    text = summary(run, judge(run), "x")
    assert "generator   unsound: no statement is made about the target" in text
    assert "the generator itself was late" in text
    assert "--cores" in text


def test_a_closed_loops_times_are_labelled() -> None:
    assert "times of ok requests, closed loop: not to be set beside an open loop's" in summary(
        RUNS["closed"], judge(RUNS["closed"]), ""
    )
    assert "times of ok requests, open loop; below each its 95 % interval\n" in summary(RUNS["open"], judge(RUNS["open"]), "")


def test_what_the_target_told_of_itself_is_shown_when_it_did() -> None:
    """A queue in which nobody ever waited is not shown: SGLang says so whatever its queue."""
    untold = answers([20 * MS])
    told = {queue_ms: answers([20 * MS]) for queue_ms in (0, 3)}
    for queue_ms, part in told.items():
        part.histograms |= {"server_time": Histogram(), "server_queue": Histogram()}
        part.histogram("server_time").record(np.array([9 * MS]))
        part.histogram("server_queue").record(np.array([queue_ms * MS]))
    rows = {}
    for name, part in {"untold": untold, **told}.items():
        run = run_of(Plan(concurrency=1), [interval(0, 0, {"measure": part}, final=True)], 1.0)
        rows[name] = re.findall(r"^(server|  queue) +(\d+ .s|\d\.\d+ .s)", summary(run, judge(run), ""), re.MULTILINE)
    assert rows == {"untold": [], 0: [("server", "9.00 ms")], 3: [("server", "9.00 ms"), ("  queue", "3.00 ms")]}


def test_a_load_in_one_line() -> None:
    assert (
        describe_load(Plan(rate=12.5, duration=Duration.seconds(90))) == "open loop, poisson arrivals at 12.5 requests/s, 90s"
    )
    counted = Plan(concurrency=3, num_samples=7, warmup=Duration.seconds(2))
    assert describe_load(counted) == "closed loop, 3 requests in flight, 7 samples after 2s of warm-up"
    assert describe_requests(Plan(mode="text")) == "1 text = 1 vector a request, from random"
    assert describe_requests(Plan(batch_size=4)) == "4 (text, image) pairs = 8 vectors a request, from random"
    assert describe_requests(Plan(mode="image", batch_size=2)) == "2 images = 2 vectors a request, from random"
    assert describe_requests(Plan(mode="mixed")) == "1 text (50 %) or image = 1 vector a request, from random"
    mixed = Plan(mode="mixed", text_share=0.25, batch_size=2)
    assert describe_requests(mixed) == "2 texts (25 %) and images = 2 vectors a request, from random"
    assert describe_load(Plan(concurrency=1)) == "closed loop, 1 request in flight, 10s"
    traced = Plan(trace="t.txt", speedup=2.0, duration=Duration(4_990_000_001))
    assert describe_load(traced) == "open loop, arrivals of the trace t.txt, 2 times as fast, 4.99s"


def test_a_summary_changes_nothing_in_its_run() -> None:
    run = fold(open_frames())
    before = run.measure + Tally()
    assert summary(run, judge(run), "x") == summary(run, judge(run), "x")
    assert run.measure == before


@pytest.mark.parametrize(("texts", "said"), [(1, True), (2, False), (0, False)])
def test_one_text_for_all_requests_is_said(texts: int, said: bool) -> None:
    facts = FACTS | {"arena": {"bytes": 1, "items": texts, "pool": 1, "texts": texts}}
    run = run_of(Plan(rate=1.0), [interval(0, 0, {"measure": answers([MS])})], 10.0, facts=facts)
    assert ("all texts are the same one" in summary(run, judge(run), "x")) is said


def test_images_that_travel_apart_are_told_of() -> None:
    by_path = {"transport": "path", "folder": "/tmp/x", "own": 3, "written": 5, "foreign": 0}
    assert describe_images(by_path) == "3 by their own paths, 5 written to /tmp/x"
    clean = {**SHELF, "fetched": 7, "bytes": 7_000_000}
    assert describe_images(clean) == "7 fetched (7.00 MB); served at 127.0.0.1:30080, on core 1"
    marred = {**clean, "errors": 2, "cut": 1, "shared": True}
    assert describe_images(marred) == (
        "7 fetched (7.00 MB), 2 failed on purpose, 1 given up by the target; served at 127.0.0.1:30080, "
        "on core 1 (shared with a worker)"
    )
    assert describe_requests(Plan(image_transport="url")).endswith("from random, images by url")
    assert describe_requests(Plan(image_transport="path/url", mode="text")).endswith("from random")
    run = fold(open_frames())
    run.facts["images"] = clean
    assert f"\nimages      {describe_images(clean)}\n" in summary(run, judge(run), "somewhere")


def test_a_worker_has_four_lines_of_its_own() -> None:
    """From its own start to its own last reply, which --stagger puts off."""
    run = closed_run()
    assert worker_lines(run, 0, 50).splitlines() == [
        "==== Summary ====",
        "mode=multimodal, data_source=random, num_samples=50, batch_size=8",
        "shape=(56, 512) (dim=512)",
        f"time(s)=1.1000, throughput(samples/s)={56 / 1.1:.2f}",
    ]
    assert worker_lines(run, 1, 50).splitlines()[3] == f"time(s)=0.9990, throughput(samples/s)={40 / 0.999:.2f}"
    run.plan = run.plan.replace(stagger=Duration(199 * MS))
    assert worker_lines(run, 1, 50).splitlines()[3] == "time(s)=0.8000, throughput(samples/s)=50.00"
    assert run.steady_per_s is None, "they did not begin together"


def test_the_four_lines_say_what_was_asked_for() -> None:
    assert "num_samples=96," in four_lines(closed_run())
    assert "num_samples=90," in four_lines(closed_run(), 90)


def test_a_worker_that_departs_is_flagged_in_its_own_row() -> None:
    """Each row is one worker's own: the p99 of all together stands in none of them."""
    frames = [
        interval(0, 1, {"measure": answers([ms * MS for ms in range(10, 20)] * 100)}),
        interval(1, 1, {"measure": answers([ms * MS for ms in range(10, 20)] * 90 + [500 * MS] * 100)}),
    ]
    run = run_of(open_plan(), frames, 3)
    rows = summary(run, judge(run), "x").partition("\nworker ")[2].splitlines()[1:5:2]
    assert [re.findall(r"outlier: p99 [\d.]+ × that of the others", row) for row in rows] == [
        ["outlier: p99 0.038 × that of the others"],
        ["outlier: p99 26 × that of the others"],
    ]
    assert [row.split()[4:6] for row in rows] == [["19.0", "ms"], ["500", "ms"]]
    assert "worker 1 has a p99 26 × that of the others, by more than chance" in summary(run, judge(run), "x")
