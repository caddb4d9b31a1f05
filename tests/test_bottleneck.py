"""What limits a target: each rule on Sightings in which it holds, and on those in which it must not."""

from __future__ import annotations

from typing import Any

import pytest

from clipload.bottleneck import RULES, judge_sight, limit_document, limit_of
from clipload.run import Run
from clipload.sightings import CPU, IDLE, QUEUED, Sighting, TargetSeen, sights
from tests.test_run import START, answers, interval, open_plan, run_of
from tests.test_sightings import seconds

GPU = {0: 0.12}
BUSY = {"tokenizer": 0.99, "scheduler": 0.4}


def said(shares: dict[str, float], **seen: Any) -> tuple[str, str]:
    """The rule that holds, and its sentence."""
    (sight,) = sights(seconds(shares, **seen))
    limit = judge_sight(sight)
    assert limit is not None
    assert "{" not in limit.sentence + limit.remedy
    return limit.rule, limit.sentence


CASES: list[tuple[str, dict[str, float], dict[str, Any], str]] = [
    (
        "tokenizer",
        {"tokenizer": 1.0, "scheduler": 1.0},
        {"gpus": GPU},
        "the tokenizer process sits at 100 % of a core while the GPU idles (12 %): the front-end is the limit",
    ),
    ("tokenizer", BUSY, {}, "at 99 % of a core while the scheduler process takes 40 %: the front-end"),
    ("tokenizer", {}, {"growing": {CPU + "tokenizer": 0.95}, "n": 12}, "at 95 % of a core:"),
    ("tokenizer", BUSY, {"gpus": {0: 0.95}}, "while the GPU is at 95 %"),
    ("cores", BUSY, {"cores": 1}, "the server has one core, which is full (tokenizer 99 %, scheduler 40 %): the CPU"),
    ("cores", {"scheduler": 14.9, "tokenizer": 0.5}, {"cores": 16}, "has 16 cores, which are full (scheduler 1490 %, tok"),
    ("detokenizer", {"detokenizer": 0.97, "tokenizer": 0.6}, {}, "the detokenizer process sits at 97 %"),
    ("server", {"server": 1.0}, {}, "the server's process sits at 100 % of a core: it is the limit if"),
    ("room", {"server": 3.0}, {}, "(server 300 %)"),
    ("gpu", {"tokenizer": 0.6, "scheduler": 1.0}, {"gpus": {0: 0.98}}, "ran on the GPU for 98 % of the time"),
    ("gpu", {}, {"gpus": {0: 0.98}, "gauges": {QUEUED: 5.0}}, "98 %"),
    ("scheduler", {"scheduler": 0.98, "tokenizer": 0.5}, {"growing": {IDLE: 0.01}}, "process works for 98 % of a core"),
    ("room", {"scheduler": 1.0, "tokenizer": 0.5}, {"growing": {IDLE: 0.6}}, "nothing that was seen of the server was full"),
    (
        "others",
        {"scheduler": 0.3, "tokenizer": 0.31},
        {"cores": 1, "taken": 0.99, "gauges": {QUEUED: 9.0}},
        "has one core, busy for 99 % of the time, but with it for only 61 % (tokenizer 31 %, scheduler 30 %): who shares",
    ),
    ("tokenizer", BUSY, {"cores": 4, "taken": 0.99}, "the front-end is the limit"),
    ("room", {"tokenizer": 0.4}, {"cores": 4, "taken": 0.89}, "(tokenizer 40 %)"),
    ("queue", {"scheduler": 0.4, "tokenizer": 0.5}, {"gauges": {QUEUED: 12.5}}, "12.5 requests waited in its queue"),
    ("room", {"scheduler": 0.4, "tokenizer": 0.5}, {"gauges": {QUEUED: 0.5}}, "(tokenizer 50 %, scheduler 40 %)"),
    ("room", {"tokenizer": 0.5}, {"gpus": GPU}, "(tokenizer 50 %, GPU 12 %)"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "shares", "seen", "words"), CASES)
def test_the_first_rule_that_holds(rule: str, shares: dict[str, float], seen: dict[str, Any], words: str) -> None:
    name, sentence = said(shares, **seen)
    assert (name, words in sentence) == (rule, True), sentence


def test_every_rule_has_a_case() -> None:
    assert {rule.name for rule in RULES} - {case[0] for case in CASES} == set()


def test_each_threshold_is_met_just_there() -> None:
    assert [said({"tokenizer": share})[0] for share in (0.89, 0.9)] == ["room", "tokenizer"]
    assert [said({"server": share})[0] for share in (0.89, 0.9, 1.14, 1.15)] == ["room", "server", "server", "room"]
    assert [said({}, gauges={QUEUED: 9.0}, gpus={0: busy})[0] for busy in (0.89, 0.9)] == ["queue", "gpu"]


def test_one_more_tokenizer_than_there_are() -> None:
    made = seconds({"tokenizer": 1.0, "other": 1.0})
    (sight,) = sights(made)
    limit = judge_sight(sight)
    assert limit is not None
    assert "--tokenizer-worker-num 2 " in limit.remedy


def test_of_what_was_not_seen_nothing_is_said() -> None:
    (sight,) = sights(seconds({}, gauges={"active": 3.0}))
    assert judge_sight(sight) is None


def watched(sightings: list[Sighting], urls: int = 1) -> Run:
    """1 s of warm-up, 2 s measured."""
    plan = open_plan(workers=1, base_url=tuple(f"http://h:{port}" for port in range(1, urls + 1)))
    run = run_of(plan, [interval(0, i, {"measure": answers([10**6])}) for i in (1, 2)], 3.0)
    run.sightings = sightings
    return run


def test_only_the_measured_phase_is_looked_at() -> None:
    """Busy before and after it, and calm within."""
    cpu = (0, 1000, 1200, 1400, 2400)
    made = seconds({"tokenizer": 0.0}, start_ns=START, n=5)
    seen = [
        Sighting(one.at_ns, {0: TargetSeen(processes={10: type(one.targets[0].processes[10])("tokenizer", ms)}, cores=8)})
        for one, ms in zip(made, cpu, strict=True)
    ]
    limit = limit_of(watched(seen))
    assert limit is not None
    assert (limit.rule, limit.sight.seconds) == ("room", 2.0)
    assert limit.sight.processes[0].share == pytest.approx(0.2)


def test_of_one_that_died_only_its_life_is_looked_at() -> None:
    """Full for its first measured second, then gone; without the note of its outage it would have had room."""
    made = seconds({"tokenizer": 1.0}, start_ns=START, n=3)
    gone = [Sighting(made[-1].at_ns + i * 10**9, made[-1].targets) for i in (1, 2)]
    run = watched([*made, *gone])
    assert (found := limit_of(run)) is not None
    assert found.rule == "room"
    run.workers[0].outages.append((0, START + 2 * 10**9, 0, 20))
    assert (found := limit_of(run)) is not None
    assert (found.rule, found.sight.seconds) == ("tokenizer", 1.0)


def test_where_all_cores_are_full_the_busiest_process_is_named() -> None:
    (sight,) = sights(seconds({"tokenizer": 0.3, "scheduler": 0.65}, cores=1))
    assert (limit := judge_sight(sight)) is not None
    assert limit.what == "cores full, the scheduler busiest of its own"


def test_of_two_targets_the_one_that_is_full() -> None:
    calm, full = ({"tokenizer": share} for share in (0.2, 1.0))
    pairs = zip(seconds(calm, start_ns=START, n=4), seconds(full, start_ns=START, n=4, target=1), strict=True)
    run = watched([Sighting(one.at_ns, one.targets | other.targets) for one, other in pairs], 2)
    limit = limit_of(run)
    assert limit is not None
    assert (limit.rule, limit.target, limit.what) == ("tokenizer", 1, "tokenizer full")
    document = limit_document(run)
    assert document is not None
    assert document["sentence"] == limit.sentence
    assert [one["target"] for one in document["targets"]] == [1, 0]
    assert document["targets"][0]["seen"]["processes"][0]["share_of_a_core"] == pytest.approx(1.0)


def test_nothing_seen_nothing_said() -> None:
    assert limit_of(watched([])) is None
    assert limit_document(watched([])) is None
