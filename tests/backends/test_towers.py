"""The two towers' functions: padding, what is not computed, and what transformers 4 and 5 return."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipload.backends.checkpoints import load_random
from clipload.backends.towers import grouped, image_features, padded, text_features, with_class_token_alone

torch = pytest.importorskip("torch", reason="the extra `local` is not installed")


def test_texts_are_padded_to_the_longest_of_them_and_masked() -> None:
    ids, mask = padded([(1, 2, 9), (1, 9), (1, 2, 3, 4, 9)], fill=9)
    assert ids.tolist() == [[1, 2, 9, 9, 9], [1, 9, 9, 9, 9], [1, 2, 3, 4, 9]]
    assert mask.tolist() == [[1, 1, 1, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 1, 1]]
    assert (ids.dtype, mask.dtype) == (torch.int64, torch.int64)


@given(st.lists(st.integers(2, 77), max_size=100))
def test_groups_hold_each_text_once_and_their_lengths_are_near(lengths: list[int]) -> None:
    groups = grouped(lengths)
    assert sorted(place for group in groups for place in group) == list(range(len(lengths)))
    for group in groups:
        assert group
        longest, shortest = lengths[group[-1]], lengths[group[0]]
        assert longest == max(lengths[place] for place in group)
        assert longest <= 1.25 * shortest or longest <= max(lengths[place] for place in group[:8])
    assert all(len(group) >= 8 for group in groups[:-1])


@pytest.mark.parametrize("wrap", [lambda tensor: tensor, lambda tensor: SimpleNamespace(pooler_output=tensor)], ids=["4", "5"])
def test_the_projected_vector_whatever_it_comes_in(wrap: Any) -> None:
    class Model:
        def get_text_features(self, input_ids: Any, attention_mask: Any) -> Any:
            return wrap(input_ids * attention_mask)

        def get_image_features(self, pixel_values: Any) -> Any:
            return wrap(pixel_values + 1)

    ids, mask = padded([(3, 4), (5,)], fill=7)
    assert text_features(Model(), ids, mask).tolist() == [[3, 4], [5, 0]]
    assert image_features(Model(), torch.ones(1, 2)).tolist() == [[2, 2]]


def test_the_last_layer_computes_the_class_token_alone() -> None:
    """The same vectors, and for each other token four matrices less to multiply with (attention is not counted here)."""
    from torch.utils.flop_counter import FlopCounterMode

    pixels = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    vectors, multiplied = [], []
    for model in (load_random("tiny", 0).model, with_class_token_alone(load_random("tiny", 0).model)):
        with torch.inference_mode(), FlopCounterMode(display=False) as counted:
            vectors.append(image_features(model, pixels))
        multiplied.append(counted.get_total_flops() // 2)
    assert torch.allclose(*vectors, rtol=1e-5, atol=1e-5)
    tokens, width, wide = (32 // 16) ** 2 + 1, 64, 128
    assert multiplied[0] - multiplied[1] == 3 * (tokens - 1) * (2 * width * width + 2 * width * wide)
