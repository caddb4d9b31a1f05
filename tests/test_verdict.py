"""Verdicts on Runs made by hand: the generator first, the exit code by DESIGN's table, the first that applies."""

from __future__ import annotations

from typing import Any

import pytest

from clipload.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_TARGET, EXIT_UNSOUND
from clipload.folding import fold
from clipload.plan import Plan
from clipload.run import KILLED, Run
from clipload.tally import Tally
from clipload.units import Duration
from clipload.verdict import Finding, Verdict, judge
from tests.test_run import FACTS, MS, S, answers, closed_plan, interval, open_frames, open_plan, run_of, tally

QUICK = [10 * MS] * 100


def run_with(measured: Tally, **fields: Any) -> Run:
    return run_of(open_plan(), [interval(0, 1, {"measure": measured}), interval(1, 1)], 3, **fields)


def sentences(verdict: Verdict, about: str) -> list[str]:
    return [f.sentence for f in verdict.findings if f.about == about]


def test_all_is_well() -> None:
    verdict = judge(run_with(answers(QUICK)))
    assert verdict == Verdict((), EXIT_OK)
    assert verdict.generator == "sound"
    assert not verdict.target_died


def test_whoever_was_not_verified_is_named_though_the_generator_was_unsound() -> None:
    plan = open_plan().replace(base_url=("https://h:1",), insecure=True)
    for lag_ns, generator in ((0, "sound"), (9_000_000, "unsound")):
        run = run_of(plan, [interval(0, 1, {"measure": answers(QUICK, lag_ns=lag_ns)}), interval(1, 1)], 3)
        verdict = judge(run)
        assert verdict.generator == generator
        assert any("not verified (--insecure)" in said for said in sentences(verdict, "generator"))


@pytest.mark.parametrize(
    ("lag_ns", "generator", "code"),
    [
        (0, "sound", EXIT_OK),
        (400_000, "sound", EXIT_OK),  # 10 ms with, 9.6 without: 4 %
        (600_000, "degraded", EXIT_OK),  # 6 %
        (1_500_000, "degraded", EXIT_OK),  # 18 %
        (1_800_000, "unsound", EXIT_UNSOUND),  # 22 %
        (9_000_000, "unsound", EXIT_UNSOUND),
    ],
)
def test_by_how_much_its_own_lag_moves_the_judged_percentile(lag_ns: int, generator: str, code: int) -> None:
    verdict = judge(run_with(answers(QUICK, lag_ns=lag_ns)))
    assert (verdict.generator, verdict.exit_code) == (generator, code)
    assert all(f.remedy for f in verdict.findings)
    assert [("late" in sentence) for sentence in sentences(verdict, "generator")] == [True] * (generator != "sound")


def test_the_judged_percentile_is_the_99th() -> None:
    """One request in a hundred that was late itself does not move it; two do."""
    for late, generator in ((1, "sound"), (2, "unsound")):
        measured = answers([10 * MS] * (100 - late), lag_ns=0) + answers([50 * MS] * late, lag_ns=40 * MS)
        assert judge(run_with(measured)).generator == generator


def test_lag_that_hides_behind_a_slow_target_changes_no_answer() -> None:
    assert judge(run_with(answers([2000 * MS] * 100, lag_ns=20 * MS))).generator == "sound"


def test_lag_outside_the_measured_phase_is_not_judged() -> None:
    phases = {"warmup": answers([10 * MS] * 9, lag_ns=9 * MS), "measure": answers(QUICK), "cooldown": answers([MS], lag_ns=MS)}
    assert judge(run_of(open_plan(), [interval(0, 1, phases)], 3)).generator == "sound"


def test_without_a_single_answer_there_is_no_percentile() -> None:
    verdict = judge(run_with(tally({"scheduled": 3, "error.http_500": 3}, failed=[MS] * 3)))
    assert (verdict.generator, verdict.exit_code) == ("sound", EXIT_OK)


def test_a_dead_worker_is_unsound() -> None:
    verdict = judge(run_with(answers(QUICK, scheduled=110, lost=10), facts={"dead_workers": [1]}, ended="worker died"))
    assert (verdict.generator, verdict.exit_code) == ("unsound", EXIT_UNSOUND)
    (sentence,) = sentences(verdict, "generator")
    assert sentence.startswith("worker 1 died")


def test_no_ports_of_our_own_is_unsound() -> None:
    verdict = judge(run_with(answers(QUICK) + tally({"scheduled": 7, "error.local": 7}, failed=[MS] * 7)))
    assert (verdict.generator, verdict.exit_code) == ("unsound", EXIT_UNSOUND)
    assert sentences(verdict, "generator")[0].startswith("7 requests")


def test_a_full_disk_is_unsound() -> None:
    assert judge(run_with(answers(QUICK), ended="disk full")).exit_code == EXIT_UNSOUND


def test_a_target_that_died_is_said_even_by_an_unsound_generator() -> None:
    """Exit 3 stands above exit 5."""
    for measured in (answers(QUICK), answers(QUICK, lag_ns=9 * MS)):
        verdict = judge(run_with(measured, ended="target died"))
        assert verdict.target_died
        assert verdict.exit_code == EXIT_TARGET


@pytest.mark.parametrize("ended", ["interrupted", "aborted", KILLED])
def test_interrupted_stands_above_all_else(ended: str) -> None:
    for measured in (answers(QUICK), answers(QUICK, lag_ns=9 * MS)):
        assert judge(run_with(measured, ended=ended)).exit_code == EXIT_INTERRUPTED


def test_a_journal_without_an_end_is_an_interrupted_run() -> None:
    verdict = judge(fold(open_frames()[:4]))
    assert verdict.exit_code == EXIT_INTERRUPTED


def test_overload_and_errors_are_findings_and_no_failures() -> None:
    measured = answers(QUICK, retried=2) + tally(
        {"scheduled": 9, "error.http_500": 4, "error.reset": 1, "timeout": 2, "censored": 1, "unsent": 1}, failed=[MS] * 7
    )
    frames = [interval(0, 1, {"measure": measured}, examples={500: "the queue is full"})]
    verdict = judge(run_of(open_plan(), frames, 3, ended="overload"))
    assert (verdict.generator, verdict.exit_code, verdict.target_died) == ("sound", EXIT_OK, False)
    said = sentences(verdict, "target")
    assert said[0].startswith("overload")
    assert said[1:] == [
        "4 × http_500: the queue is full",
        "1 × reset",
        "2 × timeout",
        "1 × censored",
        "1 × unsent",
        "2 stale keep-alive connections: sent again on a fresh one",
    ]
    assert {f.weight for f in verdict.findings} == {"note"}


def test_errors_of_our_own_are_not_the_targets() -> None:
    verdict = judge(run_with(answers(QUICK) + tally({"scheduled": 7, "error.local": 7}, failed=[MS] * 7)))
    assert sentences(verdict, "target") == []


def busy(cpu_ms: int) -> list[Any]:
    return [
        interval(0, second, {"measure": answers(QUICK)}, cpu_ns=cpu_ms * MS, steady_ok=[100 * (second + 1)])
        for second in range(2)
    ]


@pytest.mark.parametrize(("cpu_ms", "limited"), [(850, False), (950, True)])
def test_a_closed_loop_at_its_ceiling_is_client_limited(cpu_ms: int, limited: bool) -> None:
    verdict = judge(run_of(closed_plan(), busy(cpu_ms), 2))
    assert [sentence.startswith("client-limited: worker 0 ") for sentence in sentences(verdict, "generator")] == [
        True
    ] * limited
    assert (verdict.generator, verdict.exit_code) == ("sound", EXIT_OK)


def test_only_workers_at_their_ceiling_are_named() -> None:
    frames = [interval(number, 0, {"measure": answers(QUICK)}, cpu_ns=cpu * MS) for number, cpu in enumerate((960, 700))]
    (said,) = sentences(judge(run_of(closed_plan(), [*frames, interval(0, 1)], 1)), "generator")
    assert said.startswith("client-limited: worker 0 (96 % of the time) had no core left")


@pytest.mark.parametrize(("cpu_ms", "generator", "said"), [(650, "sound", 0), (850, "sound", 1), (990, "degraded", 1)])
def test_an_open_loop_is_not_client_limited_but_late(cpu_ms: int, generator: str, said: int) -> None:
    """Its lag says how late it sent; what came back meanwhile was read late too."""
    verdict = judge(run_of(open_plan(warmup=Duration(0)), busy(cpu_ms), 2))
    assert (verdict.generator, verdict.exit_code) == (generator, EXIT_OK)
    assert [f"worker 0 ({cpu_ms / 10:.0f} % of the time) was busy itself" in s for s in sentences(verdict, "generator")] == [
        True
    ] * said


@pytest.mark.parametrize(
    ("weights", "generator"),
    [((), "sound"), (("note",), "sound"), (("note", "degrading"), "degraded"), (("degrading", "fatal", "note"), "unsound")],
)
def test_the_gravest_finding_decides(weights: tuple[Any, ...], generator: str) -> None:
    assert Verdict(tuple(Finding(weight, "generator", "x") for weight in weights), 0).generator == generator
    assert Verdict(tuple(Finding(weight, "target", "x") for weight in weights), 0).generator == "sound"


def test_judging_changes_nothing() -> None:
    run = run_with(answers(QUICK, lag_ns=9 * MS))
    before = (dict(run.measure.counts), run.measure.histogram("latency").total, run.ended)
    assert judge(run) == judge(run)
    assert before == (run.measure.counts, run.measure.histogram("latency").total, run.ended)
    assert run.measured_ns == 2 * S


@pytest.mark.parametrize(("done", "said"), [(97, False), (60, True)])
def test_a_target_that_did_not_keep_up_is_named(done: int, said: bool) -> None:
    """Replies that came while the drain went on do not hide that the queue grew."""
    plan = Plan(rate=100.0, duration=Duration.seconds(1))
    run = run_of(plan, [interval(0, 0, {"measure": answers([MS] * 100)}, steady_ok=[done], final=True)], 1.0)
    assert run.requests_per_s == done
    assert any("did not keep up" in f.sentence for f in judge(run).findings) is said


def test_the_ceiling_is_not_diluted_by_warm_up_and_drain() -> None:
    plan = closed_plan(warmup=Duration.seconds(1))
    frames = [interval(0, i, {"measure": answers(QUICK)}, cpu_ns=cpu * MS) for i, cpu in enumerate([100, 950, 930, 20])]
    assert any("client-limited" in said for said in sentences(judge(run_of(plan, frames, 3)), "generator"))


def test_waiting_for_the_core_is_part_of_the_ceiling() -> None:
    frames = [interval(0, i, {"measure": answers(QUICK)}, cpu_ns=880 * MS, starved_ns=30 * MS) for i in range(2)]
    assert any("client-limited" in said for said in sentences(judge(run_of(closed_plan(), frames, 2)), "generator"))


@pytest.mark.parametrize(("starved_ms", "generator"), [(9, ""), (40, "sound"), (60, "degraded"), (500, "degraded")])
@pytest.mark.parametrize("plan", [open_plan(warmup=Duration(0)), closed_plan()])
def test_a_competitor_on_the_core_degrades(plan: Plan, starved_ms: int, generator: str) -> None:
    frames = [interval(0, i, {"measure": answers(QUICK)}, starved_ns=starved_ms * MS) for i in range(2)]
    verdict = judge(run_of(plan, frames, 2))
    assert (verdict.generator, verdict.exit_code) == (generator or "sound", EXIT_OK)
    assert [f"worker 0 ({starved_ms / 10:.0f} % of the time)" in said for said in sentences(verdict, "generator")] == [True] * (
        generator != ""
    )


def waiting(wait_ms: int) -> Tally:
    """Two hundred answers of 10 ms, all of which had waited for a connection."""
    took = [10 * MS] * 200
    waited = [(10 + wait_ms) * MS] * 200
    counts = {"scheduled": 200, "ok": 200}
    return tally(counts, latency=waited, unlagged=waited, service=took, lag=[0] * 200, wait=[wait_ms * MS] * 200)


@pytest.mark.parametrize(
    ("wait_ms", "generator", "code"), [(0, "sound", EXIT_OK), (1, "degraded", EXIT_OK), (3, "unsound", EXIT_UNSOUND)]
)
@pytest.mark.parametrize("how", ["refused", "descriptors"])
def test_connections_that_this_host_did_not_give(how: str, wait_ms: int, generator: str, code: int) -> None:
    facts = {"connections": {"limit": 86, "ours": how == "descriptors"}}
    lacked = {"refused_here": 4} if how == "refused" else {"capped": 9}
    frames = [interval(0, 1, {"measure": waiting(wait_ms)}, **lacked)]
    verdict = judge(run_of(open_plan(), frames, 3, facts=facts))
    assert (verdict.generator, verdict.exit_code) == (generator, code)
    (said,) = sentences(verdict, "generator")
    assert said.startswith("4 connections were refused" if how == "refused" else "this host has descriptors for no more")
    assert "ulimit -n" in verdict.findings[0].remedy


def test_a_limit_that_was_asked_for_or_never_met_is_no_finding() -> None:
    ours = {"connections": {"limit": 86, "ours": True}}
    in_warm_up = [interval(0, 0, capped=9, refused_here=9), interval(0, 1, {"measure": waiting(50)}, capped=9, refused_here=9)]
    assert judge(run_of(open_plan(), in_warm_up, 3, facts=ours)).findings == ()
    for facts, capped in (({"connections": {"limit": 8, "ours": False}}, 9), (ours, 0)):
        frames = [interval(0, 1, {"measure": waiting(50)}, capped=capped)]
        assert judge(run_of(open_plan(), frames, 3, facts=facts)).findings == ()


# ---- images and profiles

SHELF = {
    "transport": "url", "at": "127.0.0.1:30080", "core": 1, "shared": False, "distinct": 5, "foreign": 0, "died": False,
    "said": "", "requests": 200, "fetched": 200, "errors": 0, "missing": 0, "cut": 0, "other": 0, "slow": 0, "bytes": 1,
    "span_ns": S, "cpu_ns": S // 10, "starved_ns": 0,
}  # fmt: skip


def with_images(**facts: Any) -> Run:
    """100 ok requests of two Samples each in the measured phase, 10 in the warm-up."""
    plan = open_plan(image_transport="url", batch_size=2)
    frames = [interval(0, 0, {"warmup": answers(QUICK[:10])}), interval(0, 1, {"measure": answers(QUICK)}), interval(1, 1)]
    return run_of(plan, frames, 3, facts=FACTS | {"images": SHELF | facts})


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"fetched": 220}, []),
        ({"fetched": 500}, []),
        ({"fetched": 219}, ["the server fetched 219 of the 220 images in its ok replies: it ignores or caches some"]),
        ({"fetched": 0}, ["the server fetched 0 of the 220 images in its ok replies: it ignores or caches some"]),
        ({"fetched": 0, "foreign": 1}, []),  # some URLs were the source's: nobody knows which were fetched
    ],
)
def test_images_that_were_not_fetched_are_noted(facts: dict[str, Any], said: list[str]) -> None:
    verdict = judge(with_images(**facts))
    assert sentences(verdict, "target") == said
    assert (verdict.generator, verdict.exit_code) == ("sound", EXIT_OK)


def test_the_image_server_is_part_of_the_generator() -> None:
    busy = judge(with_images(fetched=220, cpu_ns=S * 95 // 100))
    assert (busy.generator, busy.exit_code) == ("degraded", EXIT_OK)
    assert "image server had no core left" in sentences(busy, "generator")[0]
    assert judge(with_images(fetched=220, cpu_ns=S * 95 // 1000, span_ns=S // 10)).generator == "sound", "too short to say"
    dead = judge(with_images(fetched=0, died=True, said="MemoryError"))
    assert (dead.generator, dead.exit_code) == ("unsound", EXIT_UNSOUND)
    assert sentences(dead, "generator") == ["the image server died: MemoryError"]
    assert sentences(dead, "target") == []


def test_a_profiled_target_is_named() -> None:
    start = run_with(answers(QUICK)).start_ns
    for profile, said in (
        ({"started_ns": start + S, "stopped_ns": start + 2 * S, "error": ""}, ["from 1.00 s to 2.00 s"]),
        ({"started_ns": start + S, "stopped_ns": None, "error": "no answer"}, ["from 1.00 s on", "failed: no answer"]),
        ({"started_ns": None, "stopped_ns": None, "error": "404"}, ["failed: 404"]),
    ):
        verdict = judge(run_with(answers(QUICK), facts=FACTS | {"profile": profile}))
        assert len(sentences(verdict, "target")) == len(said)
        assert all(part in sentence for part, sentence in zip(said, sentences(verdict, "target")))
        assert verdict.exit_code == EXIT_OK


def test_what_the_preflight_found_outlives_an_unsound_generator() -> None:
    """It was asked one at a time, before the load: no lateness of the generator changes it."""
    line = {"name": "images", "outcome": "unfit", "sentence": "images are ignored", "remedy": "a newer one"}
    late = {"measure": answers([10 * MS] * 20, lag_ns=9 * MS)}
    run = run_of(
        open_plan(workers=1), [interval(0, i, late) for i in range(3)], 3, facts=FACTS | {"preflight": [{"lines": [line]}]}
    )
    verdict = judge(run)
    assert verdict.generator == "unsound"
    assert [finding.sentence for finding in verdict.findings if finding.about == "target"] == [
        "UNFIT (images): images are ignored"
    ]
