"""Which flags of a sweep are axes, and their values."""

from __future__ import annotations

import pytest

from clipload.cli.axes import axes_from
from clipload.errors import CliploadError, PlanError


@pytest.mark.parametrize(
    ("values", "axes"),
    [
        ({"concurrency": "1,2,4"}, {"concurrency": [1, 2, 4]}),
        ({"rate": "50..100x2"}, {"rate": [50.0, 100.0]}),
        ({"batch_size": "1..9x2"}, {"batch_size": [1, 2, 4, 8, 9]}),
        ({"mode": "text,image"}, {"mode": ["text", "image"]}),
        ({"timeout": "1s,2s"}, {"timeout": ["1s", "2s"]}),
        ({"base_url": ("http://a:1,http://b:2",)}, {"base_url": ["http://a:1", "http://b:2"]}),
    ],
)
def test_a_list_or_range_where_the_plan_has_one_value_is_an_axis(
    values: dict[str, object], axes: dict[str, list[object]]
) -> None:
    assert axes_from(values | {"seed": "3"}, ()) == ({"seed": 3}, axes)


@pytest.mark.parametrize(
    "values",
    [
        {"steps": "100,200"},
        {"cores": "0,1"},
        {"name": "a,b"},
        {"base_url": ("http://a:1", "http://b:2")},
        {"slo": ("p99<1s,errors<1%",)},
        {"concurrency": 4},
    ],
)
def test_a_list_that_is_one_value_of_its_field_is_none(values: dict[str, object]) -> None:
    fixed, axes = axes_from(values, ())
    assert not axes
    assert fixed.keys() == values.keys()


def test_axis_names_any_field_and_wins() -> None:
    fixed, axes = axes_from({"model": "x"}, ("model=a,b", "image-size=224x224,336x336"))
    assert (fixed, axes) == ({}, {"model": ["a", "b"], "image_size": ["224x224", "336x336"]})


@pytest.mark.parametrize(
    ("values", "extra", "flag"),
    [
        ({"concurrency": "1,two"}, (), "--concurrency"),
        ({"concurrency": "1,,2"}, (), "--concurrency"),
        ({"rate": "5..1x2"}, (), "--rate"),
        ({"mode": "text,imag"}, (), "--mode"),
        ({"concurrency": "1,2", "rate": "5"}, (), "--concurrency"),
        ({"num_samples": "1,2", "duration": "5s"}, (), "--num-samples"),
        ({}, ("batch_size",), "--axis"),
        ({}, ("batch_sze=1,2",), "--axis"),
        ({}, ("batch_size=1,2", "batch-size=3"), "--axis"),
    ],
)
def test_mistakes_name_their_flag(values: dict[str, object], extra: tuple[str, ...], flag: str) -> None:
    with pytest.raises(CliploadError) as caught:
        axes_from(values, extra)
    assert caught.value.flag == flag
    assert caught.value.remedy
    assert isinstance(caught.value, PlanError)
