"""Searches, case by case: what is asked next, what an answer says, and which mistakes are named."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from benchmarks.probing import Probing, Roughness
from benchmarks.queues import MM1, MDc
from clipload.errors import PlanError
from clipload.estimate import Estimate
from clipload.search import Aim, Ask, Find, Grid, Once, Over, Told, cartesian, parse_axis, parse_over, zipped
from clipload.search.aim import CONFIRM_LEAST_S
from clipload.search.answer import _binding, _busy
from clipload.search.evidence import Evidence, Point
from clipload.search.step import CHECK, START

Fault = Callable[[float, int], str | None]


def latency(low: float, value: float, high: float) -> Estimate:
    """A quantile in ns, of which a search looks at nothing but the interval."""
    return Estimate("latency", value, low, high, 1.0, 50.0, True)


class Edge:
    """A target that passes up to `capacity` and fails above, for certain. `fault`: another fate of the n-th probe of a rate."""

    def __init__(
        self, capacity: float, plateau: float = 200.0, fault: Fault = lambda _rate, _n: None, objective_s: float = 0.1
    ) -> None:
        self._capacity, self._plateau, self._fault, self._objective_s = capacity, plateau, fault, objective_s
        self.seen: dict[float, int] = {}

    def __call__(self, ask: Ask) -> Told:
        taken = ask.rest_s + ask.settle_s + (ask.seconds or 0.0)
        if "concurrency" in ask.values:
            return Told(ask, "pass", min(10.0 * int(ask.values["concurrency"]), self._plateau), taken)
        rate = float(ask.values["rate"])
        self.seen[rate] = self.seen.get(rate, 0) + 1
        fate = self._fault(rate, self.seen[rate]) or ("pass" if rate <= self._capacity else "fail")
        value = 1e9 * self._objective_s * (0.8 if fate == "pass" else 1.3)
        binding = {"unsound": "generator", "pass": None}.get(fate, "latency")
        return Told(ask, fate, min(rate, self._plateau), taken, latency(value, value, value), None, binding, sentence="as told")  # type: ignore[arg-type]


def find(target: Callable[[Ask], Told], **said: object) -> Find:
    search = Find(Aim(**({"objective_s": 0.1} | said)))  # type: ignore[arg-type]
    while (ask := search.ask()) is not None:
        search.tell(target(ask))
    return search


def purposes(search: Find) -> list[str]:
    return [one.ask.why for one in search.history]


def test_the_ceiling_is_climbed_first_and_the_rates_begin_below_it() -> None:
    search = find(Edge(150.0))
    ladder = [one.ask.values["concurrency"] for one in search.history if one.ask.why == "ceiling"]
    assert ladder == [1, 2, 4, 8, 16, 32, 64, 128]  # 200/s from 20 in flight on, and two doublings without a gain
    top = search.answer.ceiling
    assert top is not None
    assert (top.rate, top.concurrency, top.at_least, top.response_s) == (200.0, 32, False, pytest.approx(0.1))
    assert search.history[len(ladder)].ask.values["rate"] == START * 200.0


def test_an_answer_is_a_bracket_as_fine_as_asked_confirmed_on_both_sides_and_looked_at_from_above() -> None:
    search = find(Edge(150.0))
    answer = search.answer
    assert (answer.outcome, answer.binding, answer.shape, answer.confirmed, answer.monotone) == (
        "found",
        "latency",
        "smooth",
        True,
        True,
    )
    assert 150 / 1.02 <= answer.rate <= 150
    assert answer.rate * 0.97 < answer.low <= answer.rate < 150 < answer.high < answer.rate * 1.04
    assert purposes(search).count("confirm") == 2
    assert purposes(search).count("repeat") == 1
    assert all((one.ask.seconds or 0) >= CONFIRM_LEAST_S for one in search.history if one.ask.why == "confirm")
    assert not answer.left_out
    assert str(answer) == f"{answer.rate:.4g}/s ({answer.low:.4g} … {answer.high:.4g}), bound by latency, smooth"


def test_what_was_full_at_the_wall_is_named() -> None:
    """Most of the probes that missed there saw the tokenizer; that those which met the objective saw a queue is no matter."""
    edge, seen = Edge(150.0), iter(["GPU full", *["tokenizer full"] * 99])

    def busy(ask: Ask) -> Told:
        told = edge(ask)
        return replace(told, busy=next(seen) if told.leaning is False else "queue full")

    answer = find(busy).answer
    assert answer.busy == "tokenizer full"
    assert str(answer).endswith("bound by latency, the target's tokenizer full, smooth")
    assert find(lambda ask: replace(Edge(1e9)(ask), busy="queue full"), highest=50.0).answer.busy == ""


def test_of_a_torn_wall_only_the_probes_that_missed_are_heard() -> None:
    """Two of three met the objective there, with a queue."""
    ask = Ask({"rate": 9.0})
    seen = [("pass", "queue full"), ("pass", "queue full"), ("fail", "tokenizer full")]
    wall = Point(9.0, tuple(Told(ask, fate, 9.0, 1.0, busy=busy) for fate, busy in seen))  # type: ignore[arg-type]
    assert _busy(wall, Evidence((wall,))) == "tokenizer full"
    assert _busy(None, Evidence(())) == ""


def test_where_nothing_can_be_told_of_the_wall_the_next_rate_that_missed_says_what_binds() -> None:
    wall = Point(9.0, (Told(Ask({"rate": 9.0}), "inconclusive", 9.0, 1.0, busy="queue full"),))
    passed, missed = (
        Point(rate, (Told(Ask({"rate": rate}), fate, rate, 1.0, binding=binding, busy=busy),))  # type: ignore[arg-type]
        for rate, fate, binding, busy in ((8.0, "pass", None, "nothing"), (10.0, "overload", "latency", "tokenizer full"))
    )
    evidence = Evidence((passed, wall, missed))
    assert evidence.wall == wall
    assert _binding(wall, evidence, missed.told) == "latency"
    assert _busy(wall, evidence) == "tokenizer full"
    alone = Evidence((passed, wall))
    assert (_binding(wall, alone, wall.told), _busy(wall, alone)) == (None, "")


def test_a_target_that_breaks_is_a_cliff() -> None:
    def calm(ask: Ask) -> Told:
        told = Edge(150.0)(ask)
        if told.fate != "pass" or told.quantile is None:
            return told
        return Told(told.ask, told.fate, told.achieved, told.seconds, latency(1e6, 1e6, 1e6))

    assert find(calm).answer.shape == "cliff"


def test_a_start_leaves_the_ceiling_out() -> None:
    search = find(Edge(150.0), start=100.0)
    assert "ceiling" not in purposes(search)
    assert search.answer.ceiling is None
    assert 147 <= search.answer.rate <= 150


def test_an_overloaded_probe_may_end_early_and_the_next_waits_until_the_target_has_drained() -> None:
    search = find(Edge(150.0, plateau=160.0), start=140.0, objective_s=1.0)
    for before, after in pairwise(search.history):
        rate = float(before.ask.values["rate"])
        assert before.ask.backlog is not None
        assert before.ask.backlog >= max(100, 2 * rate)
        behind = min(before.ask.backlog, max(0.0, rate - before.achieved) * before.seconds)
        assert after.ask.rest_s == pytest.approx(1.0 + behind / before.achieved)
    assert max(one.ask.rest_s for one in search.history) > 5, "one probe at least was beyond the ceiling"


def test_without_a_latency_nothing_says_when_a_backlog_is_too_long() -> None:
    assert Aim().backlog(100.0, 60.0) is None


def test_no_lawful_probe_of_a_queue_at_its_capacity_is_ended_early() -> None:
    queue = MM1(0.001)
    probing = Probing(queue, 0.99, 0.05, np.random.default_rng(1))
    rate = queue.capacity(0.99, 0.05)
    aim = Aim(objective_s=0.05)
    fates = {
        probing.probe(Ask({"rate": rate}, seconds=60.0, rest_s=5.0, backlog=aim.backlog(rate, 60.0))).fate for _ in range(40)
    }
    assert "overload" not in fates
    beyond = probing.probe(Ask({"rate": 1200.0}, seconds=60.0, backlog=aim.backlog(1200.0, 60.0)))
    assert (beyond.fate, beyond.seconds < 10) == ("overload", True)


def test_an_inconclusive_probe_is_extended_twice_and_then_votes() -> None:
    search = Find(Aim(objective_s=0.1, start=100.0))
    lengths = []
    for meets in (True, False, True):
        ask = search.ask()
        assert ask is not None
        assert ask.values["rate"] == 100.0
        lengths.append(ask.seconds)
        search.tell(Told(ask, "inconclusive", 100.0, 1.0, None, meets))
    assert [round(length or 0.0) for length in lengths] == [100, 200, 400]
    nothing = search.ask()
    assert nothing is not None
    assert nothing.values["rate"] == 150.0, "two of three lean to a pass"


def test_an_unsound_probe_is_not_one_of_the_three() -> None:
    search = Find(Aim(objective_s=0.1, start=200.0))
    told: list[tuple[str, float | None]] = []
    for fate, meets in (("inconclusive", None), ("unsound", None), ("inconclusive", True), ("unsound", None), ("pass", True)):
        ask = search.ask()
        assert ask is not None
        assert ask.values["rate"] == 200.0
        told.append((ask.why, round(ask.seconds or 0.0)))
        search.tell(Told(ask, fate, 200.0, 1.0, None, meets))  # type: ignore[arg-type]
    assert told == [("start", 50), ("extend", 100), ("again", 100), ("extend", 200), ("again", 200)]
    ask = search.ask()
    assert ask is not None
    assert ask.values["rate"] == 300.0


def test_a_rate_that_no_trial_could_tell_is_asked_for_as_long_as_a_confirmation() -> None:
    """150/s passes, and only long probes show it: the answer does not stop below."""
    edge = Edge(160.0)

    def target(ask: Ask) -> Told:
        told = edge(ask)
        dim = 145 < float(ask.values.get("rate", 0.0)) < 155 and ask.why not in ("confirm", "repeat")
        return Told(ask, "inconclusive", told.achieved, told.seconds) if dim else told

    assert 157 <= find(target).answer.rate <= 160


def test_what_is_never_shown_ends_inconclusive() -> None:
    search = find(lambda ask: Told(ask, "inconclusive", 5.0, 10.0, latency(1e6, 5e7, math.inf)), start=10.0, lowest=2.0)
    assert search.answer.outcome == "inconclusive"
    assert search.doomed == ""
    assert str(search.answer).startswith("inconclusive, because even the lowest load, 2/s, cannot be told from the objective")


def test_a_pass_that_only_leans_is_no_answer() -> None:
    search = find(lambda ask: Told(ask, "inconclusive", 5.0, 10.0, None, float(ask.values["rate"]) < 9), start=5.0)
    assert search.answer.outcome == "inconclusive"
    assert (search.answer.low, search.answer.high) == (0.0, math.inf)


def test_even_the_lowest_rate_misses() -> None:
    search = find(Edge(0.0))
    assert search.doomed == "even the lowest load, 10/s, misses the objective: as told"
    assert str(search.answer) == f"doomed, because {search.doomed}"
    assert [one.ask.values["rate"] for one in search.history if one.ask.why != "ceiling"] == [60.0, 10.0, 10.0], "asked again"


def test_the_generator_is_the_limit_from_the_lowest_rate_on() -> None:
    search = find(Edge(0.0, fault=lambda _rate, _n: "unsound"))
    assert search.doomed == "even the lowest load, 10/s, is more than the generator can send soundly: as told"


def test_the_generator_is_the_limit_above() -> None:
    search = find(Edge(1e9, fault=lambda rate, _n: "unsound" if rate > 130 else None))
    answer = search.answer
    assert (answer.outcome, answer.binding, answer.because) == ("at least", "generator", "the generator is the limit above")
    assert 127 <= answer.rate <= 130
    assert answer.high == math.inf, "nothing failed"
    assert str(answer).startswith(f"at least {answer.rate:.4g}/s (")


def test_a_closed_loop_without_a_core_left_ends_the_ladder_and_bounds_nothing() -> None:
    def target(ask: Ask) -> Told:
        told = Edge(150.0)(ask)
        limited = ask.values.get("concurrency") == 8
        return Told(told.ask, told.fate, told.achieved, told.seconds, told.quantile, None, told.binding, limited)

    top = find(target).answer.ceiling
    assert top is not None
    assert (top.rate, top.at_least) == (80.0, True)


@pytest.mark.parametrize(("dies", "outcome", "doomed"), [(20.0, "doomed", True), (120.0, "found", False)])
def test_a_target_that_dies_ends_the_search(dies: float, outcome: str, doomed: bool) -> None:
    search = find(Edge(1e9, fault=lambda rate, _n: "died" if rate > dies else None))
    assert search.history[-1].fate == "died"
    assert search.answer.because == f"the target died at {search.history[-1].ask.values['rate']:g}/s"
    assert bool(search.doomed) == doomed
    assert search.answer.outcome in (outcome, "at least")


def test_a_target_that_answers_nothing_in_a_closed_loop_is_doomed() -> None:
    assert find(lambda ask: Told(ask, "fail", 0.0, 5.0)).doomed == "no request of a closed loop was answered"


@pytest.mark.parametrize("fate", ["fail", "unsound", "overload"])
def test_one_false_fate_below_the_capacity_is_found_out(fate: str) -> None:
    struck: list[float] = []

    def fault(rate: float, n: int) -> str | None:
        if rate > 60 and rate < 150 and not struck:
            struck.append(rate)
            return fate
        return None

    answer = find(Edge(150.0, fault=fault)).answer
    assert struck
    assert 147 <= answer.rate <= 150
    assert answer.monotone


@pytest.mark.parametrize(("overloads", "found"), [(1, 150.0), (99, 89.0)])
def test_one_overload_well_below_the_ceiling_is_asked_again_before_anything_is_built_on_it(
    overloads: int, found: float
) -> None:
    """A stall of the host looks like that, and a budget may leave no time to come back to it. A second one is a wall."""

    def fault(rate: float, _n: int) -> str | None:
        above = sum(count for seen, count in target.seen.items() if seen >= 90)
        return "overload" if rate >= 90 and above <= overloads else None

    target = Edge(150.0, fault=fault)
    search = find(target, budget_s=300.0)
    again = [place for place, one in enumerate(search.history) if one.ask.why == "again"]
    assert search.history[again[0] - 1].fate == "overload"
    assert search.history[again[0] - 1].ask.values == search.history[again[0]].ask.values
    assert search.answer.rate == pytest.approx(found, rel=0.03)


def test_a_rate_that_fails_twice_for_nothing_stands_against_those_above_it() -> None:
    """Its trial and one fresh probe fail; the look above contradicts it, and it is asked until the votes are clear."""

    def fault(rate: float, n: int) -> str | None:
        return "fail" if rate == 100.5 and n <= 2 else None

    search = find(Edge(150.0, fault=fault), start=67.0)
    assert len([one for one in search.history if one.ask.values["rate"] == 100.5]) == 5
    assert search.answer.monotone
    assert 147 <= search.answer.rate <= 150


def test_one_false_pass_above_the_capacity_is_found_out() -> None:
    struck: list[float] = []

    def fault(rate: float, n: int) -> str | None:
        if rate > 160 and not struck:
            struck.append(rate)
            return "pass"
        return None

    answer = find(Edge(150.0, fault=fault)).answer
    assert struck
    assert 147 <= answer.rate <= 150


def test_fresh_probes_that_are_certain_of_both_do_not_confirm_by_two_of_three() -> None:
    def torn(rate: float, n: int) -> str | None:
        return "fail" if 147 < rate <= 150 and n == 2 else None

    for fault, fresh in ((lambda _rate, _n: None, 2), (torn, 4)):
        search = find(Edge(150.0, fault=fault))
        chosen = [
            one for one in search.history if one.ask.values.get("rate") == search.answer.rate and one.ask.why == "confirm"
        ]
        assert (len(chosen), search.answer.confirmed) == (fresh, True)


def test_a_confirmation_that_fails_backs_off() -> None:
    chosen: list[float] = []

    def fault(rate: float, n: int) -> str | None:
        if not chosen and 147 <= rate <= 150 and n == 2:
            chosen.append(rate)
        return "fail" if rate in chosen and n >= 2 else None

    answer = find(Edge(150.0, fault=fault)).answer
    assert chosen
    assert answer.rate < chosen[0]
    assert answer.confirmed


def test_a_rate_overturned_by_its_confirmations_is_backed_off_from_by_a_little() -> None:
    """Everything from 130 on passes its trial and fails whatever is asked afresh."""
    edge = Edge(150.0)

    def target(ask: Ask) -> Told:
        told = edge(ask)
        late = float(ask.values.get("rate", 0.0)) > 130 and ask.why == "confirm"
        return Told(ask, "fail", told.achieved, told.seconds, told.quantile, None, "latency") if late else told

    search = find(target, start=100.0)
    rates = [float(one.ask.values["rate"]) for one in search.history if one.ask.why not in ("confirm", "repeat")]
    assert any(after == pytest.approx(0.97 * before, rel=1e-3) for before in rates for after in rates)
    assert search.answer.rate <= 130


def test_a_band_that_always_fails_makes_the_answer_torn() -> None:
    search = find(Edge(150.0, fault=lambda rate, _n: "fail" if 100 <= rate <= 105 else None), start=67.0)
    answer = search.answer
    assert not answer.monotone
    assert 98 <= answer.rate < 100
    assert answer.high > 110
    assert "not monotone" in str(answer)
    assert CHECK * answer.rate < answer.high
    assert purposes(search).count("check") == 1


def test_the_range_ends_first() -> None:
    search = find(Edge(1e9), highest=170.0)
    answer = search.answer
    assert (answer.outcome, answer.rate, answer.high, answer.because) == (
        "at least",
        170.0,
        math.inf,
        "the range ends at 170/s",
    )
    assert answer.confirmed


def test_a_probe_is_as_long_as_its_quantile_needs() -> None:
    assert Aim(quantile=0.99).trial(200.0) == pytest.approx(50.0)
    assert Aim(quantile=0.9).trial(50.0) == pytest.approx(20.0)
    assert Aim().trial(10.0) == Aim().longest_s
    assert Aim().trial(1e6) == Aim().shortest_s
    assert Aim(budget_s=100.0).trial(10.0) == pytest.approx(4.0)


def test_a_confirmation_is_as_long_as_its_interval_needs_and_a_settling_a_tenth_of_it() -> None:
    aim = Aim(quantile=0.9)
    assert aim.confirmation(1000.0) == 60.0
    assert aim.confirmation(1000.0, scatter=0.3**2 * 50.0) == pytest.approx(200.0)
    assert aim.confirmation(1000.0, scatter=1e6) == 5 * aim.longest_s
    assert (aim.settle(0.01, 10.0), aim.settle(2.0, 10.0), aim.settle(0.01, 300.0)) == (5.0, 20.0, 30.0)
    long, short = (latency(0.74e8, 1e8, math.inf), 400.0), (latency(0.99e8, 1e8, math.inf), 10.0)
    told = tuple(Told(Ask({"rate": 5.0}, seconds=s), "inconclusive", 5.0, s, span) for span, s in (long, short))
    assert Point(5.0, told).scatter == pytest.approx(400 * math.log(0.74) ** 2), "the longest probe knows best"


def test_a_spent_budget_ends_the_search_and_says_what_is_missing() -> None:
    search = find(Edge(150.0), budget_s=60.0)
    answer = search.answer
    assert answer.seconds <= 60.0
    assert answer.left_out
    assert not answer.confirmed
    passed = [float(one.ask.values["rate"]) for one in search.history if "rate" in one.ask.values and one.fate == "pass"]
    assert answer.rate == max(passed)
    assert answer.low * 1.01 in [pytest.approx(rate) for rate in passed if rate < answer.rate], "a lucky rate bounds nothing"
    assert answer.rate > 0.95 * 150, "what time there is goes to a bracket, before a confirmation"
    free = find(Edge(150.0)).answer
    assert answer.high / answer.low > free.high / free.low


@pytest.mark.parametrize(
    ("said", "flag"),
    [
        ({"quantile": 1.0}, "--slo"),
        ({"objective_s": 0.0}, "--slo"),
        ({"precision": 0.0}, "--precision"),
        ({"lowest": 5.0, "highest": 4.0}, "--lowest"),
        ({"start": 5.0, "highest": 4.0}, "--start"),
        ({"concurrency": 0}, "--concurrency"),
        ({"budget_s": 5.0}, "--budget"),
    ],
)
def test_an_aim_that_cannot_be_names_its_flag(said: dict[str, float], flag: str) -> None:
    with pytest.raises(PlanError) as caught:
        Aim(**said)  # type: ignore[arg-type]
    assert caught.value.flag == flag
    assert caught.value.remedy


def test_drift_of_the_target_between_probes_would_show_without_rest() -> None:
    """The simulated target keeps what is left behind: right after an overload an unrested probe misses."""
    queue, calm = MDc(0.005, 8), Roughness(hysteresis=0.0)
    for rest_s, fate in ((0.0, "fail"), (8.0, "pass")):
        probing = Probing(queue, 0.99, 0.02, np.random.default_rng(1), calm)
        probing.probe(Ask({"rate": 2000.0}, seconds=20.0))
        assert probing.probe(Ask({"rate": 800.0}, seconds=20.0, rest_s=rest_s)).fate == fate


# several dimensions


def test_over_finds_each_and_names_the_best_by_samples() -> None:
    over = Over(Aim(objective_s=0.1), [{"batch_size": 1}, {"batch_size": 8}, {"batch_size": 32}])
    capacities = {1: 160.0, 8: 100.0, 32: 10.0}
    while (ask := over.ask()) is not None:
        over.tell(Edge(capacities[int(ask.values["batch_size"])])(ask))
    assert [branch.answer.outcome for branch in over.branches] == ["found", "found", "found"]
    assert over.best is not None
    assert over.best.values == {"batch_size": 8}
    assert over.best.worth == pytest.approx(8 * over.best.answer.rate)
    assert over.tied == ()
    assert repr(over) == "Over(3 of 3 found)"


def test_over_shares_a_budget_and_passes_on_what_was_left() -> None:
    over = Over(Aim(objective_s=0.1, budget_s=400.0), [{"workers": 1}, {"workers": 2}])
    while (ask := over.ask()) is not None:
        over.tell(Edge(0.0 if ask.values["workers"] == 1 else 150.0)(ask))
    first, second = over.branches
    assert first.answer.outcome == "doomed"
    assert 200 < second.answer.seconds <= 400 - first.answer.seconds


def test_over_needs_values_and_time_for_each() -> None:
    with pytest.raises(PlanError, match="no value"):
        Over(Aim(), [])
    with pytest.raises(PlanError, match="no 3 searches"):
        Over(Aim(budget_s=60.0), [{"workers": n} for n in (1, 2, 3)])


# grids and axes


def test_once_asks_once() -> None:
    once = Once(Ask({"rate": 5.0}, seconds=3.0))
    ask = once.ask()
    assert ask == Ask({"rate": 5.0}, seconds=3.0)
    assert not once.done
    once.tell(Told(Ask({"rate": 5.0}), "pass", 5.0, 3.0))
    assert once.done
    assert (once.ask(), once.doomed, repr(once)) == (None, "", "Once({'rate': 5.0})")


def test_the_last_axis_turns_fastest_and_zipped_ones_turn_together() -> None:
    axes = {"workers": [1, 2], "batch_size": [8, 16]}
    assert [tuple(point.values()) for point in cartesian(axes)] == [(1, 8), (1, 16), (2, 8), (2, 16)]
    assert [tuple(point.values()) for point in zipped(axes)] == [(1, 8), (2, 16)]


def test_a_shuffled_grid_is_the_same_for_a_seed_and_another_for_another() -> None:
    points = cartesian({"rate": list(range(20))})
    orders = [[ask.values["rate"] for ask in Grid(points, draws=np.random.default_rng(seed)).points] for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]
    assert orders[0] != sorted(orders[0])  # type: ignore[type-var]


def test_a_grid_knows_its_points() -> None:
    grid = Grid(cartesian({"rate": [1, 2]}))
    assert grid.holds({"rate": 2})
    assert not grid.holds({"rate": 3})
    with pytest.raises(PlanError, match="no point rate=3"):
        grid.tell(Told(Ask({"rate": 3}), "pass", 1.0, 1.0))
    grid.tell(Told(Ask({"rate": 1}), "pass", 1.0, 1.0))
    assert repr(grid) == "Grid(1 of 2 points known)"


def test_grids_that_cannot_be_name_the_flag() -> None:
    with pytest.raises(PlanError) as uneven:
        zipped({"rate": [1, 2, 3], "batch_size": [1, 2]})
    assert (uneven.value.flag, "--batch-size has 2" in uneven.value.what) == ("--rate", True)
    with pytest.raises(PlanError) as many:
        cartesian({"rate": list(range(200)), "batch_size": list(range(100))})
    assert many.value.flag == "--rate"


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,2,4", ("1", "2", "4")),
        ("50..800x2", ("50", "100", "200", "400", "800")),
        ("50..800x1.5", ("50", "75", "112.5", "168.75", "253.125", "379.688", "569.531", "800")),
        ("1, 2, 4..16x2", ("1", "2", "4", "8", "16")),
        ("http://a:1,http://b..c:2", ("http://a:1", "http://b..c:2")),
    ],
)
def test_axes_are_lists_and_ranges(text: str, values: tuple[str, ...]) -> None:
    assert parse_axis(text, "--rate") == values


def test_a_range_of_whole_numbers_is_rounded_down_and_never_stands_still() -> None:
    assert parse_axis("1..20x1.5", "--workers", whole=True) == ("1", "2", "3", "4", "6", "9", "13", "19", "20")


@pytest.mark.parametrize(
    "text",
    ["", "1,,2", "1,1", "5..1x2", "0..8x2", "1..8", "1..8x1", "1..8x0.5", "1..8y2", "1..1000000x1.0001", "8..8x2"],
)
def test_axes_that_cannot_be_name_flag_and_remedy(text: str) -> None:
    with pytest.raises(PlanError) as caught:
        parse_axis(text, "--rate")
    assert caught.value.flag == "--rate"
    assert caught.value.remedy


def test_whole_numbers_have_whole_ends() -> None:
    with pytest.raises(PlanError, match="whole numbers"):
        parse_axis("1.5..8x2", "--workers", whole=True)


def test_over_is_a_field_and_its_values() -> None:
    assert parse_over("batch-size=1,8,32") == ("batch_size", ("1", "8", "32"))
    for text in ("batch_size", "=1,2", "batch size=1"):
        with pytest.raises(PlanError) as caught:
            parse_over(text)
        assert caught.value.flag == "--over"


def test_a_closed_loop_of_which_nothing_can_be_said_is_asked_again_and_named_if_it_stays_so() -> None:
    """A busy moment of the generator's host is not the target's silence."""
    search = Find(Aim(objective_s=0.1))
    for _ in range(2):
        ask = search.ask()
        assert ask is not None
        assert ask.values == {"concurrency": 1}
        search.tell(Told(ask, "unsound", 50.0, 5.0, binding="generator", sentence="the generator was late"))
    recovered = Find(Aim(objective_s=0.1), history=search.history)
    ask = search.ask()
    assert ask is not None
    search.tell(Told(ask, "unsound", 50.0, 5.0, binding="generator", sentence="the generator was late"))
    assert search.done
    assert search.doomed == "the generator is unsound with 1 in flight already: the generator was late"
    assert search.answer.binding == "generator"
    ask = recovered.ask()
    assert ask is not None
    recovered.tell(Told(ask, "pass", 50.0, 5.0))
    ask = recovered.ask()
    assert ask is not None
    assert ask.values == {"concurrency": 2}


def test_a_target_that_answers_nothing_in_a_closed_loop_is_not_the_generators_fault() -> None:
    search = Find(Aim(objective_s=0.1, most_concurrency=1))
    ask = search.ask()
    assert ask is not None
    search.tell(Told(ask, "fail", 0.0, 5.0))
    assert search.doomed == "no request of a closed loop was answered"
    assert search.answer.binding is None


def test_where_a_target_does_few_requests_a_second_probes_are_longer_and_rates_rise_until_something_is_told() -> None:
    """A probe of five requests says nothing of a p90, and one at a twentieth of the ceiling even less."""
    aim = Aim(quantile=0.9, objective_s=4.0, budget_s=200.0)
    assert aim.trial(2.0) == pytest.approx(15.0)
    assert aim.trial(0.5) == pytest.approx(25.0), "at most an eighth of the budget"
    assert aim.trial(100.0) == pytest.approx(aim.unit_s)
    search = Find(aim)
    rates: list[float] = []
    while (ask := search.ask()) is not None and len(rates) < 3:
        if "concurrency" in ask.values:
            search.tell(Told(ask, "inconclusive", 2.6, 3.0))
            continue
        rates.append(float(ask.values["rate"]))
        search.tell(Told(ask, "inconclusive", rates[-1], ask.seconds or 0.0))
    assert rates[0] == pytest.approx(0.78)
    assert rates[0] < rates[-1] <= 2.6
    assert set(rates) <= {0.78, 1.17, 1.755}


def test_a_wall_of_which_nothing_could_be_said_is_no_wall_though_the_budget_ended_before_its_third_trial() -> None:
    history: list[Told] = []
    search = Find(Aim(objective_s=0.1, start=100.0, budget_s=60.0))
    while (ask := search.ask()) is not None:
        rate = float(ask.values["rate"])
        fate: Any = "pass" if rate <= 160 else "unsound"
        seconds = ask.seconds or 0.0
        history.append(
            Told(ask, fate, rate, seconds if fate == "pass" else 60.0, binding=None if fate == "pass" else "generator")
        )
        search.tell(history[-1])
    assert [one.fate for one in history].count("unsound") == 1
    assert (search.answer.outcome, search.answer.binding) == ("at least", "generator")
    assert math.isinf(search.answer.high)


def test_above_a_rate_that_passed_a_higher_one_is_tried_before_the_gap_to_one_that_said_nothing() -> None:
    search = Find(Aim(quantile=0.9, objective_s=4.0, budget_s=200.0, start=0.9, highest=3.0))
    rates: list[float] = []
    while (ask := search.ask()) is not None and len(rates) < 9:
        rate = float(ask.values["rate"])
        rates.append(rate)
        said = "pass" if rate == 0.9 else "inconclusive"
        search.tell(Told(ask, "inconclusive", rate, ask.seconds or 0.0, meets=True if said == "pass" else None))
    assert rates[:3] == [0.9, 1.35, 2.025]
