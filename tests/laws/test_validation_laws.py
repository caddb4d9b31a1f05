"""Laws of validation: what a group is made of, that no swap passes, and that the order of asking is nobody's concern."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from clipload.errors import DatasetError
from clipload.sources.flickr8k import Captioned
from clipload.sources.listing import Named
from clipload.validation import parity, sides
from clipload.validation.groups import Scored, draw_group, dump_text
from clipload.validation.oddities import oddities
from clipload.validation.parity import compare, worst_of
from clipload.validation.sets import Set
from clipload.values import Text

captions = st.lists(st.sampled_from([f"caption {i} ." for i in range(12)]), min_size=1, max_size=5)


@st.composite
def datasets(draw: st.DrawFn) -> list[Captioned]:
    texts = draw(st.lists(captions, min_size=2, max_size=8))
    line, made = 1, []
    for number, of in enumerate(texts):
        made.append(Captioned(f"{number}.jpg", line, tuple(of), tuple(range(line, line + len(of)))))
        line += len(of)
    return made


@settings(max_examples=100, deadline=None)
@given(data=st.data(), dataset=datasets(), seed=st.integers(0, 2**31), size=st.integers(1, 6), distractors=st.integers(0, 6))
def test_a_group(data: st.DataObject, dataset: list[Captioned], seed: int, size: int, distractors: int) -> None:
    number = data.draw(st.integers(0, len(dataset) - 1))
    own = dataset[number]
    foreign = {text for one in dataset if one is not own for text in one.captions} - set(own.captions)
    if len(foreign) < distractors:
        with pytest.raises(DatasetError, match="captions of other images"):
            draw_group(dataset, number, size, distractors, seed)
        return
    group = draw_group(dataset, number, size, distractors, seed)
    assert group.own == own.captions[:size]
    assert len(set(group.distractors)) == len(group.distractors) == distractors
    assert set(group.distractors) <= foreign
    assert draw_group(dataset, number, size, distractors, seed) == group
    fewer = draw_group(dataset, number, size, max(0, distractors - 1), seed)
    assert group.distractors[: len(fewer.distractors)] == fewer.distractors


def test_the_seed_and_the_number_choose_distractors() -> None:
    dataset = [Captioned(f"{i}.jpg", i, (f"caption {i}",), (i,)) for i in range(50)]
    drawn = {draw_group(dataset, 3, 1, 2, seed).distractors for seed in range(20)}
    assert len(drawn) > 15
    first = [draw_group(dataset, number, 1, 1, 7).distractors for number in range(20)]
    assert len(set(first)) > 10


@settings(max_examples=50, deadline=None)
@given(dataset=datasets(), seed=st.integers(0, 2**31))
def test_the_dump_reads_back(dataset: list[Captioned], seed: int) -> None:
    draws = np.random.default_rng(seed)
    groups = [draw_group(dataset, number, 5, 0, seed) for number in range(len(dataset))]
    scored = [Scored(group, draws.uniform(-1, 1, len(group.texts))) for group in groups]
    blocks = dump_text(scored).split("\n\n")
    assert blocks.pop() == ""
    assert len(blocks) == len(scored)
    for block, one in zip(blocks, scored):
        header, *lines = block.split("\n")
        assert header == f"[GROUP {one.group.number}] image={one.group.name}"
        read = [line.split("\t", 1) for line in lines]
        assert [text for _, text in read] == list(one.group.texts)
        assert [float(score) for score, _ in read] == pytest.approx(one.scores, abs=5.1e-7)


@settings(max_examples=50, deadline=None)
@given(dataset=datasets())
def test_every_duplicate_is_named_with_its_lines(dataset: list[Captioned]) -> None:
    every = [(line, text) for one in dataset for line, text in zip(one.lines, one.captions)]
    found = oddities(dataset, [one.name for one in dataset])
    texts = [text for _, text in every]
    assert len(found.duplicates) == len({text for text in texts if texts.count(text) > 1})
    for sentence in found.duplicates:
        lines, _, text = sentence.removeprefix("lines ").partition(": ")
        assert [int(line) for line in lines.split(", ")] == [line for line, other in every if repr(other) == text]


def vectors(count: int, dim: int, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(
    data=st.data(),
    count=st.integers(2, 40),
    seed=st.integers(0, 2**31),
    limit=st.sampled_from([1e-5, 1e-3, 2.0]),
    rows=st.integers(1, 50),
)
def test_a_swap_never_passes(data: st.DataObject, count: int, seed: int, limit: float, rows: int) -> None:
    """Whatever the limit, the norms, and the blocks in which it is computed."""
    ours = vectors(count, 24, seed)
    scale = np.random.default_rng(seed).uniform(0.1, 10, (count, 1)).astype(np.float32)
    unit = ours / np.linalg.norm(ours, axis=1, keepdims=True)
    assume((unit @ unit.T - 2 * np.eye(count)).max() < 1 - limit * parity.TWINS)  # else they are the same to the model
    one, other = data.draw(st.lists(st.integers(0, count - 1), min_size=2, max_size=2, unique=True))
    order = np.arange(count)
    order[[one, other]] = other, one
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parity, "_ROWS", rows)
        same, swapped = compare(ours * scale, ours, limit), compare((ours * scale)[order], ours, limit)
    assert not same.failed(limit).any()
    assert same.distance.max() < 1e-12
    assert np.flatnonzero(swapped.failed(limit)).tolist() == sorted((one, other))
    assert (swapped.nearest[one], swapped.nearest[other]) == (other, one)
    assert swapped.between.max() < 1e-12


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), noise=st.floats(1e-4, 0.3))
def test_distances_are_one_minus_cosine(seed: int, noise: float) -> None:
    ours = vectors(20, 16, seed).astype(np.float64)
    theirs = ours + noise * np.random.default_rng(seed + 1).normal(size=ours.shape)
    plainly = [1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(theirs, ours)]
    assert compare(theirs, ours, 1e-3).distance == pytest.approx(plainly, abs=1e-7)


def test_inputs_that_are_the_same_to_the_model_are_not_told_apart() -> None:
    """`A dog .` and `a dog .`, embedded here in two batches of bf16: the server's two may be nearer to the other's."""
    ours = vectors(6, 16, 1)
    ours[4] = ours[1] + 8e-3 * vectors(1, 16, 2)[0]
    theirs = ours.copy()
    theirs[[1, 4]] = ours[[4, 1]]
    wide, narrow = compare(theirs, ours, 1e-3), compare(theirs, ours, 1e-5)
    assert 1e-5 < wide.distance[1] < 1e-4
    assert not wide.failed(1e-3).any()
    assert np.flatnonzero(narrow.strays()).tolist() == [1, 4]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), rounds=st.integers(1, 4), bad=st.integers(0, 3))
def test_the_worst_answer_counts(seed: int, rounds: int, bad: int) -> None:
    ours = vectors(9, 16, seed)
    answers = [ours.copy() for _ in range(rounds)]
    answers[bad % rounds][5] = ours[2]
    worst = worst_of([compare(answer, ours, 1e-5) for answer in answers])
    assert np.flatnonzero(worst.failed(1e-5)).tolist() == [5]
    assert worst.nearest[5] == 2


class Counting:
    """A backend whose vectors say the item and how often it has been asked before."""

    def __init__(self) -> None:
        self.order: list[int] = []

    def prepare(self, item: Any) -> Any:
        return int(item.text)

    def encode(self, items: Sequence[int]) -> NDArray[np.float32]:
        found = []
        for item in items:
            found.append([item, self.order.count(item)])
            self.order.append(item)
        return np.array(found, np.float32)


class Nobody:
    def said(self, sentence: str) -> None: ...
    def advanced(self, kind: str, done: int, total: int, per_s: float) -> None: ...


@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 30), times=st.integers(1, 3), seed=st.integers(0, 2**31), batch=st.integers(1, 40))
def test_answers_find_their_items_in_whatever_order_they_are_asked(count: int, times: int, seed: int, batch: int) -> None:
    whole = Set([Named(str(i), 0, "text", Text(str(i))) for i in range(count)])
    orders = []
    for size in (batch, 7):
        backend = Counting()
        answers = sides.FromBackend(backend, "answer", size).repeated(whole, times, seed, Nobody())  # type: ignore[arg-type]
        assert len(answers) == times
        for answer in answers:
            assert answer[:, 0].tolist() == list(range(count))
        assert sorted(backend.order) == sorted([*range(count)] * times)
        orders.append(backend.order)
    assert orders[0] == orders[1], "the order is the seed's, not the batches'"
